"""Read publishers' files into photos with captions, in splits; nothing is written yet.

    flickr8k        Flickr8k.token.txt, Flickr_8k.{train,dev,test}Images.txt, Flicker8k_Dataset/,
                    or captions.txt and Images/, as Kaggle has it
    flickr30k       results_20130124.token or results.csv, flickr30k-images/
    karpathy        dataset_{coco,flickr8k,flickr30k}.json, the splits that most papers report on
    coco            annotations/captions_*.json, train2014/ val2014/ or train2017/ val2017/;
                    annotations/image_info_test*.json and test2014/ or test2017/, if they are there
    own_folder      a CSV file, see table.py

Each function returns a Collection. File names come from untrusted files: a name that would lead out
of its folder is refused.
"""

import functools
import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioning.data.annotations import (
    SPLITS,
    annotation_files,
    parse_entries,
    read_annotations,
)
from captioning.data.names import find_file, flat_name, names_in, require_plain_name
from captioning.data.table import read_table
from captioning.files import read_json
from captioning.text import text_lines

Splits = dict[str, list["SourcePhoto"]]

FLICKR = "Photos by their authors on Flickr; research and education"
FLICKR_LICENSES = [{"id": 1, "name": FLICKR, "url": ""}]
UNKNOWN_LICENSES = [{"id": 1, "name": "Unknown", "url": ""}]


@dataclass
class SourcePhoto:
    path: Path  # in the publisher's folder
    captions: list[str]
    record: dict[str, Any] = field(default_factory=dict)  # COCO's fields: id, width, license ...
    name: str = ""  # its file name in the layout; by default that of `path`
    origin: str = ""  # the line of the table that names it first, for errors

    def __post_init__(self) -> None:
        self.name = self.name or self.path.name
        self.captions = [" ".join(caption.split()) for caption in self.captions if caption.strip()]


@dataclass
class Collection:
    description: str
    licenses: list[dict[str, Any]]
    splits: Splits
    uncaptioned: frozenset[str] = frozenset()  # splits whose captions the publisher keeps secret


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


def photo_captions(path: Path) -> dict[str, list[str]]:
    """Return name -> captions, of a publisher's token file or of Kaggle's table."""
    if path.name == "captions.txt":
        return {name: row.captions for name, row in read_table(path, path.parent).items()}
    return token_captions(path)


def split_photos(photos: Path, captions: dict[str, list[str]]) -> Splits:
    """Return the photos in a split of our own, by their names."""
    splits: Splits = {"train": [], "val": [], "test": []}
    for name, split in split_by_name(sorted(captions)).items():
        splits[split].append(SourcePhoto(photos / name, captions[name]))
    return splits


def flickr8k(folder: Path, karpathy_json: Path | None = None) -> Collection:
    """Return Flickr8k in the splits whose lists exist; the publisher's `dev` becomes `val`.

    Kaggle's copy has no lists of splits: without them its photos are split by their names.
    """
    photos = first_existing(folder, "Flicker8k_Dataset", "Flickr8k_Dataset", "Images", "images")
    if karpathy_json:
        splits = karpathy(karpathy_json, lambda entry: photos / entry["filename"])
        return Collection("Flickr8k, Karpathy's split", FLICKR_LICENSES, splits)
    path = first_existing(folder, "Flickr8k.token.txt", "captions.txt")
    captions = photo_captions(path)
    if path.name == "captions.txt" and not any(folder.glob("Flickr_8k.*Images.txt")):
        note = "no list of a split, as the publisher has them: photos are split by their names"
        print(f"note: {folder} has {note}", file=sys.stderr)
        splits = split_photos(photos, captions)
        return Collection("Flickr8k, a split of our own", FLICKR_LICENSES, splits)
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
    names = ("flickr30k-images", "flickr30k_images/flickr30k_images", "Images", "images")
    photos = first_existing(folder, *names)
    if karpathy_json:
        chosen = karpathy(karpathy_json, lambda entry: photos / entry["filename"])
        return Collection("Flickr30k, Karpathy's split", FLICKR_LICENSES, chosen)
    tables = ("results_20130124.token", "results.csv", "flickr30k_images/results.csv")
    captions = photo_captions(first_existing(folder, *tables, "captions.txt"))
    splits = split_photos(photos, captions)
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
    for year in [split] if split else ["2017", "2014"]:
        files = annotation_files(folder)
        paths = [path for name, path in files.items() if name.endswith(year)]
        if paths:
            return official_coco(folder, year, paths)
    raise FileNotFoundError(
        f"{folder} has no annotations/captions_train{split or 2014}.json. Give the folder that has "
        "both the annotations and the photos."
    )


def official_coco(folder: Path, year: str, paths: list[Path]) -> Collection:
    """Return the publisher's splits in the annotation files `paths`, with ids and licenses.

    COCO's test photos, which have no captions, are added if they are there.
    """
    splits, licenses = {}, UNKNOWN_LICENSES
    test = annotation_files(folder, "image_info").get(f"test{year}")
    if test and photo_folder(folder, f"test{year}").is_dir():
        paths = [*paths, test]
    for path in paths:
        split = path.stem.removeprefix("captions_").removeprefix("image_info_")
        photos = photo_folder(folder, split)
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
    return Collection(f"COCO {year}", licenses, splits, frozenset({f"test{year}"}))


def photo_folder(folder: Path, split: str) -> Path:
    """Return the folder of a split's photos, as it is unpacked or as it is prepared."""
    photos = folder / "images" / split
    return photos if photos.is_dir() else folder / split


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
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder. Give the folder of the photos.")
    rows = read_table(table, folder)
    if not rows:
        raise ValueError(f"{table} has no captions below its first line.")
    splits: Splits = {"train": [], "val": [], "test": []}
    given = {name: row.split for name, row in rows.items() if row.split}
    chosen = split_by_name(sorted(rows.keys() - given.keys())) | given
    listing = functools.cache(names_in)
    for name, row in sorted(rows.items()):
        path = find_file(folder, name, listing)
        photo = SourcePhoto(path, row.captions, name=flat_name(name), origin=row.origin)
        splits[chosen[name]].append(photo)
    return Collection(table.stem, UNKNOWN_LICENSES, splits)
