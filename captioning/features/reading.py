"""Read the features of a batch: from a GPU, from memory, or from a disk in an order that suits it.

    ConcatenatedFeatures(caches)   all shards of all folders under one row number
    GroupFeatures(parts)           the same of several encoders, for the same photos
    feature_order(features)        "random" where they fit into memory, else "shards"
    plan_windows(...)              the batches of an epoch in the order "shards"
    read_windows(...)              yields each batch with its features

Cached features are memory-mapped: the system reads a page when it is touched, and keeps it while
there is room. Beyond the memory every batch of random photos would wait for the disk, which reads
random pages at a tenth of its speed. So the order "shards" takes photos in blocks of neighbors:
the blocks are shuffled, then the captions of a few blocks together, a window. A window is read
once, in the order of the files, while the one before it is used.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from captioning import distributed
from captioning.data.batching import bucket_windows
from captioning.device import free_memory, prefetch
from captioning.features.cache import FeatureCache
from model import Grid, join_grids

WINDOW = 512 << 20  # bytes of features in a window; two are in memory
BLOCKS = 32  # in a window
LIMIT = 0.8  # fraction of the free memory that features may take
GPU_LIMIT = 0.5  # the same of a GPU


class ConcatenatedFeatures:
    """The features of several folders under one row number: (N, views, P, D) each, N added up."""

    def __init__(self, caches: list[FeatureCache], device: torch.device):
        shards = [torch.from_numpy(shard) for cache in caches for shard in cache.shards]
        size = sum(shard.nbytes for shard in shards)
        if device.type == "cuda" and size < GPU_LIMIT * torch.cuda.mem_get_info()[0]:
            shards = [shard.to(device) for shard in shards]
        self._join(shards, device)

    def _join(self, shards: list[Tensor], device: torch.device) -> None:
        self.shards, self.device, self.views = shards, device, shards[0].shape[1]
        self.ends = torch.tensor([len(shard) for shard in shards]).cumsum(0)
        self.nbytes = sum(shard.nbytes for shard in shards)

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def is_on_gpu(self) -> bool:
        return self.shards[0].is_cuda

    def gather_rows(self, rows: Tensor, views: Tensor) -> Tensor:
        """rows (B,) of photos, views (B,), both on the CPU -> (B, P, D) on the device"""
        grid = self._read(rows, views)
        if grid.device != self.device and self.device.type == "cuda":
            grid = grid.pin_memory()  # so that the copy does not wait
        return grid.to(self.device, non_blocking=True)

    def subset(self, rows: Tensor, views: Tensor) -> "ConcatenatedFeatures":
        """Return features (R, 1, P, D) in memory: row i is view `views[i]` of photo `rows[i]`."""
        part = object.__new__(ConcatenatedFeatures)
        part._join([self._read(rows, views)[:, None]], self.device)
        return part

    def _read(self, rows: Tensor, views: Tensor) -> Tensor:
        """Return (B, P, D) on the device that holds the features."""
        shard_of = torch.bucketize(rows.contiguous(), self.ends, right=True)
        numbers, like = shard_of.unique().tolist(), self.shards[0]
        if len(numbers) == 1:
            return self._index(numbers[0], rows, views)
        grid = torch.empty(len(rows), *like.shape[2:], dtype=like.dtype, device=like.device)
        for number in numbers:  # from each shard the rows that it has
            here = (shard_of == number).nonzero()[:, 0]
            grid[here.to(like.device)] = self._index(number, rows[here], views[here])
        return grid

    def _index(self, number: int, rows: Tensor, views: Tensor) -> Tensor:
        shard = self.shards[number]
        first = self.ends[number] - len(shard)
        return shard[(rows - first).to(shard.device), views.to(shard.device)]


class GroupFeatures:
    """The features of each encoder of a group for the same photos; of one encoder, just its own."""

    def __init__(self, parts: list[ConcatenatedFeatures]):
        self.parts, self.views = parts, parts[0].views
        self.nbytes = sum(part.nbytes for part in parts)
        self.is_on_gpu = all(part.is_on_gpu for part in parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    def gather_rows(self, rows: Tensor, views: Tensor) -> Grid:
        """rows (B,) of photos, views (B,), both on the CPU -> (B, P, D) on the device, of each"""
        return join_grids(part.gather_rows(rows, views) for part in self.parts)

    def subset(self, rows: Tensor, views: Tensor) -> "GroupFeatures":
        return GroupFeatures([part.subset(rows, views) for part in self.parts])


def feature_order(features: GroupFeatures) -> str:
    """Return "shards" where the features do not fit into some process's memory, else "random"."""
    free, on_gpu = free_memory(), features.is_on_gpu
    if not any(distributed.all_gather(not on_gpu and features.nbytes > LIMIT * free)):
        return "random"
    if distributed.rank() == 0:
        size, room = (f"{number / 1e9:.1f} GB" for number in (features.nbytes, free))
        found = f"the features ({size}) do not fit into memory ({room} free)"
        print(f"{found}: photos are read shard by shard")
    return "shards"


def plan_windows(
    features: GroupFeatures,
    photo_index: Tensor,
    lengths: Tensor,
    batch_size: int,
    seed: int,
    first: int = 0,
) -> list[list[Tensor]]:
    """Return the batches of an epoch from batch `first` on, in windows.

    photo_index, lengths  (N,) of each caption

    The plan follows from its arguments alone, not from the memory of this machine.
    """
    photos = max(1, WINDOW * len(features) // features.nbytes)
    block_of = photo_index // max(1, photos // BLOCKS)
    batches = max(1, photos * len(lengths) // len(features) // batch_size)
    windows = bucket_windows(lengths, batch_size, seed, block_of, batches * batch_size)
    windows = windows[first // batches :]
    return [windows[0][first % batches :], *windows[1:]] if windows else []


def read_windows(
    features: GroupFeatures,
    photo_index: Tensor,
    views: Tensor,
    windows: list[list[Tensor]],
) -> Iterator[tuple[Tensor, Grid]]:
    """Yield the rows of each batch, and the grid (B, P, D) of this process's part of it.

    photo_index, views  (N,) of each caption

    A thread reads the next window while the caller uses this one.
    """

    def read(window: list[Tensor]) -> tuple[GroupFeatures, tuple[Tensor, ...]]:
        parts = [distributed.shard(rows) for rows in window]
        mine = torch.cat(parts)
        keys = photo_index[mine] * features.views + views[mine]
        wanted, places = keys.unique(return_inverse=True)  # sorted, and each once
        part = features.subset(wanted // features.views, wanted % features.views)
        return part, places.split([len(rows) for rows in parts])

    for window, (part, places) in zip(windows, prefetch(map(read, windows), 1), strict=True):
        for rows, place in zip(window, places, strict=True):
            yield rows, part.gather_rows(place, torch.zeros_like(place))
