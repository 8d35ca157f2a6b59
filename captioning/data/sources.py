"""What the publishers give out -> photos with captions in splits; nothing is written yet.

    flickr8k        Flickr8k.token.txt, Flickr_8k.{train,dev,test}Images.txt, Flicker8k_Dataset/
    flickr30k       results_20130124.token or results.csv, flickr30k-images/
    karpathy        dataset_{coco,flickr8k,flickr30k}.json, the splits that most papers report on
    coco            annotations/captions_*.json, train2014/ val2014/ or train2017/ val2017/
    own_folder      a CSV file with the columns image, caption and, if you like, split

The names come from files that anybody may have written: one that would leave its folder is refused.
"""

import csv
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from data_loader import is_plain_name
from extras.results import entries
from vocabulary import read_json

Splits = dict[str, list["Photo"]]

FLICKR = [{"id": 1, "name": "Photos by their authors on Flickr; research and education", "url": ""}]
OWN = [{"id": 1, "name": "Unknown", "url": ""}]
SPLITS = {"train": "train", "restval": "train", "val": "val", "valid": "val", "dev": "val"}
SPLITS |= {"validation": "val", "test": "test"}


@dataclass
class Photo:
    path: Path  # where it is now
    captions: list[str]
    record: dict = field(default_factory=dict)  # what COCO says of it: id, width, licence ...
    name: str = ""  # its name in the layout; the file's own where empty

    def __post_init__(self):
        self.name = self.name or self.path.name
        self.captions = [" ".join(caption.split()) for caption in self.captions if caption.strip()]


@dataclass
class Collection:
    description: str
    licenses: list[dict]
    splits: Splits


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a UTF-8 text file that are not blank."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Check the path.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from None


def plain_name(name: str, source: Path) -> str:
    """`name`, if it stays in its folder on every system."""
    if not name or not is_plain_name(name) or not name.isprintable():
        raise ValueError(f"{source} names a file {name!r:.80}, which is no plain file name.")
    return name


def first_there(folder: Path, *names: str) -> Path:
    """The first of `names` that is in `folder`."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder} has no {' or '.join(names)}. Give the publisher's folder.")


def split_by_name(names: list[str]) -> dict[str, str]:
    """A tenth of the photos each for val and test, by a hash of the name: the same every time."""
    place = {name: int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 for name in names}
    split = {
        name: "val" if p < 0.1 else "test" if p < 0.2 else "train" for name, p in place.items()
    }
    order = sorted(names, key=place.get)
    if len(order) > 1:  # a handful of photos still has both
        split[order[0]], split[order[-1]] = "val", "train"
    return split


def token_captions(path: Path) -> dict[str, list[str]]:
    """`name.jpg#0<tab>caption` or `name.jpg| 0| caption`, in order.

    The odd entries of the real files: `name.jpg.1#0` means `name.jpg`, one `|` is forgotten.
    """
    captions = {}
    for number, line in text_lines(path):
        match = re.match(r"(\S+?\.jpe?g)(?:\.\d+)?\s*[#|]\s*\d+\s*\|?\s*(.*)", line, re.IGNORECASE)
        if match:
            captions.setdefault(plain_name(match[1], path), []).append(match[2])
        elif number > 1:  # the first line may be a heading
            raise ValueError(f"{path}, line {number}: not `photo.jpg#0<tab>caption`: {line!r:.80}")
    return captions


def flickr8k(folder: Path, karpathy_json: Path | None = None) -> Collection:
    """The splits of the lists that are there; the publisher's `dev` is `val`."""
    photos = first_there(folder, "Flicker8k_Dataset", "Flickr8k_Dataset", "Images")
    if karpathy_json:
        splits = karpathy(karpathy_json, lambda entry: photos / entry["filename"])
        return Collection("Flickr8k, Karpathy's split", FLICKR, splits)
    captions = token_captions(first_there(folder, "Flickr8k.token.txt"))
    splits = {}
    for theirs in ("train", "dev", "test"):
        path = folder / f"Flickr_8k.{theirs}Images.txt"
        if not path.exists():
            print(f"note: no {path.name}, so no split {SPLITS[theirs]!r}", file=sys.stderr)
        else:
            names = sorted({plain_name(name, path) for _, name in text_lines(path)})
            listed = [Photo(photos / name, captions.get(name, [])) for name in names]
            splits[SPLITS[theirs]] = listed
    if not splits:
        raise FileNotFoundError(f"{folder} has no Flickr_8k.trainImages.txt, the list of a split.")
    return Collection("Flickr8k", FLICKR, splits)


def flickr30k(folder: Path, karpathy_json: Path | None = None) -> Collection:
    """Karpathy's split where its file is given, else one by the photos' names."""
    photos = first_there(folder, "flickr30k-images", "flickr30k_images/flickr30k_images", "Images")
    if karpathy_json:
        splits = karpathy(karpathy_json, lambda entry: photos / entry["filename"])
        return Collection("Flickr30k, Karpathy's split", FLICKR, splits)
    names = ("results_20130124.token", "results.csv", "flickr30k_images/results.csv")
    captions = token_captions(first_there(folder, *names))
    splits: Splits = {"train": [], "val": [], "test": []}
    for name, split in split_by_name(sorted(captions)).items():
        splits[split].append(Photo(photos / name, captions[name]))
    return Collection("Flickr30k, a split of our own", FLICKR, splits)


def karpathy(path: Path, find: Callable[[dict], Path]) -> Splits:
    """The splits of Karpathy and Fei-Fei (2015); COCO's `restval` is training data.

    find: an entry of the file -> where its photo is.
    """
    splits: Splits = {"train": [], "val": [], "test": []}
    images = read_json(path).get("images")
    for entry in entries(path, images, filename=str, split=str, sentences=list):
        name, split = plain_name(entry["filename"], path), SPLITS.get(entry["split"])
        if not split:
            raise ValueError(f"{path} puts {name} into a split {entry['split']!r:.80}.")
        captions = [sentence["raw"] for sentence in entries(path, entry["sentences"], raw=str)]
        record = {"id": entry["cocoid"]} if isinstance(entry.get("cocoid"), int) else {}
        splits[split].append(Photo(find(entry), captions, record))
    return splits


def coco(folder: Path, split: str | None = None, karpathy_json: Path | None = None) -> Collection:
    """`split` is 2014, 2017 or karpathy; where it is None, the newest year that is there."""
    if split == "karpathy":
        if not karpathy_json:
            raise ValueError("Karpathy's split needs --karpathy-json FILE (dataset_coco.json).")
        splits = karpathy(karpathy_json, lambda entry: coco_photo(folder, entry))
        return Collection("COCO, Karpathy's split", OWN, splits)
    splits, licenses = {}, OWN
    for year in [split] if split else ["2017", "2014"]:
        for path in sorted((folder / "annotations").glob(f"captions_*{year}.json")):
            part = path.stem.removeprefix("captions_")
            photos = folder / "images" / part
            photos = photos if photos.is_dir() else folder / part
            content = read_json(path)
            captions = {}
            for entry in entries(path, content.get("annotations"), image_id=int, caption=str):
                captions.setdefault(entry["image_id"], []).append(entry["caption"])
            splits[part] = [
                Photo(
                    photos / plain_name(image["file_name"], path),
                    captions.get(image["id"], []),
                    image,
                )
                for image in entries(path, content.get("images"), id=int, file_name=str)
            ]
            licenses = content.get("licenses", OWN)
        if splits:
            return Collection(f"COCO {year}", licenses, splits)
    raise FileNotFoundError(
        f"{folder} has no annotations/captions_train{year}.json. Give the folder that has both, "
        "the annotations and the photos."
    )


def coco_photo(folder: Path, entry: dict) -> Path:
    """Where an entry of Karpathy's file is: a photo of 2014, or the same under its 2017 name."""
    names = [f"{part}2014/{entry['filename']}" for part in ("val", "train")]
    if isinstance(entry.get("cocoid"), int):
        names += [f"{part}2017/{entry['cocoid']:012d}.jpg" for part in ("train", "val")]
    paths = [root / name for name in names for root in (folder, folder / "images")]
    return next((path for path in paths if path.is_file()), paths[0])


def own_folder(folder: Path, table: Path) -> Collection:
    """A CSV file with a line for each caption: image, caption, split (train, val or test).

    Photos in sub-folders (`beach/one.jpg`) get one name (`beach_one.jpg`). Photos without a split
    get one by their name, never by the caption: all captions of a photo stay together.
    """
    heading = next(text_lines(table), (1, ""))[1]
    captions, stated = {}, {}
    with open(table, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter=max(",;\t|", key=heading.count))
        rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or []]
        if not {"image", "caption"} <= set(rows.fieldnames):
            raise ValueError(f"{table} must begin with a line of names: image,caption,split")
        try:
            for row in rows:
                if None in row:
                    raise ValueError(
                        f"{table}, line {rows.line_num}, has too many columns. "
                        "Put captions that have a comma into quotes."
                    )
                name, caption, split = (row.get(k) or "" for k in ("image", "caption", "split"))
                name, split = name.strip().replace("\\", "/"), split.strip().lower()
                for part in name.split("/"):
                    plain_name(part, table)
                captions.setdefault(name, []).append(caption)
                if split and split not in SPLITS:
                    raise ValueError(
                        f"{table}: {name} is in {split!r:.40}, not train, val or test."
                    )
                if split and stated.setdefault(name, SPLITS[split]) != SPLITS[split]:
                    raise ValueError(f"{table} puts {name} into two splits; a photo has one.")
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{table}, near line {rows.line_num}: {error}.") from None
    if not captions:
        raise ValueError(f"{table} has no captions below its first line.")
    splits: Splits = {"train": [], "val": [], "test": []}
    split_of = split_by_name(sorted(captions.keys() - stated.keys())) | stated
    for name in sorted(captions):
        photo = Photo(folder / PurePosixPath(name), captions[name], name=name.replace("/", "_"))
        splits[split_of[name]].append(photo)
    return Collection(table.stem, OWN, splits)
