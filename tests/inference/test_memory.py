"""A memory ranks captions by the agreement that training photos let it predict."""

import json
import shutil

import numpy as np
import pytest
import torch

import caption as caption_module
from captioning.data.coco import read_captions
from captioning.data.photos import read_photo
from captioning.evaluation.scores import CiderD
from captioning.features.extraction import extract_features
from captioning.inference.captioner import Captioner
from captioning.inference.memory import CANDIDATES, RIDGE, WEIGHT, Memory
from model import EncoderCNN, EncoderGroup
from tests.helpers import EMBED, write_data


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "data")


@pytest.fixture
def captioner(run, weights, folder) -> Captioner:
    files = run / "encoder-2.pkl", run / "decoder-2.pkl"
    return Captioner.load(*files, str(weights), "cpu", memory=folder)


def training_grid(encoder, folder) -> torch.Tensor:
    """Return the grid (B, P, D) of all training photos."""
    captions = read_captions(folder, "train")
    cache = extract_features(encoder, captions, folder / "features", grid=True, device="cpu")
    return torch.from_numpy(np.array(cache.array[:, 0])).float()


@pytest.mark.parametrize("several", [False, True])
def test_a_training_photo_counts_most_for_itself(both, folder, several):
    encoders = [EncoderCNN(EMBED, weights=path, grid=True) for path in both]
    encoder = EncoderGroup(encoders) if several else encoders[0]
    memory = Memory(folder, encoder)
    grids = tuple(training_grid(part, folder) for part in encoder.parts)
    weights = memory.influence(grids if several else grids[0])
    assert weights.shape == (12, 12)
    assert weights.argmax(axis=1).tolist() == list(range(12))
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 12, atol=1e-3)  # a mean, all in all


def test_agreement_is_predicted_by_ridge_regression(encoder, folder):
    memory, grid = Memory(folder, encoder), training_grid(encoder, folder)
    references = read_captions(folder, "train").references()
    text = "there is a red ball on the beach"
    known = np.array([CiderD(references).score(image, text) for image in memory.references])
    features = grid.mean(dim=1).numpy().astype(float)
    features -= features.mean(axis=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features -= features.mean(axis=0)
    gram = features.T @ features + RIDGE * np.eye(features.shape[1])
    expected = known.mean() + features @ np.linalg.inv(gram) @ features.T @ known
    found = [scores[0] for scores in memory.agreement(grid, [[text]] * 12)]
    np.testing.assert_allclose(found, expected, atol=0.02)
    right, wrong = (np.array(found)[condition].mean() for condition in (known > 1, known <= 1))
    assert right > wrong


def test_captions_are_ranked_by_score_and_agreement(captioner, folder):
    paths = [photo.path for photo in read_captions(folder, "val").photos]
    ranked = captioner.caption(paths, n_best=CANDIDATES)
    captioner.memory = None
    plain = captioner.caption(paths, n_best=CANDIDATES)
    assert all(caption.agreement is None for found in plain for caption in found)
    for with_memory, without in zip(ranked, plain, strict=True):
        ranks = [c.score + WEIGHT * c.agreement for c in with_memory]
        assert ranks == sorted(ranks, reverse=True)
        assert {c.words for c in with_memory} == {c.words for c in without}
    assert [found[0] for found in ranked] != [found[0] for found in plain]


def test_a_photo_gets_the_same_caption_alone_and_among_others(captioner, folder):
    paths = [photo.path for photo in read_captions(folder, "val").photos]
    together = [found[0].text for found in captioner.caption(paths)]
    assert [captioner.caption([path])[0][0].text for path in paths] == together


def test_random_captions_stay_as_they_are(captioner, folder):
    photo = read_photo(read_captions(folder, "val").photos[0].path)
    drawn = captioner.caption([photo], temperature=1.0, n_best=3)
    captioner.memory = None
    texts = [
        [c.text for c in found]
        for found in (drawn[0], *captioner.caption([photo], temperature=1.0, n_best=3))
    ]
    assert texts[0] == texts[1]


def test_features_of_a_training_run_are_reused(encoder, folder, monkeypatch):
    captions, out = read_captions(folder, "train"), folder / "features"
    cache = extract_features(encoder, captions, out, views=3, grid=True, device="cpu")
    monkeypatch.setattr(
        "captioning.features.extraction.fill_cache", lambda *_: pytest.fail("computed again")
    )
    memory = Memory(folder, encoder)
    whole = np.asarray(cache.array[:, 0], np.float32).mean(axis=1)
    np.testing.assert_allclose(memory.means[0], whole.mean(axis=0), atol=5e-3)


def test_broken_photos_and_broken_caches_do_not_matter(encoder, folder):
    (folder / "images/train2014/photo_004.jpg").write_bytes(b"no photo")
    other = folder / "features" / "other"
    other.mkdir(parents=True)
    (other / "index.json").write_text("{")
    memory = Memory(folder, encoder)
    assert list(memory.references) == [number for number in range(12) if number != 4]
    assert memory.solution.shape == (128, 11)
    assert np.isfinite(memory.solution).all()


def test_a_folder_that_cannot_be_a_memory_is_refused(encoder, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a data folder"):
        Memory(tmp_path / "nowhere", encoder)
    path = folder / "annotations" / "captions_train2014.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"annotations": []}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"no training photo with captions|has no captions"):
        Memory(folder, encoder)
    shutil.rmtree(folder / "images" / "train2014")
    with pytest.raises((ValueError, FileNotFoundError)):
        Memory(folder, encoder)


def test_the_command_takes_a_memory(run, weights, folder, tmp_path, cli, capsys):
    photo = folder / "images/val2014/photo_100.jpg"
    flags = ["--captioner", run, "--weights", weights, "--device", "cpu", "--json"]
    assert cli(caption_module.main, photo, *flags, "--memory", folder) == 0
    printed = capsys.readouterr()
    assert "features 12/12" in printed.err
    assert -1 < json.loads(printed.out)["captions"][0]["agreement"] < 10
    assert "is not a data folder" in str(cli(caption_module.main, photo, *flags, "--memory", "no"))
