"""Features equal those of the plain float32 encoder, whatever interrupts the extraction."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

import toy_coco
from captioning.data.coco import CaptionSet, Photo, read_captions
from captioning.data.photos import read_photo
from captioning.evaluation.scores import evaluate
from captioning.features import cache as cache_module
from captioning.features import extraction
from captioning.features import views as views_module
from captioning.features.cache import FeatureCache, transform_of
from captioning.features.extraction import extract_features
from captioning.inference.search import greedy
from captioning.inference.serialization import load_pair
from model import EncoderCNN
from tests.helpers import EMBED, ROOT, TOY_WEIGHTS, write_data

IMAGENET = ROOT / "../shared/weights/resnet50_imagenet_fp16.pth"


@torch.no_grad()
def plain(encoder, captions, grid=False) -> torch.Tensor:
    """Return the grid (N, P, D): each photo alone through the encoder's own float32 network."""
    encoder.backbone.grid = grid
    transform = transform_of(encoder)
    images = [transform(read_photo(photo.path)) for photo in captions.photos]
    return torch.cat([encoder.backbone(image[None]) for image in images])


def cosine(one, other) -> float:
    pairs = (torch.as_tensor(np.array(x)).float().flatten(1) for x in (one, other))
    return torch.nn.functional.cosine_similarity(*pairs).min().item()


def test_tta_applies_to_a_single_view_and_not_to_training_views(data, weights, tmp_path):
    encoder = EncoderCNN(EMBED, weights=str(weights), grid=True, tta=True)
    plain_encoder = EncoderCNN(EMBED, weights=str(weights), grid=True)
    captions = read_captions(data, "train")
    options = {"grid": True, "device": "cpu", "precision": "float32"}
    crops = extract_features(encoder, captions, tmp_path, views=2, **options)
    plain_crops = extract_features(plain_encoder, captions, tmp_path, views=2, **options)
    assert crops.folder == plain_crops.folder  # nothing is computed twice
    both = extract_features(encoder, captions, tmp_path, **options)
    assert both.array.shape[1:3] == (1, 32)
    expected = plain(encoder, captions, grid=True)
    assert cosine(both.array[:, 0], expected) > 0.999
    assert both.folder != extract_features(plain_encoder, captions, tmp_path, **options).folder
    larger = EncoderCNN(EMBED, weights=str(weights), grid=True, tta=True, tta_scale=1.5)
    assert extract_features(larger, captions, tmp_path, views=2, **options).folder == crops.folder
    four = extract_features(larger, captions, tmp_path, **options)
    assert four.array.shape[1:3] == (1, 64)
    assert cosine(four.array[:, 0], plain(larger, captions, grid=True)) > 0.999
    assert extract_features(larger, captions, tmp_path, **options).folder == four.folder


@pytest.mark.parametrize("grid", [False, True])
def test_features_equal_those_of_the_plain_encoder(pooled, data, tmp_path, grid):
    captions = read_captions(data, "train")
    cache = extract_features(
        pooled, captions, tmp_path, grid=grid, precision="float32", device="cpu"
    )
    expected = plain(pooled, captions, grid)
    assert cache.array.shape == (12, 1, 9 if grid else 1, 128)
    assert cache.array.dtype == np.float16
    assert not cache.unreadable
    assert cosine(cache.array[:, 0], expected) > 0.99999
    rounding = (torch.as_tensor(np.array(cache.array[:, 0])).float() - expected).abs().max()
    assert rounding < 2e-3 * expected.abs().max()
    stored = np.load(cache.folder / "features-00000.npy", mmap_mode="r")
    assert stored.shape == ((12, 1, 9, 128) if grid else (12, 1, 128))


def photo_set(paths) -> CaptionSet:
    return CaptionSet([Photo(i, path) for i, path in enumerate(paths)], [], [])


@pytest.mark.parametrize("grid", [False, True])
def test_half_precision_hardly_changes_the_features_of_a_trained_network(data, tmp_path, grid):
    encoder = EncoderCNN(EMBED, weights=str(TOY_WEIGHTS))
    captions = read_captions(data, "train")
    cache = extract_features(encoder, captions, tmp_path, grid=grid, device="cpu")
    assert cosine(cache.array[:, 0], plain(encoder, captions, grid)) > 0.999


@pytest.mark.skipif(not IMAGENET.is_file(), reason=f"{IMAGENET} is missing")
def test_decoding_large_jpegs_at_reduced_scale_hardly_changes_features(tmp_path):
    """Real photographs and ImageNet's weights, each photo at its size and three times as large."""
    encoder = EncoderCNN(EMBED, weights=str(IMAGENET))
    paths = sorted(ROOT.glob("../shared/data/coco/**/*.jpg"))[:3]
    for path in paths[:2]:
        with Image.open(path) as photo:
            large = photo.convert("RGB").resize((3 * photo.width, 3 * photo.height))
        paths.append(tmp_path / path.name)
        large.save(paths[-1], quality=92)
    cache = extract_features(encoder, photo_set(paths), tmp_path, device="cpu")
    assert cosine(cache.array[:, 0], plain(encoder, photo_set(paths))) > 0.999


@pytest.mark.slow
def test_half_precision_hardly_changes_the_score_of_a_trained_captioner(tmp_path):
    """CIDEr of the shipped LSTM, on features in half precision and in float32."""
    toy_coco.draw(tmp_path, 0, (1, 1, 300))
    pair = [ROOT / "models" / "toy-lstm" / f"{part}.pkl" for part in ("encoder", "decoder")]
    encoder, decoder, vocab = load_pair(*pair)
    test = read_captions(tmp_path, "test")
    scores = []
    for precision in ("auto", "float32"):
        cache = extract_features(
            encoder, test, tmp_path / precision, precision=precision, device="cpu"
        )
        with torch.no_grad():
            embedded = encoder.embed(torch.from_numpy(cache.array[:, 0].copy()).float())
        found = zip(test.photos, greedy(decoder, embedded).tolist(), strict=True)
        captions = {photo.id: vocab.decode(words) for photo, words in found}
        scores.append(evaluate(test.references(), captions)["CIDEr"])
    assert scores[0] == pytest.approx(scores[1], abs=0.5)
    assert scores[0] > 150  # they are captions of these pictures


def test_views_differ_and_view_0_is_the_plain_photo(pooled, data, tmp_path):
    captions = read_captions(data, "val")
    one = extract_features(pooled, captions, tmp_path / "1", precision="float32", device="cpu")
    cache = extract_features(
        pooled, captions, tmp_path / "3", views=3, precision="float32", device="cpu"
    )
    assert cache.array.shape == (6, 3, 1, 128)
    assert cache.views == 3
    assert cosine(cache.array[:, 0], one.array[:, 0]) > 0.99999
    for view in (1, 2):
        assert cosine(cache.array[:, view], cache.array[:, 0]) < 0.9999
    assert cosine(cache.array[:, 1], cache.array[:, 2]) < 0.9999
    again = extract_features(pooled, captions, tmp_path / "again", views=3, precision="float32")
    assert np.array_equal(again.array, cache.array)


def test_a_batch_size_changes_rounding_only(pooled, data, tmp_path):
    captions = read_captions(data, "train")
    caches = [
        extract_features(
            pooled, captions, tmp_path, precision="float32", device="cpu", batch_size=size
        )
        for size in (1, 5, 16)
    ]
    assert len({cache.folder for cache in caches}) == 3
    assert min(cosine(cache.array, caches[0].array) for cache in caches) > 0.99999


def test_a_finished_cache_is_reused(pooled, data, tmp_path, photos_read):
    captions = read_captions(data, "train")
    cache = extract_features(pooled, captions, tmp_path, device="cpu")
    assert sorted(photos_read) == sorted(photo.path.name for photo in captions.photos)
    photos_read.clear()
    again = extract_features(pooled, captions, tmp_path, device="cpu")
    assert not photos_read
    assert again.folder == cache.folder
    assert np.array_equal(again.array, cache.array)


@pytest.mark.parametrize(("views", "shard"), [(1, 1 << 30), (3, 1 << 30), (1, 2 * 128 * 6)])
def test_an_interrupted_extraction_continues_with_the_same_bytes(
    pooled, data, tmp_path, monkeypatch, views, shard
):
    monkeypatch.setattr(cache_module, "SHARD_BYTES", shard)
    captions = read_captions(data, "train")
    options = {"views": views, "batch_size": 3, "device": "cpu"}
    whole = extract_features(pooled, captions, tmp_path / "whole", **options)
    monkeypatch.setattr(extraction, "SAVE_EVERY", 0.0)  # save the progress after every batch
    for stop in ("photo_004.jpg", "photo_009.jpg"):

        def read(path, stop=stop, **options):
            if path.name == stop:
                raise KeyboardInterrupt
            return read_photo(path, **options)

        monkeypatch.setattr(views_module, "read_photo", read)
        with pytest.raises(KeyboardInterrupt):
            extract_features(pooled, captions, tmp_path / "cut", **options)
    [folder] = (path for path in (tmp_path / "cut").iterdir() if path.is_dir())
    assert 0 < json.loads((folder / "index.json").read_text())["done"] < 12
    read_again = []

    def record(path, **options):
        read_again.append(path.name)
        return read_photo(path, **options)

    monkeypatch.setattr(views_module, "read_photo", record)
    extract_features(pooled, captions, tmp_path / "cut", **options)
    assert 0 < len(read_again) < 12
    names = sorted(path.name for path in whole.folder.iterdir())
    assert len(names) == (2 if shard == 1 << 30 else 3)
    for name in names:
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_an_unreadable_photo_is_left_out_and_reported(pooled, tmp_path, capsys):
    data = write_data(tmp_path / "data")
    broken = data / "images/train2014/photo_005.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    captions = read_captions(data, "train")
    cache = extract_features(pooled, captions, tmp_path / "out", views=2, device="cpu")
    assert list(cache.unreadable) == [5]
    assert str(broken) in cache.unreadable[5]
    printed = capsys.readouterr().out
    assert "left out 1 unreadable" in printed
    assert "photo_005.jpg" in printed
    whole = captions.drop_photos({5})
    assert len(whole.captions) == 33
    good = [row for row in range(12) if row != 5]
    assert np.isfinite(cache.array[good]).all()
    assert np.abs(cache.array[good]).max(axis=(1, 2, 3)).min() > 0
    again = FeatureCache(cache.folder)  # the report is kept
    assert again.unreadable == cache.unreadable


def test_views_below_one_are_refused(pooled, data, tmp_path):
    with pytest.raises(ValueError, match="views"):
        extract_features(pooled, read_captions(data, "val"), tmp_path, views=0)


# --- work that is not done twice -------------------------------------------------------------


def test_pooled_features_are_the_means_of_a_finished_grid(pooled, data, tmp_path, photos_read):
    captions = read_captions(data, "val")
    options = {"precision": "float32", "device": "cpu", "views": 2}
    expected = extract_features(pooled, captions, tmp_path / "alone", **options).array
    extract_features(pooled, captions, tmp_path / "both", grid=True, **options)
    photos_read.clear()
    found = extract_features(pooled, captions, tmp_path / "both", **options)
    assert not photos_read
    assert found.is_complete
    np.testing.assert_allclose(found.array, expected, atol=2e-3 * np.abs(expected).max())


def test_a_second_run_waits_for_the_first(pooled, data, tmp_path, photos_read, lines_printed):
    captions = read_captions(data, "val")
    name = extract_features(pooled, captions, tmp_path / "alone", device="cpu").folder.name
    (tmp_path / "out").mkdir()
    photos_read.clear()
    with ThreadPoolExecutor(1) as pool:
        with FileLock(tmp_path / "out" / f".{name}.lock"):  # as the first run would have it
            waiting = pool.submit(
                extract_features, pooled, captions, tmp_path / "out", device="cpu"
            )
            assert "waiting for another run" in lines_printed.get(timeout=60)
            assert not waiting.done()
            assert not photos_read
        assert waiting.result().is_complete
    assert len(photos_read) == 6
