"""Read one annotation file in COCO's format, and tell what is wrong with it. No torch in here.

    read_annotations(path)        captions_*.json or image_info_*.json -> Annotations
    contradictions(annotations)   what keeps training and scoring from using them
    annotation_files(root)        split -> file, for a folder in COCO's layout
    split_of("dev2014")           the split that training knows by another name: "val"

Nothing else in this project parses these files; results.py reads the captions that a model wrote.
A file that cannot be read is refused in one sentence that names it, the entry and what to do.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.files import PathLike, read_json
from captioning.scripts import nfc

ImageId = int | str
ID_TYPES = (int, float, str)  # as files have them; `official_id` makes an ImageId of them
MAX_CAPTION_WORDS = 100  # training sees no more of a caption; COCO's longest has fewer than 60
SPLITS = {"train": "train", "training": "train", "restval": "train"}
SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val")
SPLITS |= dict.fromkeys(("test", "testing"), "test")


@dataclass(frozen=True)
class Annotations:
    """The content of one annotation file, every entry validated."""

    path: Path
    images: list[dict[str, Any]]  # `id`, `file_name` and whatever else the publisher recorded
    captions: list[tuple[ImageId, str]]  # (image id, caption), in the order of the file
    licenses: list[dict[str, Any]]

    def file_names(self) -> dict[ImageId, str]:
        """Return image id -> file name."""
        return {image["id"]: image["file_name"] for image in self.images}

    def captions_by_image(self) -> dict[ImageId, list[str]]:
        """Return image id -> its captions, for the images that have some."""
        grouped: dict[ImageId, list[str]] = {}
        for image_id, caption in self.captions:
            grouped.setdefault(image_id, []).append(caption)
        return grouped


def parse_entries(
    path: PathLike, found: object, **fields: type | tuple[type, ...]
) -> list[dict[str, Any]]:
    """Return the entries of the JSON list `found`, whose fields must have the given types.

    Raises ValueError that names the first entry where a field is missing or of another type; a
    float must be a whole number.
    """
    if not isinstance(found, list):
        raise ValueError(f"{path} has no list of entries where COCO's format expects one.")
    for name, types in fields.items():
        values = [entry.get(name) if isinstance(entry, dict) else None for entry in found]
        expected = {int, str} & {*(types if isinstance(types, tuple) else (types,))}
        if {*map(type, values)} <= expected:
            continue  # nearly always, of half a million entries
        for number, value in enumerate(values, start=1):
            fraction = isinstance(value, float) and not value.is_integer()
            if not isinstance(value, types) or isinstance(value, bool) or fraction:
                entry = found[number - 1]
                raise ValueError(f"{path}: entry {number} has no valid `{name}`: {entry!r:.80}")
    return found


def official_id(value: int | float | str) -> ImageId:
    """Return an id in one form: 7, 7.0 and "7" are 7; text that is not a number stays text."""
    if isinstance(value, str):
        number = re.fullmatch(r"(0|-?[1-9][0-9]{,17})(\.0)?", value.strip())
        return int(number[1]) if number else nfc(value)
    return value if type(value) is int else int(value)


def parse_images(path: PathLike, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the image records of an annotation file; each has an `id` and a `file_name`."""
    images = parse_entries(path, content.get("images"), id=ID_TYPES, file_name=str)
    return [{**image, "id": official_id(image["id"])} for image in images]


def read_annotations(path: PathLike) -> Annotations:
    """Return what a captions_*.json or image_info_*.json (no captions) file holds.

    Raises FileNotFoundError, or ValueError where it is not in COCO's format.
    """
    path = Path(path)
    content = read_json(path)
    images = parse_images(path, content)
    found = content.get("annotations")
    if found is None and path.name.startswith("image_info"):
        found = []
    entries = parse_entries(path, found, image_id=ID_TYPES, caption=str)
    ids = {value: official_id(value) for value in {entry["image_id"] for entry in entries}}
    captions = [(ids[entry["image_id"]], entry["caption"]) for entry in entries]
    licenses = content.get("licenses")
    return Annotations(path, images, captions, licenses if isinstance(licenses, list) else [])


def contradictions(annotations: Annotations) -> Iterator[tuple[str, str]]:
    """Yield a kind and a sentence for whatever keeps training and scoring from using the file."""
    path, images, captions = annotations.path, annotations.images, annotations.captions
    again = "Prepare the data again."
    names = annotations.file_names()
    if not captions and not path.name.startswith("image_info"):
        yield "bad annotations", f"{path} has no captions. {again}"
    if not images and not captions:
        yield "bad annotations", f"{path} lists no photos. {again}"
    if len(names) < len(images):
        yield "bad annotations", f"{path} gives two photos the same id. {again}"
    for image_id, _ in captions:
        if image_id not in names:
            about = f"a caption of a photo that it does not list (image_id {image_id!r})"
            yield "unknown photo", f"{path} has {about}. {again}"


def refuse_contradictions(annotations: Annotations) -> None:
    """Raise ValueError with the first of the `contradictions`."""
    for _, sentence in contradictions(annotations):
        raise ValueError(sentence)


def split_of(name: str) -> str:
    """Return train, val or test for the name of a split ("val2014", "dev"), "" for another."""
    return SPLITS.get(re.sub(r"[-_ .]*\d*$", "", name.lower()), "")


def annotation_files(root: PathLike, kind: str = "captions") -> dict[str, Path]:
    """Return split -> file for the annotation files captions_<split>.json, or image_info_..."""
    paths = sorted(Path(root, "annotations").glob(f"{kind}_*.json"))
    return {path.stem.removeprefix(f"{kind}_"): path for path in paths}
