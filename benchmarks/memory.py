"""How many neighbors a memory should ask, and what their captions should weigh.

    python benchmarks/memory.py --data data/flickr8k [--captioner photos] [--queries 500]

Chosen on training photos alone: some of them are captioned as if they were new, with a memory that
holds neither them nor their near duplicates. Where they also taught the decoder, its captions are
better and its scores surer than on new photos. To see the choice without that, move some training
photos into a split of their own, train on the others, and add `--split val --captioner THAT_RUN`.
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
from captioning.inference.captioner import SEARCH_BATCH, Captioner
from captioning.inference.memory import CANDIDATES
from captioning.inference.search import beam_search
from captioning.inference.serialization import find_pair
from model import split_grid

COUNTS = (1, 3, 5, 10, 20, 40)  # neighbors
WEIGHTS = (0.3, 1.0, 2.0, 3.0, 6.0, 100.0)  # of CIDEr-D; the last one: the neighbors alone decide
DUPLICATE = 0.9  # cosine from which two photos count as the same


def candidates(
    captioner: Captioner, paths: list[Path]
) -> tuple[np.ndarray, list[list[str]], np.ndarray]:
    """Return the photos' keys (N, D), the captions of each beam, and their scores (N, K)."""
    keys, texts, scores = [], [], []
    for first in range(0, len(paths), SEARCH_BATCH):
        part = paths[first : first + SEARCH_BATCH]
        grid = captioner.grid([read_photo(path, captioner.min_side) for path in part])
        assert captioner.memory
        keys.append(captioner.memory.keys([g.mean(dim=1).cpu().numpy() for g in split_grid(grid)]))
        with torch.inference_mode():
            features = captioner.encoder.embed(grid)
        longest = captioner.decoder.max_words
        for found in beam_search(captioner.decoder, features, CANDIDATES, 0.7, longest, CANDIDATES):
            texts.append([captioner.vocab.decode(one.words) for one in found])
            scores.append([one.score for one in found])
    return np.concatenate(keys), texts, np.array(scores)


def measure(captioner: Captioner, data: str, split: str, queries: int) -> list[dict]:
    """Return CIDEr for each number of neighbors and each weight, a row for each weight."""
    memory = captioner.memory
    assert memory
    captions = read_captions(data, split)
    references = {i: texts for i, texts in captions.references().items() if texts}
    photos = [photo for photo in captions.photos if photo.id in references]
    photos = photos[:: max(1, len(photos) // queries)][:queries]
    ids = [photo.id for photo in photos]
    keys, texts, scores = candidates(captioner, [photo.path for photo in photos])
    cosine = keys @ memory.bank.T / len(memory.means)
    cosine[cosine > DUPLICATE] = -np.inf
    if split == "train":
        itself = np.array(ids)[:, None] == np.array(memory.ids)
        cosine[itself] = -np.inf
    nearest = np.argsort(-cosine, axis=1)[:, : max(COUNTS)]
    agreement = np.array(
        [
            [[memory.cider.score(memory.ids[row], text) for row in of_photo] for text in found]
            for of_photo, found in zip(nearest, texts, strict=True)
        ]
    )  # (N, CANDIDATES, neighbors)
    truth = CiderD({i: references[i] for i in ids})
    cider = np.array(
        [[truth.score(i, text) for text in found] for i, found in zip(ids, texts, strict=True)]
    )

    def choose(rank: np.ndarray) -> float:
        return round(100 * float(cider[np.arange(len(ids)), rank.argmax(axis=1)].mean()), 1)

    table: list[dict] = [{"weight": 0} | {f"{n} neighbors": choose(scores) for n in COUNTS}]
    for weight in WEIGHTS:
        ranks = {n: scores + weight * agreement[:, :, :n].mean(axis=2) for n in COUNTS}
        table.append({"weight": weight} | {f"{n} neighbors": choose(r) for n, r in ranks.items()})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/flickr8k", help="prepared folder (%(default)s)")
    parser.add_argument("--captioner", default="photos", help="as in caption.py (%(default)s)")
    parser.add_argument("--weights", action="append", help="as in caption.py")
    parser.add_argument("--split", default="train", help="split of the queries (%(default)s)")
    parser.add_argument("--queries", type=int, default=500, help="photos (%(default)s)")
    args = parser.parse_args()
    with cli_errors():
        pair = find_pair(args.captioner)
        captioner = Captioner.load(*pair, args.weights, memory=args.data)
        table = measure(captioner, args.data, args.split, args.queries)
        title = f"A memory of {args.data}: CIDEr of {args.queries} photos of {args.split}"
        report(title, table, f"The captioner is {args.captioner}.")


if __name__ == "__main__":
    main()
