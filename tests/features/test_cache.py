"""The cache on disk: one for each set of features, never stale, never half written."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from captioning.data.coco import read_captions
from captioning.features import cache as cache_module
from captioning.features.cache import cache_key, save_progress, shard_files
from captioning.features.extraction import extract_features
from captioning.features.reading import ConcatenatedFeatures
from model import EncoderCNN
from tests.helpers import EMBED, write_data


def test_changing_the_features_in_memory_leaves_the_file_alone(pooled, data, tmp_path):
    cache = extract_features(pooled, read_captions(data, "val"), tmp_path, device="cpu")
    [in_memory] = ConcatenatedFeatures([cache], torch.device("cpu")).shards
    before = np.load(shard_files(cache.folder)[0])
    assert np.array_equal(in_memory.numpy(), before[:, :, None])
    in_memory += 1
    assert np.array_equal(np.load(shard_files(cache.folder)[0]), before)


def split_into_shards(monkeypatch, photos: int) -> None:
    """Let every shard hold `photos` pooled features of one view, which is 2 x 128 bytes each."""
    monkeypatch.setattr(cache_module, "SHARD_BYTES", photos * 2 * 128)


@pytest.mark.parametrize("grid", [False, True])
def test_shards_hold_what_one_file_holds(pooled, data, tmp_path, monkeypatch, grid):
    captions = read_captions(data, "train")
    options = {"grid": grid, "batch_size": 2, "device": "cpu"}
    one = extract_features(pooled, captions, tmp_path / "one", **options)
    split_into_shards(monkeypatch, 5)
    many = extract_features(pooled, captions, tmp_path / "many", **options)
    assert [len(shard) for shard in many.shards] == ([2] * 6 if grid else [4] * 3)  # whole batches
    assert [path.name for path in shard_files(many.folder)][:2] == [
        "features-00000.npy",
        "features-00001.npy",
    ]
    assert np.array_equal(many.array, one.array)
    assert many.folder.name == one.folder.name
    for part in ("one", "many"):  # the means of a grid, whatever the files of either
        pooled_cache = extract_features(pooled, captions, tmp_path / part, **options | {"grid": 0})
        assert pooled_cache.is_complete
    joined = ConcatenatedFeatures([many, one, many], torch.device("cpu"))
    rows = torch.tensor([35, 0, 11, 12, 23, 24, 5, 5])
    found = joined.gather_rows(rows, torch.zeros_like(rows))
    assert np.array_equal(found.numpy(), one.array[rows.numpy() % 12, 0])


@pytest.mark.parametrize("done", [12, 4])
def test_the_single_file_of_an_earlier_version_is_a_cache(
    pooled, data, tmp_path, photos_read, done, monkeypatch
):
    captions = read_captions(data, "train")
    split_into_shards(monkeypatch, 4)
    cache = extract_features(pooled, captions, tmp_path, device="cpu", batch_size=2)
    expected, shards = cache.array, shard_files(cache.folder)
    stored = np.concatenate([np.load(path) for path in shards])
    stored[done:] = 0
    np.save(cache.folder / "features.npy", stored)
    save_progress(cache.folder, cache.spec, done, {})
    for path in shards:
        path.unlink()
    photos_read.clear()
    again = extract_features(pooled, captions, tmp_path, device="cpu", batch_size=2)
    assert len(photos_read) == 12 - done
    assert [path.name for path in shard_files(again.folder)] == ["features.npy"]
    assert np.array_equal(again.array, expected)


def test_a_missing_shard_is_noticed(pooled, data, tmp_path, monkeypatch, capsys):
    captions = read_captions(data, "train")
    split_into_shards(monkeypatch, 4)
    options = {"device": "cpu", "batch_size": 2}
    cache = extract_features(pooled, captions, tmp_path, **options)
    shard_files(cache.folder)[1].unlink()
    again = extract_features(pooled, captions, tmp_path, **options)
    assert "are broken (8 photos instead of 12); computing them again" in capsys.readouterr().out
    assert np.array_equal(again.array, cache.array)


BROKEN_FILES = {
    "index.json": [
        b"",
        b"{",
        b"[]",
        b'{"spec": 7}',
        b'{"spec": {}, "done": "x", "unreadable": []}',
    ],
    "features-00000.npy": [b"", b"\x93NUMPY", b"cos\nsystem\n(S'true'\ntR."],
}


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name, kinds in BROKEN_FILES.items() for content in kinds],
)
def test_a_broken_cache_is_computed_again(pooled, data, tmp_path, capsys, name, content):
    captions = read_captions(data, "val")
    cache = extract_features(pooled, captions, tmp_path, device="cpu")
    good = (cache.folder / "features-00000.npy").read_bytes()
    (cache.folder / name).write_bytes(content)
    capsys.readouterr()
    again = extract_features(pooled, captions, tmp_path, device="cpu")
    assert (again.folder / "features-00000.npy").read_bytes() == good
    assert again.done == 6
    assert str(cache.folder) in capsys.readouterr().out


def test_another_network_transform_or_set_of_photos_has_its_own_cache(
    weights, pooled, data, tmp_path, photos_read
):
    captions = read_captions(data, "train")

    def folder(encoder=pooled, captions=captions, **options) -> str:
        photos_read.clear()
        cache = extract_features(encoder, captions, tmp_path, device="cpu", **options)
        assert photos_read
        return cache.folder.name

    names = [folder(), folder(views=2), folder(grid=True), folder(captions=captions.head(7))]
    shrunk = EncoderCNN(EMBED, weights=str(weights))
    shrunk.backbone.transform["crop"] = 40
    names.append(folder(shrunk))
    other = EncoderCNN(EMBED, weights=str(weights))
    with torch.no_grad():
        other.backbone.network.layer4[2].conv3.weight[0] += 1e-2
    names.append(folder(other))
    assert len(set(names)) == 6
    photos_read.clear()
    extract_features(pooled, captions, tmp_path, device="cpu")
    assert not photos_read  # the first cache is still valid


def test_a_photo_that_changed_on_disk_is_read_again(pooled, tmp_path, photos_read):
    data = write_data(tmp_path / "data")
    first = extract_features(pooled, read_captions(data, "val"), tmp_path / "out", device="cpu")
    folder = data / "images/val2014"
    shutil.copy(data / "images/train2014/photo_003.jpg", folder / "photo_100.jpg")
    photos_read.clear()
    second = extract_features(pooled, read_captions(data, "val"), tmp_path / "out", device="cpu")
    assert photos_read
    assert not np.array_equal(first.array[0], second.array[0])
    assert np.array_equal(first.array[1:], second.array[1:])


def test_a_photo_edited_without_changing_its_size_has_another_key(pooled, tmp_path):
    data = write_data(tmp_path)
    photos = read_captions(data, "val").photos
    before = cache_key(pooled, photos, 1, False, torch.float32)
    content = bytearray(photos[0].path.read_bytes())
    content[-3] ^= 1
    photos[0].path.write_bytes(content)
    after = cache_key(pooled, photos, 1, False, torch.float32)
    assert {name for name in before if before[name] != after[name]} == {"photos"}


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_computed(
    pooled, data, tmp_path, monkeypatch, photos_read
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(OSError, match=r"need 0\.0 GB and .* has 0\.0 GB free: .*--cache-dir"):
        extract_features(pooled, read_captions(data, "val"), tmp_path / "out", device="cpu")
    assert not photos_read
    assert not list((tmp_path / "out").rglob("features*.npy"))
