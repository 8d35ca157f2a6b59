"""Captions per second of the search, for beams of 1 and 5 and batches from 1 to 512.

    python benchmarks/search.py [--decoders lstm transformer]

Random weights and features of photos that were already encoded, 3,000 words.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks.common import machine, rate, report
from captioning.device import get_device
from captioning.inference.search import beam_search
from model import NEEDS_GRID, make_decoder


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoders", nargs="+", default=["lstm", "attention", "transformer"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64, 512])
    args = parser.parse_args()
    print(machine())
    device, rows = get_device(), []
    for kind in args.decoders:
        config = {"embed_size": 256, "hidden_size": 512, "vocab_size": 3_000}
        decoder = make_decoder(kind, **config).to(device).eval()
        for batch in args.batch_sizes:
            places = 49 if kind in NEEDS_GRID else 1
            features = torch.randn(batch, places, 256, device=device)
            row = {"decoder": kind, "batch": batch}
            for beam in (1, 5):
                speed = rate(beam_search, batch, decoder, features, beam)
                row[f"beam {beam}, captions/s"] = f"{speed:.0f}"
            rows.append(row)
    report("Search: at most 20 words", rows)


if __name__ == "__main__":
    main()
