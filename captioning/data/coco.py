"""Read COCO's annotation files, and one split of a dataset in COCO's layout. No torch in here.

    read_annotations(path)                captions_*.json or image_info_*.json -> Annotations
    contradictions(annotations)           what keeps training and scoring from using them
    read_references(path)                 {image id: [caption, ...]}, {image id: file name}
    image_ids(annotations, paths)         the official id of each photo
    read_captions(cocoapi_loc, "train")   one split -> CaptionSet: its photos and their captions
    CaptionSet.union(sets)                several datasets as one

Nothing else in this project parses these files; results.py reads the captions that a model wrote.
A file that cannot be read is refused in one sentence that names it, the entry and what to do;
`prepare.py check`, training and scoring refuse the same files.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.data.names import is_plain_name, names_in
from captioning.files import PathLike, read_json
from captioning.scripts import nfc

ImageId = int | str
ID_TYPES = (int, float, str)  # as files have them; `official_id` makes an ImageId of them
MAX_CAPTION_WORDS = 100  # training sees no more of a caption; COCO's longest has fewer than 60
SPLITS = {"train": "train", "training": "train", "restval": "train"}
SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val")
SPLITS |= dict.fromkeys(("test", "testing"), "test")


# --- annotation files --------------------------------------------------------------------------


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
    for number, entry in enumerate(found, start=1):
        for name, types in fields.items():
            value = entry.get(name) if isinstance(entry, dict) else None
            fraction = isinstance(value, float) and not value.is_integer()
            if not isinstance(value, types) or isinstance(value, bool) or fraction:
                raise ValueError(f"{path}: entry {number} has no valid `{name}`: {entry!r:.80}")
    return found


def official_id(value: int | float | str) -> ImageId:
    """Return an id in one form: 7, 7.0 and "7" are 7; text that is not a number stays text."""
    if isinstance(value, str):
        number = re.fullmatch(r"(0|-?[1-9][0-9]{,17})(\.0)?", value.strip())
        return int(number[1]) if number else nfc(value)
    return int(value)


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
    captions = [(official_id(entry["image_id"]), entry["caption"]) for entry in entries]
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


def image_ids(annotations: PathLike | None, paths: Sequence[Path]) -> list[ImageId]:
    """Return the id that an annotation file gives each photo; without a file, the photo's stem."""
    if annotations is None:
        return [path.stem for path in paths]
    images = parse_images(annotations, read_json(annotations))
    ids = {nfc(image["file_name"]): image["id"] for image in images}
    unlisted = [path.name for path in paths if nfc(path.name) not in ids]
    if unlisted:
        raise ValueError(
            f"{annotations} does not list {unlisted[0]} ({len(unlisted)} of {len(paths)} photos "
            "are not listed). Give the annotations of these photos."
        )
    return [ids[nfc(path.name)] for path in paths]


def read_references(path: PathLike) -> tuple[dict[ImageId, list[str]], dict[ImageId, str]]:
    """Return the captions of each image, blank ones left out, and the file name of each image.

    Raises as `read_captions` does, but does not look for the photos.
    """
    annotations = read_annotations(path)
    refuse_contradictions(annotations)
    references: dict[ImageId, list[str]] = {}
    for image_id, caption in annotations.captions:
        if caption.strip():
            references.setdefault(image_id, []).append(caption)
    if not references:
        raise ValueError(f"{path} has no captions. Give the captions_<split>.json of the photos.")
    return references, annotations.file_names()


# --- one split of a dataset --------------------------------------------------------------------


@dataclass(frozen=True)
class Photo:
    id: ImageId
    path: Path


@dataclass
class CaptionSet:
    """Photos in the order of the file, and captions; caption i describes photos[photo_index[i]]."""

    photos: list[Photo]
    captions: list[str]
    photo_index: list[int]

    @classmethod
    def union(cls, sets: Mapping[str, "CaptionSet"]) -> "CaptionSet":
        """Return all sets as one; ids become "<name>:<id>", because two sets may share ids."""
        if len(sets) == 1:
            return next(iter(sets.values()))
        whole = cls([], [], [])
        for name, part in sets.items():
            whole.photo_index += [len(whole.photos) + row for row in part.photo_index]
            whole.photos += [Photo(f"{name}:{photo.id}", photo.path) for photo in part.photos]
            whole.captions += part.captions
        return whole

    def references(self) -> dict[ImageId, list[str]]:
        """Return photo id -> its captions, as the scores expect them."""
        references: dict[ImageId, list[str]] = {photo.id: [] for photo in self.photos}
        for caption, row in zip(self.captions, self.photo_index, strict=True):
            references[self.photos[row].id].append(caption)
        return references

    def head(self, num_samples: int | None) -> "CaptionSet":
        """Return the first `num_samples` photos with their captions; all where it is None."""
        if num_samples is None:
            return self
        if num_samples < 1:
            raise ValueError(f"num_samples {num_samples} must be 1 or more photos.")
        kept = self.drop_photos(range(num_samples, len(self.photos)))
        return CaptionSet(self.photos[:num_samples], kept.captions, kept.photo_index)

    def drop_photos(self, rows: Container[int]) -> "CaptionSet":
        """Return the same photos, without the captions of those in `rows`: rows stay valid."""
        kept = [i for i, row in enumerate(self.photo_index) if row not in rows]
        captions = [self.captions[i] for i in kept]
        return CaptionSet(self.photos, captions, [self.photo_index[i] for i in kept])


def split_of(name: str) -> str:
    """Return train, val or test for the name of a split ("val2014", "dev"), "" for another."""
    return SPLITS.get(re.sub(r"[-_ .]*\d*$", "", name.lower()), "")


def annotation_files(root: PathLike, kind: str = "captions") -> dict[str, Path]:
    """Return split -> file for the annotation files captions_<split>.json, or image_info_..."""
    paths = sorted(Path(root, "annotations").glob(f"{kind}_*.json"))
    return {path.stem.removeprefix(f"{kind}_"): path for path in paths}


def _matching(splits: Mapping[str, Path], split: str) -> str | None:
    """Return the name among `splits` that means `split`: itself, or the newest year's."""
    named = [name for name in splits if split_of(name) == split]
    begun = [name for name in splits if name.startswith(split)]
    return split if split in splits else next(reversed(named or begun), None)


def find_split(cocoapi_loc: PathLike, split: str) -> tuple[Path, Path]:
    """Return the annotation file and the photo folder of `split` ("train", or "train2014")."""
    root = Path(cocoapi_loc)
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is not a data folder. Draw the embedded set with `python toy_coco.py --out "
            f"{root}`, or run `python prepare.py --help` for real photographs."
        )
    for kind in ("captions", "image_info"):
        files = annotation_files(root, kind)
        if name := _matching(files, split):
            return files[name], root / "images" / name
    listing = ", ".join(annotation_files(root)) or "none"
    raise FileNotFoundError(
        f"{root / 'annotations'} has no captions_{split}*.json (it has: {listing}). Run "
        "prepare.py or toy_coco.py for this folder again."
    )


def has_split(cocoapi_loc: PathLike, split: str) -> bool:
    """Return whether there are captions of `split`."""
    return _matching(annotation_files(cocoapi_loc), split) is not None


def read_captions(cocoapi_loc: PathLike, split: str) -> CaptionSet:
    """Return the photos and captions of one split of a folder in COCO's layout.

    Raises FileNotFoundError or ValueError, one sentence, where the file is not in COCO's format,
    has no captions, describes photos that it does not list, or lists photos that are missing.
    """
    path, folder = find_split(cocoapi_loc, split)
    annotations = read_annotations(path)
    for name in annotations.file_names().values():
        if not is_plain_name(name):
            raise ValueError(f"{path} names a photo {name!r}, which is not a plain file name.")
    refuse_contradictions(annotations)
    names = photo_files(annotations, folder)
    rows = {image_id: row for row, image_id in enumerate(names)}
    return CaptionSet(
        photos=[Photo(image_id, folder / name) for image_id, name in names.items()],
        captions=[caption for _, caption in annotations.captions],
        photo_index=[rows[image_id] for image_id, _ in annotations.captions],
    )


def photo_files(annotations: Annotations, folder: Path) -> dict[ImageId, str]:
    """Return image id -> the name that its file has in `folder`.

    Raises FileNotFoundError where a photo is not there.
    """
    existing, names = names_in(folder), annotations.file_names()
    found = {
        image_id: existing.get(name) or existing.get(nfc(name), "")
        for image_id, name in names.items()
    }
    missing = [names[image_id] for image_id, name in found.items() if not name]
    if missing:
        raise FileNotFoundError(
            f"{annotations.path} names {len(missing)} of {len(names)} photos that are not in "
            f"{folder}, the first is {missing[0]}. Copy them there, or prepare the data again."
        )
    return found
