"""Read publishers' files into photos with captions, in splits; nothing is written yet.

    flickr8k        Flickr8k.token.txt, Flickr_8k.{train,dev,test}Images.txt, Flicker8k_Dataset/
    flickr30k       results_20130124.token or results.csv, flickr30k-images/
    karpathy        dataset_{coco,flickr8k,flickr30k}.json, the splits that most papers report on
    coco            annotations/captions_*.json, train2014/ val2014/ or train2017/ val2017/
    own_folder      a CSV file with the columns image, caption and, optionally, split

Each function returns a Collection. File names come from untrusted files: a name that would lead out
of its folder is refused.
"""

import csv
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from captioning.data.coco import is_plain_name, parse_entries, read_annotations
from captioning.files import read_json

Splits = dict[str, list["SourcePhoto"]]

FLICKR = "Photos by their authors on Flickr; research and education"
FLICKR_LICENSES = [{"id": 1, "name": FLICKR, "url": ""}]
UNKNOWN_LICENSES = [{"id": 1, "name": "Unknown", "url": ""}]
SPLITS = {"train": "train", "restval": "train", "val": "val", "valid": "val", "dev": "val"}
SPLITS |= {"validation": "val", "test": "test"}


@dataclass
class SourcePhoto:
    path: Path  # in the publisher's folder
    captions: list[str]
    record: dict[str, Any] = field(default_factory=dict)  # COCO's fields: id, width, license ...
    name: str = ""  # its file name in the layout; by default that of `path`

    def __post_init__(self) -> None:
        self.name = self.name or self.path.name
        self.captions = [" ".join(caption.split()) for caption in self.captions if caption.strip()]


@dataclass
class Collection:
    description: str
    licenses: list[dict[str, Any]]
    splits: Splits


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, line) for the lines of a UTF-8 text file that are not blank."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Check the path.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from None


def require_plain_name(name: str, source: Path) -> str:
    """Return `name`; raise ValueError where it could lead out of its folder on any system."""
    if not is_plain_name(name) or not name.isprintable():
        raise ValueError(f"{source} names a file {name!r:.80}, which is not a plain file name.")
    return name


def first_existing(folder: Path, *names: str) -> Path:
    """Return the path of the first of `names` that is in `folder`."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder} has no {' or '.join(names)}. Give the publisher's folder.")


def split_by_name(names: list[str]) -> dict[str, str]:
    """Return name -> split: a tenth each is val and test, chosen by a hash of the name."""
    hashes = {name: int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) for name in names}
    splits = {}
    for name, number in hashes.items():
        position = number / 2**32  # 0 to 1
        splits[name] = "val" if position < 0.1 else "test" if position < 0.2 else "train"
    order = sorted(names, key=lambda name: hashes[name])
    if len(order) > 1:  # a handful of photos still gives both
        splits[order[0]], splits[order[-1]] = "val", "train"
    return splits


def token_captions(path: Path) -> dict[str, list[str]]:
    """Return name -> captions from lines `name.jpg#0<tab>caption` or `name.jpg| 0| caption`.

    Allows for two mistakes in the real files: `name.jpg.1#0` for `name.jpg#0`, and a missing `|`.
    """
    captions: dict[str, list[str]] = {}
    for number, line in text_lines(path):
        match = re.match(r"(\S+?\.jpe?g)(?:\.\d+)?\s*[#|]\s*\d+\s*\|?\s*(.*)", line, re.IGNORECASE)
        if match:
            captions.setdefault(require_plain_name(match[1], path), []).append(match[2])
        elif number > 1:  # the first line may be a heading
            raise ValueError(f"{path}, line {number}: not `photo.jpg#0<tab>caption`: {line!r:.80}")
    return captions


def flickr8k(folder: Path, karpathy_json: Path | None = None) -> Collection:
    """Return Flickr8k in the splits whose lists exist; the publisher's `dev` becomes `val`."""
    photos = first_existing(folder, "Flicker8k_Dataset", "Flickr8k_Dataset", "Images")
    if karpathy_json:
        splits = karpathy(karpathy_json, lambda entry: photos / entry["filename"])
        return Collection("Flickr8k, Karpathy's split", FLICKR_LICENSES, splits)
    captions = token_captions(first_existing(folder, "Flickr8k.token.txt"))
    splits = {}
    for part in ("train", "dev", "test"):
        path = folder / f"Flickr_8k.{part}Images.txt"
        if not path.exists():
            print(f"note: no {path.name}, so no split {SPLITS[part]!r}", file=sys.stderr)
        else:
            names = sorted({require_plain_name(name, path) for _, name in text_lines(path)})
            listed = [SourcePhoto(photos / name, captions.get(name, [])) for name in names]
            splits[SPLITS[part]] = listed
    if not splits:
        raise FileNotFoundError(f"{folder} has no Flickr_8k.trainImages.txt, the list of a split.")
    return Collection("Flickr8k", FLICKR_LICENSES, splits)


def flickr30k(folder: Path, karpathy_json: Path | None = None) -> Collection:
    """Return Flickr30k in Karpathy's split where its file is given, else split by file names."""
    names = ("flickr30k-images", "flickr30k_images/flickr30k_images", "Images")
    photos = first_existing(folder, *names)
    if karpathy_json:
        chosen = karpathy(karpathy_json, lambda entry: photos / entry["filename"])
        return Collection("Flickr30k, Karpathy's split", FLICKR_LICENSES, chosen)
    names = ("results_20130124.token", "results.csv", "flickr30k_images/results.csv")
    captions = token_captions(first_existing(folder, *names))
    splits: Splits = {"train": [], "val": [], "test": []}
    for name, split in split_by_name(sorted(captions)).items():
        splits[split].append(SourcePhoto(photos / name, captions[name]))
    return Collection("Flickr30k, a split of our own", FLICKR_LICENSES, splits)


def karpathy(path: Path, find: Callable[[dict[str, Any]], Path]) -> Splits:
    """Return the splits of Karpathy and Fei-Fei (2015); COCO's `restval` is training data.

    find  returns the path of the photo of an entry
    """
    splits: Splits = {"train": [], "val": [], "test": []}
    images = read_json(path).get("images")
    for entry in parse_entries(path, images, filename=str, split=str, sentences=list):
        name, split = require_plain_name(entry["filename"], path), SPLITS.get(entry["split"])
        if not split:
            raise ValueError(f"{path} puts {name} into a split {entry['split']!r:.80}.")
        sentences = parse_entries(path, entry["sentences"], raw=str)
        captions = [sentence["raw"] for sentence in sentences]
        record = {"id": entry["cocoid"]} if isinstance(entry.get("cocoid"), int) else {}
        splits[split].append(SourcePhoto(find(entry), captions, record))
    return splits


def coco(folder: Path, split: str | None = None, karpathy_json: Path | None = None) -> Collection:
    """Return COCO in the split 2014, 2017 or karpathy; None takes the newest year in `folder`."""
    if split == "karpathy":
        if not karpathy_json:
            raise ValueError("Karpathy's split needs --karpathy-json FILE (dataset_coco.json).")
        splits = karpathy(karpathy_json, lambda entry: coco_photo(folder, entry))
        return Collection("COCO, Karpathy's split", UNKNOWN_LICENSES, splits)
    years = [split] if split else ["2017", "2014"]
    for year in years:
        paths = sorted((folder / "annotations").glob(f"captions_*{year}.json"))
        if paths:
            return official_coco(folder, year, paths)
    raise FileNotFoundError(
        f"{folder} has no annotations/captions_train{years[-1]}.json. Give the folder that has "
        "both the annotations and the photos."
    )


def official_coco(folder: Path, year: str, paths: list[Path]) -> Collection:
    """Return the publisher's splits in the annotation files `paths`, with ids and licenses."""
    splits, licenses = {}, UNKNOWN_LICENSES
    for path in paths:
        split = path.stem.removeprefix("captions_")
        photos = folder / "images" / split
        photos = photos if photos.is_dir() else folder / split
        annotations = read_annotations(path)
        captions = annotations.captions_by_image()
        splits[split] = [
            SourcePhoto(
                photos / require_plain_name(image["file_name"], path),
                captions.get(image["id"], []),
                image,
            )
            for image in annotations.images
        ]
        licenses = annotations.licenses or UNKNOWN_LICENSES
    return Collection(f"COCO {year}", licenses, splits)


def coco_photo(folder: Path, entry: dict[str, Any]) -> Path:
    """Return the photo of an entry of Karpathy's file: that of 2014, or its copy of 2017."""
    names = [f"{part}2014/{entry['filename']}" for part in ("val", "train")]
    if isinstance(entry.get("cocoid"), int):
        names += [f"{part}2017/{entry['cocoid']:012d}.jpg" for part in ("train", "val")]
    paths = [root / name for name in names for root in (folder, folder / "images")]
    return next((path for path in paths if path.is_file()), paths[0])


def own_folder(folder: Path, table: Path) -> Collection:
    """Return the photos of a CSV file: a line for each caption with image, caption and split.

    A photo in a subfolder (`beach/one.jpg`) is renamed (`beach_one.jpg`). A photo without a split
    gets one by its name: all captions of a photo stay together.
    """
    captions, given = read_table(table)
    if not captions:
        raise ValueError(f"{table} has no captions below its first line.")
    splits: Splits = {"train": [], "val": [], "test": []}
    chosen = split_by_name(sorted(captions.keys() - given.keys())) | given
    for name in sorted(captions):
        path = folder / PurePosixPath(name)
        photo = SourcePhoto(path, captions[name], name=name.replace("/", "_"))
        splits[chosen[name]].append(photo)
    return Collection(table.stem, UNKNOWN_LICENSES, splits)


def read_table(table: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return name -> captions, and name -> split for the photos whose split the table gives."""
    heading = next(text_lines(table), (1, ""))[1]
    captions: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    with open(table, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter=max(",;\t|", key=heading.count))
        try:
            rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or []]
            if not {"image", "caption"} <= set(rows.fieldnames):
                raise ValueError(f"{table} must begin with a line of names: image,caption,split")
            for row in rows:
                if None in row:
                    raise ValueError(
                        f"{table}, line {rows.line_num}, has too many columns. "
                        "Put captions that contain a comma in quotes."
                    )
                name, caption, split = (row.get(k) or "" for k in ("image", "caption", "split"))
                name, split = name.strip().replace("\\", "/"), split.strip().lower()
                for part in name.split("/"):
                    require_plain_name(part, table)
                captions.setdefault(name, []).append(caption)
                if split and split not in SPLITS:
                    raise ValueError(
                        f"{table}: {name} is in {split!r:.40}, not train, val or test."
                    )
                if split and splits.setdefault(name, SPLITS[split]) != SPLITS[split]:
                    raise ValueError(f"{table} puts {name} into two splits; a photo has one.")
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{table}, near line {rows.line_num}: {error}.") from None
    return captions, splits
