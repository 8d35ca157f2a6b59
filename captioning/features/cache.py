"""The features of every photo, computed once by the frozen network and kept on disk.

    extract_features(encoder, dataset, out)   runs the network, or finds that it already ran
    FeatureCache                              the result: float16, memory-mapped (N, views, P, D)

The network is frozen, so a photo's features never change: 5 captions x 20 epochs would compute
them 100 times. View 0 is the whole photo; views 1, 2, ... are random crops, some of them mirrored,
chosen once for each (photo, view), so augmentation survives the cache.

A cache lives in `out/<key>/`: `features.npy` and `index.json` (photos, network, transform,
precision). Another network or transform has another key, so stale features are never used. Safe to
delete. Several processes (distributed.py) fill one cache together.
"""

import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captioning import distributed
from captioning.data.coco import CaptionSet, Photo
from captioning.data.photos import PhotoTransform, read_photo
from captioning.device import compute_dtype, get_device, parallel_map
from captioning.features.fast_network import FastBackbone
from captioning.files import (
    PathLike,
    atomic_write,
    read_json,
    readable_write_errors,
    remove_partial_files,
    short_message,
)
from captioning.safe_load import LOAD_ERRORS
from model import EncoderCNN

SAVE_EVERY = 32  # batches between two records of the progress
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
        size = photo.path.stat().st_size if photo.path.is_file() else -1
        names.update(f"{photo.path.name}\0{size}\n".encode())
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


def hash_of(spec: Spec) -> str:
    """Return 16 hex digits that name `spec`."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def extract_features(
    encoder: EncoderCNN,
    dataset: CaptionSet,
    out: PathLike,
    views: int = 1,
    grid: bool = False,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    precision: str = "auto",
) -> FeatureCache:
    """Return the features of every photo of `dataset`, computed unless `out` has them already.

    grid        keep all P places (N, views, P, D) rather than their mean (N, views, 1, D)
    batch_size  images given to the network at once (16; on a GPU 256); part of what makes the
                result repeatable
    precision   "auto" (bfloat16 where it is fast) or "float32"

    An interrupted extraction continues where it stopped, with the same bytes in the end, whatever
    the number of processes. A photo that cannot be read is reported and left out. Memory does not
    grow with the number of photos. Raises ValueError where `views` is below 1.
    """
    if views < 1:
        raise ValueError(f"views must be 1 or more, not {views}.")
    device = get_device(device) if isinstance(device, str) else device
    dtype = compute_dtype(device) if precision == "auto" else torch.float32
    spec = cache_key(encoder, dataset.photos, views, grid, dtype)
    batch_size = batch_size or (16 if device.type == "cpu" else 256)
    spec["batch"] = max(1, batch_size // views)  # photos a step: each is decoded once for all views
    folder = Path(out) / hash_of(spec)
    distributed.check_in_sync(spec, "photos and network")
    if distributed.rank() == 0:
        open_or_create(folder, spec, encoder)
    distributed.all_gather("ready")
    cache = FeatureCache(folder)
    if cache.done < len(cache):
        fill_cache(cache, encoder, dataset.photos, device, dtype)
        cache = FeatureCache(folder)
    if cache.unreadable and distributed.rank() == 0:
        first = next(iter(cache.unreadable.values()))
        print(f"left out {len(cache.unreadable)} unreadable photos, the first: {first}")
    return cache


def open_or_create(folder: Path, spec: Spec, encoder: EncoderCNN) -> None:
    """Leave a cache for `spec` in `folder`: the one found there, finished or not, or an empty one."""
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
    with readable_write_errors(folder / "features.npy"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.json").unlink(missing_ok=True)  # no index: nothing in the array counts
        np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, shape).flush()
    save_progress(folder, spec, 0, {})


def save_progress(folder: Path, spec: Spec, done: int, unreadable: dict[int, str]) -> None:
    """Record in index.json that the first `done` rows are complete."""
    with atomic_write(folder / "index.json", "w") as file:
        json.dump({"spec": spec, "done": done, "unreadable": unreadable}, file, indent=1)


class ViewReader:
    """Row of a photo -> its views (views, 3, crop, crop) uint8, or why it cannot be read."""

    def __init__(self, encoder: EncoderCNN, photos: list[Photo], views: int):
        self.photos, self.views = photos, views
        self.base, self.tta = base_view(encoder, views)
        self.random = transform_of(encoder, train=True)

    def __call__(self, row: int) -> Tensor | str:
        path = self.photos[row].path
        try:
            photo = read_photo(path, min_side=self.base.min_side)
        except (OSError, ValueError) as error:
            return str(error)
        crops = [self.base.resize_and_crop(photo)]
        crops += [
            self.random.resize_and_crop(photo, (path.name, view)) for view in range(1, self.views)
        ]
        return torch.stack(crops)

    def black(self) -> Tensor:
        """Return what stands for a photo that cannot be read."""
        return torch.zeros(self.views, 3, self.base.crop, self.base.crop, dtype=torch.uint8)


def fill_cache(
    cache: FeatureCache,
    encoder: EncoderCNN,
    photos: list[Photo],
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Compute the rows from `cache.done` on, in the same batches whether interrupted or not.

    Of several processes each computes every n-th batch; their progress is recorded together.
    """
    spec, unreadable, path = cache.spec, dict(cache.unreadable), cache.folder / "features.npy"
    views, step = spec["views"], spec["batch"]
    reader = ViewReader(encoder, photos, views)
    backbone = FastBackbone(
        encoder.backbone, device, dtype, step * views, len(photos) * views, reader.tta
    )
    rounds = own_batches(cache.done, len(photos), step)
    read_ahead = parallel_map(reader, [row for rows in rounds for row in rows])
    progress, saved = Progress(cache.done, len(photos)), 0
    with open(path, "r+b") as file:  # writing into a memory map would crash on a full disk
        for number, rows in enumerate(rounds, 1):
            done = min(cache.done + number * step * distributed.world_size(), len(photos))
            crops = list(read_views(rows, read_ahead, reader, unreadable))
            with readable_write_errors(path):
                if crops:
                    images = reader.base.normalize(torch.cat(crops).to(device))
                    features = backbone(images, spec["grid"]).half().cpu().numpy()
                    file.seek(cache.array.offset + rows.start * cache.array[0].nbytes)
                    file.write(features.tobytes())
            if number - saved >= SAVE_EVERY or done == len(photos):
                with readable_write_errors(path):
                    file.flush()
                    os.fsync(file.fileno())
                for others in distributed.all_gather(unreadable):
                    unreadable |= others
                if distributed.rank() == 0:
                    save_progress(cache.folder, spec, done, dict(sorted(unreadable.items())))
                saved = number
            progress.show(done)
    distributed.all_gather("saved")


def own_batches(first: int, count: int, step: int) -> list[range]:
    """Return this process's rows in each round of all processes, from row `first` on."""
    together = step * distributed.world_size()
    starts = [start + step * distributed.rank() for start in range(first, count, together)]
    return [range(start, max(start, min(start + step, count))) for start in starts]


def read_views(
    rows: range, read_ahead: Iterator[Tensor | str], reader: ViewReader, unreadable: dict[int, str]
) -> Iterator[Tensor]:
    """Yield the views of each row; a photo that cannot be read is noted, and counts as black."""
    for row in rows:
        crops = next(read_ahead)
        if isinstance(crops, str):
            unreadable[row] = crops
            crops = reader.black()
        yield crops


class Progress:
    """Prints how far an extraction is: every five seconds on a terminal, and at its end."""

    def __init__(self, first: int, count: int):
        self.first, self.count = first, count
        self.began = self.shown = time.monotonic()

    def show(self, done: int) -> None:
        now = time.monotonic()
        if done < self.count and not (now - self.shown > 5 and sys.stderr.isatty()):
            return
        rate = (done - self.first) / (now - self.began)
        left = (self.count - done) / rate
        if distributed.rank() == 0:
            print(f"features {done}/{self.count}, {rate:.0f} photos/s, {left:.0f} s left")
        self.shown = now
