"""Captions per second of the search, for beams of 1 and 5 and batches from 1 to 512.

    python benchmarks/search.py [--decoders lstm transformer] [--places 200] [--num-layers 2]

Random weights and features of photos that were already encoded, 3,000 words. The last two columns
compare with a search that reorders the whole state after each word, the part of the image as well.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import Tensor

from benchmarks.common import machine, rate, report
from captioning.device import get_device
from captioning.inference.search import beam_search
from captioning.models.decoder import Decoder, State
from model import NEEDS_GRID, make_decoder


class WholeState:
    """A decoder that does not show which parts of its state belong to the image."""

    def __init__(self, decoder: Decoder):
        self.decoder, self.start = decoder, decoder.start

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        logits, state, attention = self.decoder.step(word, state)
        return logits, tuple(part.view_as(part) for part in state), attention


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoders", nargs="+", default=["lstm", "attention", "transformer"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--places", type=int, default=49, help="of a grid (%(default)s)")
    parser.add_argument("--num-layers", type=int, default=1)
    args = parser.parse_args()
    print(machine())
    device, rows = get_device(), []
    for kind in args.decoders:
        config = {"embed_size": 256, "hidden_size": 512, "vocab_size": 3_000}
        config["num_layers"] = args.num_layers
        decoder = make_decoder(kind, **config).to(device).eval()
        for batch in args.batch_sizes:
            places = args.places if kind in NEEDS_GRID else 1
            features = torch.randn(batch, places, 256, device=device)
            speeds = {
                "beam 1": rate(beam_search, batch, decoder, features, 1),
                "beam 5": rate(beam_search, batch, decoder, features, 5),
                "beam 5, whole state": rate(beam_search, batch, WholeState(decoder), features, 5),
            }
            row = {"decoder": kind, "batch": batch}
            row |= {f"{name}, captions/s": f"{speed:.0f}" for name, speed in speeds.items()}
            row["times"] = f"{speeds['beam 5'] / speeds['beam 5, whole state']:.2f}"
            rows.append(row)
    report("Search: at most 20 words", rows)


if __name__ == "__main__":
    main()
