"""What the frozen network sees in each photo, computed once and kept on disk.

    extract(encoder, dataset, out, views=1)   runs the network, or finds that it was done
    FeatureStore                              the result: float16, memory-mapped, (N, views, P, D)

The network is frozen, so its answer for a photo never changes: 5 captions x 20 epochs would ask
the same question 100 times. View 0 is the whole photo; views 1, 2, ... are random crops, mirrored
or not, chosen once for each (photo, view), so augmentation survives the cache.

A store lives in `out/<fingerprint>/`: `features.npy` and `index.json` (which photos, network,
transform, precision). Another network or transform has another fingerprint, so stale features are
never used. Safe to delete. Several processes (distributed.py) fill one store together.
"""

import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import distributed
from backbones import as_grid, maps_of
from data_loader import CaptionSet, Photo
from distrust import BROKEN, one_line
from model import EncoderCNN
from photos import PhotoTransform, read_photo
from saving import told
from speed import fast_dtype, fast_network, in_parallel, pick_device
from vocabulary import read_json, write_atomically

SAVE_EVERY = 32  # batches between notes of how far extraction has come


def transform_of(encoder: EncoderCNN, train: bool = False) -> PhotoTransform:
    """The transform that the encoder's weights expect, deterministic unless `train`."""
    sizes = encoder.backbone.train_transform if train else encoder.backbone.transform
    return PhotoTransform(**{**sizes, "train": train})


def first_view(encoder: EncoderCNN, views: int) -> tuple[PhotoTransform, bool]:
    """The transform of view 0, and whether there is a second look: as in use, if it is alone.

    Among several it is one of them, as large as the windows of the others.
    """
    if views == 1:
        return transform_of(encoder), encoder.backbone.second_look
    return dataclasses.replace(transform_of(encoder, train=True), train=False), False


class FeatureStore:
    """Features of one split; row i belongs to photo i.

    array       (N, views, P, D) float16 on disk; pages are read when touched
    unreadable  {row: why} for photos that could not be read; their features mean nothing
    """

    def __init__(self, folder: Path):
        index = read_json(folder / "index.json")
        self.folder, self.job = folder, index["job"]
        self.done = int(index["done"])
        self.unreadable = {int(row): why for row, why in index["unreadable"].items()}
        stored = np.load(folder / "features.npy", mmap_mode="r")  # never a pickle
        self.array = stored if stored.ndim == 4 else stored[:, :, None]

    def __len__(self) -> int:
        return len(self.array)

    @property
    def views(self) -> int:
        return self.array.shape[1]

    def resident(self, device: torch.device, limit: float = 0.5) -> Tensor:
        """The array as one tensor: on the GPU where it takes at most `limit` of the free memory.

        Elsewhere it stays the memory map, of which batches touch only what they need.
        """
        if device.type == "cuda" and self.array.nbytes < limit * torch.cuda.mem_get_info()[0]:
            return torch.from_numpy(np.asarray(self.array)).to(device)
        writable = np.load(self.folder / "features.npy", mmap_mode="c")  # private: disk unharmed
        return torch.from_numpy(writable.reshape(self.array.shape))


def describe(
    encoder: EncoderCNN, photos: list[Photo], views: int, grid: bool, dtype: torch.dtype
) -> dict:
    """All that the features depend on; its hash names their folder."""
    names = hashlib.sha256()
    for photo in photos:
        size = photo.path.stat().st_size if photo.path.is_file() else -1
        names.update(f"{photo.path.name}\0{size}\n".encode())
    transform, second_look = first_view(encoder, views)
    return {
        "backbone": encoder.backbone.name,
        "weights": encoder.backbone.fingerprint(with_pca=True),
        "transform": dataclasses.asdict(transform),
        **({"second_look": True} if second_look else {}),
        "photos": names.hexdigest()[:16],
        "count": len(photos),
        "views": views,
        "grid": grid,
        "precision": str(dtype).removeprefix("torch."),
    }


def extract(
    encoder: EncoderCNN,
    dataset: CaptionSet,
    out: str | os.PathLike,
    views: int = 1,
    grid: bool = False,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    precision: str = "auto",
) -> FeatureStore:
    """The features of every photo of `dataset`, computed unless they are in `out` already.

    grid        keep all P places (N, views, P, D) rather than their average (N, views, D)
    batch_size  images given to the network at once (16, on a GPU 256); part of what makes the
                result repeatable
    precision   "auto" (bfloat16 where it is fast) or "float32"

    An interrupted extraction goes on where it stopped, with the same bytes in the end, whatever the
    number of processes. A photo that cannot be read is reported and left out. Memory does not grow
    with the number of photos.
    """
    if views < 1:
        raise ValueError(f"views counts looks at each photo; {views} must be 1 or more.")
    device = torch.device(device) if device != "auto" else pick_device()
    dtype = fast_dtype(device) if precision == "auto" else torch.float32
    job = describe(encoder, dataset.photos, views, grid, dtype)
    batch_size = batch_size or (16 if device.type == "cpu" else 256)
    job["batch"] = max(1, batch_size // views)  # photos a step: a photo is decoded once
    folder = Path(out) / hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]
    distributed.agree(job, "photos and network")
    if distributed.rank() == 0:
        open_or_create(folder, job, encoder)
    distributed.gather("ready")
    store = FeatureStore(folder)
    if store.done < len(store):
        fill(store, encoder, dataset.photos, device, dtype)
        store = FeatureStore(folder)
    if store.unreadable and distributed.rank() == 0:
        first = next(iter(store.unreadable.values()))
        print(f"left out {len(store.unreadable)} unreadable photos, the first: {first}")
    return store


def open_or_create(folder: Path, job: dict, encoder: EncoderCNN) -> None:
    """Leaves a store in `folder`: what is there, finished or begun, or a new one."""
    for half in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
        half.unlink(missing_ok=True)
    try:
        store = FeatureStore(folder)
        if store.job == job and len(store) == job["count"]:
            return
        print(f"the features in {folder} belong to another job; computing them anew")
    except FileNotFoundError:
        pass
    except BROKEN as error:
        print(f"the features in {folder} are broken ({one_line(error)}); computing them anew")
    transform, second_look = first_view(encoder, job["views"])
    _, size, high, wide = encoder.backbone.map_size(transform.crop, second_look)
    shape = (job["count"], job["views"], *([high * wide] if job["grid"] else []), size)
    with told(folder / "features.npy"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.json").unlink(missing_ok=True)  # no index: nothing in the array counts
        np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, shape).flush()
    note_progress(folder, job, 0, {})


def note_progress(folder: Path, job: dict, done: int, unreadable: dict[int, str]) -> None:
    with write_atomically(folder / "index.json", "w") as file:
        json.dump({"job": job, "done": done, "unreadable": unreadable}, file, indent=1)


def fill(
    store: FeatureStore,
    encoder: EncoderCNN,
    photos: list[Photo],
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Computes the rows from `store.done` on, in the same batches whether interrupted or not.

    Of several processes each takes every n-th batch; how far all are is noted together.
    """
    job, unreadable = store.job, dict(store.unreadable)
    views, step = job["views"], job["batch"]
    (plain, second_look), varied = first_view(encoder, views), transform_of(encoder, train=True)
    network = fast_network(encoder.backbone.network, device, dtype, len(photos) * views)
    together = step * distributed.world()  # photos in one round of all processes
    rounds = range(store.done, len(photos), together)

    def mine(start: int) -> range:
        """The rows of this process in the round that begins at `start`."""
        first = start + step * distributed.rank()
        return range(first, min(first + step, len(photos)))

    def look(row: int) -> Tensor | str:
        try:
            photo = read_photo(photos[row].path, at_least=plain.enough)
        except (OSError, ValueError) as error:
            return str(error)
        cuts = [plain.cut(photo)]
        cuts += [varied.cut(photo, (photos[row].path.name, view)) for view in range(1, views)]
        return torch.stack(cuts)  # (views, 3, crop, crop) uint8

    def compute(rows: range, looks: Iterator[Tensor | str]) -> np.ndarray:
        """(rows, views, ...) float16; a photo that cannot be read counts as black."""
        pixels = torch.zeros(step, views, 3, plain.crop, plain.crop, dtype=torch.uint8)
        for place, row in enumerate(rows):
            seen = next(looks)
            if isinstance(seen, str):
                unreadable[row] = seen
            else:
                pixels[place] = seen
        images = plain.normalize(pixels.flatten(0, 1).to(device))  # always the same shape
        maps = maps_of(network, images, second_look)
        result = as_grid(maps, job["grid"]).half().cpu().numpy()
        return result.reshape(step, views, -1)[: len(rows)]

    began = shown = time.monotonic()
    looks, noted = in_parallel(look, (row for start in rounds for row in mine(start))), 0
    path = store.folder / "features.npy"
    with open(path, "r+b") as file:  # a full disk would kill who writes to a memory map
        for number, start in enumerate(rounds, 1):
            rows, done = mine(start), min(start + together, len(photos))
            result = compute(rows, looks) if rows else np.empty(0)
            with told(path):
                file.seek(store.array.offset + rows.start * store.array[0].nbytes)
                file.write(result.tobytes())
            if number - noted >= SAVE_EVERY or done == len(photos):
                with told(path):
                    file.flush()
                    os.fsync(file.fileno())
                for others in distributed.gather(unreadable):
                    unreadable |= others
                if distributed.rank() == 0:
                    note_progress(store.folder, job, done, dict(sorted(unreadable.items())))
                noted = number
            now = time.monotonic()
            if (now - shown > 5 and sys.stderr.isatty()) or done == len(photos):
                rate = (done - store.done) / (now - began)
                left = (len(photos) - done) / rate
                if distributed.rank() == 0:
                    print(f"features {done}/{len(photos)}, {rate:.0f} photos/s, {left:.0f} s left")
                shown = now
    distributed.gather("noted")
