"""Which leaks `prepare.py check` finds: copies of photos, changed as people and programs do.

    python benchmarks/leaks.py --data data/flickr8k [--pairs 200] [--seed 1]

Copies of photos drawn by lot are compared with all photos of a prepared dataset. Then all its
photos are compared with each other, where a pair that is not the same file is a false alarm; last,
as many made-up thumbnails as COCO 2017 has, for the time.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from PIL import Image

from benchmarks.common import report
from captioning.data.annotations import annotation_files
from captioning.data.coco import read_captions
from captioning.data.decode import read_photo
from captioning.data.leaks import DECODED_SIDE, near_duplicates, thumbnail
from captioning.device import parallel_map
from captioning.files import cli_errors

Change = Callable[[Image.Image], Image.Image]


def scaled(photo: Image.Image, factor: float) -> Image.Image:
    size = tuple(max(1, round(factor * side)) for side in photo.size)
    return photo.resize(size, Image.Resampling.LANCZOS)


def cropped(
    photo: Image.Image, left: float, top: float, right: float, bottom: float
) -> Image.Image:
    """Return the photo without these parts of its width and height."""
    width, height = photo.size
    sides = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return photo.crop(tuple(map(round, sides)))


def mirrored(photo: Image.Image) -> Image.Image:
    return photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


CHANGES: dict[str, tuple[Change | None, int]] = {  # name -> change, quality of the JPEG file
    "same bytes": (None, 0),
    "re-encoded": (lambda photo: photo, 60),
    "half size": (lambda photo: scaled(photo, 0.5), 85),
    "three quarters": (lambda photo: scaled(photo, 0.75), 85),
    "5 % cropped on each side": (lambda photo: cropped(photo, 0.05, 0.05, 0.05, 0.05), 85),
    "5 % cropped on one side": (lambda photo: cropped(photo, 0.05, 0, 0, 0), 85),
    "5 % cropped at a corner": (lambda photo: cropped(photo, 0, 0.05, 0.05, 0), 85),
    "mirrored": (mirrored, 85),
    "mirrored, cropped, half size": (
        lambda photo: scaled(cropped(mirrored(photo), 0.03, 0.05, 0, 0.02), 0.5),
        75,
    ),
}


def thumbnails(paths: list[Path]) -> np.ndarray:
    return np.stack(
        list(parallel_map(lambda path: thumbnail(read_photo(path, DECODED_SIDE)), paths))
    )


def composites(rows: np.ndarray, count: int) -> np.ndarray:
    """Return made-up thumbnails: the left half of one photo and the right half of another."""
    rng = np.random.default_rng(count)
    halves = [rows[rng.integers(len(rows), size=count)] for _ in range(2)]
    column = np.concatenate([np.arange(32 * 32) % 32 / 32, np.arange(2 * 8 * 8) % 8 / 8])
    return np.where(column < 0.5, *halves)


def timed_search(a: np.ndarray, b: np.ndarray) -> tuple[list[tuple[int, int]], float]:
    began = time.perf_counter()
    return list(near_duplicates(a, b)), time.perf_counter() - began


def copy(path: Path, target: Path, change: Change | None, quality: int) -> Path:
    if change is None:
        target.write_bytes(path.read_bytes())
    else:
        change(read_photo(path)).save(target, quality=quality)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/flickr8k", help="prepared folder")
    parser.add_argument("--pairs", type=int, default=200, help="copies of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the photos that are copied")
    args = parser.parse_args()
    with cli_errors(), tempfile.TemporaryDirectory() as scratch:
        splits = [read_captions(args.data, split) for split in annotation_files(args.data)]
        paths = [photo.path for captions in splits for photo in captions.photos]
        everything = thumbnails(paths)
        chosen = random.Random(args.seed).sample(range(len(paths)), args.pairs)
        rows = []
        for name, (change, quality) in CHANGES.items():
            copies = [copy(paths[i], Path(scratch, f"{i}.jpg"), change, quality) for i in chosen]
            pairs = list(near_duplicates(thumbnails(copies), everything))
            found = sum(paths[j] == paths[chosen[i]] for i, j in pairs)
            quality_text = f", quality {quality}" if quality else ""
            rows.append(
                {
                    "copy": name + quality_text,
                    f"found of {args.pairs}": found,
                    "other photos found": len(pairs) - found,
                }
            )
        alike, seconds = timed_search(everything, everything)
        same = [pair for pair in alike if len({paths[i].read_bytes() for i in pair}) == 1]
        val, train = composites(everything, 5_000), composites(everything, 118_287)
        _, coco_seconds = timed_search(val, train)
        notes = (
            f"All {len(paths):,} photos with each other, {seconds:.0f} s: {len(alike)} pairs, "
            f"{len(same)} of them the same bytes, so {len(alike) - len(same)} false alarms. "
            f"At the size of COCO 2017, 5,000 thumbnails with 118,287: {coco_seconds:.0f} s."
        )
        title = f"Leaks: copies found among {len(paths):,} photos of {args.data}, seed {args.seed}"
        report(title, rows, notes)


if __name__ == "__main__":
    main()
