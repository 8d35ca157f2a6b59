"""Captions in COCO's format -> batches to train and evaluate on.

    PackedCaptions                    all captions as one flat tensor; any batch by indexing
    bucket_batches(lengths, ...)      every caption once, captions of similar length together
    BucketBatchSampler(lengths, ...)  the same for a DataLoader, in a new order every epoch
    CaptionDataset                    (image, one caption) for every caption: training
    EvaluationDataset                 (image, all its captions, id) for every photo: evaluation
    get_loader(transform, mode, ...)  the DataLoader of one split

Shapes: a training batch is images (B, 3, H, W) and captions (B, T), ids of words: `<start>` first,
`<end>` last, `<pad>` after it. Annotation files are read in captioning/data/coco.py.
"""

import functools
from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from captioning import distributed
from captioning.data.annotations import MAX_CAPTION_WORDS
from captioning.data.batching import bucket_batches
from captioning.data.coco import CaptionSet, ImageId, Photo, find_split, has_split, read_captions
from captioning.data.photos import PhotoTransform, read_photo, transform_test, transform_train
from captioning.data.tokens import Tokens
from captioning.files import PathLike
from captioning.scripts import is_unspaced
from captioning.text import plural
from vocabulary import Vocabulary, tokenize

__all__ = [
    "BucketBatchSampler",
    "CaptionDataset",
    "CaptionSet",
    "EvaluationDataset",
    "PackedCaptions",
    "Photo",
    "PhotoTransform",
    "bucket_batches",
    "find_split",
    "get_loader",
    "has_split",
    "read_captions",
    "read_photo",
    "transform_test",
    "transform_train",
]

Transform = Callable[[Image.Image], Tensor]  # PIL image -> (3, H, W)


@functools.cache
def note(text: str) -> None:
    """Print a note about the data, once."""
    if distributed.rank() == 0:
        print(f"note: {text}")


class PackedCaptions:
    """All captions as one flat tensor; caption i is words[offsets[i] : offsets[i + 1]].

    A list of 400,000 Python lists costs seconds and gigabytes; this is 20 MB, and a batch is one
    indexing operation on whatever device holds it.

    max_words  longer captions are cut here, with a note: all captions of a batch are padded to the
               longest, so a single one of 5,000 words would cost gigabytes
    """

    def __init__(
        self,
        captions: list[list[str]] | Tokens,
        photo_index: list[int],
        vocab: Vocabulary,
        max_words: int = MAX_CAPTION_WORDS,
    ):
        tokens = captions if isinstance(captions, Tokens) else Tokens.of(captions)
        lengths = torch.from_numpy(tokens.lengths).long()  # (N,)
        words = torch.tensor([vocab(word) for word in tokens.words], dtype=torch.int32)
        words = words[torch.from_numpy(tokens.numbers)]  # of all captions, one after the other
        is_long = lengths > max_words
        if is_long.any():
            count = plural(int(is_long.sum()), "caption is", "captions are")
            note(f"{count} longer than {max_words} words; the rest is left out")
            first = lengths.cumsum(0) - lengths
            place = torch.arange(len(words)) - first.repeat_interleave(lengths)  # in its caption
            words, lengths = words[place < max_words], lengths.clamp(max=max_words)
        if any(map(is_unspaced, vocab.words)):
            note("a script without spaces between words: each of its characters counts as a word")
        self.lengths = lengths + 2 - is_long.long()  # `<start>`, words, `<end>` unless it was cut
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.long), self.lengths.cumsum(0)])
        self.words = torch.full((int(self.offsets[-1]),), vocab.end, dtype=torch.int32)
        starts, ends = self.offsets[:-1], self.offsets[1:][~is_long] - 1
        self.words[starts] = vocab.start
        is_word = torch.ones(len(self.words), dtype=torch.bool)
        is_word[starts], is_word[ends] = False, False
        self.words[is_word] = words
        self.photo_index = torch.tensor(photo_index)
        self.pad = vocab.pad

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device | str) -> "PackedCaptions":
        """Move the words to `device` and return self."""
        self.words, self.offsets = self.words.to(device), self.offsets.to(device)
        return self

    def batch(self, rows: Tensor) -> Tensor:
        """Return the captions `rows` (B,), a tensor on the CPU, as ids (B, T), padded."""
        longest = int(self.lengths[rows].max())
        device = self.words.device
        start, end = (self.offsets[(rows + i).to(device)][:, None] for i in (0, 1))  # (B, 1)
        position = start + torch.arange(longest, device=device)  # (B, T)
        words = self.words[position.clamp(max=len(self.words) - 1)].long()
        return torch.where(position < end, words, self.pad)

    def word_counts(self, vocab_size: int) -> Tensor:
        """Return how often each word occurs, (V,)."""
        return torch.bincount(self.words.long(), minlength=vocab_size)


class BucketBatchSampler:
    """`bucket_batches` as a DataLoader's batch sampler: yields lists of (epoch, row)."""

    def __init__(self, lengths: Tensor, batch_size: int, seed: int = 0):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)  # rounded up

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for rows in bucket_batches(self.lengths, self.batch_size, self.seed + self.epoch):
            yield [(self.epoch, row) for row in rows.tolist()]
        self.epoch += 1


class CaptionDataset(Dataset):
    """Pairs of image (3, H, W) and caption ids (T,), one for every caption."""

    def __init__(
        self, captions: CaptionSet, packed: PackedCaptions, transform: Transform, vocab: Vocabulary
    ):
        self.photos, self.packed, self.transform = captions.photos, packed, transform
        self.vocab, self.caption_lengths = vocab, packed.lengths

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, item: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the pair of a row, or of (epoch, row): the random crop depends on both."""
        epoch, row = item if isinstance(item, tuple) else (0, item)
        photo = read_photo(self.photos[int(self.packed.photo_index[row])].path)
        if isinstance(self.transform, PhotoTransform):  # seeded, so that any worker process
            image = self.transform(photo, seed=(epoch, row))  # makes the same random choices
        else:
            image = self.transform(photo)
        return image, self.packed.batch(torch.tensor([row]))[0]

    def collate(self, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return images (B, 3, H, W) and captions (B, T), padded to the longest."""
        images, captions = zip(*pairs, strict=True)
        padded = pad_sequence(list(captions), True, float(self.vocab.pad))  # (B, T)
        return torch.stack(images), padded


class EvaluationDataset(Dataset):
    """Triples of image (3, H, W), all its captions and its id, one for every photo, in order."""

    def __init__(self, captions: CaptionSet, transform: Transform):
        self.photos, self.transform = captions.photos, transform
        self.references = captions.references()

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, row: int) -> tuple[Tensor, list[str], ImageId]:
        photo = self.photos[row]
        return self.transform(read_photo(photo.path)), self.references[photo.id], photo.id

    def collate(
        self, triples: list[tuple[Tensor, list[str], ImageId]]
    ) -> tuple[Tensor, list[list[str]], list[ImageId]]:
        """Return images (B, 3, H, W), B lists of captions and B ids."""
        images, captions, ids = zip(*triples, strict=True)
        return torch.stack(images), list(captions), list(ids)


def get_loader(
    transform: Transform | None = None,
    mode: str = "train",
    batch_size: int = 64,
    vocab_threshold: int = 5,
    vocab_file: PathLike = "vocab.json",
    start_word: str = "<start>",
    end_word: str = "<end>",
    unk_word: str = "<unk>",
    vocab_from_file: bool = False,
    num_workers: int = 0,
    cocoapi_loc: PathLike = "data/toy",
    num_samples: int | None = None,
    seed: int = 0,
) -> DataLoader:
    """Return the batches of one split of the dataset in the folder `cocoapi_loc`.

    transform        PIL image -> tensor; by default `transform_train` or `transform_test`
    mode             "train": images (B, 3, H, W) and captions (B, T), every caption once an epoch;
                     "val" or "test": images, lists of all their captions, ids; each photo once
    vocab_threshold  minimum occurrences of a word in the training captions
    vocab_file       where the vocabulary is saved, or read where `vocab_from_file` is True
    num_workers      processes that decode photos while the model trains
    num_samples      the first N photos only, for a quick experiment
    seed             of the order of the captions
    """
    if mode not in ("train", "val", "test"):
        raise ValueError(f"mode is train, val or test, not {mode!r}.")
    captions = read_captions(cocoapi_loc, mode).head(num_samples)
    if mode != "train":
        photos = EvaluationDataset(captions, transform or transform_test)
        return DataLoader(
            photos, batch_size, collate_fn=photos.collate,
            num_workers=num_workers, persistent_workers=num_workers > 0,
        )  # fmt: skip

    words = [tokenize(caption) for caption in captions.captions]
    if vocab_from_file:
        vocab = Vocabulary.load(vocab_file)
    else:
        vocab = Vocabulary.build(
            words, vocab_threshold, start_word=start_word, end_word=end_word, unk_word=unk_word
        )
        vocab.save(vocab_file)
    packed = PackedCaptions(words, captions.photo_index, vocab)
    dataset = CaptionDataset(captions, packed, transform or transform_train, vocab)
    return DataLoader(
        dataset, batch_sampler=BucketBatchSampler(packed.lengths, batch_size, seed),
        collate_fn=dataset.collate, num_workers=num_workers, persistent_workers=num_workers > 0,
    )  # fmt: skip
