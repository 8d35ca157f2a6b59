"""Check whether a folder in COCO's layout is fit to train on, before hours of training.

    check(root)       decodes every photo, reads every caption -> Report
    Report            PROBLEMS change what a model learns, NOTES are good to know
    as_text(report)   the report as lines

Photos are compared by thumbnails, so that a copy in another split is found even if it was saved
again, at another size or quality.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from captioning.data.coco import Annotations, is_plain_name, read_annotations
from captioning.data.decode import open_photo, read_photo
from captioning.device import parallel_map

LUMA_SIDE, CHROMA_SIDE = 16, 4  # pixels of a thumbnail: of its brightness, of its colors
THUMBNAIL_SIZE = LUMA_SIDE**2 + 2 * CHROMA_SIDE**2
MAX_DIFFERENCE = 3.0  # levels (of 255), on average, between two thumbnails of the same photo
MAX_WORDS = 60  # COCO's longest caption has fewer
MOJIBAKE = re.compile("\ufffd|[\ud800-\udfff]|Ã[\x80-\xbf]|â\x80|â€")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

PROBLEMS = {
    "bad annotations": "annotation files that cannot be read",
    "missing": "photos that are missing",
    "empty": "photos of 0 bytes",
    "broken": "photos that cannot be decoded to the end",
    "leaked": "photos in two splits (or nearly alike: compare the two, and remove one of them)",
    "unknown photo": "captions of a photo that is not listed",
    "empty caption": "captions without a word",
    "long caption": f"captions of more than {MAX_WORDS} words",
    "control characters": "captions with control characters",
    "wrong encoding": "captions decoded with the wrong encoding",
}
NOTES = {
    "uncaptioned": "photos listed without a caption, never trained on",
    "unlisted": "files beside the photos that no annotation lists",
    "duplicate": "photos that occur twice in one split",
    "grayscale": "grayscale photos",
    "CMYK": "photos in CMYK, the colors of print",
    "rotated": "photos with an EXIF rotation",
}


@dataclass
class Report:
    root: str
    splits: dict[str, dict[str, int]] = field(default_factory=dict)  # photos and captions of each
    found: dict[str, list[str]] = field(default_factory=dict)  # kind -> places, or sentences

    def add(self, kind: str, what: str) -> None:
        self.found.setdefault(kind, []).append(what)

    @property
    def fit(self) -> bool:
        """Return whether there are no problems: training sees all of the data, as it should."""
        return not any(self.found.get(kind) for kind in PROBLEMS)


def check(root: Path) -> Report:
    """Return a report on every photo and caption under `root`.

    Raises FileNotFoundError where there are no annotations.
    """
    report = Report(str(root))
    paths = sorted((root / "annotations").glob("captions_*.json"))
    if not paths:
        raise FileNotFoundError(f"{root} has no annotations/captions_<split>.json to check.")
    thumbnails = {}  # split -> ([name, ...], (N, S) uint8)
    for path in paths:
        split = path.stem.removeprefix("captions_")
        try:
            annotations = read_annotations(path)
        except ValueError as error:
            report.add("bad annotations", str(error))
            continue
        counts = {"photos": len(annotations.images), "captions": len(annotations.captions)}
        report.splits[split] = counts
        check_captions(report, split, annotations)
        folder = root / "images" / split
        names = [image["file_name"] for image in annotations.images]
        plain = [name for name in names if is_plain_name(name)]
        for name in sorted(set(names) - set(plain)):
            report.add("bad annotations", f"{path} names a photo {name!r:.80}")
        existing = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
        for name in sorted(existing - set(names)):
            report.add("unlisted", f"{split}/{name}")
        thumbnails[split] = check_photos(report, folder, plain)
    check_leaks(report, thumbnails)
    return report


def check_captions(report: Report, split: str, annotations: Annotations) -> None:
    """Add the photos without captions, and the captions that are not fit to train on."""
    names = annotations.file_names()
    captioned = {image_id for image_id, _ in annotations.captions}
    for image_id, name in names.items():
        if image_id not in captioned:
            report.add("uncaptioned", f"{split}/{name}")
    for image_id, caption in annotations.captions:
        found = {
            "unknown photo": image_id not in names,
            "empty caption": not re.search(r"\w", caption),
            "long caption": len(caption.split()) > MAX_WORDS,
            "control characters": CONTROL.search(caption),
            "wrong encoding": MOJIBAKE.search(caption),
        }
        for kind in (kind for kind, is_so in found.items() if is_so):
            report.add(kind, f"{split}: image {image_id}: {caption!r:.60}")


def check_photos(report: Report, folder: Path, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Decode every photo; return the names (N) and thumbnails (N, S) of those that are whole."""
    whole, thumbnails = [], []
    inspected = parallel_map(inspect_photo, [folder / name for name in names], os.cpu_count())
    progress = tqdm(inspected, desc=folder.name, total=len(names), disable=None)
    for name, (kinds, thumbnail) in zip(names, progress, strict=True):
        for kind, sentence in kinds.items():
            report.add(kind, sentence or f"{folder.name}/{name}")
        if thumbnail is not None:
            whole.append(name)
            thumbnails.append(thumbnail)
    return whole, np.array(thumbnails, dtype=np.uint8).reshape(len(whole), THUMBNAIL_SIZE)


def inspect_photo(path: Path) -> tuple[dict[str, str], np.ndarray | None]:
    """Return what is unusual about a photo, {kind: sentence or ""}, and its thumbnail (S,)."""
    place = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        return {"missing": place}, None
    if not path.stat().st_size:
        return {"empty": place}, None
    try:
        photo = read_photo(path, min_side=LUMA_SIDE)
        header, orientation = open_photo(path)
    except (OSError, ValueError) as error:
        return {"broken": str(error)}, None
    found = {
        "grayscale": header.mode in ("1", "L", "LA"),
        "CMYK": header.mode == "CMYK",
        "rotated": orientation != 1,
    }
    luma, *chroma = photo.convert("YCbCr").split()
    parts = [luma.resize((LUMA_SIDE, LUMA_SIDE), Image.Resampling.BOX)]
    parts += [part.resize((CHROMA_SIDE, CHROMA_SIDE), Image.Resampling.BOX) for part in chroma]
    thumbnail = np.concatenate([np.asarray(part).ravel() for part in parts])
    return {kind: "" for kind, is_so in found.items() if is_so}, thumbnail


def check_leaks(report: Report, thumbnails: dict[str, tuple[list[str], np.ndarray]]) -> None:
    """Add photos that occur twice: a note within one split, a problem across two splits."""
    splits = list(thumbnails)
    for i, split in enumerate(splits):
        names, rows = thumbnails[split]
        seen: dict[bytes, str] = {}
        for name, row in zip(names, rows, strict=True):
            same = seen.setdefault(row.tobytes(), name)
            if same is not name:
                report.add("duplicate", f"{split}/{same} = {name}")
        for other in splits[i + 1 :]:
            if split[-4:].isdigit() and split[-4:] != other[-4:]:
                continue  # COCO's years are the same photos, divided otherwise
            other_names, other_rows = thumbnails[other]
            for a, b in near_duplicates(rows, other_rows):
                report.add("leaked", f"{split}/{names[a]} = {other}/{other_names[b]}")


def near_duplicates(
    a: np.ndarray, b: np.ndarray, max_difference: float = MAX_DIFFERENCE
) -> list[tuple[int, int]]:
    """Return the pairs of rows of `a` (N, S) and `b` (M, S), uint8, that show the same photo.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b makes it one matrix product, fast even for COCO.
    """
    other = b.astype(np.float32)
    squares = (other**2).sum(1)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(a), 1024):
        part = a[start : start + 1024].astype(np.float32)
        distance = (part**2).sum(1)[:, None] + squares - 2 * part @ other.T  # (1024, M)
        rows, columns = np.nonzero(distance < max_difference**2 * a.shape[1])
        pairs += zip((rows + start).tolist(), columns.tolist(), strict=True)
    return pairs


def as_text(report: Report, examples: int = 3) -> str:
    """Return the report as lines, problems first, with a few examples of each kind."""
    lines = [
        f"{split}: {counts['photos']} photos, {counts['captions']} captions"
        for split, counts in report.splits.items()
    ]
    for meanings, label in ((PROBLEMS, "problem"), (NOTES, "note")):
        for kind, meaning in meanings.items():
            if found := report.found.get(kind):
                lines.append(f"{label}: {len(found)} {meaning}")
                lines += [f"    {place!r}"[:120] for place in found[:examples]]
    lines.append("fit to train on" if report.fit else "NOT fit to train on: fix the problems first")
    return "\n".join(lines)
