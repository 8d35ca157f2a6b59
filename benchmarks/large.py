"""What sets of photos cost that are larger than this machine's memory, or nearly.

    python benchmarks/large.py start [--captions 414113]     the first start and the second
    python benchmarks/large.py read [--gigabytes 4]          photos that are not in memory
    python benchmarks/large.py epoch [--photos 1000000]      is an epoch as fast at its end?

Random features, and captions of ten words whose frequencies follow Zipf's law. Every measurement
appends a table to results.md. What is written goes to a temporary folder (TMPDIR).
"""

import argparse
import json
import mmap
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from torch import nn

from benchmarks.common import report
from captioning.data.coco import CaptionSet, Photo, read_captions
from captioning.data.tokens import tokens_of
from captioning.features.cache import FeatureCache, shard_files, shard_lengths
from captioning.features.reading import ConcatenatedFeatures, plan_windows, read_windows
from captioning.training.config import TrainConfig
from captioning.training.loaders import CachedLoader
from captioning.training.losses import caption_loss
from data_loader import PackedCaptions
from model import make_decoder
from vocabulary import Vocabulary, tokenize

WORDS, LENGTH, CAPTIONS = 20_000, 10, 5  # in the language, in a caption, of a photo
STEP = 100_000  # captions between two lines


def zipf_captions(count: int) -> list[str]:
    """Return captions whose words follow Zipf's law."""
    rng, weights = np.random.default_rng(0), 1 / np.arange(1, WORDS + 1)
    numbers = rng.choice(WORDS, (count, LENGTH), p=weights / weights.sum())
    return [f"A {' '.join(f'w{number}' for number in row)}." for row in numbers.tolist()]


def write_folder(root: Path, captions: list[str]) -> None:
    """Write the captions in COCO's layout; the photos are empty files."""
    (root / "annotations").mkdir()
    (root / "images/train").mkdir(parents=True)
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(len(captions) // CAPTIONS + 1)]
    for image in images:
        (root / "images/train" / image["file_name"]).touch()
    found = enumerate(captions)
    entries = [{"id": i, "image_id": i // CAPTIONS, "caption": text} for i, text in found]
    content = json.dumps({"images": images, "annotations": entries})
    (root / "annotations/captions_train.json").write_text(content, encoding="utf-8")


def write_features(folder: Path, photos: int, views: int, places: int, size: int) -> FeatureCache:
    """Write random features as the extraction would."""
    folder.mkdir()
    spec = {"count": photos, "batch": 16}
    for number, length in enumerate(shard_lengths(spec, 2 * views * places * size)):
        path, shape = folder / f"features-{number:05}.npy", (length, views, places, size)
        shard = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        for first in range(0, length, 256):
            shard[first : first + 256] = torch.randn(min(256, length - first), *shape[1:]).half()
        shard.flush()
    index = {"spec": spec, "done": photos, "unreadable": {}}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return FeatureCache(folder)


def loader_of(captions: CaptionSet, cache: FeatureCache, folder: Path, **options) -> CachedLoader:
    """Return the loader of training, with an encoder that only embeds."""
    tokens = tokens_of(captions.captions, tokenize, folder)
    packed = PackedCaptions(tokens, captions.photo_index, Vocabulary.build(tokens.counts(), 5))
    encoder = nn.Module()
    encoder.embed = nn.Linear(cache.shards[0].shape[-1], 32)
    return CachedLoader(captions, packed, [[cache]], encoder, TrainConfig(**options))


def start(root: Path, count: int) -> tuple[str, list[dict]]:
    write_folder(root, zipf_captions(count))
    rows = []
    for name in ("first", "second"):
        times = [time.process_time()]
        captions = read_captions(root, "train")
        times.append(time.process_time())
        tokens = tokens_of(captions.captions, tokenize, root / "features")
        PackedCaptions(tokens, captions.photo_index, Vocabulary.build(tokens.counts(), 5))
        times.append(time.process_time())
        read, words = np.diff(times)
        row = {"start": name, "annotations, CPU s": f"{read:.2f}"}
        rows.append(row | {"words and packing, CPU s": f"{words:.2f}"})
    return f"Start: {count:,} captions", rows


def forget(cache: FeatureCache) -> None:
    """Let the system drop what it keeps of the files, as it does where there is not enough room."""
    for shard, path in zip(cache.shards, shard_files(cache.folder), strict=True):
        shard._mmap.madvise(mmap.MADV_DONTNEED)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(root: Path, gigabytes: float) -> tuple[str, list[dict]]:
    views, places, size = 6, 49, 2048
    photos = int(gigabytes * 1e9 / (2 * views * places * size))
    cache = write_features(root / "cache", photos, views, places, size)
    features = ConcatenatedFeatures([cache], torch.device("cpu"))
    index = torch.arange(photos).repeat_interleave(CAPTIONS)
    view = torch.randint(views, (len(index),))
    random = [[rows] for rows in torch.randperm(len(index)).split(128)]
    windows = plan_windows(features, index, torch.full((len(index),), 12), 128, 0)
    rows = []
    for order, parts in (("random", random[:60]), ("shards", windows)) * 2:
        seconds, captions = 0.0, 0
        for part in parts:
            forget(cache)
            began = time.monotonic()
            for batch, _ in read_windows(features, index, view, [part]):
                captions += len(batch)
            seconds += time.monotonic() - began
        row = {"order": order, "captions": f"{captions:,}", "seconds": f"{seconds:.1f}"}
        rows.append(row | {"captions/s": f"{captions / seconds:.0f}"})
    return f"Reading from disk: {gigabytes:g} GB of features, {views} views", rows


def memory() -> dict[str, float]:
    """Return resident memory in MB: the process's own, and of files, which the system may drop."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    own, files = int(kilobytes["RssAnon"]), int(kilobytes["RssFile"])
    return {"own memory, MB": own // 1024, "files in memory, MB": files // 1024}


def epoch(root: Path, photos: int) -> tuple[str, list[dict]]:
    cache = write_features(root / "cache", photos, 1, 1, 256)
    texts = zipf_captions(photos * CAPTIONS)
    index = [i // CAPTIONS for i in range(len(texts))]
    captions = CaptionSet([Photo(i, root) for i in range(photos)], texts, index)
    starts = []
    for _ in range(2):
        began = time.process_time()
        options = {"feature_order": "shards", "batch_size": 500}
        loader = loader_of(captions, cache, root, **options)
        starts.append(time.process_time() - began)
    print(f"start from captions in memory: {starts[0]:.1f} CPU s, again {starts[1]:.1f} CPU s")
    decoder = make_decoder("lstm", embed_size=32, hidden_size=32, vocab_size=100)
    optimizer = torch.optim.Adam(decoder.parameters())
    rows, number = [], 0
    began = time.process_time()
    for grid, words, _ in loader.epoch(1):
        loss, _ = caption_loss(decoder, loader.encode(grid), words.clamp(max=99))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        number += len(words)
        if number % STEP == 0:
            seconds = time.process_time() - began
            rows.append({"captions": f"{number:,}", "CPU s": f"{seconds:.2f}"} | memory())
            began = time.process_time()
    title = f"An epoch of {photos:,} photos and {len(texts):,} captions, {STEP:,} at a time"
    return title, [rows[i] for i in sorted({0, 1, len(rows) // 2, len(rows) - 2, len(rows) - 1})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for function, flag, default in (
        (start, "captions", 414_113),
        (read, "gigabytes", 4.0),
        (epoch, "photos", 1_000_000),
    ):
        command = commands.add_parser(function.__name__)
        command.add_argument(f"--{flag}", dest="size", type=type(default), default=default)
        command.set_defaults(measure=function)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        title, rows = args.measure(Path(scratch), args.size)
    report(title, rows, f"`python benchmarks/large.py {' '.join(sys.argv[1:])}`")


if __name__ == "__main__":
    main()
