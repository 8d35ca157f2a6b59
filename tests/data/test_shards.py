"""Tar shards: the same photos and captions as in the folder that they were made of."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
import torch

from captioning.data import shards as shards_module
from captioning.data.coco import read_captions
from captioning.data.photos import read_photo
from captioning.data.shards import expand_braces, has_data, read_data, write_shards
from captioning.features.cache import cache_key
from captioning.training.loaders import CachedLoader
from tests.helpers import write_data
from tests.runs import numbers, prepared
from train import train


@pytest.fixture
def shards(data, tmp_path, monkeypatch) -> str:
    """The drawn photos in shards of five; the pattern that names them."""
    monkeypatch.setattr(shards_module, "PHOTOS", 5)
    write_shards(data, tmp_path / "shards")
    return str(tmp_path / "shards/*.tar")


def write_tar(path, files: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("split", ["train", "val"])
def test_shards_hold_what_the_folder_holds(data, shards, tmp_path, split):
    folder, tars = read_captions(data, split), read_data(shards, split)
    assert len(list((tmp_path / "shards").glob(f"{split}-*.tar"))) == (3 if split == "train" else 2)
    assert tars.captions == folder.captions
    assert tars.photo_index == folder.photo_index
    for ours, theirs in zip(tars.photos, folder.photos, strict=True):
        assert ours.path.name == theirs.path.name
        assert ours.path.read_bytes() == theirs.path.read_bytes()
        assert ours.path.stat().st_size == theirs.path.stat().st_size
        assert np.array_equal(read_photo(ours.path), read_photo(theirs.path))
    copy = pickle.loads(pickle.dumps(tars.photos[-1]))  # as worker processes get it
    assert copy.path.read_bytes() == folder.photos[-1].path.read_bytes()


def test_a_run_from_shards_is_the_run_from_the_folder(config_of, shards, tmp_path, capsys):
    cache_dir = str(tmp_path / "features")
    of_folder = config_of(tmp_path / "one", cache_dir=cache_dir)
    of_shards = config_of(tmp_path / "two", data=shards, cache_dir=cache_dir)
    expected = train(of_folder)
    assert "features 12/12" in capsys.readouterr().out
    found = train(of_shards)
    assert "features 12/12" not in capsys.readouterr().out, "the same photos, the same cache"
    assert numbers(found) == numbers(expected)


def test_features_are_extracted_from_shards_and_lie_beside_them(
    config_of, shards, tmp_path, encoder, data
):
    loaders, vocab, _ = prepared(config_of(tmp_path / "out", data=shards))
    assert isinstance(loaders["train"], CachedLoader)
    assert list((tmp_path / "shards/features").glob("*/index.json"))
    expected, same_vocab, _ = prepared(config_of(tmp_path / "out"))
    assert vocab.words == same_vocab.words
    for (ids, grid), (_, other) in zip(
        loaders["val"].photos(), expected["val"].photos(), strict=True
    ):
        assert len(ids) == 6
        assert torch.equal(grid, other)
    of_folder = cache_key(encoder, read_captions(data, "val").photos, 1, False, torch.float32)
    assert of_folder == cache_key(encoder, read_data(shards, "val").photos, 1, False, torch.float32)


def test_photos_may_be_decoded_in_every_epoch(config_of, shards, tmp_path):
    config = config_of(
        tmp_path / "out", data=shards, fine_tune_from="layer4", num_workers=1, num_epochs=1
    )
    assert train(config)[0]["val_loss"] > 0


def test_shards_of_img2dataset_with_broken_pairs(data, tmp_path, capsys):
    """Captions as alt texts in .txt; some files are missing, one photo is not a photo."""
    photo = read_captions(data, "val").photos[0].path.read_bytes()
    write_tar(
        tmp_path / "00000.tar",
        {
            "000000000.jpg": photo, "000000000.txt": b"A dog\non a  beach", "000000000.json": b"{}",
            "000000001.txt": b"its photo was not found", "000000001.json": b"{}",
            "000000002.jpg": photo, "000000002.json": json.dumps({"caption": "A cat"}).encode(),
            "000000003.jpg": photo, "000000003.txt": b" ",
            "000000004.jpg": photo, "000000004.json": b"{ no json", "000000004.txt": b"A ball",
            "000000005.jpg": b"not a photo", "000000005.txt": b"A box",
            "000000005.npy": b"embeddings are not read",
        },
    )  # fmt: skip
    write_tar(tmp_path / "00001.tar", {"000010000.jpg": photo, "000010000.txt": b"The last"})
    whole = (tmp_path / "00001.tar").read_bytes()
    write_tar(tmp_path / "00002.tar", {"000020000.jpg": photo, "000020000.txt": b"A cup"})
    with open(tmp_path / "00002.tar", "r+b") as file:
        file.truncate(700)
    (tmp_path / "00003.tar").write_bytes(b"not a tar" * 1000)
    found = read_data(f"{tmp_path}/{{00000..00003}}.tar", "train")
    assert found.captions == ["A dog on a beach", "A cat", "A ball", "A box", "The last"]
    assert [photo.path.name for photo in found.photos][-2:] == ["000000005.jpg", "000010000.jpg"]
    printed = capsys.readouterr().err
    assert "left out 3 pairs" in printed
    assert "1 without a photo, 2 without a caption" in printed
    assert printed.count("is not whole") == 2
    assert found.photos[-1].path.read_bytes() == photo
    assert (tmp_path / "00001.tar").read_bytes() == whole
    with pytest.raises(ValueError, match=r"00000\.tar/000000005\.jpg is not a photo"):
        read_photo(found.photos[-2].path)


def test_names_cannot_lead_out_of_a_tar(data, tmp_path):
    photo = read_captions(data, "val").photos[0].path.read_bytes()
    write_tar(tmp_path / "0.tar", {"../../a.jpg": photo, "../../a.txt": b"A dog"})
    [found] = read_data(tmp_path / "0.tar", "train").photos
    assert found.path == tmp_path / "0.tar/a.jpg"
    with tarfile.open(tmp_path / "1.tar", "w") as tar:
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    write_tar(tmp_path / "1.tar", {"b.txt": b"A link"}, "a")
    with pytest.raises(FileNotFoundError, match="has no photos with captions"):
        read_data(tmp_path / "1.tar", "train")


def test_patterns_and_splits(shards, tmp_path):
    assert list(expand_braces("s/{008..011}.tar")) == [f"s/{i:03}.tar" for i in range(8, 12)]
    assert list(expand_braces("{a,b}-{0..1}.tar")) == ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]
    assert has_data(shards, "val")
    assert not has_data(shards, "test")
    assert not has_data(shards.replace("*", "train-*"), "val")
    with pytest.raises(FileNotFoundError, match="names no file"):
        has_data(str(tmp_path / "none-*.tar"), "train")


def test_photos_of_one_stem_keep_their_own_captions(tmp_path):
    root = write_data(tmp_path / "data")
    annotations = root / "annotations/captions_val2014.json"
    content = json.loads(annotations.read_text(encoding="utf-8"))
    folder = root / "images/val2014"
    (folder / "photo_101.jpg").rename(folder / "photo_100.jpeg")
    (folder / "photo_102.jpg").rename(folder / "photo.1.02.jpg")
    content["images"][1]["file_name"] = "photo_100.jpeg"
    content["images"][2]["file_name"] = "photo.1.02.jpg"
    annotations.write_text(json.dumps(content), encoding="utf-8")
    write_shards(root, tmp_path)
    found = read_data(tmp_path / "*.tar", "val")
    assert found.captions == read_captions(root, "val").captions
    assert len(found.photos) == 6


def test_the_same_folder_gives_the_same_bytes(data, shards, tmp_path):
    write_shards(data, tmp_path / "again")
    for path in (tmp_path / "shards").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
