"""Check whether a folder in COCO's layout is fit to train on, before hours of training.

    check(root)       decodes every photo, reads every caption -> Report
    Report            PROBLEMS change what a model learns, NOTES are good to know
    as_text(report)   the report as lines

A photo that is in two splits is found even if it was saved again, resized, mirrored or cropped a
little, see leaks.py. What training refuses is a problem here.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from captioning.data.annotations import (
    MAX_CAPTION_WORDS,
    Annotations,
    annotation_files,
    contradictions,
    read_annotations,
    split_of,
)
from captioning.data.decode import open_photo, read_photo
from captioning.data.leaks import DECODED_SIDE, THUMBNAIL_SIZE, near_duplicates, thumbnail
from captioning.data.names import is_plain_name, names_in
from captioning.device import parallel_map
from captioning.scripts import is_unspaced, nfc
from captioning.text import plural
from vocabulary import tokenize

VOCAB_THRESHOLD = 5  # occurrences that training asks of a word by default
MAX_PAIRS = 10_000  # duplicates after which the search ends
MOJIBAKE = re.compile("\ufffd|[\ud800-\udfff]|Ã[\x80-\xbf]|â\x80|â€")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

PROBLEMS = {  # kind -> (what is counted, what is wrong with it)
    "bad annotations": ("annotation file", "that cannot be read"),
    "missing": ("photo", "missing from the folder"),
    "empty": ("photo", "of 0 bytes"),
    "broken": ("photo", "that cannot be decoded to the end"),
    "leaked": ("photo", "in two splits (or nearly alike: compare the two, and remove one of them)"),
    "unknown photo": ("caption", "of a photo that is not listed"),
    "empty caption": ("caption", "without a word"),
    "long caption": ("caption", f"of more than {MAX_CAPTION_WORDS} words, which training cuts"),
    "control characters": ("caption", "with control characters"),
    "wrong encoding": ("caption", "decoded with the wrong encoding"),
}
NOTES = {
    "other split": ("annotation file", "of a split other than train, val and test: never read"),
    "rare words": ("training set", "without a word that is frequent enough"),
    "unspaced": ("caption", "in a script without spaces, whose characters count as words"),
    "uncaptioned": ("photo", "listed without a caption, never trained on"),
    "unlisted": ("file", "beside the photos that no annotation lists"),
    "duplicate": ("photo", "listed twice in one split, or nearly so"),
    "grayscale": ("photo", "in shades of gray"),
    "CMYK": ("photo", "in CMYK, the colors of print"),
    "rotated": ("photo", "with an EXIF rotation"),
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
    files = annotation_files(root, "image_info") | annotation_files(root)
    if not annotation_files(root):
        raise FileNotFoundError(f"{root} has no annotations/captions_<split>.json to check.")
    thumbnails = {}  # split -> ([name, ...], (N, S) uint8)
    for split, path in sorted(files.items()):
        try:
            annotations = read_annotations(path)
        except ValueError as error:
            report.add("bad annotations", str(error))
            continue
        counts = {"photos": len(annotations.images), "captions": len(annotations.captions)}
        report.splits[split] = counts
        if not split_of(split):
            report.add("other split", path.name)
        check_captions(report, split, annotations)
        folder = root / "images" / split
        existing, listed = names_in(folder), []
        for name in dict.fromkeys(image["file_name"] for image in annotations.images):
            if is_plain_name(name):
                listed.append(existing.get(name) or existing.get(nfc(name), name))
            else:
                report.add("bad annotations", f"{path} names a photo {name!r:.80}")
        for name in sorted(set(existing.values()) - set(listed)):
            report.add("unlisted", f"{split}/{name}")
        thumbnails[split] = check_photos(report, folder, listed)
    check_leaks(report, thumbnails)
    return report


def check_captions(report: Report, split: str, annotations: Annotations) -> None:
    """Add what training refuses, photos without captions, and captions not fit to train on."""
    for kind, sentence in contradictions(annotations):
        report.add(kind, sentence)
    captioned = {image_id for image_id, _ in annotations.captions}
    for image_id, name in annotations.file_names().items():
        if image_id not in captioned and not annotations.path.name.startswith("image_info"):
            report.add("uncaptioned", f"{split}/{name}")
    words: Counter[str] = Counter()
    for image_id, caption in annotations.captions:
        tokens = tokenize(caption)
        words.update(tokens)
        found = {
            "empty caption": not tokens,
            "long caption": len(tokens) > MAX_CAPTION_WORDS,
            "control characters": CONTROL.search(caption),
            "wrong encoding": MOJIBAKE.search(caption),
            "unspaced": is_unspaced(caption),
        }
        for kind in (kind for kind, is_so in found.items() if is_so):
            report.add(kind, f"{split}: image {image_id}: {caption!r:.60}")
    most = max(words.values(), default=0)
    if split_of(split) == "train" and 0 < most < VOCAB_THRESHOLD:
        report.add("rare words", f"{split}: train with --vocab-threshold {most} or less")


def check_photos(report: Report, folder: Path, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Decode every photo; return the names (N) and thumbnails (N, S) of those that are whole."""
    whole, thumbnails = [], []
    inspected = parallel_map(inspect_photo, [folder / name for name in names], os.cpu_count())
    progress = tqdm(inspected, desc=folder.name, total=len(names), disable=None)
    for name, (kinds, small) in zip(names, progress, strict=True):
        for kind, sentence in kinds.items():
            report.add(kind, sentence or f"{folder.name}/{name}")
        if small is not None:
            whole.append(name)
            thumbnails.append(small)
    return whole, np.array(thumbnails, dtype=np.uint8).reshape(len(whole), THUMBNAIL_SIZE)


def inspect_photo(path: Path) -> tuple[dict[str, str], np.ndarray | None]:
    """Return what is unusual about a photo, {kind: sentence or ""}, and its thumbnail (S,)."""
    place = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        return {"missing": place}, None
    if not path.stat().st_size:
        return {"empty": place}, None
    try:
        photo = read_photo(path, min_side=DECODED_SIDE)
        header, orientation = open_photo(path)
    except (OSError, ValueError) as error:
        return {"broken": str(error)}, None
    found = {
        "grayscale": header.mode in ("1", "L", "LA"),
        "CMYK": header.mode == "CMYK",
        "rotated": orientation != 1,
    }
    return {kind: "" for kind, is_so in found.items() if is_so}, thumbnail(photo)


def check_leaks(report: Report, thumbnails: dict[str, tuple[list[str], np.ndarray]]) -> None:
    """Add photos that occur twice: a note within one split, a problem across two splits."""
    splits = list(thumbnails)
    for i, split in enumerate(splits):
        names, rows = thumbnails[split]
        for a, b in islice(near_duplicates(rows, rows), MAX_PAIRS):
            report.add("duplicate", f"{split}/{names[a]} = {names[b]}")
        for other in splits[i + 1 :]:
            if split[-4:].isdigit() and split[-4:] != other[-4:]:
                continue  # COCO's years are the same photos, divided otherwise
            other_names, other_rows = thumbnails[other]
            for a, b in islice(near_duplicates(rows, other_rows), MAX_PAIRS):
                report.add("leaked", f"{split}/{names[a]} = {other}/{other_names[b]}")


def as_text(report: Report, examples: int = 3) -> str:
    """Return the report as lines, problems first, with a few examples of each kind."""
    lines = [
        f"{split}: {plural(counts['photos'], 'photo')}, {plural(counts['captions'], 'caption')}"
        for split, counts in report.splits.items()
    ]
    for meanings, label in ((PROBLEMS, "problem"), (NOTES, "note")):
        for kind, (noun, meaning) in meanings.items():
            if found := report.found.get(kind):
                lines.append(f"{label}: {plural(len(found), noun)} {meaning}")
                lines += [f"    {place!r}"[:200] for place in found[:examples]]
    lines.append("fit to train on" if report.fit else "NOT fit to train on: fix the problems first")
    return "\n".join(lines)
