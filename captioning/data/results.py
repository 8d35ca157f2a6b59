"""Read results in COCO's format, the captions that a model wrote. No torch in here.

    read_results(path, references, file_names)   [{"image_id": ..., "caption": ...}, ...]
                                                 -> {image id: caption}

Results name a photo by its official id or by its file: `file_name`, or the stem as `image_id`.
"""

from collections.abc import Collection, Container, Mapping
from pathlib import PurePosixPath
from typing import Any

from captioning.data.coco import ImageId, parse_entries
from captioning.files import PathLike, read_json_list


def read_results(
    path: PathLike,
    references: Collection[ImageId],
    file_names: Mapping[ImageId, str],
    partial: bool = False,
) -> dict[ImageId, str]:
    """Return the caption of each image, in the order of the references.

    Raises ValueError for two captions of one image, and for images that only one of the two files
    knows; with `partial` those images are left out.
    """
    names = index_names(file_names)
    found: dict[ImageId, str] = {}
    unknown: list[ImageId] = []
    entries = parse_entries(path, read_json_list(path), image_id=(int, str), caption=str)
    for entry in entries:
        image = resolve_image(entry, references, names)
        if image not in references:
            unknown.append(image)
        elif image in found:
            raise ValueError(f"{path} has two captions of image {image!r}. Keep one of them.")
        else:
            found[image] = entry["caption"]
    if not entries:
        raise ValueError(f"{path} has no captions. Write it with `caption.py ... --out`.")
    if not found:
        raise ValueError(
            f"{path} has no caption of a photo in the annotations; "
            f"its first image is {unknown[0]!r}."
        )
    missing = [image for image in references if image not in found]
    for images, what in ((unknown, "of photos not in the annotations"), (missing, "missing")):
        if images and not partial:
            raise ValueError(
                f"{path}: {len(images)} captions are {what}, the first of image {images[0]!r}. "
                "Give the annotations of the same split, or --partial to score the others."
            )
    return {image: found[image] for image in references if image in found}


def index_names(file_names: Mapping[ImageId, str]) -> dict[str, ImageId]:
    """Return the names of each image -> its id: file name, its last part, and its stem.

    A name that two images share is left out.
    """
    images: dict[str, set[ImageId]] = {}
    for image, file_name in file_names.items():
        path = PurePosixPath(file_name)
        for name in (file_name, path.name, path.stem):
            images.setdefault(name, set()).add(image)
    return {name: found.pop() for name, found in images.items() if len(found) == 1}


def resolve_image(
    result: Mapping[str, Any], known: Container[ImageId], names: Mapping[str, ImageId]
) -> ImageId:
    """Return the image of a result: its `image_id` where known, else by `file_name` or stem."""
    image: ImageId = result["image_id"]
    for name in (result.get("file_name"), result["image_id"]):
        if image not in known and isinstance(name, str):
            image = names.get(name, image)
    return image
