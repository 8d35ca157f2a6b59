"""What a memory's predictions should weigh, and how cautious they should be.

    python benchmarks/memory.py --data data/flickr8k [--captioner photos] [--split val]

The memory holds the split train; the photos of another split are captioned. What is chosen on the
split that chose the decoder's epoch as well looks a little better than it is: `choice on halves`
is the CIDEr of one half of the photos with the weight that is best on the other half.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.common import report
from captioning.data.coco import read_captions
from captioning.data.photos import read_photo
from captioning.evaluation.scores import CiderD
from captioning.files import cli_errors
from captioning.inference import memory as memory_module
from captioning.inference.captioner import SEARCH_BATCH, Captioner
from captioning.inference.memory import CANDIDATES, Memory
from captioning.inference.search import beam_search
from captioning.inference.serialization import find_pair
from model import Grid, join_grids, split_grid

WEIGHTS = (0.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 1000.0)  # of the predicted CIDEr-D
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0)
HALVINGS = 20


def candidates(
    captioner: Captioner, paths: list[Path]
) -> tuple[list[Grid], list[list[list[str]]], np.ndarray]:
    """Return the grids of batches of photos, the captions of each beam, and all scores (N, K)."""
    grids, texts, scores = [], [], []
    longest = captioner.decoder.max_words
    for first in range(0, len(paths), SEARCH_BATCH):
        photos = [read_photo(p, captioner.min_side) for p in paths[first : first + SEARCH_BATCH]]
        grid = captioner.grid(photos)
        with torch.inference_mode():
            features = captioner.encoder.embed(grid)
        beams = beam_search(captioner.decoder, features, CANDIDATES, 0.7, longest, CANDIDATES)
        grids.append(join_grids(part.mean(dim=1, keepdim=True) for part in split_grid(grid)))
        texts.append([[captioner.vocab.decode(one.words) for one in found] for found in beams])
        scores += [[one.score for one in found] for found in beams]
    return grids, texts, np.array(scores)


def measure(captioner: Captioner, data: str, split: str, queries: int) -> list[dict]:
    """Return CIDEr for each weight and each ridge, a row for each ridge."""
    captions = read_captions(data, split)
    references = {i: texts for i, texts in captions.references().items() if texts}
    photos = [photo for photo in captions.photos if photo.id in references]
    photos = photos[:: max(1, len(photos) // queries)][:queries]
    grids, texts, scores = candidates(captioner, [photo.path for photo in photos])
    truth = CiderD({photo.id: references[photo.id] for photo in photos})
    beams = [found for batch in texts for found in batch]
    cider = 100 * np.array(
        [
            [truth.score(photo.id, text) for text in found]
            for photo, found in zip(photos, beams, strict=True)
        ]
    )
    rows = []
    for ridge in RIDGES:
        memory_module.RIDGE = ridge
        memory = Memory(data, captioner.encoder)
        agreement = np.concatenate(
            [memory.agreement(grid, batch) for grid, batch in zip(grids, texts, strict=True)]
        )
        chosen = np.stack(
            [
                cider[np.arange(len(photos)), (scores + weight * agreement).argmax(axis=1)]
                for weight in WEIGHTS
            ]
        )  # (weights, N)
        row: dict = {"ridge": ridge}
        for weight, found in zip(WEIGHTS, chosen.mean(axis=1), strict=True):
            row[f"weight {weight:g}"] = round(float(found), 1)
        rows.append(row | {"choice on halves": round(choice_on_halves(chosen), 1)})
    return rows


def choice_on_halves(chosen: np.ndarray) -> float:
    """Return the mean of one half's CIDEr with the weight that is best on the other half.

    chosen  CIDEr for each weight and photo (W, N)
    """
    generator = np.random.default_rng(0)
    found = []
    for _ in range(HALVINGS):
        order = generator.permutation(chosen.shape[1])
        half, other = np.array_split(order, 2)
        for mine, others in ((half, other), (other, half)):
            best = chosen[:, others].mean(axis=1).argmax()
            found.append(chosen[best, mine].mean())
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/flickr8k", help="prepared folder (%(default)s)")
    parser.add_argument("--captioner", default="photos", help="as in caption.py (%(default)s)")
    parser.add_argument("--weights", action="append", help="as in caption.py")
    parser.add_argument("--split", default="val", help="split of the queries (%(default)s)")
    parser.add_argument("--queries", type=int, default=1000, help="photos (%(default)s)")
    args = parser.parse_args()
    with cli_errors():
        pair = find_pair(args.captioner)
        captioner = Captioner.load(*pair, args.weights)
        table = measure(captioner, args.data, args.split, args.queries)
        title = f"A memory of {args.data}: CIDEr of {args.queries} photos of {args.split}"
        report(title, table, f"The captioner is {args.captioner}.")


if __name__ == "__main__":
    main()
