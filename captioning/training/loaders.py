"""From a folder of data to the batches of an epoch: from cached features, or from the photos.

    prepare_data(settings, encoder)   captions, vocabulary, and a source of batches for each split
    CachedBatches                     features by index; no file is opened, no photo decoded
    PhotoBatches                      photos decoded anew, for a backbone that learns too
    Share                             how much of a batch is here, where several processes train

Both sources answer the same two questions: `epoch(number)` yields (inputs, captions, share), every
caption once; `photos()` yields (ids, inputs), every photo once. `see(inputs)` is the grid (B, P, D)
of the network, `encode(inputs)` are features (B, P, E): the loop cannot tell one from the other.

The batches of an epoch follow from its number and the seed alone. Of several processes each yields
its share of every batch: together they see what one process would have seen.
"""

import filecmp
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

import distributed
from data_loader import (
    CaptionSet,
    PackedCaptions,
    PhotoCaptions,
    PhotosWithCaptions,
    has_split,
    length_batches,
    read_captions,
)
from features import FeatureStore, extract, transform_of
from model import EncoderCNN
from pca import fit
from photos import read_photo
from settings import Settings
from speed import in_parallel, pick_device
from vocabulary import Vocabulary, tokenize

PHOTO_BATCH = 250  # photos at once in validation


class Share(NamedTuple):
    """The part of a batch's words and captions that this process has."""

    words: float = 1.0
    captions: float = 1.0


WHOLE = Share()


def share_of(lengths: Tensor) -> Share:
    """lengths (B,) of a whole batch's captions -> this process's share of it"""
    words = lengths - 1  # <start> is no target
    mine = distributed.share(words)
    return Share(int(mine.sum()) / int(words.sum()), len(mine) / len(words))


class CachedBatches:
    """Grid (B, P, D) and captions (B, T) by indexing two tensors: no Python for each caption.

    stores  the features, one store for each folder of data, in the order of the photos
    """

    def __init__(
        self,
        captions: CaptionSet,
        packed: PackedCaptions,
        stores: list[FeatureStore],
        encoder: EncoderCNN,
        settings: Settings,
    ):
        self.captions, self.encoder, self.settings = captions, encoder, settings
        self.device = pick_device(settings.device)
        self.packed = packed.to(self.device)
        self.views = stores[0].views
        self.features = [store.resident(self.device) for store in stores]  # (N, views, P, D) each
        self.readable = sorted(set(captions.photo_of))

    def steps(self) -> int:
        return -(-len(self.packed) // self.settings.batch_size)

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor, Share]]:
        seed = self.settings.seed + number
        chance = torch.Generator().manual_seed(seed)
        views = torch.randint(self.views, (len(self.packed),), generator=chance)
        batches = length_batches(self.packed.lengths, self.settings.batch_size, seed)
        for rows in batches[first:]:
            mine, captions = distributed.share(rows), distributed.share(self.packed.batch(rows))
            grid = self.grid(self.packed.photo_of[mine], views[mine])
            yield grid, captions, share_of(self.packed.lengths[rows])

    def photos(self, first: int = 0, every: int = 1) -> Iterator[tuple[list, Tensor]]:
        for rows in torch.tensor(self.readable[first::every]).split(PHOTO_BATCH):
            ids = [self.captions.photos[row].id for row in rows.tolist()]
            yield ids, self.grid(rows, torch.zeros_like(rows))

    def grid(self, rows: Tensor, views: Tensor) -> Tensor:
        """rows (B,) photos, views (B,) looks at them, both on the CPU -> (B, P, D)"""
        if len(self.features) == 1:
            return look_up(self.features[0], rows, views).to(self.device)
        found, places, first = [], [], 0
        for features in self.features:  # of each folder the rows that are its own
            here = ((first <= rows) & (rows < first + len(features))).nonzero()[:, 0]
            found.append(look_up(features, rows[here] - first, views[here]).to(self.device))
            places.append(here)
            first += len(features)
        return torch.cat(found)[torch.cat(places).argsort().to(self.device)]

    def see(self, inputs: Tensor) -> Tensor:
        return inputs.to(self.encoder.embed.weight.dtype)

    def encode(self, inputs: Tensor) -> Tensor:
        return self.encoder.embed(self.see(inputs))


def look_up(features: Tensor, rows: Tensor, views: Tensor) -> Tensor:
    return features[rows.to(features.device), views.to(features.device)]


class PhotoBatches:
    """Images (B, 3, H, W) and captions (B, T), read from the photos by `num_workers` processes."""

    def __init__(
        self,
        captions: CaptionSet,
        packed: PackedCaptions,
        vocab: Vocabulary,
        encoder: EncoderCNN,
        settings: Settings,
        vary: bool,
    ):
        self.captions, self.packed, self.settings = captions, packed, settings
        self.device = pick_device(settings.device)
        self.see, self.encode = encoder.backbone, encoder
        self.pairs = PhotoCaptions(captions, packed, transform_of(encoder, train=vary), vocab)
        self.singles = PhotosWithCaptions(captions, transform_of(encoder))
        self.readable = sorted(set(captions.photo_of))

    def steps(self) -> int:
        return -(-len(self.packed) // self.settings.batch_size)

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor, Share]]:
        seed = self.settings.seed + number
        batches = length_batches(self.packed.lengths, self.settings.batch_size, seed)[first:]
        shares = [distributed.share(rows) for rows in batches]
        keys = [
            [(number, row) for row in (mine if len(mine) else rows[:1]).tolist()]
            for mine, rows in zip(shares, batches, strict=True)
        ]
        loader = self.loader(self.pairs, batch_sampler=keys, collate_fn=self.pairs.collate)
        for mine, rows, (images, captions) in zip(shares, batches, loader, strict=True):
            images, captions = images[: len(mine)], captions[: len(mine)]
            yield (
                images.to(self.device),
                captions.to(self.device),
                share_of(self.packed.lengths[rows]),
            )

    def photos(self, first: int = 0, every: int = 1) -> Iterator[tuple[list, Tensor]]:
        mine = Subset(self.singles, self.readable[first::every])
        size = PHOTO_BATCH // 4
        for images, _, ids in self.loader(mine, batch_size=size, collate_fn=self.singles.collate):
            yield ids, images.to(self.device)

    def loader(self, dataset: Dataset, **options) -> DataLoader:
        chance = (
            torch.Generator()
        )  # its own: the loader must not draw what dropout would have drawn
        workers = self.settings.num_workers
        return DataLoader(dataset, num_workers=workers, generator=chance, **options)


def unreadable_photos(captions: CaptionSet) -> dict[int, str]:
    """{row: why} of the photos that cannot be decoded; several processes share the work."""

    def try_to_read(row: int) -> tuple[int, str | None]:
        try:
            read_photo(captions.photos[row].path, at_least=64)
        except (OSError, ValueError) as error:
            return row, str(error)
        return row, None

    answers = in_parallel(try_to_read, distributed.share(range(len(captions.photos))))
    shares = distributed.gather({row: why for row, why in answers if why})
    return {row: why for share in shares for row, why in share.items()}


def refuse_leaks(train: dict[str, CaptionSet], val: dict[str, CaptionSet]) -> None:
    """ValueError where a photo to learn from is, byte for byte, in "val" of another folder."""
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
            f"{len(leaks)} photos would be learned from and judged by: {leaks[0][0]} is the photo "
            f"{leaks[0][1]}. Take them out of one folder, or train on one of the folders alone."
        )


def read_split(settings: Settings, split: str) -> dict[str, CaptionSet]:
    """Folder -> its captions of that split, the first `num_samples` photos of each folder."""
    return {
        folder: read_captions(folder, split).first(settings.num_samples)
        for folder in settings.folders
        if split == "train" or has_split(folder, split)
    }


def prepare_split(
    settings: Settings, encoder: EncoderCNN, split: str, vocab: Vocabulary | None = None
) -> tuple[CachedBatches | PhotoBatches, Vocabulary]:
    """A source of batches of one split; the vocabulary is built from its captions if not given."""
    sets = read_split(settings, split)
    captions, views = CaptionSet.union(sets), settings.views if split == "train" else 1
    stores, unreadable, first = [], {}, 0
    if settings.cached:
        for folder, some in sets.items():
            store = extract(
                encoder,
                some,
                Path(folder, "features"),
                views=views,
                grid=settings.grid,
                device=pick_device(settings.device),
                precision=settings.precision,
            )
            stores.append(store)
            unreadable |= {first + row: why for row, why in store.unreadable.items()}
            first += len(store)
    else:
        unreadable = unreadable_photos(captions)
        for why in unreadable.values() if distributed.rank() == 0 else ():
            print(f"left out: {why}")
    captions = captions.without(unreadable)
    if not captions.captions:
        raise ValueError(f"no photo of {', '.join(sets)} ({split}) can be read: check the data.")
    words = [tokenize(caption) for caption in captions.captions]
    vocab = vocab or Vocabulary.build(words, settings.vocab_threshold, settings.max_words)
    packed = PackedCaptions(words, captions.photo_of, vocab)
    if settings.cached:
        return CachedBatches(captions, packed, stores, encoder, settings), vocab
    return PhotoBatches(captions, packed, vocab, encoder, settings, views > 1), vocab


def prepare_data(
    settings: Settings, encoder: EncoderCNN
) -> tuple[dict[str, CachedBatches | PhotoBatches], Vocabulary]:
    """Sources of batches for "train", and for "val" where the data has it, and the vocabulary."""
    has_val = any(has_split(folder, "val") for folder in settings.folders)
    if settings.self_critical_epochs and not (has_val and settings.validate_every):
        raise ValueError(
            "Fine-tuning on CIDEr chooses its epoch by the photos of a split val: use data that "
            "has one and --validate-every 1, or say --self-critical-epochs 0."
        )
    if has_val and len(settings.folders) > 1:
        refuse_leaks(*(read_split(settings, split) for split in ("train", "val")))
    if settings.pca:
        some = CaptionSet.union(read_split(settings, "train"))
        share = fit(
            encoder, some, Path(settings.folders[0], "features"), pick_device(settings.device)
        )
        if distributed.rank() == 0:
            print(f"pca: {settings.pca} numbers hold {share:.1%} of the variance")
    source, vocab = prepare_split(settings, encoder, "train")
    if distributed.rank() == 0:
        often = f"used {settings.vocab_threshold} times or more (--vocab-threshold)"
        print(f"vocabulary: {len(vocab) - 4:,} words {often}")
    sources = {"train": source}
    if has_val and settings.validate_every:
        sources["val"], _ = prepare_split(settings, encoder, "val", vocab)
    return sources, vocab
