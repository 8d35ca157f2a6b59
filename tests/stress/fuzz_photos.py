"""Odd photos by the thousand: each is read as it looks, or refused in one sentence.

    python -m tests.stress.fuzz_photos --inputs 20000
    python -m tests.stress.fuzz_photos --first 12000   continues a run that was stopped
    python -m tests.stress.fuzz_photos --only 1234     one file, which stays in this folder

A quarter of the files have whole pixels. Odd is what stands beside them (each EXIF tag with each
type of TIFF and odd counts, broken profiles and texts) or how they are stored (modes, 1 to 16 bits,
floats, palettes with transparency). They must be read, and show four colors where these belong. The
others are cut off, have bytes or the tags of their pixels changed, or only begin like a photo: they
may be refused, but are never half gray. Suffixes are drawn by lot. Exit status 1 where an exception
escapes, whole pixels are refused or a picture is wrong.
"""

import argparse
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from captioning.data.decode import FORMATS, read_photo
from captioning.data.metadata import PIXEL_TAGS
from tests.stress.odd_photos import (
    SIZES,
    Odd,
    odd_exif,
    odd_pixels,
    odd_segments,
    odd_tag,
    plain,
    with_tags,
)

TOLERANCE = 45  # levels of a quarter's mean; palettes have few colors, floats no fixed white
SUFFIXES = (".jpg", ".png", ".tif", ".webp", ".heic", ".txt", "", ".JPG.exe")


# --- broken files ----------------------------------------------------------------------------


def any_whole(number: int, rng: random.Random) -> Odd:
    return rng.choice((odd_exif, odd_segments, odd_pixels))(number, rng)


def changed(number: int, rng: random.Random) -> Odd:
    """Return a photo of which up to ten bytes are others, most of them near its start."""
    data = bytearray(any_whole(number, rng)[0])
    for _ in range(rng.choice((1, 1, 3, 10))):
        data[min(rng.randrange(len(data)) for _ in range(3))] = rng.randrange(256)
    return bytes(data), None


def odd_layout(number: int, rng: random.Random) -> Odd:
    """Return a TIFF file with two odd tags among those of its pixels."""
    names = rng.sample(sorted(PIXEL_TAGS), 2)
    tags = [odd_tag(name, rng.choice(list(SIZES)), rng) for name in names]
    return with_tags(plain("TIFF"), tags), None


def pretender(number: int, rng: random.Random) -> Odd:
    """Return random bytes that begin as a photo does."""
    start = plain(rng.choice(FORMATS))[: rng.choice((12, 26, 64))]
    return start + rng.randbytes(rng.choice((0, 5, 300))), None


WHOLE = ("odd EXIF", "odd segments and chunks", "odd pixels")
KINDS: list[tuple[str, Callable[[int, random.Random], Odd]]] = [  # dealt in turn
    *[("odd EXIF", odd_exif)] * 3, ("odd segments and chunks", odd_segments),
    ("odd pixels", odd_pixels), *[("cut off", any_whole)] * 6, *[("bytes changed", changed)] * 5,
    *[("odd tags of the pixels", odd_layout)] * 2, *[("only begins like a photo", pretender)] * 2,
]  # fmt: skip


# --- trying them -----------------------------------------------------------------------------


def try_one(number: int, seed: int, folder: Path) -> tuple[str, str, Path]:
    """Return the kind of an input, what became of it, and its file.

    The last is "read", "refused", "WRONG" (a picture) or the exception that escaped.
    """
    rng = random.Random(f"{seed} {number}")
    turn, kind = divmod(number, len(KINDS))
    name, maker = KINDS[kind]
    same = [at for at, other in enumerate(KINDS) if other[0] == name]
    data, wanted = maker(turn * len(same) + same.index(kind), rng)
    path = folder / f"photo {number}{rng.choice(SUFFIXES)}"
    path.write_bytes(data)
    min_side = rng.choice((None, None, 8, 224))
    try:
        if name == "cut off":
            wanted, min_side = np.asarray(read_photo(path)), None
            path.write_bytes(data[: rng.randrange(len(data))])
        photo = read_photo(path, min_side)
    except (FileNotFoundError, ValueError) as error:
        in_a_sentence = str(path) in str(error) and "\n" not in str(error)
        return name, "refused" if in_a_sentence else f"refused otherwise: {error}", path
    except Exception as error:  # noqa: BLE001
        return name, f"{type(error).__name__}: {error}", path
    if wanted is not None and not looks_like(photo, wanted, 2 if name == "cut off" else TOLERANCE):
        return name, "wrong picture", path
    return name, "read", path


def looks_like(photo: Image.Image, wanted: np.ndarray, tolerance: float) -> bool:
    """Return whether each quarter has the mean color of the quarter of `wanted`, at any size."""
    found = np.asarray(photo).astype(float)
    if found.ndim != 3 or (found.shape[0] > found.shape[1]) != (wanted.shape[0] > wanted.shape[1]):
        return False
    differences = [
        np.abs(a.mean((0, 1)) - b.mean((0, 1))).max()
        for a, b in zip(quarters(found), quarters(wanted), strict=True)
    ]
    return max(differences) < tolerance


def quarters(picture: np.ndarray) -> list[np.ndarray]:
    halves = np.array_split(picture, 2)
    return [quarter for half in halves for quarter in np.array_split(half, 2, axis=1)]


def fuzz(first: int, inputs: int, seed: int, report: Callable[[str], None] = print) -> list[str]:
    """Try the inputs from `first` on, print a table, and return what went wrong."""
    counts: Counter[tuple[str, str]] = Counter()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, inputs):
            kind, outcome, path = try_one(number, seed, Path(folder))
            path.unlink()
            is_right = outcome == "read" or (outcome == "refused" and kind not in WHOLE)
            counts[kind, outcome if outcome in ("read", "refused") else "other"] += 1
            counts[kind, "wrong"] += not is_right
            if not is_right:
                wrong.append(f"{number} ({kind}): {outcome}")
            if (number + 1) % 2000 == 0:
                print(f"{number + 1} tried, {len(wrong)} wrong", file=sys.stderr)
    report(f"{'kind':28}{'files':>8}{'read':>8}{'refused':>9}{'wrong':>7}")
    names = list(dict.fromkeys(name for name, _ in KINDS))
    for name in names:
        read, refused, other, bad = (counts[name, o] for o in ("read", "refused", "other", "wrong"))
        report(f"{name:28}{read + refused + other:8}{read:8}{refused:9}{bad:7}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000, help="files (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this file alone; it stays in the folder --keep")
    parser.add_argument("--keep", type=Path, default=Path("."), help="%(default)s")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's
    if args.only is not None:
        kind, outcome, path = try_one(args.only, args.seed, args.keep)
        sys.exit(f"{path} ({kind}): {outcome}")
    if wrong := fuzz(args.first, args.inputs, args.seed):
        sys.exit("\n".join(wrong[:20]))


if __name__ == "__main__":
    main()
