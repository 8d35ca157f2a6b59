"""From a folder of data to the batches of an epoch: from cached features, or from the photos.

    prepare_data(settings, encoder)   captions, vocabulary, and a source of batches for each split
    CachedBatches                     features by index; no file is opened, no photo decoded
    PhotoBatches                      photos decoded anew, for a backbone that learns too

Both sources answer the same two questions: `epoch(number)` yields (inputs, captions), every
caption once; `photos()` yields (ids, inputs), every photo once. `encode(inputs)` turns the inputs
into features (B, P, E), so the training loop does not know which of the two it has.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from data_loader import (
    CaptionSet,
    PackedCaptions,
    PhotoCaptions,
    PhotosWithCaptions,
    length_batches,
    read_captions,
)
from features import FeatureStore, extract, transform_of
from model import EncoderCNN
from photos import read_photo
from settings import Settings
from speed import in_parallel, pick_device
from vocabulary import Vocabulary, tokenize

PHOTO_BATCH = 250  # photos at once in validation


class CachedBatches:
    """Grid (B, P, D) and captions (B, T) by indexing two tensors: no Python for each caption."""

    def __init__(
        self,
        captions: CaptionSet,
        packed: PackedCaptions,
        store: FeatureStore,
        encoder: EncoderCNN,
        settings: Settings,
    ):
        self.captions, self.encoder, self.settings = captions, encoder, settings
        self.device = pick_device(settings.device)
        self.packed = packed.to(self.device)
        self.features = store.resident(self.device)  # (N, views, P, D) float16
        readable = [row for row in range(len(store)) if row not in store.unreadable]
        self.rows = torch.tensor(readable)

    def steps(self) -> int:
        return -(-len(self.packed) // self.settings.batch_size)

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        seed = self.settings.seed + number
        chance = torch.Generator().manual_seed(seed)
        views = torch.randint(self.features.shape[1], (len(self.packed),), generator=chance)
        batches = length_batches(self.packed.lengths, self.settings.batch_size, seed)
        for rows in batches[first:]:
            yield self.grid(self.packed.photo_of[rows], views[rows]), self.packed.batch(rows)

    def photos(self) -> Iterator[tuple[list, Tensor]]:
        for rows in self.rows.split(PHOTO_BATCH):
            ids = [self.captions.photos[row].id for row in rows.tolist()]
            yield ids, self.grid(rows, torch.zeros_like(rows))

    def grid(self, rows: Tensor, views: Tensor) -> Tensor:
        where = self.features.device
        return self.features[rows.to(where), views.to(where)].to(self.device)

    def encode(self, inputs: Tensor) -> Tensor:
        return self.encoder.embed(inputs.to(self.encoder.embed.weight.dtype))


class PhotoBatches:
    """Images (B, 3, H, W) and captions (B, T), read from the photos by `num_workers` processes."""

    def __init__(
        self,
        captions: CaptionSet,
        packed: PackedCaptions,
        vocab: Vocabulary,
        encoder: EncoderCNN,
        settings: Settings,
    ):
        self.captions, self.packed, self.settings = captions, packed, settings
        self.device, self.encode = pick_device(settings.device), encoder
        vary = transform_of(encoder, train=settings.views > 1)
        self.pairs = PhotoCaptions(captions, packed, vary, vocab)
        self.singles = PhotosWithCaptions(captions, transform_of(encoder))
        self.readable = sorted(set(captions.photo_of))

    def steps(self) -> int:
        return -(-len(self.packed) // self.settings.batch_size)

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        seed = self.settings.seed + number
        batches = length_batches(self.packed.lengths, self.settings.batch_size, seed)
        keys = [[(number, row) for row in rows.tolist()] for rows in batches[first:]]
        chance = torch.Generator()  # its own: the loader must not draw what dropout would have drawn
        loader = DataLoader(
            self.pairs,
            batch_sampler=keys,
            collate_fn=self.pairs.collate,
            num_workers=self.settings.num_workers,
            generator=chance,
        )
        for images, captions in loader:
            yield images.to(self.device), captions.to(self.device)

    def photos(self) -> Iterator[tuple[list, Tensor]]:
        loader = DataLoader(
            Subset(self.singles, self.readable),
            PHOTO_BATCH // 4,
            collate_fn=self.singles.collate,
            num_workers=self.settings.num_workers,
        )
        for images, _, ids in loader:
            yield ids, images.to(self.device)


def unreadable_photos(captions: CaptionSet) -> dict[int, str]:
    """{row: why} of the photos that cannot be decoded."""

    def try_to_read(photo) -> str | None:
        try:
            read_photo(photo.path, at_least=64)
        except (OSError, ValueError) as error:
            return str(error)
        return None

    answers = enumerate(in_parallel(try_to_read, captions.photos))
    return {row: why for row, why in answers if why}


def prepare_split(
    settings: Settings, encoder: EncoderCNN, split: str, vocab: Vocabulary | None = None
) -> tuple[CachedBatches | PhotoBatches, Vocabulary]:
    """A source of batches of one split; the vocabulary is built from its captions if not given."""
    captions = read_captions(settings.data, split).first(settings.num_samples)
    if settings.cached:
        store = extract(
            encoder,
            captions,
            Path(settings.data, "features"),
            views=settings.views if split == "train" else 1,
            grid=settings.grid,
            device=pick_device(settings.device),
            precision=settings.precision,
        )
        captions = captions.without(store.unreadable)
    else:
        unreadable = unreadable_photos(captions)
        for why in unreadable.values():
            print(f"left out: {why}")
        captions = captions.without(unreadable)
    words = [tokenize(caption) for caption in captions.captions]
    vocab = vocab or Vocabulary.build(words, settings.vocab_threshold, settings.max_words)
    packed = PackedCaptions(words, captions.photo_of, vocab)
    if settings.cached:
        return CachedBatches(captions, packed, store, encoder, settings), vocab
    return PhotoBatches(captions, packed, vocab, encoder, settings), vocab


def prepare_data(
    settings: Settings, encoder: EncoderCNN
) -> tuple[dict[str, CachedBatches | PhotoBatches], Vocabulary]:
    """Sources of batches for "train", and for "val" where the data has it, and the vocabulary."""
    source, vocab = prepare_split(settings, encoder, "train")
    sources = {"train": source}
    has_val = any(Path(settings.data, "annotations").glob("captions_val*.json"))
    if has_val and settings.validate_every:
        sources["val"], _ = prepare_split(settings, encoder, "val", vocab)
    return sources, vocab
