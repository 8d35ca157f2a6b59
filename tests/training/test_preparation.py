"""Several folders of data become one set with one vocabulary; leaks are refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import train as train_module
from captioning.inference.ensemble import load_ensemble
from captioning.inference.serialization import load_part, load_vocabulary, save
from captioning.training.config import parse_config
from captioning.training.loaders import photos_of_epoch
from tests.helpers import write_data
from tests.runs import prepared
from train import train


@pytest.fixture
def two(tmp_path):
    """Two folders with different photos of the same ids and names."""
    folders = [write_data(tmp_path / name) for name in ("one", "two")]
    for path in folders[1].glob("images/*/*.jpg"):
        path.write_bytes(path.read_bytes() + b"more")  # readers ignore what follows a JPEG's end
    for path in folders[1].glob("annotations/*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        for annotation in content["annotations"]:
            annotation["caption"] = annotation["caption"].replace("ball", "sphere")
        path.write_text(json.dumps(content), encoding="utf-8")
    return [str(folder) for folder in folders]


@pytest.mark.parametrize("fine_tune_from", [None, "layer4"])
def test_several_folders_are_one_set_with_one_vocabulary(config_of, tmp_path, two, fine_tune_from):
    changed = {"fine_tune_from": fine_tune_from, "num_epochs": 1}
    config = config_of(tmp_path / "out", data=[Path(folder) for folder in two], **changed)
    loaders, _, _ = prepared(config)
    assert len(loaders["train"].packed) == 72
    photos = loaders["train"].captions.photos
    assert len({photo.id for photo in photos}) == len(photos) == 24
    assert sum(len(captions) for _, captions, _ in loaders["train"].epoch(1)) == 72
    history = train(config)
    assert history[0]["val_loss"] > 0
    resumed = config_of(tmp_path / "out", data=two, resume=True, **changed | {"num_epochs": 2})
    assert len(train(resumed)) == 2


@pytest.mark.parametrize("fine_tune_from", [None, "layer4"])
def test_more_passes_through_a_small_folder(config_of, tmp_path, two, fine_tune_from):
    config = config_of(
        tmp_path / "out", data=two, passes=(1, 3), num_epochs=1, fine_tune_from=fine_tune_from
    )
    loaders, vocab, _ = prepared(config)
    once = prepared(config_of(tmp_path / "once", data=two))[1]
    assert vocab.words == once.words
    captions = loaders["train"].captions
    epoch = torch.cat([batch.flatten() for _, batch, _ in loaders["train"].epoch(1)])
    counts = torch.bincount(epoch, minlength=len(vocab))
    text = " ".join(captions.captions)
    assert counts[vocab.ids["ball"]] == text.count("ball") > 0
    assert counts[vocab.ids["sphere"]] == 3 * text.count("sphere") > 0
    photos = photos_of_epoch(captions, loaders["train"].packed)
    assert torch.bincount(photos).tolist() == 12 * [1] + 12 * [3]
    assert len(list(loaders["train"].epoch(1))) == loaders["train"].steps()
    assert train(config)[0]["val_loss"] > 0


def test_passes_are_a_number_for_each_folder(config_of, tmp_path, two):
    with pytest.raises(ValueError, match="passes needs a number for each of the 2 data folders"):
        config_of(tmp_path, data=two, passes=(1, 2, 3))
    with pytest.raises(ValueError, match="passes must be 1 or more, not 0"):
        config_of(tmp_path, data=two, passes=(1, 0))
    parsed = parse_config("", ["--data", *two, "--passes", "1", "4"])
    assert [parsed.passes_of(folder) for folder in two] == [1, 4]


def test_each_photo_has_the_features_of_its_own_folder(config_of, tmp_path, two):
    loaders, _, _ = prepared(config_of(tmp_path / "out", data=two))
    alone = [prepared(config_of(tmp_path / "out", data=folder))[0] for folder in two]
    rows = torch.tensor([20, 3, 15, 3, 0])
    found = loaders["train"].features.gather_rows(rows, torch.zeros_like(rows))
    for row, features in zip(rows.tolist(), found, strict=True):
        row_of_folder = torch.tensor([row % 12])
        [expected] = alone[row // 12]["train"].features.gather_rows(
            row_of_folder, torch.tensor([0])
        )
        assert torch.equal(features, expected)
    caches = [np.load(p) for folder in two for p in (tmp_path / folder).rglob("features-*.npy")]
    assert len(caches) == 4  # train and val of each folder, computed once


def test_one_folder_may_have_no_val(config_of, tmp_path, two):
    (tmp_path / "two/annotations/captions_val2014.json").unlink()
    loaders, _, _ = prepared(config_of(tmp_path / "out", data=two))
    assert len(loaders["val"].captions.photos) == 6


def test_a_photo_of_one_folder_in_the_val_of_the_other_is_refused(config_of, tmp_path, two, cli):
    shutil.copy(tmp_path / "one/images/train2014/photo_003.jpg", tmp_path / "leak.jpg")
    shutil.copy(tmp_path / "leak.jpg", tmp_path / "two/images/val2014/photo_101.jpg")
    with pytest.raises(ValueError, match=r"1 photo is .*photo_003\.jpg .*photo_101\.jpg"):
        train(config_of(tmp_path / "out", data=two))
    flags = ["--weights", config_of(tmp_path).weights, "--out", tmp_path / "out"]
    assert "photo_101.jpg" in cli(train_module.main, "--data", *two, *flags)


def test_a_run_takes_the_words_of_another_captioner_and_can_vote_with_it(
    config_of, tmp_path, capsys
):
    first, second = tmp_path / "first", tmp_path / "second"
    train(config_of(first, num_epochs=1, vocab_threshold=1))
    own = config_of(second, num_epochs=1, vocab_threshold=9)
    train(dataclasses.replace(own, vocab_file=str(first / "decoder-1.pkl")))
    assert f"words of {first / 'decoder-1.pkl'}" in capsys.readouterr().out
    files = [
        [folder / f"{part}-1.pkl" for folder in (first, second)] for part in ("encoder", "decoder")
    ]
    _, _, vocab = load_ensemble(*files, own.weights)
    assert vocab.words == load_vocabulary(first / "decoder-1.pkl").words
    with pytest.raises(ValueError, match="the encoder's file; the decoder's was expected"):
        load_vocabulary(first / "encoder-1.pkl")
    content = load_part(first / "decoder-1.pkl", "decoder")
    del content["words"]
    save(tmp_path / "wordless.pkl", content)
    with pytest.raises(ValueError, match="has no vocabulary"):
        load_vocabulary(tmp_path / "wordless.pkl")
