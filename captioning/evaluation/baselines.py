"""What a score must be compared with: captions without looking, nearest neighbors, people.

    baselines           the scores of random, most common, nearest-neighbor and human captions
    nearest_neighbors   the training photo most similar to each photo; most_similar: several
    diversity           how many captions differ, are copied from training, how many words they use

Arguments and scores as in scores.py; no torch in here. Devlin et al. 2015, arXiv:1505.04467, found
nearest neighbors hard to beat.
"""

import random
from collections import Counter

import numpy as np

from captioning.evaluation.scores import Captions, References, Scores, evaluate, tokens


def baselines(
    references: References, training: References, nearest: Captions | None = None, seed: int = 0
) -> dict[str, Scores]:
    """Return the scores of captions that never saw the image, and of people.

    nearest  for each image the caption of its nearest training photo (`nearest_neighbors`)

    "human" scores each reference in turn against the others, one fewer than the other rows have.
    """
    rng = random.Random(seed)
    pool = [caption for captions in training.values() for caption in captions]
    common = Counter(" ".join(tokens(caption)) for caption in pool).most_common(1)[0][0]
    rows = {
        "random": evaluate(references, {image: rng.choice(pool) for image in references}),
        "common": evaluate(references, dict.fromkeys(references, common)),
    }
    if nearest:
        rows["nearest"] = evaluate(references, nearest)
    several = {image: captions for image, captions in references.items() if len(captions) > 1}
    if several:
        human = []
        for turn in range(min(map(len, several.values()))):
            others = {image: c[:turn] + c[turn + 1 :] for image, c in several.items()}
            human.append(evaluate(others, {image: c[turn] for image, c in several.items()}))
        rows["human"] = {n: sum(s[n] for s in human) / len(human) for n in human[0]}
    return rows


def nearest_neighbors(features: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Return for each of `features` (N, D) the most similar row (cosine) of `bank` (M, D)."""
    return most_similar(features, bank, 1)[:, 0]


def most_similar(features: np.ndarray, bank: np.ndarray, count: int) -> np.ndarray:
    """Return for each of `features` (N, D) the `count` most similar rows of `bank`: (N, count)."""
    lengths = np.maximum(np.linalg.norm(bank, axis=1), 1e-12)
    found = []
    for chunk in np.array_split(features, max(len(features) // 1024, 1)):
        distance = -(chunk @ bank.T) / lengths  # minus the cosine, up to the length of a feature
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(distance, nearest, axis=1).argsort(axis=1, kind="stable")
        found.append(np.take_along_axis(nearest, order, axis=1))
    return np.concatenate(found)


def diversity(captions: Captions, training: References) -> Scores:
    """Return what no score notices: does the model say the same about every photo?"""
    said = [tokens(caption) for caption in captions.values()]
    known = {tokens(caption) for several in training.values() for caption in several}
    return {
        "different captions, %": 100 * len(set(said)) / len(said),
        "copied from training, %": 100 * sum(caption in known for caption in said) / len(said),
        "different words": len({word for caption in said for word in caption}),
        "words per caption": sum(map(len, said)) / len(said),
    }
