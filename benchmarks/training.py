"""Captions per second of the decoder's training step, by vocabulary, batch and precision.

    python benchmarks/training.py [--decoders lstm attention transformer]

Random features and captions of COCO's mean length: only the step is measured. The first table
shows growth: seconds for an epoch, and memory, for 1, 2, 4 and 8 times the captions.
"""

import argparse
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks.common import machine, rate, report, timed
from captioning.device import compute_dtype, get_device
from captioning.training.losses import caption_loss
from data_loader import PackedCaptions, bucket_batches
from model import NEEDS_GRID, make_decoder
from vocabulary import Vocabulary

WORDS = 10  # of a caption
PHOTOS, GROWTH = 5_000, (1, 2, 4, 8)


def training_step(kind: str, vocab_size: int, batch: int, dtype: torch.dtype):
    """Return a function that makes one step: loss, gradient, update."""
    device = get_device()
    config = {"embed_size": 256, "hidden_size": 512, "vocab_size": vocab_size}
    decoder = make_decoder(kind, **config).to(device)
    optimizer = torch.optim.Adam(decoder.parameters(), fused=True)
    places = 49 if kind in NEEDS_GRID else 1
    features = torch.randn(batch, places, 256, device=device)
    captions = torch.randint(4, vocab_size, (batch, WORDS + 2), device=device)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss, _ = caption_loss(decoder, features, captions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def growth(batch: int) -> list[dict]:
    """Return a row for each multiple of the captions: seconds for an epoch, peak memory."""
    vocab = Vocabulary([*"0123", *(f"word{i}" for i in range(1000))])
    texts = [[f"word{(7 * i + j) % 1000}" for j in range(WORDS)] for i in range(PHOTOS * 5)]
    features = torch.randn(PHOTOS, 1, 2048, dtype=torch.float16)
    rows = []
    for times in GROWTH:
        packed = PackedCaptions(
            texts * times, [i % PHOTOS for i in range(len(texts) * times)], vocab
        )
        stages: dict[str, float] = {}
        step = training_step("lstm", len(vocab), batch, compute_dtype(get_device()))
        with timed(stages, "epoch"):
            for numbers in bucket_batches(packed.lengths, batch, seed=0):
                packed.batch(numbers)
                features[packed.photo_index[numbers]].float()
                step()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        captions = len(packed)
        rows.append(
            {
                "captions": f"{captions:,}",
                "seconds for an epoch": f"{stages['epoch']:.1f}",
                "captions/s": f"{captions / stages['epoch']:.0f}",
                "peak memory, MB": f"{memory:.0f}",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoders", nargs="+", default=["lstm", "attention", "transformer"])
    parser.add_argument("--vocab-sizes", type=int, nargs="+", default=[3_000, 10_000])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 512])
    args = parser.parse_args()
    print(machine())
    report("Training: growth with the captions", growth(args.batch_sizes[0]))  # memory: first
    fast, rows = compute_dtype(get_device()), []
    for kind in args.decoders:
        for vocab_size in args.vocab_sizes:
            for batch in args.batch_sizes:
                speed = {
                    dtype: rate(training_step(kind, vocab_size, batch, dtype), batch)
                    for dtype in dict.fromkeys((torch.float32, fast))
                }
                rows.append(
                    {
                        "decoder": kind,
                        "words": vocab_size,
                        "batch": batch,
                        "float32, captions/s": f"{speed[torch.float32]:.0f}",
                        f"{str(fast).removeprefix('torch.')}, captions/s": f"{speed[fast]:.0f}",
                        "times": f"{speed[fast] / speed[torch.float32]:.1f}",
                    }
                )
    report("Training: one step", rows)


if __name__ == "__main__":
    main()
