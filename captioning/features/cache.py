"""The features of every photo on disk: computed once by the frozen network, then only read.

    FeatureCache(folder)     the features: float16, memory-mapped (N, views, P, D)
    RowWriter(cache)         fills in rows
    cache_key(...)           all that they depend on; its hash names their folder
    open_or_create(...)      an existing cache, finished or not, or an empty one

The network is frozen, so a photo's features never change: 5 captions x 20 epochs would compute
them 100 times. View 0 is the whole photo; views 1, 2, ... are random crops, some of them mirrored,
chosen once for each (photo, view), so augmentation survives the cache.

A cache lives in `<out>/<key>/`: shards `features-00000.npy`, `features-00001.npy` ... of about 1 GB
and `index.json` (photos, network, transform, precision). Other photos, another network or transform
have another key, so stale features are never used. Safe to delete. It is filled by extraction.py.
A single `features.npy`, as earlier versions wrote it, is a shard like any other.
"""

import dataclasses
import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from captioning.data.coco import Photo
from captioning.data.photos import PhotoTransform
from captioning.features.checksums import checksums
from captioning.files import (
    atomic_write,
    read_json,
    readable_write_errors,
    remove_partial_files,
    short_message,
)
from captioning.safe_load import LOAD_ERRORS
from model import EncoderCNN

CACHE_HINT = "free some space, or choose another folder (train.py --cache-dir)"
SHARD_BYTES = 1 << 30  # of features in a file, about
Spec = dict[str, Any]  # all that the features depend on


def transform_of(encoder: EncoderCNN, train: bool = False) -> PhotoTransform:
    """Return the transform that the encoder's weights expect, deterministic unless `train`."""
    sizes = encoder.backbone.train_transform if train else encoder.backbone.transform
    return PhotoTransform(**{**sizes, "train": train})


def base_view(encoder: EncoderCNN, views: int) -> tuple[PhotoTransform, tuple[float, ...]]:
    """Return the transform of view 0, and the scales of its test-time augmentation.

    A single view is what inference sees; among several, view 0 has the size of the random crops.
    """
    if views == 1:
        return transform_of(encoder), encoder.backbone.scales
    return dataclasses.replace(transform_of(encoder, train=True), train=False), ()


class FeatureCache:
    """Features of one split; row i belongs to photo i.

    shards      arrays (n, views, P, D) float16, one a file, their n add up to N; pages are read
                when touched, and what is changed in memory leaves the file alone
    unreadable  {row: reason} of photos that could not be read; their features are meaningless
    """

    def __init__(self, folder: Path):
        index = read_json(folder / "index.json")
        self.folder, self.spec = folder, index["spec"]
        self.done = int(index["done"])
        self.unreadable = {int(row): reason for row, reason in index["unreadable"].items()}
        self.shards = [_open_shard(path) for path in shard_files(folder)]
        if len(self) != self.spec["count"]:
            raise ValueError(f"{len(self)} photos instead of {self.spec['count']}")

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    @property
    def is_complete(self) -> bool:
        return self.done == len(self)

    @property
    def views(self) -> int:
        return self.shards[0].shape[1]

    @property
    def array(self) -> np.ndarray:
        """Return all features as one array (N, views, P, D): in memory where there are shards."""
        return self.shards[0] if len(self.shards) == 1 else np.concatenate(self.shards)

    def locate(self, row: int) -> tuple[int, int]:
        """Return the number of the shard that has `row`, and the row in it."""
        return divmod(row, len(self.shards[0]))  # all but the last have the same length

    def rows(self, first: int) -> np.ndarray:
        """Return the rows of a batch that begins at `first`: no batch lies in two shards."""
        shard, row = self.locate(first)
        return self.shards[shard][row : row + self.spec["batch"]]


class RowWriter:
    """Writes rows into the shards: writing into a memory map would crash on a full disk."""

    def __init__(self, cache: FeatureCache):
        self.cache, self.shard = cache, -1
        self.file: IO[bytes] | None = None

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *error: object) -> None:
        if self.file:
            self.file.close()

    def write(self, first: int, features: np.ndarray) -> None:
        """Write a batch of rows, from `first` on."""
        number, row = self.cache.locate(first)
        shard = self.cache.shards[number]
        with readable_write_errors(self.cache.folder, CACHE_HINT):
            if number != self.shard or not self.file:
                self.sync()
                self.__exit__()
                self.shard, self.file = number, open(str(shard.filename), "r+b")  # noqa: SIM115
            self.file.seek(shard.offset + row * shard[0].nbytes)
            self.file.write(features.tobytes())

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        if self.file:
            with readable_write_errors(self.cache.folder, CACHE_HINT):
                self.file.flush()
                os.fsync(self.file.fileno())


def shard_files(folder: Path) -> list[Path]:
    """Return the files of features in a cache, in the order of their rows."""
    return sorted(folder.glob("features*.npy"))


def _open_shard(path: Path) -> np.memmap:
    stored = np.load(path, mmap_mode="c")  # never a pickle
    return stored if stored.ndim == 4 else stored[:, :, None]


def cache_key(
    encoder: EncoderCNN,
    photos: list[Photo],
    views: int,
    grid: bool,
    dtype: torch.dtype,
    out: Path | None = None,
) -> Spec:
    """Return all that the features depend on; its hash names their folder in `out`.

    Photos that have not changed since an earlier call with `out` are not read again.
    """
    names, paths = hashlib.sha256(), [photo.path for photo in photos]
    for path, found in zip(paths, checksums(paths, out), strict=True):
        line = f"{path.name}\0{found}\n"
        names.update(line.encode(errors="surrogatepass"))
    transform, scales = base_view(encoder, views)
    return {
        "backbone": encoder.backbone.name,
        "weights": encoder.backbone.fingerprint(with_pca=True),
        "transform": dataclasses.asdict(transform),
        "tta": list(scales) if len(scales) > 1 else bool(scales),
        "photos": names.hexdigest()[:16],
        "count": len(photos),
        "views": views,
        "grid": grid,
        "precision": str(dtype).removeprefix("torch."),
    }


def hash_of(spec: Spec) -> str:
    """Return 16 hex digits that name `spec`."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def open_or_create(folder: Path, spec: Spec, encoder: EncoderCNN) -> None:
    """Leave a cache for `spec` in `folder`: the existing one, finished or not, or an empty one."""
    remove_partial_files(folder)
    try:
        if FeatureCache(folder).spec == spec:
            return
        print(f"the features in {folder} belong to other photos; computing them again")
    except FileNotFoundError:
        pass
    except LOAD_ERRORS as error:
        message = short_message(error)
        print(f"the features in {folder} are broken ({message}); computing them again")
    transform, scales = base_view(encoder, spec["views"])
    _, size, height, width = encoder.backbone.map_size(transform.crop, scales)
    shape = (spec["count"], spec["views"], *([height * width] if spec["grid"] else []), size)
    require_space(folder, 2 * math.prod(shape))
    with readable_write_errors(folder, CACHE_HINT):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.json").unlink(missing_ok=True)  # no index: nothing in the arrays counts
        for path in shard_files(folder):
            path.unlink()
        for number, length in enumerate(shard_lengths(spec, 2 * math.prod(shape[1:]))):
            path = folder / f"features-{number:05}.npy"
            np.lib.format.open_memmap(path, "w+", np.float16, (length, *shape[1:])).flush()
    save_progress(folder, spec, 0, {})


def shard_lengths(spec: Spec, size: int) -> list[int]:
    """Return the number of photos in each shard, of `size` bytes a photo: whole batches."""
    count, batch = spec["count"], spec["batch"]
    length = max(1, SHARD_BYTES // (size * batch)) * batch
    return [min(length, count - first) for first in range(0, count, length)]


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
