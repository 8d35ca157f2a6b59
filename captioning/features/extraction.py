"""Run the frozen network over photos, once, into a cache that an interruption cannot harm.

    extract_features(encoder, dataset, out)   the features of every photo; computed if not there
    fill_cache(cache, ...)                    computes the rows that are missing

Several processes of one run (distributed.py) fill a cache together; another run that needs the same
cache at the same time waits for it.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from captioning import distributed
from captioning.data.coco import CaptionSet, Photo
from captioning.device import compute_dtype, get_device, parallel_map
from captioning.features.cache import (
    CACHE_HINT,
    FeatureCache,
    RowWriter,
    cache_key,
    hash_of,
    open_or_create,
    save_progress,
    transform_of,
)
from captioning.features.fast_network import FastBackbone
from captioning.features.views import GpuViewReader, ViewReader
from captioning.files import PathLike, exclusive, readable_write_errors
from captioning.safe_load import LOAD_ERRORS
from captioning.text import plural
from model import EncoderCNN

__all__ = ["FeatureCache", "extract_features", "transform_of"]
SAVE_EVERY = 32  # batches between two records of the progress


def extract_features(
    encoder: EncoderCNN,
    dataset: CaptionSet,
    out: PathLike,
    views: int = 1,
    grid: bool = False,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    precision: str = "auto",
    jpeg_decoder: str = "cpu",
) -> FeatureCache:
    """Return the features of every photo of `dataset`, computed unless `out` has them already.

    grid        keep all P places (N, views, P, D) rather than their mean (N, views, 1, D)
    batch_size  images given to the network at once (16; on a GPU 256); part of what makes the
                result repeatable
    precision   "auto" (bfloat16 where it is fast) or "float32"
    jpeg_decoder  "cpu", or "gpu": JPEG files are decoded on `device`, other rounding included

    An interrupted extraction continues where it stopped, with the same bytes in the end, whatever
    the number of processes. A photo that cannot be read is reported and left out. Memory does not
    grow with the number of photos. Raises ValueError where `views` is below 1.
    """
    if views < 1:
        raise ValueError(f"views must be 1 or more, not {views}.")
    device = get_device(device) if isinstance(device, str) else device
    dtype = compute_dtype(device) if precision == "auto" else torch.float32
    spec = cache_key(encoder, dataset.photos, views, grid, dtype, Path(out))
    batch_size = batch_size or (16 if device.type == "cpu" else 256)
    if jpeg_decoder == "gpu":
        spec["jpeg_decoder"] = jpeg_decoder
    spec["batch"] = max(1, batch_size // views)  # photos a step: each is decoded once for all views
    folder = Path(out) / hash_of(spec)
    distributed.check_in_sync(spec, "photos and network")
    with one_run_at_a_time(folder):
        if distributed.rank() == 0:
            open_or_create(folder, spec, encoder)
            if not grid:
                fill_from_grid(folder, Path(out) / hash_of(spec | {"grid": True}))
        distributed.all_gather("ready")
        cache = FeatureCache(folder)
        if not cache.is_complete:
            fill_cache(cache, encoder, dataset.photos, device, dtype)
            cache = FeatureCache(folder)
    if cache.unreadable and distributed.rank() == 0:
        first = next(iter(cache.unreadable.values()))
        print(f"left out {plural(len(cache.unreadable), 'unreadable photo')}, the first: {first}")
    return cache


@contextlib.contextmanager
def one_run_at_a_time(folder: Path) -> Iterator[None]:
    """Let one run fill the cache in `folder`; another one waits, and then finds it complete."""
    if distributed.rank() or _load_complete(folder):
        yield  # nothing to write
        return
    waiting = f"waiting for another run, which computes the features in {folder}"
    with contextlib.ExitStack() as stack:
        with readable_write_errors(folder, CACHE_HINT):
            lock_file = folder.parent / f".{folder.name}.lock"
            stack.enter_context(exclusive(lock_file, waiting))
        yield


def _load_complete(folder: Path) -> FeatureCache | None:
    try:
        cache = FeatureCache(folder)
    except OSError:
        return None
    except LOAD_ERRORS:
        return None
    return cache if cache.is_complete else None


def fill_from_grid(folder: Path, grid_folder: Path) -> None:
    """Fill a pooled cache with the means over a finished cache of all places, if there is one."""
    cache, grid_cache = FeatureCache(folder), _load_complete(grid_folder)
    if cache.is_complete or grid_cache is None:
        return
    with RowWriter(cache) as writer:
        for first in range(0, len(cache), cache.spec["batch"]):
            places = torch.from_numpy(grid_cache.rows(first)).float()  # (B, views, P, D)
            writer.write(first, places.mean(dim=2).half().numpy())
        writer.sync()
    save_progress(folder, cache.spec, len(cache), grid_cache.unreadable)


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
    spec, unreadable = cache.spec, dict(cache.unreadable)
    views, step = spec["views"], spec["batch"]
    on_gpu = spec.get("jpeg_decoder") == "gpu"
    reader = (
        GpuViewReader(encoder, photos, views, device)
        if on_gpu
        else ViewReader(encoder, photos, views)
    )
    backbone = FastBackbone(
        encoder.backbone, device, dtype, step * views, len(photos) * views, reader.scales
    )
    rounds = own_batches(cache.done, len(photos), step)
    read_ahead = parallel_map(reader, [row for rows in rounds for row in rows])
    progress, saved = Progress(cache.done, len(photos)), 0
    with RowWriter(cache) as writer:
        for number, rows in enumerate(rounds, 1):
            done = min(cache.done + number * step * distributed.world_size(), len(photos))
            crops = list(reader.batch(rows, read_ahead, unreadable))
            if crops:
                images = reader.base.normalize(torch.cat(crops).to(device))
                features = backbone(images, spec["grid"]).half().cpu().numpy()
                writer.write(rows.start, features)
            if number - saved >= SAVE_EVERY or done == len(photos):
                writer.sync()
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
