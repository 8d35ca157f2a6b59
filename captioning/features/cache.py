"""The features of every photo on disk: computed once by the frozen network, then only read.

    FeatureCache(folder)     the features: float16, memory-mapped (N, views, P, D)
    cache_key(...)           all that they depend on; its hash names their folder
    open_or_create(...)      an existing cache, finished or not, or an empty one

The network is frozen, so a photo's features never change: 5 captions x 20 epochs would compute
them 100 times. View 0 is the whole photo; views 1, 2, ... are random crops, some of them mirrored,
chosen once for each (photo, view), so augmentation survives the cache.

A cache lives in `<out>/<key>/`: `features.npy` and `index.json` (photos, network, transform,
precision). Other photos, another network or transform have another key, so stale features are never
used. Safe to delete. It is filled by extraction.py.
"""

import dataclasses
import hashlib
import json
import math
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captioning.data.coco import Photo
from captioning.data.photos import PhotoTransform
from captioning.files import (
    atomic_write,
    read_json,
    readable_write_errors,
    remove_partial_files,
    short_message,
)
from captioning.safe_load import LOAD_ERRORS
from model import EncoderCNN

CACHE_HINT = "free some space, or choose another folder with --cache-dir"
Spec = dict[str, Any]  # all that the features depend on


def transform_of(encoder: EncoderCNN, train: bool = False) -> PhotoTransform:
    """Return the transform that the encoder's weights expect, deterministic unless `train`."""
    sizes = encoder.backbone.train_transform if train else encoder.backbone.transform
    return PhotoTransform(**{**sizes, "train": train})


def base_view(encoder: EncoderCNN, views: int) -> tuple[PhotoTransform, bool]:
    """Return the transform of view 0, and whether test-time augmentation applies to it.

    A single view is what inference sees; among several, view 0 has the size of the random crops.
    """
    if views == 1:
        return transform_of(encoder), encoder.backbone.tta
    return dataclasses.replace(transform_of(encoder, train=True), train=False), False


class FeatureCache:
    """Features of one split; row i belongs to photo i.

    array       (N, views, P, D) float16 on disk; pages are read when touched
    unreadable  {row: reason} of photos that could not be read; their features are meaningless
    """

    def __init__(self, folder: Path):
        index = read_json(folder / "index.json")
        self.folder, self.spec = folder, index["spec"]
        self.done = int(index["done"])
        self.unreadable = {int(row): reason for row, reason in index["unreadable"].items()}
        stored = np.load(folder / "features.npy", mmap_mode="r")  # never a pickle
        self.array = stored if stored.ndim == 4 else stored[:, :, None]

    def __len__(self) -> int:
        return len(self.array)

    @property
    def is_complete(self) -> bool:
        return self.done == len(self)

    @property
    def views(self) -> int:
        return self.array.shape[1]

    def to_device(self, device: torch.device, limit: float = 0.5) -> Tensor:
        """Return the array as one tensor: on a GPU if it takes at most `limit` of its free memory.

        Otherwise it stays a memory map, of which a batch reads only what it needs.
        """
        if device.type == "cuda" and self.array.nbytes < limit * torch.cuda.mem_get_info()[0]:
            return torch.from_numpy(np.asarray(self.array)).to(device)
        writable = np.load(self.folder / "features.npy", mmap_mode="c")  # private: disk unharmed
        return torch.from_numpy(writable.reshape(self.array.shape))


def cache_key(
    encoder: EncoderCNN, photos: list[Photo], views: int, grid: bool, dtype: torch.dtype
) -> Spec:
    """Return all that the features depend on; its hash names their folder."""
    names = hashlib.sha256()
    for photo in photos:
        line = f"{photo.path.name}\0{checksum(photo.path)}\n"
        names.update(line.encode(errors="surrogatepass"))
    transform, tta = base_view(encoder, views)
    return {
        "backbone": encoder.backbone.name,
        "weights": encoder.backbone.fingerprint(with_pca=True),
        "transform": dataclasses.asdict(transform),
        "tta": tta,
        "photos": names.hexdigest()[:16],
        "count": len(photos),
        "views": views,
        "grid": grid,
        "precision": str(dtype).removeprefix("torch."),
    }


def checksum(path: Path) -> str:
    """Return size and CRC of a file, "" where it cannot be read; editing a photo changes it.

    The whole file is read: half a second for 6,000 small photos.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    return f"{len(content)} {zlib.crc32(content)}"


def hash_of(spec: Spec) -> str:
    """Return 16 hex digits that name `spec`."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def open_or_create(folder: Path, spec: Spec, encoder: EncoderCNN) -> None:
    """Leave a cache for `spec` in `folder`: the existing one, finished or not, or an empty one."""
    remove_partial_files(folder)
    try:
        cache = FeatureCache(folder)
        if cache.spec == spec and len(cache) == spec["count"]:
            return
        print(f"the features in {folder} belong to other photos; computing them again")
    except FileNotFoundError:
        pass
    except LOAD_ERRORS as error:
        message = short_message(error)
        print(f"the features in {folder} are broken ({message}); computing them again")
    transform, tta = base_view(encoder, spec["views"])
    _, size, height, width = encoder.backbone.map_size(transform.crop, tta)
    shape = (spec["count"], spec["views"], *([height * width] if spec["grid"] else []), size)
    require_space(folder, 2 * math.prod(shape))
    with readable_write_errors(folder / "features.npy", CACHE_HINT):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.json").unlink(missing_ok=True)  # no index: nothing in the array counts
        np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, shape).flush()
    save_progress(folder, spec, 0, {})


def require_space(folder: Path, needed: int) -> None:
    """Raise OSError, before anything is computed, where the disk has less than `needed` bytes."""
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise OSError(
            f"the features need {needed / 1e9:.1f} GB and {existing} has {free / 1e9:.1f} GB free: "
            "choose a folder on another disk with --cache-dir, or lower --views, or use --pca."
        )


def save_progress(folder: Path, spec: Spec, done: int, unreadable: dict[int, str]) -> None:
    """Record in index.json that the first `done` rows are complete."""
    with atomic_write(folder / "index.json", "w") as file:
        json.dump({"spec": spec, "done": done, "unreadable": unreadable}, file, indent=1)
