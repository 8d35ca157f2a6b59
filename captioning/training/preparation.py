"""From a folder of data to loaders: captions read, features extracted, the vocabulary built.

prepare_data(config, encoder)    the vocabulary, and a loader for each split
prepare_split(config, ...)       the loader of one split
fit_familiarity(encoder, ...)    what the encoder is to know of its training photos
check_no_leaks(train, val)       refuses a photo that is in training and in validation
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from captioning import distributed
from captioning.data.coco import CaptionSet
from captioning.data.photos import read_photo
from captioning.data.shards import has_data, is_shards, read_data
from captioning.data.tokens import tokens_of
from captioning.device import device_of, parallel_map
from captioning.features.cache import FeatureCache
from captioning.features.extraction import extract_features
from captioning.features.pca import fit
from captioning.inference.serialization import load_vocabulary
from captioning.models.familiarity import fit as fit_classes
from captioning.text import plural
from captioning.training.config import TrainConfig
from captioning.training.loaders import CachedLoader, Loader, PhotoLoader
from data_loader import PackedCaptions, Transform
from model import Encoder, EncoderCNN, split_grid
from vocabulary import Vocabulary, tokenize

Tokenizer = Callable[[str], list[str]]


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
        if folder != other and path.read_bytes() == photo.path.read_bytes()
    ]
    if leaks:
        raise ValueError(
            f"{plural(len(leaks), 'photo is', 'photos are')} in training and in validation: "
            f"{leaks[0][0]} is the photo "
            f"{leaks[0][1]}. Take them out of one folder, or train on one of the folders alone."
        )


def read_split(config: TrainConfig, split: str) -> dict[str, CaptionSet]:
    """Return {folder: its captions of that split}; of each the first `num_samples` photos.

    Of val the first `val_samples`, if those are fewer.
    """
    limits = [config.num_samples, config.val_samples if split == "val" else None]
    limit = min((number for number in limits if number), default=None)
    return {
        folder: read_data(folder, split).head(limit)
        for folder in config.data_dirs
        if split == "train" or has_data(folder, split)
    }


def prepare_split(
    config: TrainConfig,
    encoder: Encoder,
    split: str,
    vocab: Vocabulary | None = None,
    transform: Transform | None = None,
    tokenizer: Tokenizer = tokenize,
) -> tuple[Loader, Vocabulary]:
    """Return a loader of one split; the vocabulary is built from its captions if not given.

    transform  your own function, PIL image -> (3, H, W): photos are then read in every epoch
    tokenizer  your own function, text -> list of words

    Everything runs on the device of the encoder. Raises ValueError where no photo can be read.
    """
    cached = config.cached and transform is None
    if not cached and len(encoder.parts) > 1:
        raise ValueError(
            "Several backbones need cached features, each with its own transform: leave out your "
            "own transform, or use one backbone."
        )
    for part in encoder.parts:
        part.backbone.train_transform["flip"] = config.flip
    sets = read_split(config, split)
    captions, views = CaptionSet.union(sets), config.views if split == "train" else 1
    caches: list[list[FeatureCache]] = []
    unreadable: dict[int, str] = {}
    if cached:
        for part in encoder.parts:
            caches.append(extract_all(config, part, sets, views))
            unreadable |= unreadable_in(caches[-1])
    else:
        unreadable = find_unreadable(captions)
        for reason in unreadable.values() if distributed.rank() == 0 else ():
            print(f"left out: {reason}")
    captions = captions.drop_photos(unreadable)
    if not captions.captions:
        raise ValueError(f"no photo of {', '.join(sets)} ({split}) can be read: check the data.")
    tokens = tokens_of(captions.captions, tokenizer, cache_dir(config, config.data_dirs[0]))
    if vocab is None and config.vocab_file:
        vocab = load_vocabulary(config.vocab_file)
    vocab = vocab or Vocabulary.build(
        tokens.counts(), config.vocab_threshold, config.max_vocab_size
    )
    photo_index = captions.photo_index
    if split == "train" and config.passes != 1:
        rows = rows_of_epoch(config, sets, captions)
        tokens, photo_index = tokens.take(rows), [photo_index[i] for i in rows]
    packed = PackedCaptions(tokens, photo_index, vocab)
    if cached:
        return CachedLoader(captions, packed, caches, encoder, config), vocab
    (one,) = encoder.parts
    return PhotoLoader(captions, packed, one, config, views > 1, transform), vocab


def rows_of_epoch(
    config: TrainConfig, sets: dict[str, CaptionSet], captions: CaptionSet
) -> list[int]:
    """Return the captions of an epoch: each once, then those of folders with more passes again."""
    passes = [config.passes_of(folder) for folder, part in sets.items() for _ in part.photos]
    rows = list(range(len(captions.captions)))
    for number in range(2, max(passes) + 1):
        rows += [i for i, photo in enumerate(captions.photo_index) if passes[photo] >= number]
    return rows


def cache_dir(config: TrainConfig, folder: str) -> Path:
    """Return where the features of a data folder are kept."""
    root = Path(folder).parent if is_shards(folder) else Path(folder)
    return Path(config.cache_dir) if config.cache_dir else root / "features"


def extract_all(
    config: TrainConfig, encoder: EncoderCNN, sets: dict[str, CaptionSet], views: int
) -> list[FeatureCache]:
    """Return the features of each folder by one encoder.

    Raises ValueError where a GPU is to decode the photos and there is none.
    """
    device = device_of(encoder)
    if config.jpeg_decoder == "gpu" and device.type != "cuda":
        raise ValueError("--jpeg-decoder gpu needs a GPU of NVIDIA (CUDA); leave it out.")
    return [
        extract_features(
            encoder,
            captions,
            cache_dir(config, folder),
            views=views,
            grid=config.grid,
            device=device,
            precision=config.precision,
            jpeg_decoder=config.jpeg_decoder,
        )
        for folder, captions in sets.items()
    ]


def unreadable_in(caches: list[FeatureCache]) -> dict[int, str]:
    """Return {row of the union of all folders: reason} of the photos that could not be read."""
    unreadable: dict[int, str] = {}
    first = 0
    for cache in caches:
        unreadable |= {first + row: reason for row, reason in cache.unreadable.items()}
        first += len(cache)
    return unreadable


def prepare_data(
    config: TrainConfig,
    encoder: Encoder,
    transform: Transform | None = None,
    tokenizer: Tokenizer = tokenize,
) -> tuple[dict[str, Loader], Vocabulary]:
    """Return loaders for "train", and for "val" where the data has it, and the vocabulary.

    transform, tokenizer  your own functions, see `prepare_split`

    Raises ValueError where the data cannot be trained on as `config` asks.
    """
    has_val = any(has_data(folder, "val") for folder in config.data_dirs)
    if config.self_critical_epochs and not (has_val and config.validate_every):
        raise ValueError(
            "Fine-tuning on CIDEr chooses its epoch by the photos of a split val: use data that "
            "has one and --validate-every 1, or use --self-critical-epochs 0."
        )
    if has_val and len(config.data_dirs) > 1:
        check_no_leaks(read_split(config, "train"), read_split(config, "val"))
    if config.pca:
        captions = CaptionSet.union(read_split(config, "train"))
        out = cache_dir(config, config.data_dirs[0])
        for part in encoder.parts:
            explained = fit(part, captions, out, device_of(part))
            if distributed.rank() == 0:
                components = plural(config.pca, "component explains", "components explain")
                print(f"pca: {components} {explained:.1%} of the variance of {part.backbone.name}")
    loader, vocab = prepare_split(config, encoder, "train", None, transform, tokenizer)
    if distributed.rank() == 0:
        occurrences = plural(config.vocab_threshold, "occurrence")
        words = plural(len(vocab) - 4, "word")
        chosen = f"with {occurrences} or more (--vocab-threshold)"
        print(f"vocabulary: {words} {f'of {config.vocab_file}' if config.vocab_file else chosen}")
    loaders = {"train": loader}
    if has_val and config.validate_every:
        loaders["val"], _ = prepare_split(config, encoder, "val", vocab, None, tokenizer)
    return loaders, vocab


def fit_familiarity(encoder: Encoder, loaders: dict[str, Loader]) -> None:
    """Give the encoder what tells photos from those of training, from their cached features.

    Nothing where nothing is cached, and where no backbone has a classifier that names what it sees.
    Of several backbones the first one that has one is asked.
    """
    if not isinstance(loaders["train"], CachedLoader):
        return

    def grids(split: str, number: int) -> Iterator[Tensor]:
        for _, inputs in loaders[split].photos() if split in loaders else ():
            yield split_grid(loaders[split].to_grid(inputs))[number]

    for number, part in enumerate(encoder.parts):
        part.familiarity = fit_classes(part.config, grids("train", number), grids("val", number))
        if part.familiarity:
            return
