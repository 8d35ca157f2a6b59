"""The album: photographs that installed packages bring along."""

import pytest

from captioning.data import album as module
from captioning.data.album import PHOTOS, album, find
from captioning.data.photos import read_photo


def test_photos_of_the_required_packages_are_here():
    names = {photo.name for photo in album()}
    assert {"chelsea", "coffee", "camera", "astronaut", "rocket", "hopper"} <= names


@pytest.mark.parametrize("photo", album(), ids=lambda photo: photo.name)
def test_every_photo_can_be_read_and_credited(photo):
    assert min(read_photo(photo.path).size) >= 300
    assert photo.author in photo.credit
    assert photo.license in ("CC0", "public domain", "CC BY 2.0")


def test_names_differ():
    assert len({photo.name for photo in PHOTOS}) == len(PHOTOS)


def test_what_is_missing_is_one_sentence(monkeypatch):
    with pytest.raises(ValueError, match="no photo 'dog'; it has chelsea, coffee"):
        find("dog")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert album() == []
    with pytest.raises(FileNotFoundError, match="comes with the package skimage"):
        find("chelsea")
