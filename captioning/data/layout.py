"""Write photos and captions in COCO's layout, the one that everything else reads.

    write_layout(collection, out, ...)   <out>/images/<split>/*.jpg, captions_<split>.json
    copy_boxes(source, out)              instances_<split>.json, where COCO has boxes

The photos are written first, each whole or not at all, and the annotations last: an interrupted run
leaves nothing broken, and running it again reuses what is there.
"""

import contextlib
import filecmp
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from captioning.data.photos import FORMATS
from captioning.data.sources import Collection, SourcePhoto, Splits
from captioning.files import atomic_write


def photo_size(path: Path) -> tuple[int, int]:
    """Return width and height from the file's first bytes; `prepare.py check` decodes all of it."""
    try:
        with Image.open(path, formats=FORMATS) as photo:
            return photo.size
    except (UnidentifiedImageError, SyntaxError, EOFError) as error:
        raise ValueError(f"{path} is not a photo ({error}).") from None


def copy_or_link(source: Path, target: Path, link: bool) -> None:
    """Put the file at `target`, whole or not at all; an equal one that exists is kept."""
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return
    if link:
        with contextlib.suppress(OSError):  # another disk, or one without hard links: copy
            target.unlink(missing_ok=True)
            os.link(source, target)
            return
    with open(source, "rb") as original, atomic_write(target) as file:
        shutil.copyfileobj(original, file)


def usable_photos(splits: Splits, partial: bool) -> Splits:
    """Return the photos that exist, can be opened and have captions, with their sizes recorded.

    Raises ValueError where some are missing or unreadable, unless `partial`; where two share a name
    or an id, so that a photo could be in two splits; and where none is left.
    """
    check_unique(splits)
    kept: Splits = {}
    left_out: dict[str, list[Path]] = {"missing": [], "unreadable": [], "uncaptioned": []}
    for split, photos in splits.items():
        for photo in tqdm(photos, desc=f"opening {split}", disable=None):
            reason = why_unusable(photo)
            if reason:
                left_out[reason].append(photo.path)
            else:
                kept.setdefault(split, []).append(photo)
    total = sum(len(photos) for photos in splits.values())
    for reason, paths in left_out.items():
        if paths and reason != "uncaptioned" and not partial:
            raise ValueError(
                f"{len(paths)} of {total} photos are {reason}, the first is {paths[0]}. "
                "Fetch them again, or add --partial to leave them out."
            )
        if paths:
            note = f"left out {len(paths)} {reason} photos, such as {paths[0]}"
            print(f"note: {note}", file=sys.stderr)
    if not kept:
        raise ValueError("No photo has a caption. Check the folder that you gave.")
    return kept


def check_unique(splits: Splits) -> None:
    """Raise ValueError where two photos share a name or an id."""
    names: dict[str, str] = {}
    ids = set()
    for split, photos in splits.items():
        for photo in photos:
            number = photo.record.get("id")
            if photo.name in names or number in ids:
                where = names.get(photo.name, "another photo's id")
                raise ValueError(f"{photo.name} is listed twice: in {where} and in {split}.")
            names[photo.name] = split
            if number is not None:
                ids.add(number)


def why_unusable(photo: SourcePhoto) -> str:
    """Return why a photo cannot be used, "" where it can; records its width and height."""
    if not photo.path.is_file():
        return "missing"
    if not photo.captions:
        return "uncaptioned"
    try:
        width, height = photo_size(photo.path)
    except (OSError, ValueError):
        return "unreadable"
    photo.record = {"width": width, "height": height, **photo.record}
    return ""


def write_layout(collection: Collection, out: Path, link: bool, partial: bool) -> None:
    """Write the photos to `<out>/images/<split>/`, then `<out>/annotations/captions_<split>.json`.

    link      makes hard links instead of copies, where the disk allows it
    partial   leaves out photos that are missing or broken instead of stopping

    Ids are 1, 2, ... in the order of the splits, unless the publisher gave some.
    """
    contents: dict[str, dict[str, Any]] = {}
    image_id = caption_id = 0
    for split, photos in usable_photos(collection.splits, partial).items():
        images, annotations = [], []
        folder = out / "images" / split
        folder.mkdir(parents=True, exist_ok=True)
        for photo in tqdm(photos, desc=split, unit="photo", disable=None):
            image_id += 1
            image = {"id": image_id, "license": 1, **photo.record, "file_name": photo.name}
            images.append(image)
            for caption in photo.captions:
                caption_id += 1
                annotations.append({"id": caption_id, "image_id": image["id"], "caption": caption})
            copy_or_link(photo.path, folder / photo.name, link)
        contents[split] = {
            "info": {"description": collection.description},
            "licenses": collection.licenses,
            "images": images,
            "annotations": annotations,
        }
    for split, content in contents.items():
        with atomic_write(out / "annotations" / f"captions_{split}.json", "w") as file:
            json.dump(content, file)
        print(f"{split}: {len(content['images'])} photos, {len(content['annotations'])} captions")


def copy_boxes(source: Path, out: Path) -> None:
    """Copy COCO's official boxes (`instances_*.json`) beside the captions, where they exist."""
    for captions in (out / "annotations").glob("captions_*.json"):
        boxes = source / "annotations" / captions.name.replace("captions", "instances")
        if boxes.exists():
            copy_or_link(boxes, out / "annotations" / boxes.name, link=False)
