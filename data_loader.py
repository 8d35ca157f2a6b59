"""Captions in COCO's format -> batches, from photos or from cached features.

    read_captions(cocoapi_loc, "train")  one split: its photos, their captions
    CaptionSet.union(sets)               several of them as one
    PackedCaptions                       all captions as one flat tensor; any batch by indexing
    length_batches(lengths, ...)         every caption once, batches of similar length
    get_loader(transform, mode, ...)     the DataLoader that courses of this family share
    PhotosWithCaptions(captions, ...)    each photo once, in order, for evaluation

A batch is images (B, 3, H, W) and captions (B, T): `<start>` first, `<end>` last, `<pad>` after.
"""

import os
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from photos import PhotoTransform, read_photo, transform_test, transform_train
from vocabulary import Vocabulary, read_json, tokenize

__all__ = ["PhotoTransform", "read_photo", "transform_test", "transform_train"]


@dataclass(frozen=True)
class Photo:
    id: int | str
    path: Path


@dataclass
class CaptionSet:
    """One split: photos in the order of the file; caption i speaks of photos[photo_of[i]]."""

    photos: list[Photo]
    captions: list[str]
    photo_of: list[int]

    @classmethod
    def union(cls, sets: dict[str, "CaptionSet"]) -> "CaptionSet":
        """All sets as one; ids become "<name>:<id>", for two sets may use the same ones."""
        if len(sets) == 1:
            return next(iter(sets.values()))
        whole = cls([], [], [])
        for name, some in sets.items():
            whole.photo_of += [len(whole.photos) + row for row in some.photo_of]
            whole.photos += [Photo(f"{name}:{photo.id}", photo.path) for photo in some.photos]
            whole.captions += some.captions
        return whole

    def references(self) -> dict[int | str, list[str]]:
        """photo id -> its captions, as the scores want them"""
        references: dict[int | str, list[str]] = {photo.id: [] for photo in self.photos}
        for caption, row in zip(self.captions, self.photo_of, strict=True):
            references[self.photos[row].id].append(caption)
        return references

    def first(self, num_samples: int | None) -> "CaptionSet":
        """The first `num_samples` photos and their captions; all where it is None."""
        if num_samples is None:
            return self
        if num_samples < 1:
            raise ValueError(f"num_samples counts photos; {num_samples} must be 1 or more.")
        kept = self.without(range(num_samples, len(self.photos)))
        return CaptionSet(self.photos[:num_samples], kept.captions, kept.photo_of)

    def without(self, rows: Container[int]) -> "CaptionSet":
        """The same photos, without the captions of those in `rows`."""
        kept = [i for i, row in enumerate(self.photo_of) if row not in rows]
        captions = [self.captions[i] for i in kept]
        return CaptionSet(self.photos, captions, [self.photo_of[i] for i in kept])


def find_split(cocoapi_loc: str | os.PathLike, split: str) -> tuple[Path, Path]:
    """The annotation file and the photo folder of `split` ("train", also "train2014")."""
    root = Path(cocoapi_loc)
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is no folder of data. Draw the embedded set with `python toy_coco.py --out "
            f"{root}`, or run `python prepare.py --help` for real photographs."
        )
    annotations = root / "annotations"
    for kind in ("captions", "image_info"):
        found = sorted(annotations.glob(f"{kind}_{split}*.json"))
        exact = [path for path in found if path.stem == f"{kind}_{split}"]
        if found:
            path = (exact or found)[-1]
            return path, root / "images" / path.stem.removeprefix(f"{kind}_")
    have = sorted(
        path.stem.removeprefix("captions_") for path in annotations.glob("captions_*.json")
    )
    raise FileNotFoundError(
        f"{annotations} has no captions_{split}*.json (it has: {', '.join(have) or 'none'}). "
        "Run prepare.py or toy_coco.py for this folder again."
    )


def has_split(cocoapi_loc: str | os.PathLike, split: str) -> bool:
    return any(Path(cocoapi_loc, "annotations").glob(f"captions_{split}*.json"))


def read_captions(cocoapi_loc: str | os.PathLike, split: str) -> CaptionSet:
    """The photos and captions of one split of a folder in COCO's layout.

    Raises FileNotFoundError or ValueError, one sentence, where the file is no such JSON, has no
    captions, speaks of unknown photos, or names photos that are not there.
    """
    path, folder = find_split(cocoapi_loc, split)
    content = read_json(path)
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        annotations = [(a["image_id"], a["caption"]) for a in content.get("annotations", [])]
        unknown = [image_id for image_id, _ in annotations if image_id not in names]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not in COCO's caption format ({error!r} fails).") from None
    for name in names.values():
        if not isinstance(name, str) or not name or not is_plain_name(name):
            raise ValueError(f"{path} names a photo {name!r}, which is no plain file name.")
    if not names or (not annotations and path.stem.startswith("captions")):
        raise ValueError(f"{path} has no captions. Prepare the data again.")
    if len(names) < len(content["images"]):
        raise ValueError(f"{path} gives two photos the same id. Prepare the data again.")
    odd = [image_id for image_id, caption in annotations if not isinstance(caption, str)]
    if unknown or odd:
        problem = "of a photo it does not list" if unknown else "that is no text"
        raise ValueError(f"{path} has a caption {problem} (image_id {(unknown or odd)[0]!r}).")
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    missing = [name for name in names.values() if name not in there]
    if missing:
        raise FileNotFoundError(
            f"{path} names {len(missing)} of {len(names)} photos that are not in {folder}, the "
            f"first is {missing[0]}. Copy them there, or prepare the data again."
        )
    rows = {image_id: row for row, image_id in enumerate(names)}
    photos = [Photo(image_id, folder / name) for image_id, name in names.items()]
    captions = [caption for _, caption in annotations]
    return CaptionSet(photos, captions, [rows[image_id] for image_id, _ in annotations])


def is_plain_name(name: str) -> bool:
    """Whether `name` stays in its folder on every system: no path, no drive, no `..`."""
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    return plain and name not in (".", "..") and "\0" not in name


class PackedCaptions:
    """All captions as one flat tensor; caption i is words[offsets[i] : offsets[i + 1]].

    A list of 400,000 Python lists costs seconds and gigabytes; this is 20 MB, and a batch is one
    indexing operation on whatever device holds it.
    """

    def __init__(self, captions: list[list[str]], photo_of: list[int], vocab: Vocabulary):
        ids = [vocab.encode(words) for words in captions]
        self.lengths = torch.tensor([len(caption) for caption in ids])  # stays on the CPU
        self.words = torch.tensor([word for caption in ids for word in caption], dtype=torch.int32)
        self.offsets = torch.cat([torch.zeros(1, dtype=torch.long), self.lengths.cumsum(0)])
        self.photo_of = torch.tensor(photo_of)
        self.pad = vocab.pad

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device | str) -> "PackedCaptions":
        self.words, self.offsets = self.words.to(device), self.offsets.to(device)
        return self

    def batch(self, rows: Tensor) -> Tensor:
        """rows (B,) caption numbers, on the CPU -> captions (B, T), padded to the longest."""
        longest = int(self.lengths[rows].max())
        device = self.words.device
        first, last = (self.offsets[(rows + i).to(device)] for i in (0, 1))
        place = first[:, None] + torch.arange(longest, device=device)  # (B, T)
        words = self.words[place.clamp(max=len(self.words) - 1)].long()
        return torch.where(place < last[:, None], words, self.pad)


def length_batches(lengths: Tensor, batch_size: int, seed: int, pool: int = 50) -> list[Tensor]:
    """Caption numbers in batches: every caption exactly once, similar lengths together.

    Shuffles, sorts pools of `pool` batches by length, shuffles the batches. Drawing one length per
    step instead, as many courses do, repeats some captions and never shows others.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} must be 1 or more.")
    chance = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(lengths), generator=chance)
    pools = shuffled.split(batch_size * pool)
    rows = torch.cat([part[lengths[part].argsort(stable=True)] for part in pools])
    batches = rows.split(batch_size)
    return [batches[i] for i in torch.randperm(len(batches), generator=chance)]


class LengthBatches:
    """`length_batches` as a DataLoader's batch sampler: a new order every epoch."""

    def __init__(self, lengths: Tensor, batch_size: int, seed: int = 0):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for rows in length_batches(self.lengths, self.batch_size, self.seed + self.epoch):
            yield [(self.epoch, row) for row in rows.tolist()]
        self.epoch += 1


class PhotoCaptions(Dataset):
    """Pairs of (image, caption ids), one for every caption: the plain way, photo by photo."""

    def __init__(
        self, captions: CaptionSet, packed: PackedCaptions, transform: Callable, vocab: Vocabulary
    ):
        self.photos, self.packed, self.transform = captions.photos, packed, transform
        self.vocab, self.caption_lengths = vocab, packed.lengths

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, item: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, row = item if isinstance(item, tuple) else (0, item)
        photo = read_photo(self.photos[self.packed.photo_of[row]].path)
        if isinstance(self.transform, PhotoTransform):  # its choices follow from epoch and row,
            image = self.transform(photo, seed=(epoch, row))  # whichever worker makes them
        else:
            image = self.transform(photo)
        return image, self.packed.batch(torch.tensor([row]))[0]

    def collate(self, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        images, captions = zip(*pairs, strict=True)
        padded = torch.nn.utils.rnn.pad_sequence(captions, True, float(self.vocab.pad))
        return torch.stack(images), padded


class PhotosWithCaptions(Dataset):
    """Triples of (image, all its captions, id), one for every photo, in order."""

    def __init__(self, captions: CaptionSet, transform: Callable):
        self.photos, self.transform = captions.photos, transform
        self.references = captions.references()

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, row: int) -> tuple[Tensor, list[str], int | str]:
        photo = self.photos[row]
        return self.transform(read_photo(photo.path)), self.references[photo.id], photo.id

    def collate(self, triples: list) -> tuple[Tensor, list[list[str]], list[int | str]]:
        images, captions, ids = zip(*triples, strict=True)
        return torch.stack(images), list(captions), list(ids)


def get_loader(
    transform: Callable | None = None,
    mode: str = "train",
    batch_size: int = 64,
    vocab_threshold: int = 5,
    vocab_file: str | os.PathLike = "vocab.json",
    start_word: str = "<start>",
    end_word: str = "<end>",
    unk_word: str = "<unk>",
    vocab_from_file: bool = False,
    num_workers: int = 0,
    cocoapi_loc: str | os.PathLike = "data/toy",
    num_samples: int | None = None,
    seed: int = 0,
) -> DataLoader:
    """Batches of one split of the data in `cocoapi_loc`.

    transform        PIL photo -> tensor; `transform_train` or `transform_test` where it is None
    mode             "train": images (B, 3, H, W) and captions (B, T), every caption once an epoch;
                     "val" or "test": images, lists of all their captions, ids; each photo once
    vocab_from_file  read `vocab_file` rather than building the vocabulary and writing it there
    num_workers      processes that decode photos while the model learns
    num_samples      only so many photos, for a quick try
    """
    if mode not in ("train", "val", "test"):
        raise ValueError(f"mode is train, val or test, not {mode!r}.")
    captions = read_captions(cocoapi_loc, mode).first(num_samples)
    workers = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
    if mode != "train":
        dataset = PhotosWithCaptions(captions, transform or transform_test)
        return DataLoader(dataset, batch_size, collate_fn=dataset.collate, **workers)
    words = [tokenize(caption) for caption in captions.captions]
    if vocab_from_file:
        vocab = Vocabulary.load(vocab_file)
    else:
        special = {"start_word": start_word, "end_word": end_word, "unk_word": unk_word}
        vocab = Vocabulary.build(words, vocab_threshold, **special)
        vocab.save(vocab_file)
    packed = PackedCaptions(words, captions.photo_of, vocab)
    dataset = PhotoCaptions(captions, packed, transform or transform_train, vocab)
    batches = LengthBatches(packed.lengths, batch_size, seed)
    return DataLoader(dataset, batch_sampler=batches, collate_fn=dataset.collate, **workers)
