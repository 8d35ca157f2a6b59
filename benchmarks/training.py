"""Captions per second of the decoder's training step, by vocabulary, batch and precision.

    python benchmarks/training.py [--decoders lstm attention transformer]

Random features of a ResNet-50 and captions of COCO's mean length: only the step is measured, from
the encoder's layer `embed` on. The first table shows growth: seconds for an epoch, and memory, for
1, 2, 4 and 8 times the captions. The last ones show what `--captions-together 5` is worth, and what
words in a round number are (device.py: rows_where), in batches of captions of all lengths.
"""

import argparse
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import nn

from benchmarks.common import machine, rate, report, timed
from captioning.device import compute_dtype, get_device
from captioning.training import losses
from captioning.training.losses import caption_loss
from data_loader import PackedCaptions, bucket_batches
from model import NEEDS_GRID, make_decoder
from vocabulary import Vocabulary

WORDS, LONGEST = 10, 20  # of a caption
SIZE, EMBED = 2048, 256  # dimensions of a place's features before and after `embed`
WARM_UP = 30  # steps, after which all round numbers of words have come up
PHOTOS, GROWTH = 5_000, (1, 2, 4, 8)


def training_step(
    kind: str,
    vocab_size: int,
    batch: int,
    dtype: torch.dtype,
    together: int = 1,
    all_lengths: bool = False,
):
    """Return a function that makes one step: loss, gradient, update.

    together     captions of each photo that are in the batch side by side
    all_lengths  each batch has captions of another length, up to LONGEST words, as in training
    """
    device = get_device()
    config = {"embed_size": EMBED, "hidden_size": 512, "vocab_size": vocab_size}
    decoder = make_decoder(kind, **config).to(device)
    embed = nn.Linear(SIZE, EMBED).to(device)
    parameters = [*embed.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, fused=True)
    places = 49 if kind in NEEDS_GRID else 1
    grid = torch.randn(batch // together, places, SIZE, device=device)
    longest = LONGEST if all_lengths else WORDS
    captions = torch.randint(4, vocab_size, (len(grid) * together, longest + 2), device=device)

    def step() -> None:
        words = captions
        if all_lengths:
            shortest = int(torch.randint(5, LONGEST - 2, ()))
            lengths = torch.randint(shortest, shortest + 3, (len(captions), 1), device=device)
            words = captions[:, : shortest + 4]
            is_padding = torch.arange(shortest + 4, device=device) > lengths + 1
            words = words.masked_fill(is_padding, Vocabulary.pad)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss, _ = caption_loss(decoder, embed(grid), words)
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


def captions_together(kinds: list[str], vocab_size: int, batch: int) -> list[dict]:
    """Return a row for each decoder over the grid: one caption of a photo in a batch, and five."""
    dtype, rows = compute_dtype(get_device()), []
    for kind in (kind for kind in kinds if kind in NEEDS_GRID):
        one, five = (
            rate(training_step(kind, vocab_size, batch, dtype, number), batch // number * number)
            for number in (1, 5)
        )
        row = {"decoder": kind, "1, captions/s": f"{one:.0f}", "5, captions/s": f"{five:.0f}"}
        rows.append(row | {"times": f"{five / one:.2f}"})
    return rows


def round_numbers(kinds: list[str], vocab_size: int, batch: int) -> list[dict]:
    """Return a row for each decoder: as many words as there are, and a multiple of `ROWS`."""
    dtype, chosen, rows = compute_dtype(get_device()), losses.ROWS, []
    for kind in kinds:
        speed = {}
        for losses.ROWS in (1, chosen):
            step = training_step(kind, vocab_size, batch, dtype, all_lengths=True)
            for _ in range(WARM_UP):
                step()
            speed[losses.ROWS] = rate(step, batch, seconds=10)
        row: dict = {"decoder": kind}
        row |= {f"multiple of {n}, captions/s": f"{speed[n]:.0f}" for n in speed}
        rows.append(row | {"times": f"{speed[chosen] / speed[1]:.2f}"})
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
    rows = captions_together(args.decoders, args.vocab_sizes[0], args.batch_sizes[0])
    report("Training: captions of a photo together", rows)
    rows = round_numbers(args.decoders, args.vocab_sizes[0], args.batch_sizes[0])
    report("Training: words in round numbers", rows)


if __name__ == "__main__":
    main()
