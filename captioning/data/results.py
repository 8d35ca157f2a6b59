"""Read results in COCO's format, the captions that a model wrote. No torch in here.

    read_results(path, references, file_names)   [{"image_id": ..., "caption": ...}, ...]
                                                 -> {image id: caption}

Results name a photo by its official id, as a number or as text, or by its file: `file_name`, or the
path, the name or the stem as `image_id`. Markers of where a caption begins and ends are left out.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from captioning.data.annotations import ID_TYPES, ImageId, official_id, parse_entries
from captioning.files import PathLike, read_json_list
from captioning.scripts import nfc
from captioning.text import plural

START = re.compile(r"<(?:start|bos|sos|s|pad)>|^\s*startseq\b", re.IGNORECASE)
END = re.compile(r"</s>|<(?:end|eos)>|\bendseq\s*$", re.IGNORECASE)


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
    known = {official_id(image): image for image in references}
    names = index_names(file_names)
    found: dict[ImageId, str] = {}
    unknown: list[ImageId] = []
    entries = parse_entries(path, read_json_list(path), image_id=ID_TYPES, caption=str)
    for entry in entries:
        image = resolve_image(entry, known, names)
        if image not in references:
            unknown.append(image)
        elif image in found:
            raise ValueError(f"{path} has two captions of image {image!r}. Keep one of them.")
        else:
            found[image] = strip_markers(entry["caption"])
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
            count = plural(len(images), "caption is", "captions are")
            raise ValueError(
                f"{path}: {count} {what}, the first of image {images[0]!r}. "
                "Give the annotations of the same split, or --partial to score the others."
            )
    return {image: found[image] for image in references if image in found}


def strip_markers(caption: str) -> str:
    """Return the caption up to `<end>`, without `<start>` and `<pad>`, however they are spelled."""
    return START.sub(" ", END.split(caption, maxsplit=1)[0]).strip()


def name_forms(name: str) -> tuple[str, str, str]:
    """Return a file name as it is written, without folders, and without its suffix."""
    path = PurePosixPath(nfc(name).replace("\\", "/"))
    return str(path), path.name, path.stem


def index_names(file_names: Mapping[ImageId, str]) -> dict[str, ImageId]:
    """Return the names of each image -> its id: file name, its last part, and its stem.

    A name that two images share is left out.
    """
    images: dict[str, set[ImageId]] = {}
    for image, file_name in file_names.items():
        for name in name_forms(file_name):
            images.setdefault(name, set()).add(image)
    return {name: found.pop() for name, found in images.items() if len(found) == 1}


def resolve_image(
    result: Mapping[str, Any], known: Mapping[ImageId, ImageId], names: Mapping[str, ImageId]
) -> ImageId:
    """Return the image of a result: its `image_id` where known, else by `file_name` or stem."""
    number = result["image_id"]
    image = official_id(number)
    if image in known:
        return known[image]
    for name in (result.get("file_name"), number):
        for form in name_forms(name) if isinstance(name, str) else ():
            if form in names:
                return names[form]
    if isinstance(number, str) and re.fullmatch("0[0-9]{,20}", number):  # COCO's file names
        return known.get(int(number), image)
    return image
