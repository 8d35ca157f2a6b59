"""Write photos and captions in COCO's layout, the one that everything else reads.

    write_layout(collection, out, ...)   <out>/images/<split>/*.jpg, captions_<split>.json
    copy_boxes(source, out)              instances_<split>.json, where COCO has boxes

The photos are written first, each whole or not at all, and the annotations last: an interrupted run
leaves nothing broken, and running it again reuses its photos. Annotations of splits that are not
written again are set aside, so that no photo is in two splits.
"""

import contextlib
import filecmp
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from captioning.data.decode import open_photo
from captioning.data.sources import Collection, SourcePhoto, Splits
from captioning.files import atomic_write
from captioning.scripts import is_unspaced
from captioning.text import plural

KINDS = ("captions", "instances", "image_info")  # of annotation files, for each split


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


def usable_photos(collection: Collection, partial: bool) -> Splits:
    """Return the photos that exist, can be opened and have captions, with their sizes recorded.

    Raises ValueError where some are missing or unreadable, unless `partial`; where two share a name
    or an id, so that a photo could be in two splits; and where none is left.
    """
    splits = collection.splits
    check_unique(splits)
    kept: Splits = {}
    left_out: dict[str, list[str]] = {}  # kind -> what is wrong with each photo
    for split, photos in splits.items():
        for photo in tqdm(photos, desc=f"opening {split}", disable=None):
            kind, cause = why_unusable(photo, split not in collection.uncaptioned)
            if kind:
                origin = f" ({photo.origin})" if photo.origin else ""
                left_out.setdefault(kind, []).append(f"{cause}{origin}")
            else:
                kept.setdefault(split, []).append(photo)
    total = sum(len(photos) for photos in splits.values())
    for kind, causes in sorted(left_out.items()):
        if kind != "uncaptioned" and not partial:
            raise ValueError(
                f"Of {plural(total, 'photo')}, {plural(len(causes), f'is {kind}', f'are {kind}')}: "
                f"{causes[0]}. Replace what is {kind}, or add --partial to leave it out."
            )
        count = plural(len(causes), f"{kind} photo")
        print(f"note: left out {count}, such as: {causes[0]}", file=sys.stderr)
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
            place = f"{split} ({photo.origin})" if photo.origin else split
            if photo.name in names or number in ids:
                where = names.get(photo.name, "another photo's id")
                raise ValueError(f"{photo.name} is listed twice: in {where} and in {place}.")
            names[photo.name] = place
            if number is not None:
                ids.add(number)


def why_unusable(photo: SourcePhoto, needs_caption: bool = True) -> tuple[str, str]:
    """Return why a photo cannot be used: one word, and the cause; ("", "") where it can be.

    Its width and height are recorded.
    """
    if not os.path.isfile(photo.path):
        return "missing", str(photo.path)
    if needs_caption and not photo.captions:
        return "uncaptioned", str(photo.path)
    try:
        width, height = open_photo(photo.path)[0].size  # `prepare.py check` decodes all of it
    except (OSError, ValueError) as error:
        return "unreadable", str(error).removesuffix(".")
    photo.record = {"width": width, "height": height, **photo.record}
    return "", ""


def write_layout(collection: Collection, out: Path, link: bool, partial: bool) -> None:
    """Write the photos to `<out>/images/<split>/`, then `<out>/annotations/captions_<split>.json`.

    link      makes hard links instead of copies, where the disk allows it
    partial   leaves out photos that are missing or broken instead of stopping

    Ids are 1, 2, ... in the order of the splits, unless the publisher gave some. A split without
    captions becomes image_info_<split>.json, as COCO's test photos have it.
    """
    contents: dict[str, dict[str, Any]] = {}
    image_id = caption_id = 0
    for split, photos in usable_photos(collection, partial).items():
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
    files = {
        split: f"{'image_info' if split in collection.uncaptioned else 'captions'}_{split}.json"
        for split in contents
    }
    set_aside(out / "annotations", set(files.values()))
    for split, content in contents.items():
        with atomic_write(out / "annotations" / files[split], "w") as file:
            json.dump(content, file)
        count = plural(len(content["images"]), "photo")
        print(f"{split}: {count}, {plural(len(content['annotations']), 'caption')}")
    entries = (entry for content in contents.values() for entry in content["annotations"])
    if unspaced := sum(is_unspaced(entry["caption"]) for entry in entries):
        script = "a script without spaces between words: each character counts as a word"
        count = plural(unspaced, "caption is", "captions are")
        print(f"note: {count} in {script}", file=sys.stderr)


def set_aside(folder: Path, kept: set[str]) -> None:
    """Rename the annotation files of an earlier preparation whose splits are not written again."""
    for kind in KINDS:
        for path in sorted(folder.glob(f"{kind}_*.json")):
            if path.name.replace("instances", "captions") not in kept:
                path.replace(path.with_name(path.name + ".old"))
                about = "an earlier preparation, whose splits were others"
                print(f"note: {path} is of {about}; it is now {path.name}.old", file=sys.stderr)


def copy_boxes(source: Path, out: Path) -> None:
    """Copy COCO's official boxes (`instances_*.json`) beside the captions, where they exist."""
    for captions in (out / "annotations").glob("captions_*.json"):
        boxes = source / "annotations" / captions.name.replace("captions", "instances")
        if boxes.exists():
            copy_or_link(boxes, out / "annotations" / boxes.name, link=False)
