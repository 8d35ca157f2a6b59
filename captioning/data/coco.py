"""Captions on disk: the references of an annotation file, and anybody's results file.

    read_references     captions_<split>.json in COCO's format -> {image id: [caption, ...]}
    read_results        [{"image_id": ..., "caption": ...}, ...] -> {image id: caption}

Results name a photo by the official id, or by its file: `file_name`, or the stem as `image_id`.
Every refusal is a ValueError that names the file, the entry and what to do.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vocabulary import read_json


def entries(path: str | Path, found: object, **fields: type | tuple) -> Iterator[dict]:
    """The entries of a JSON list, once the wanted fields of each are there and of their type."""
    if not isinstance(found, list):
        raise ValueError(f"{path} has no list of entries where COCO's format wants one.")
    for number, entry in enumerate(found, start=1):
        for name, kinds in fields.items():
            value = entry.get(name) if isinstance(entry, dict) else None
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise ValueError(f"{path}: entry {number} has no right `{name}`: {entry!r:.80}")
        yield entry


def read_references(path: str | Path) -> tuple[dict[int, list[str]], dict[int, str]]:
    """The captions of each image, and the file name of each, from COCO's annotation format."""
    content = read_json(path, dict)
    images = entries(path, content.get("images"), id=int, file_name=str)
    file_names = {image["id"]: image["file_name"] for image in images}
    references = {}
    for entry in entries(path, content.get("annotations"), image_id=int, caption=str):
        if entry["caption"].strip():
            references.setdefault(entry["image_id"], []).append(entry["caption"])
    if not references:
        raise ValueError(f"{path} has no captions. Give the captions_<split>.json of the photos.")
    return references, file_names


def read_results(
    path: str | Path,
    references: dict[int, list[str]],
    file_names: dict[int, str],
    partial: bool = False,
) -> dict[int, str]:
    """The caption of each image, in the order of the references.

    Raises ValueError for two captions of one image, and, unless `partial`, for images that only
    one of the two files knows; with `partial` those are left out.
    """
    names = {}
    for image, file_name in file_names.items():
        for name in (file_name, PurePosixPath(file_name).name, PurePosixPath(file_name).stem):
            names.setdefault(name, set()).add(image)
    names = {name: images.pop() for name, images in names.items() if len(images) == 1}
    found, unknown = {}, []
    for entry in entries(path, read_json(path, list), image_id=(int, str), caption=str):
        image = entry["image_id"]
        for name in (entry.get("file_name"), image):
            if image not in references and isinstance(name, str):
                image = names.get(name, image)
        if image not in references:
            unknown.append(image)
        elif image in found:
            raise ValueError(f"{path} has two captions of image {image!r}. Keep one an image.")
        else:
            found[image] = entry["caption"]
    missing = [image for image in references if image not in found]
    if not found:
        raise ValueError(
            f"{path} has no caption of a photo in the annotations; "
            f"its first image is {unknown[0]!r}."
            if unknown
            else f"{path} has no captions. Write it with `caption.py ... --out`."
        )
    for images, what in ((unknown, "of photos not in the annotations"), (missing, "missing")):
        if images and not partial:
            raise ValueError(
                f"{path}: {len(images)} captions are {what}, the first of image {images[0]!r}. "
                "Give the annotations of the same split, or --partial to score the others."
            )
    return {image: found[image] for image in references if image in found}
