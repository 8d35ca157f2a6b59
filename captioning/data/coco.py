"""Read the captions of a dataset in COCO's layout: its references, or one split of it. No torch.

    read_captions(cocoapi_loc, "train")   one split -> CaptionSet: its photos and their captions
    read_references(path)                 {image id: [caption, ...]}, {image id: file name}
    image_ids(annotations, paths)         the official id of each photo
    CaptionSet.union(sets)                several datasets as one

annotations.py reads the files; `prepare.py check`, training and scoring refuse the same ones.
"""

import functools
import os
import sys
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from captioning.data.annotations import (
    Annotations,
    ImageId,
    annotation_files,
    parse_images,
    read_annotations,
    refuse_contradictions,
    split_of,
)
from captioning.data.names import is_plain_name, names_in
from captioning.files import PathLike, read_json
from captioning.scripts import nfc
from captioning.text import plural

__all__ = [
    "CaptionSet",
    "ImageId",
    "Photo",
    "find_split",
    "has_split",
    "image_ids",
    "read_captions",
    "read_references",
]


def image_ids(annotations: PathLike | None, paths: Sequence[Path]) -> list[ImageId]:
    """Return the id that an annotation file gives each photo; without a file, the photo's stem.

    Raises ValueError where the file does not list a photo, or where two photos have the name of one
    that it lists.
    """
    if annotations is None:
        return [*stem_ids(paths)]
    images = parse_images(annotations, read_json(annotations))
    ids = {nfc(image["file_name"]): image["id"] for image in images}
    unlisted = [path.name for path in paths if nfc(path.name) not in ids]
    if unlisted:
        raise ValueError(
            f"{annotations} does not list {unlisted[0]} ({len(unlisted)} of "
            f"{plural(len(paths), 'photo')} not listed). Give the annotations of these photos."
        )
    named: dict[str, Path] = {}
    for path in paths:
        other = named.setdefault(nfc(path.name), path)
        if os.path.abspath(other) != os.path.abspath(path):
            raise ValueError(
                f"{annotations} lists {path.name} once, but both {other} and {path} are given. "
                "Give only the photos of these annotations."
            )
    return [ids[nfc(path.name)] for path in paths]


def stem_ids(paths: Sequence[Path]) -> list[str]:
    """Return the stem of each photo; where two photos share it, more of their paths.

    These get their path below the folder that they have in common, with the suffix if needed.
    """
    places = [os.path.abspath(path) for path in paths]
    stems = Counter(Path(place).stem for place in set(places))
    alike = {place for place in places if stems[Path(place).stem] > 1}
    try:
        folder = os.path.commonpath([os.path.dirname(place) for place in alike])
    except ValueError:  # there are none, or they are on several drives of Windows
        folder = ""
    below = {place: Path(place.removeprefix(folder).lstrip(os.sep)) for place in alike}
    bare = Counter(path.with_suffix("") for path in below.values())
    ids = {place: Path(place).stem for place in places}
    for place, path in below.items():
        short = path.with_suffix("")
        ids[place] = (short if bare[short] == 1 else path).as_posix()
    return [ids[place] for place in places]


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
    note_other_splits(Path(cocoapi_loc))
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


@functools.cache
def note_other_splits(root: Path) -> None:
    """Print a note, once, where a file of captions is of a split that nothing reads."""
    others = [path.name for split, path in annotation_files(root).items() if not split_of(split)]
    if others:
        about = "its split is not train, val or test; rename it to use it"
        print(f"note: {root} has {', '.join(others)}, which is not read: {about}", file=sys.stderr)


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
            f"{annotations.path} names {plural(len(missing), 'photo')} (of {len(names)}) that "
            f"cannot be found in {folder}, first {missing[0]}. Copy what is missing there, or "
            "prepare the data again."
        )
    return found
