"""Is this data fit to learn from? A report on a folder in COCO's layout, before hours of training.

    check(root)     every photo decoded, every caption read -> Report
    Report          what was found: `problems` change what is learned, `notes` are good to know
    as_text         the report as lines

Photos are compared by a thumbnail, so that one that was saved again, smaller or in another
quality, is still found in two splits.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from extras.results import entries
from photos import FORMATS, read_photo
from vocabulary import read_json

SIDE, COLOUR = 16, 4  # pixels of a thumbnail: of its light; of its colours, which JPEG blurs
ALIKE = 3.0  # levels (of 255) that two thumbnails of one photo may differ by, on average
LONGEST = 60  # words; COCO's longest caption has fewer
MOJIBAKE = re.compile("\ufffd|[\ud800-\udfff]|Ã[\x80-\xbf]|â\x80|â€")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

PROBLEMS = {
    "bad annotations": "annotation files that cannot be read",
    "missing": "photos that are not there",
    "empty": "photos of 0 bytes",
    "broken": "photos that cannot be decoded to the end",
    "leaked": "photos in two splits (or too alike to tell: compare them, and take one out)",
    "unknown photo": "captions of a photo that is not listed",
    "empty caption": "captions without a word",
    "long caption": f"captions of more than {LONGEST} words",
    "control characters": "captions with control characters",
    "wrong encoding": "captions read in a wrong encoding",
}
NOTES = {
    "uncaptioned": "photos listed without a caption, never trained on",
    "unlisted": "files beside the photos that no annotation names",
    "duplicate": "photos that are twice in one split",
    "grayscale": "photos without colour",
    "CMYK": "photos in the colours of print",
    "rotated": "photos that EXIF says to turn",
}


@dataclass
class Report:
    root: str
    splits: dict[str, dict[str, int]] = field(default_factory=dict)  # photos and captions of each
    found: dict[str, list[str]] = field(default_factory=dict)  # kind -> where, or what is wrong

    def add(self, kind: str, what: str) -> None:
        self.found.setdefault(kind, []).append(what)

    @property
    def fit(self) -> bool:
        """Whether training would see all of the data, and only what it should."""
        return not any(self.found.get(kind) for kind in PROBLEMS)


def check(root: Path) -> Report:
    """Looks at every photo and caption under `root`.

    Raises FileNotFoundError where there is no folder of annotations.
    """
    report = Report(str(root))
    paths = sorted((root / "annotations").glob("captions_*.json"))
    if not paths:
        raise FileNotFoundError(f"{root} has no annotations/captions_<split>.json to check.")
    thumbnails = {}  # split -> ([name, ...], (N, S) uint8)
    for path in paths:
        split = path.stem.removeprefix("captions_")
        try:
            content = read_json(path)
            listed = list(entries(path, content.get("images"), id=int, file_name=str))
            captions = list(entries(path, content.get("annotations"), image_id=int, caption=str))
        except ValueError as error:
            report.add("bad annotations", str(error))
            continue
        report.splits[split] = {"photos": len(listed), "captions": len(captions)}
        check_captions(report, split, listed, captions)
        folder = root / "images" / split
        names = [image["file_name"] for image in listed]
        inside = [name for name in names if Path(name).name == name]
        for name in set(names) - set(inside):
            report.add("bad annotations", f"{path} names a photo {name!r:.80}")
        there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
        for name in sorted(there - set(names)):
            report.add("unlisted", f"{split}/{name}")
        thumbnails[split] = check_photos(report, folder, inside)
    check_leaks(report, thumbnails)
    return report


def check_captions(report: Report, split: str, listed: list[dict], captions: list[dict]) -> None:
    images = {image["id"]: image["file_name"] for image in listed}
    described = {caption["image_id"] for caption in captions}
    for image, name in images.items():
        if image not in described:
            report.add("uncaptioned", f"{split}/{name}")
    for entry in captions:
        image, text = entry["image_id"], entry["caption"]
        odd = {
            "unknown photo": image not in images,
            "empty caption": not re.search(r"\w", text),
            "long caption": len(text.split()) > LONGEST,
            "control characters": CONTROL.search(text),
            "wrong encoding": MOJIBAKE.search(text),
        }
        for kind in (kind for kind, is_so in odd.items() if is_so):
            report.add(kind, f"{split}: image {image}: {text!r:.60}")


def check_photos(report: Report, folder: Path, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Decodes every photo; the names and thumbnails of those that are whole."""
    whole, thumbnails = [], []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        looked = threads.map(look_at, [folder / name for name in names])
        for name, (kinds, thumbnail) in tqdm(
            zip(names, looked, strict=True), desc=folder.name, total=len(names), disable=None
        ):
            for kind, what in kinds.items():
                report.add(kind, what or f"{folder.name}/{name}")
            if thumbnail is not None:
                whole.append(name)
                thumbnails.append(thumbnail)
    return whole, np.array(thumbnails, dtype=np.uint8).reshape(len(whole), SIDE**2 + 2 * COLOUR**2)


def look_at(path: Path) -> tuple[dict[str, str], np.ndarray | None]:
    """What is odd about one photo ({kind: sentence or ""}) and its thumbnail, flattened."""
    if not path.is_file():
        return {"missing": f"{path.parent.name}/{path.name}"}, None
    if not path.stat().st_size:
        return {"empty": f"{path.parent.name}/{path.name}"}, None
    try:
        photo = read_photo(path, at_least=SIDE)
        with Image.open(path, formats=FORMATS) as header:
            mode, turn = header.mode, header.getexif().get(0x0112, 1)
    except (OSError, ValueError) as error:
        return {"broken": str(error)}, None
    odd = {"grayscale": mode in ("1", "L", "LA"), "CMYK": mode == "CMYK", "rotated": turn != 1}
    light, *colours = photo.convert("YCbCr").split()
    parts = [light.resize((SIDE, SIDE), Image.Resampling.BOX)]
    parts += [part.resize((COLOUR, COLOUR), Image.Resampling.BOX) for part in colours]
    thumbnail = np.concatenate([np.asarray(part).ravel() for part in parts])
    return {kind: "" for kind, is_so in odd.items() if is_so}, thumbnail


def check_leaks(report: Report, thumbnails: dict[str, tuple[list[str], np.ndarray]]) -> None:
    """Photos that are twice: in one split a note, in two splits a problem."""
    splits = list(thumbnails)
    for i, first in enumerate(splits):
        names, small = thumbnails[first]
        seen = {}
        for name, thumbnail in zip(names, small, strict=True):
            same = seen.setdefault(thumbnail.tobytes(), name)
            if same is not name:
                report.add("duplicate", f"{first}/{same} = {name}")
        for second in splits[i + 1 :]:
            if first[-4:].isdigit() and first[-4:] != second[-4:]:
                continue  # COCO's years are the same photos, divided otherwise
            other_names, other = thumbnails[second]
            for a, b in alike(small, other):
                report.add("leaked", f"{first}/{names[a]} = {second}/{other_names[b]}")


def alike(a: np.ndarray, b: np.ndarray, limit: float = ALIKE) -> list[tuple[int, int]]:
    """Pairs of rows of `a` (N, S) and `b` (M, S), uint8, that are the same photo.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b makes it one product of matrices, quick also for COCO.
    """
    other = b.astype(np.float32)
    squares = (other**2).sum(1)
    pairs = []
    for start in range(0, len(a), 1024):
        some = a[start : start + 1024].astype(np.float32)
        distance = (some**2).sum(1)[:, None] + squares - 2 * some @ other.T
        rows, columns = np.nonzero(distance < limit**2 * a.shape[1])
        pairs += zip((rows + start).tolist(), columns.tolist(), strict=True)
    return pairs


def as_text(report: Report, examples: int = 3) -> str:
    """What was found, the worst first, with a few examples of each."""
    lines = [
        f"{split}: {counts['photos']} photos, {counts['captions']} captions"
        for split, counts in report.splits.items()
    ]
    for meanings, mark in ((PROBLEMS, "problem"), (NOTES, "note")):
        for kind, meaning in meanings.items():
            if found := report.found.get(kind):
                lines.append(f"{mark}: {len(found)} {meaning}")
                lines += [f"    {what!r}"[:120] for what in found[:examples]]
    lines.append(
        "fit to train on" if report.fit else "NOT fit to train on: mend the problems first"
    )
    return "\n".join(lines)
