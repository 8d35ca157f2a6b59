"""The batches of an epoch: from cached features, or from the photos themselves.

    CachedLoader   features by index; no file is opened, no photo decoded
    PhotoLoader    photos decoded in every epoch, for a backbone that is trained

Both loaders answer the same two questions: `epoch(number)` yields (inputs, captions, share), every
caption once; `photos()` yields (ids, inputs), every photo once. `to_grid(inputs)` is the grid
(B, P, D) of the backbone, `encode(inputs)` are features, one row for each caption (R, P, E) or for
each image, of which R / B captions follow each other: the training loop need not know which loader
it has.

Captions may be packed more than once (`passes`): the photos then come as often in an epoch.

The batches of an epoch follow from its number and the seed alone. Of several processes each yields
its share of every batch; together they see what one process would have seen. Features that do not
fit into memory are read shard by shard (features/reading.py).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captioning import distributed
from captioning.data.batching import bucket_batches, photo_batches
from captioning.data.coco import CaptionSet, ImageId, Photo
from captioning.data.photos import PhotoTransform, read_photo
from captioning.device import device_of
from captioning.distributed import BatchShare, share_of
from captioning.features.cache import FeatureCache, transform_of
from captioning.features.reading import (
    ConcatenatedFeatures,
    GroupFeatures,
    feature_order,
    plan_windows,
    read_windows,
)
from captioning.training.config import TrainConfig
from data_loader import PackedCaptions, Transform
from model import Encoder, EncoderCNN, Grid, join_grids, split_grid

VALIDATION_BATCH = 250  # photos at once in validation

Batch = tuple[Any, Tensor, BatchShare]  # inputs, captions (R, T), share of the batch
Key = tuple[int, int]  # epoch, row of a photo


def photos_of_epoch(captions: CaptionSet, packed: PackedCaptions) -> Tensor:
    """Return the rows of the photos of an epoch: each that has captions, as often as they came."""
    packed_captions = torch.bincount(packed.photo_index, minlength=len(captions.photos))
    own = torch.bincount(torch.tensor(captions.photo_index), minlength=len(captions.photos))
    return torch.arange(len(own)).repeat_interleave(packed_captions // own.clamp(min=1))


class CachedLoader:
    """Grid (B, P, D) and captions (R, T) by indexing two tensors: no Python for each caption.

    R is B, or n times as much: `captions_together` captions of a photo follow each other.

    caches  of each encoder in `encoder.parts` one for each folder
    """

    def __init__(
        self,
        captions: CaptionSet,
        packed: PackedCaptions,
        caches: list[list[FeatureCache]],
        encoder: Encoder,
        config: TrainConfig,
    ):
        self.captions, self.encoder, self.config = captions, encoder, config
        self.device = device_of(encoder)
        self.packed = packed.to(self.device)
        self.features = GroupFeatures([ConcatenatedFeatures(part, self.device) for part in caches])
        self.readable = sorted(set(captions.photo_index))
        if config.feature_order == "auto":
            config.feature_order = feature_order(self.features)

    def steps(self) -> int:
        """Return the number of batches of an epoch."""
        if self.is_by_photo:
            return len(self._photo_batches(seed=0))
        return -(-len(self.packed) // self.config.batch_size)

    @property
    def is_by_photo(self) -> bool:
        return self.config.captions_together > 1 and self.config.feature_order == "random"

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, from batch `first` on."""
        seed = self.config.seed + number
        generator = torch.Generator().manual_seed(seed)
        views = torch.randint(self.features.views, (len(self.packed),), generator=generator)
        for rows, grid in self._read(seed, first, views):
            batch, mine = rows.flatten(), distributed.shard(rows).flatten()
            captions = self.packed.batch(batch).view(*rows.shape, -1)  # (B, n, T)
            share = share_of(self.packed.lengths[mine], self.packed.lengths[batch])
            yield grid, distributed.shard(captions).flatten(0, 1), share

    def _read(self, seed: int, first: int, views: Tensor) -> Iterator[tuple[Tensor, Grid]]:
        """Yield the rows (B, n) of each batch, and the grid of this process's part of it."""
        size, photos, lengths = self.config.batch_size, self.packed.photo_index, self.packed.lengths
        if self.config.feature_order == "shards":
            windows = plan_windows(self.features, photos, lengths, size, seed, first)
            for rows, grid in read_windows(self.features, photos, views, windows):
                yield rows[:, None], grid
            return
        if self.is_by_photo:
            batches = self._photo_batches(seed)
        else:
            batches = [rows[:, None] for rows in bucket_batches(lengths, size, seed)]
        for rows in batches[first:]:
            mine = distributed.shard(rows)[:, 0]  # of a photo's captions the first
            yield rows, self.features.gather_rows(photos[mine], views[mine])

    def _photo_batches(self, seed: int) -> list[Tensor]:
        size, together = self.config.batch_size, self.config.captions_together
        return photo_batches(
            self.packed.photo_index, self.packed.lengths, size, seed, min(together, size)
        )

    def photos(self, first: int = 0, every: int = 1) -> Iterator[tuple[list[ImageId], Grid]]:
        """Yield the base view of every photo, or of each `every`-th from `first` on."""
        for rows in torch.tensor(self.readable[first::every]).split(VALIDATION_BATCH):
            ids = [self.captions.photos[row].id for row in rows.tolist()]
            yield ids, self.features.gather_rows(rows, torch.zeros_like(rows))

    def to_grid(self, inputs: Grid) -> Grid:
        return join_grids(grid.float() for grid in split_grid(inputs))

    def encode(self, inputs: Grid) -> Tensor:
        return self.encoder.embed(self.to_grid(inputs))


class ImageLoader:
    """Batches of images (B, 3, H, W), decoded by worker processes that stay alive."""

    def __init__(self, photos: list[Photo], transform: Transform, num_workers: int):
        self.keys: list[list[Key]] = []
        self.loader = DataLoader(
            ImageDataset(photos, transform),
            batch_sampler=self.keys,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),  # its own: dropout must not depend on the loader
        )

    def load(self, keys: list[list[Key]]) -> Iterator[Tensor]:
        """Yield the images of each batch of (epoch, row of the photo)."""
        self.keys[:] = keys
        yield from self.loader


class ImageDataset(Dataset):
    """The image of (epoch, row of the photo): a random crop depends on both."""

    def __init__(self, photos: list[Photo], transform: Transform):
        self.photos, self.transform = photos, transform

    def __getitem__(self, key: Key) -> Tensor:
        path = self.photos[key[1]].path
        if isinstance(self.transform, PhotoTransform):
            return self.transform(read_photo(path, self.transform.min_side), seed=key)
        return self.transform(read_photo(path))


class PhotoBatch(NamedTuple):
    """Images (B, 3, H, W), and for each caption the number (R,) of its image."""

    images: Tensor
    image_of: Tensor


class PhotoLoader:
    """Images and captions, read from the photos by `num_workers` processes.

    A batch is all captions of a few photos, about `batch_size` of them: each photo is decoded and
    encoded once an epoch, not once for every caption.
    """

    def __init__(
        self,
        captions: CaptionSet,
        packed: PackedCaptions,
        encoder: EncoderCNN,
        config: TrainConfig,
        augment: bool,
        transform: Transform | None = None,
    ):
        self.captions, self.packed, self.config, self.encoder = captions, packed, config, encoder
        self.device = device_of(encoder)
        self.readable = sorted(set(captions.photo_index))
        self.rows_of: dict[int, list[int]] = {photo: [] for photo in self.readable}
        for row, photo in enumerate(captions.photo_index):
            self.rows_of[photo].append(row)
        self.photos_of_epoch = photos_of_epoch(captions, packed)
        per_photo = len(captions.captions) / len(self.readable)
        self.photos_per_batch = max(1, round(config.batch_size / per_photo))
        transform = transform or transform_of(encoder, train=augment)
        self.training = ImageLoader(captions.photos, transform, config.num_workers)
        self.evaluation = ImageLoader(captions.photos, transform_of(encoder), config.num_workers)

    def steps(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self.photos_of_epoch) // self.photos_per_batch)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, from batch `first` on."""
        generator = torch.Generator().manual_seed(self.config.seed + number)
        order = torch.randperm(len(self.photos_of_epoch), generator=generator)
        photos = self.photos_of_epoch[order].split(self.photos_per_batch)[first:]
        shards = [distributed.shard(batch).tolist() for batch in photos]
        keys = [
            [(number, photo) for photo in mine or batch[:1].tolist()]
            for mine, batch in zip(shards, photos, strict=True)
        ]
        for batch, mine, images in zip(photos, shards, self.training.load(keys), strict=True):
            rows, image_of = self._captions_of(batch.tolist())
            own, image_of = self._captions_of(mine)
            captions = self.packed.batch(torch.tensor(own or rows[:1])).to(self.device)
            share = share_of(self.packed.lengths[own], self.packed.lengths[rows])
            inputs = PhotoBatch(images.to(self.device), image_of.to(self.device))
            yield inputs, captions[: len(own)], share

    def _captions_of(self, photos: list[int]) -> tuple[list[int], Tensor]:
        """Return the rows of the photos' captions, and the number of the photo of each (R,)."""
        rows = [row for photo in photos for row in self.rows_of[photo]]
        counts = torch.tensor([len(self.rows_of[photo]) for photo in photos], dtype=torch.long)
        return rows, torch.arange(len(photos)).repeat_interleave(counts)

    def photos(self, first: int = 0, every: int = 1) -> Iterator[tuple[list[ImageId], Tensor]]:
        """Yield every photo, or each `every`-th from `first` on."""
        batches = torch.tensor(self.readable[first::every]).split(VALIDATION_BATCH // 4)
        keys = [[(0, row) for row in batch.tolist()] for batch in batches]
        for batch, images in zip(keys, self.evaluation.load(keys), strict=True):
            yield [self.captions.photos[row].id for _, row in batch], images.to(self.device)

    def to_grid(self, inputs: Tensor) -> Tensor:
        return self.encoder.backbone(inputs)

    def encode(self, inputs: Tensor | PhotoBatch) -> Tensor:
        """Return features: of each image, or of each caption's image for a training batch."""
        if isinstance(inputs, PhotoBatch):
            return self.encoder(inputs.images)[inputs.image_of]
        return self.encoder(inputs)


Loader = CachedLoader | PhotoLoader
