"""The same picture is found however it was saved again; other pictures are left alone."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from captioning.data import leaks
from captioning.data.leaks import near_duplicates, same_picture, thumbnail


def picture(seed: int, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """Return a picture like no other: blurred patches of all sizes, as landscapes have them."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24):
        patches = Image.fromarray(rng.integers(0, 255, (cells, cells, 3), dtype=np.uint8))
        pixels += np.asarray(patches.resize(size, Image.Resampling.BICUBIC)) / cells
    return Image.fromarray((pixels / pixels.max() * 255).astype(np.uint8))


def saved_again(photo: Image.Image, tmp_path, quality: int = 85) -> Image.Image:
    photo.save(tmp_path / "again.jpg", quality=quality)
    return Image.open(tmp_path / "again.jpg").convert("RGB")


def cropped(photo: Image.Image, left=0.0, top=0.0, right=0.0, bottom=0.0) -> Image.Image:
    width, height = photo.size
    sides = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return photo.crop(tuple(map(round, sides)))


CHANGES = {
    "the same": lambda photo: photo,
    "half size": lambda photo: photo.resize((120, 90)),
    "three quarters": lambda photo: photo.resize((180, 135)),
    "twice the size": lambda photo: photo.resize((480, 360)),
    "another shape": lambda photo: photo.resize((200, 200)),
    "mirrored": lambda photo: photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped on each side": lambda photo: cropped(photo, 0.05, 0.05, 0.05, 0.05),
    "cropped at a corner": lambda photo: cropped(photo, right=0.05, bottom=0.05),
    "cropped at a side": lambda photo: cropped(photo, left=0.05),
    "all of it": lambda photo: cropped(
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.04, 0.02, 0.05, 0.01
    ).resize((120, 90)),
}


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [picture(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def thumbnails(photos) -> np.ndarray:
    return np.stack([thumbnail(photo) for photo in photos])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_same_picture_is_found_and_no_other(photos, thumbnails, tmp_path, change):
    again = [thumbnail(saved_again(change(photo), tmp_path)) for photo in photos]
    pairs = sorted(near_duplicates(np.stack(again), thumbnails))
    assert pairs == [(i, i) for i in range(len(photos))]
    assert sorted(near_duplicates(thumbnails, np.stack(again))) == pairs


def test_within_one_array_each_pair_is_found_once(photos, thumbnails, tmp_path):
    mirrored = [photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for photo in photos[:3]]
    more = [thumbnail(saved_again(photo, tmp_path)) for photo in mirrored]
    both = np.concatenate([thumbnails, np.stack(more)])
    assert sorted(near_duplicates(both, both)) == [(0, 40), (1, 41), (2, 42)]
    assert not list(near_duplicates(thumbnails, thumbnails))
    symmetric = thumbnail(Image.new("RGB", (60, 40), "white"))[None].repeat(3, 0)
    assert sorted(near_duplicates(symmetric, symmetric)) == [(0, 1), (0, 2), (1, 2)]


def test_nothing_is_compared_with_nothing(thumbnails):
    assert not list(near_duplicates(thumbnails, thumbnails[:0]))
    assert not list(near_duplicates(thumbnails[:0], thumbnails))


def test_small_tiles_find_the_same_pairs(thumbnails, monkeypatch):
    again = np.concatenate([thumbnails[::3], thumbnails[:5]])
    pairs = sorted(near_duplicates(again, thumbnails)), sorted(near_duplicates(again, again))
    monkeypatch.setattr(leaks, "TILE", 7)
    monkeypatch.setattr(leaks, "CHUNK", 3)
    assert sorted(near_duplicates(again, thumbnails)) == pairs[0]
    assert sorted(near_duplicates(again, again)) == pairs[1]


def test_objects_of_another_color_or_place_are_other_pictures():
    drawn = []
    for color in ("red", "green", "blue"):
        for left in (10, 30):
            photo = Image.new("RGB", (80, 60), "white")
            ImageDraw.Draw(photo).ellipse((left, 10, left + 40, 50), fill=color)
            drawn.append(thumbnail(photo))
    rows = np.stack(drawn)
    assert sorted(near_duplicates(rows, rows)) == [(0, 1), (2, 3), (4, 5)], "mirrored"


def test_a_brighter_or_grayer_picture_is_another(photos, thumbnails):
    brighter = np.stack([thumbnail(photo.point(lambda v: min(v + 60, 255))) for photo in photos])
    assert not same_picture(brighter, thumbnails).any()
    one, other = zip(*pairwise(thumbnails), strict=True)
    assert not same_picture(np.stack(one), np.stack(other)).any()
