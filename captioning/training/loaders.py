"""From a folder of data to the batches of an epoch: from cached features, or from the photos.

    prepare_data(config, encoder)   the vocabulary, and a loader for each split
    CachedLoader                    features by index; no file is opened, no photo decoded
    PhotoLoader                     photos decoded in every epoch, for a backbone that is trained

Both loaders answer the same two questions: `epoch(number)` yields (inputs, captions, share), every
caption once; `photos()` yields (ids, inputs), every photo once. `to_grid(inputs)` is the grid
(B, P, D) of the backbone, `encode(inputs)` are features (B, P, E): the training loop need not know
which loader it has.

The batches of an epoch follow from its number and the seed alone. Of several processes each yields
its share of every batch; together they see what one process would have seen.
"""

import filecmp
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from captioning import distributed
from captioning.data.coco import CaptionSet, ImageId, has_split, read_captions
from captioning.data.photos import read_photo
from captioning.device import parallel_map
from captioning.distributed import BatchShare, share_of
from captioning.features.cache import FeatureCache, extract_features, transform_of
from captioning.features.pca import fit
from captioning.training.config import TrainConfig
from data_loader import CaptionDataset, EvaluationDataset, PackedCaptions, bucket_batches
from model import EncoderCNN
from vocabulary import Vocabulary, tokenize

VALIDATION_BATCH = 250  # photos at once in validation

Batch = tuple[Tensor, Tensor, BatchShare]  # inputs, captions (B, T), share of the batch


class CachedLoader:
    """Grid (B, P, D) and captions (B, T) by indexing two tensors: no Python for each caption."""

    def __init__(
        self,
        captions: CaptionSet,
        packed: PackedCaptions,
        caches: list[FeatureCache],
        encoder: EncoderCNN,
        config: TrainConfig,
    ):
        self.captions, self.encoder, self.config = captions, encoder, config
        self.device = encoder.embed.weight.device
        self.packed = packed.to(self.device)
        self.features = ConcatenatedFeatures(caches, self.device)
        self.readable = sorted(set(captions.photo_index))

    def steps(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self.packed) // self.config.batch_size)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, from batch `first` on."""
        seed = self.config.seed + number
        generator = torch.Generator().manual_seed(seed)
        views = torch.randint(self.features.views, (len(self.packed),), generator=generator)
        batches = bucket_batches(self.packed.lengths, self.config.batch_size, seed)
        for rows in batches[first:]:
            mine = distributed.shard(rows)
            grid = self.features.gather_rows(self.packed.photo_index[mine], views[mine])
            captions = distributed.shard(self.packed.batch(rows))
            yield grid, captions, share_of(self.packed.lengths[rows])

    def photos(self, first: int = 0, every: int = 1) -> Iterator[tuple[list[ImageId], Tensor]]:
        """Yield the base view of every photo, or of each `every`-th from `first` on."""
        for rows in torch.tensor(self.readable[first::every]).split(VALIDATION_BATCH):
            ids = [self.captions.photos[row].id for row in rows.tolist()]
            yield ids, self.features.gather_rows(rows, torch.zeros_like(rows))

    def to_grid(self, inputs: Tensor) -> Tensor:
        return inputs.to(self.encoder.embed.weight.dtype)

    def encode(self, inputs: Tensor) -> Tensor:
        return self.encoder.embed(self.to_grid(inputs))


class ConcatenatedFeatures:
    """The features of several folders under one row number: (N, views, P, D) each, N added up."""

    def __init__(self, caches: list[FeatureCache], device: torch.device):
        self.parts = [cache.to_device(device) for cache in caches]
        self.views, self.device = caches[0].views, device

    def gather_rows(self, rows: Tensor, views: Tensor) -> Tensor:
        """rows (B,) of photos, views (B,), both on the CPU -> (B, P, D) on the device"""
        if len(self.parts) == 1:
            return self._gather(self.parts[0], rows, views)
        gathered, positions, first = [], [], 0
        for part in self.parts:  # from each folder the rows that it has
            here = ((first <= rows) & (rows < first + len(part))).nonzero()[:, 0]
            gathered.append(self._gather(part, rows[here] - first, views[here]))
            positions.append(here)
            first += len(part)
        order = torch.cat(positions).argsort()
        return torch.cat(gathered)[order.to(self.device)]

    def _gather(self, part: Tensor, rows: Tensor, views: Tensor) -> Tensor:
        return part[rows.to(part.device), views.to(part.device)].to(self.device)


class PhotoLoader:
    """Images (B, 3, H, W) and captions (B, T), read from the photos by `num_workers` processes."""

    def __init__(
        self,
        captions: CaptionSet,
        packed: PackedCaptions,
        vocab: Vocabulary,
        encoder: EncoderCNN,
        config: TrainConfig,
        augment: bool,
    ):
        self.captions, self.packed, self.config, self.encoder = captions, packed, config, encoder
        self.device = encoder.embed.weight.device
        transform = transform_of(encoder, train=augment)
        self.pairs = CaptionDataset(captions, packed, transform, vocab)
        self.singles = EvaluationDataset(captions, transform_of(encoder))
        self.readable = sorted(set(captions.photo_index))

    def steps(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self.packed) // self.config.batch_size)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, from batch `first` on."""
        seed = self.config.seed + number
        batches = bucket_batches(self.packed.lengths, self.config.batch_size, seed)[first:]
        shards = [distributed.shard(rows) for rows in batches]
        keys = [
            [(number, row) for row in (mine if len(mine) else rows[:1]).tolist()]
            for mine, rows in zip(shards, batches, strict=True)
        ]
        loader = self._loader(self.pairs, batch_sampler=keys, collate_fn=self.pairs.collate)
        for mine, rows, (images, captions) in zip(shards, batches, loader, strict=True):
            images, captions = images[: len(mine)], captions[: len(mine)]
            share = share_of(self.packed.lengths[rows])
            yield images.to(self.device), captions.to(self.device), share

    def photos(self, first: int = 0, every: int = 1) -> Iterator[tuple[list[ImageId], Tensor]]:
        """Yield every photo, or each `every`-th from `first` on."""
        mine = Subset(self.singles, self.readable[first::every])
        size = VALIDATION_BATCH // 4
        for images, _, ids in self._loader(mine, batch_size=size, collate_fn=self.singles.collate):
            yield ids, images.to(self.device)

    def to_grid(self, inputs: Tensor) -> Tensor:
        return self.encoder.backbone(inputs)

    def encode(self, inputs: Tensor) -> Tensor:
        return self.encoder(inputs)

    def _loader(self, dataset: Dataset, **options: Any) -> DataLoader:
        generator = torch.Generator()  # its own: dropout must not depend on the loader
        workers = self.config.num_workers
        return DataLoader(dataset, num_workers=workers, generator=generator, **options)


Loader = CachedLoader | PhotoLoader


def find_unreadable(captions: CaptionSet) -> dict[int, str]:
    """Return {row: reason} of the photos that cannot be decoded; processes share the work."""

    def try_to_read(row: int) -> tuple[int, str | None]:
        try:
            read_photo(captions.photos[row].path, min_side=64)
        except (OSError, ValueError) as error:
            return row, str(error)
        return row, None

    results = parallel_map(try_to_read, distributed.shard(range(len(captions.photos))))
    shards = distributed.all_gather({row: reason for row, reason in results if reason})
    return {row: reason for shard in shards for row, reason in shard.items()}


def check_no_leaks(train: dict[str, CaptionSet], val: dict[str, CaptionSet]) -> None:
    """Raise ValueError where a training photo is, byte for byte, in "val" of another folder."""
    same_size = defaultdict(list)
    for folder, captions in train.items():
        for photo in captions.photos:
            same_size[photo.path.stat().st_size].append((folder, photo.path))
    leaks = [
        (path, photo.path)
        for folder, captions in val.items()
        for photo in captions.photos
        for other, path in same_size[photo.path.stat().st_size]
        if folder != other and filecmp.cmp(path, photo.path, shallow=False)
    ]
    if leaks:
        raise ValueError(
            f"{len(leaks)} photos are in training and in validation: {leaks[0][0]} is the photo "
            f"{leaks[0][1]}. Take them out of one folder, or train on one of the folders alone."
        )


def read_split(config: TrainConfig, split: str) -> dict[str, CaptionSet]:
    """Return {folder: its captions of that split}, the first `num_samples` photos of each."""
    return {
        folder: read_captions(folder, split).head(config.num_samples)
        for folder in config.data_dirs
        if split == "train" or has_split(folder, split)
    }


def prepare_split(
    config: TrainConfig, encoder: EncoderCNN, split: str, vocab: Vocabulary | None = None
) -> tuple[Loader, Vocabulary]:
    """Return a loader of one split; the vocabulary is built from its captions if not given.

    Everything runs on the device of the encoder. Raises ValueError where no photo can be read.
    """
    sets = read_split(config, split)
    captions, views = CaptionSet.union(sets), config.views if split == "train" else 1
    caches: list[FeatureCache] = []
    if config.cached:
        caches, unreadable = _extract_all(config, encoder, sets, views)
    else:
        unreadable = find_unreadable(captions)
        for reason in unreadable.values() if distributed.rank() == 0 else ():
            print(f"left out: {reason}")
    captions = captions.drop_photos(unreadable)
    if not captions.captions:
        raise ValueError(f"no photo of {', '.join(sets)} ({split}) can be read: check the data.")
    words = [tokenize(caption) for caption in captions.captions]
    vocab = vocab or Vocabulary.build(words, config.vocab_threshold, config.max_vocab_size)
    packed = PackedCaptions(words, captions.photo_index, vocab)
    if config.cached:
        return CachedLoader(captions, packed, caches, encoder, config), vocab
    return PhotoLoader(captions, packed, vocab, encoder, config, views > 1), vocab


def _extract_all(
    config: TrainConfig, encoder: EncoderCNN, sets: dict[str, CaptionSet], views: int
) -> tuple[list[FeatureCache], dict[int, str]]:
    """Return one cache a folder, and {row of the union: reason} of the photos left out."""
    caches: list[FeatureCache] = []
    unreadable: dict[int, str] = {}
    first = 0
    for folder, captions in sets.items():
        cache = extract_features(
            encoder,
            captions,
            Path(folder, "features"),
            views=views,
            grid=config.grid,
            device=encoder.embed.weight.device,
            precision=config.precision,
        )
        caches.append(cache)
        unreadable |= {first + row: reason for row, reason in cache.unreadable.items()}
        first += len(cache)
    return caches, unreadable


def prepare_data(config: TrainConfig, encoder: EncoderCNN) -> tuple[dict[str, Loader], Vocabulary]:
    """Return loaders for "train", and for "val" where the data has it, and the vocabulary.

    Raises ValueError where the data cannot be trained on as `config` asks.
    """
    has_val = any(has_split(folder, "val") for folder in config.data_dirs)
    if config.self_critical_epochs and not (has_val and config.validate_every):
        raise ValueError(
            "Fine-tuning on CIDEr chooses its epoch by the photos of a split val: use data that "
            "has one and --validate-every 1, or use --self-critical-epochs 0."
        )
    if has_val and len(config.data_dirs) > 1:
        check_no_leaks(read_split(config, "train"), read_split(config, "val"))
    if config.pca:
        captions = CaptionSet.union(read_split(config, "train"))
        out = Path(config.data_dirs[0], "features")
        explained = fit(encoder, captions, out, encoder.embed.weight.device)
        if distributed.rank() == 0:
            print(f"pca: {config.pca} components explain {explained:.1%} of the variance")
    loader, vocab = prepare_split(config, encoder, "train")
    if distributed.rank() == 0:
        occurrences = f"with {config.vocab_threshold} occurrences or more (--vocab-threshold)"
        print(f"vocabulary: {len(vocab) - 4:,} words {occurrences}")
    loaders = {"train": loader}
    if has_val and config.validate_every:
        loaders["val"], _ = prepare_split(config, encoder, "val", vocab)
    return loaders, vocab
