"""What a larger set of photos costs, from what a small one costs here: the table of SCALING.md.

    python benchmarks/scaling.py --photos-per-second 90 --captions-per-second 2500

Measured: seconds and memory to read, split into words and pack captions, and to order an epoch.
Given: the two rates, as benchmarks/extraction.py and benchmarks/training.py print them. The rest is
arithmetic: float16 features, 2,048 numbers for a photo, or for each of 49 places.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.common import machine
from captioning.data.coco import read_captions
from data_loader import PackedCaptions, bucket_batches
from vocabulary import Vocabulary, tokenize

SETS = {  # photos and captions to train on
    "Flickr8k": (6_000, 30_000),
    "Flickr30k": (29_000, 145_000),
    "COCO 2014": (82_783, 414_113),
    "3 million pairs": (3_000_000, 3_000_000),
    "100 million pairs": (100_000_000, 100_000_000),
}
POOLED, GRID = 2048 * 2, 49 * 2048 * 2  # bytes of a photo's features
JPEG = 160_000  # bytes of a typical photo of 640 x 480
WORDS = 1_000  # in the captions made here


def write_captions(root: Path, captions: int) -> None:
    """Write captions of ten words, five for each photo; the photos are empty files."""
    (root / "annotations").mkdir()
    (root / "images/train").mkdir(parents=True)
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(captions // 5)]
    for image in images:
        (root / "images/train" / image["file_name"]).touch()
    texts = (" ".join(f"word{(7 * i + j * j) % WORDS}" for j in range(10)) for i in range(captions))
    annotations = [
        {"id": i, "image_id": i // 5, "caption": f"{text} ."} for i, text in enumerate(texts)
    ]
    content = json.dumps({"images": images, "annotations": annotations})
    (root / "annotations/captions_train.json").write_text(content, encoding="utf-8")


def peak_memory() -> int:
    """Return the largest number of bytes that this process has had."""
    scale = 1 if sys.platform == "darwin" else 1024
    return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(captions: int) -> tuple[float, float, float]:
    """Return for each caption: seconds and bytes to read it, seconds to order it in an epoch."""
    with tempfile.TemporaryDirectory() as scratch:
        write_captions(Path(scratch), 1_000)  # warm up: modules are imported
        read_and_pack(Path(scratch))
    with tempfile.TemporaryDirectory() as scratch:
        write_captions(Path(scratch), captions)
        before, began = peak_memory(), time.process_time()
        packed = read_and_pack(Path(scratch))
        seconds, memory = time.process_time() - began, peak_memory() - before
    began = time.process_time()
    bucket_batches(packed.lengths, 128, seed=0)
    return seconds / captions, memory / captions, (time.process_time() - began) / captions


def read_and_pack(root: Path) -> PackedCaptions:
    captions = read_captions(root, "train")
    words = [tokenize(text) for text in captions.captions]
    return PackedCaptions(words, captions.photo_index, Vocabulary.build(words, 1))


def in_bytes(size: float) -> str:
    for unit, length in (("TB", 1e12), ("GB", 1e9)):
        if size >= length:
            return f"{size / length:.3g} {unit}"
    return f"{size / 1e6:.3g} MB"


def in_time(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--photos-per-second", type=float, help="as benchmarks/extraction.py prints it"
    )
    parser.add_argument(
        "--captions-per-second", type=float, help="as benchmarks/training.py prints it"
    )
    parser.add_argument(
        "--captions",
        type=int,
        default=100_000,
        help="number of captions to measure with (%(default)s)",
    )
    args = parser.parse_args()
    seconds, memory, order = measure(args.captions)
    print(machine())
    print(f"to read and pack: {1e6 * seconds:.0f} microseconds and {memory:.0f} bytes a caption;")
    print(f"to order an epoch: {1e6 * order:.2f} microseconds a caption\n")
    head = ["", "JPEG", "pooled", "grid", "read and pack", "memory", "order an epoch"]
    head += ["extract"] if args.photos_per_second else []
    head += ["an epoch"] if args.captions_per_second else []
    print(f"| {' | '.join(head)} |\n| {' | '.join('---' for _ in head)} |")
    for name, (photos, captions) in SETS.items():
        row = [name, *(in_bytes(photos * size) for size in (JPEG, POOLED, GRID))]
        row += [in_time(captions * seconds), in_bytes(captions * memory), in_time(captions * order)]
        if args.photos_per_second:
            row.append(in_time(photos / args.photos_per_second))
        if args.captions_per_second:
            row.append(in_time(captions / args.captions_per_second))
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
