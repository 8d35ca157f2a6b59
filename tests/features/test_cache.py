"""The cache on disk: one for each set of features, never stale, never half written."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from captioning.data.coco import read_captions
from captioning.features.cache import cache_key
from captioning.features.extraction import extract_features
from model import EncoderCNN
from tests.helpers import EMBED, write_data


def test_changing_the_features_in_memory_leaves_the_file_alone(pooled, data, tmp_path):
    cache = extract_features(pooled, read_captions(data, "val"), tmp_path, device="cpu")
    in_memory = cache.to_device(torch.device("cpu"))
    assert np.array_equal(in_memory.numpy(), cache.array)
    in_memory += 1
    assert not np.array_equal(in_memory.numpy(), cache.array)


BROKEN_FILES = {
    "index.json": [
        b"",
        b"{",
        b"[]",
        b'{"spec": 7}',
        b'{"spec": {}, "done": "x", "unreadable": []}',
    ],
    "features.npy": [b"", b"\x93NUMPY", b"cos\nsystem\n(S'true'\ntR."],
}


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name, kinds in BROKEN_FILES.items() for content in kinds],
)
def test_a_broken_cache_is_computed_again(pooled, data, tmp_path, capsys, name, content):
    captions = read_captions(data, "val")
    cache = extract_features(pooled, captions, tmp_path, device="cpu")
    good = (cache.folder / "features.npy").read_bytes()
    (cache.folder / name).write_bytes(content)
    capsys.readouterr()
    again = extract_features(pooled, captions, tmp_path, device="cpu")
    assert (again.folder / "features.npy").read_bytes() == good
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
    assert not list((tmp_path / "out").rglob("features.npy"))
