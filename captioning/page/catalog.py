"""The captioners that the web page offers: which ones, in which order, under which titles.

find_captioners(models)   the captioners in a folder, the default first
title(name, pair)         how the page lists one of them
"""

import filecmp
from pathlib import Path

from captioning.files import PathLike
from captioning.inference.serialization import Pair, pair_in

# The course's own captioners, the best first: the first one that is there is the page's default.
# Below them come a student's training runs, the newest first.
SHIPPED = {
    "photos": "For photographs",
    "toy-attention": "Drawn scenes, LSTM with attention",
    "toy-lstm": "Drawn scenes, LSTM",
}


def find_captioners(models: PathLike) -> dict[str, Pair]:
    """Return the pair of files of each captioner in `models` and its folders, by folder name.

    For a training run's folder it is the best pair, or that of the last epoch. Pairs of the same
    content are listed once. Raises FileNotFoundError if there is no captioner.
    """
    models = Path(models)
    folders = [models, *sorted(models.iterdir())] if models.is_dir() else []
    named = [(path.resolve().name, pair) for path in folders if (pair := pair_in(path))]
    found: dict[str, Pair] = {}
    for name, pair in sorted(named, key=_rank):
        if not any(_same_content(pair, other) for other in found.values()):
            found[name] = pair
    if not found:
        raise FileNotFoundError(
            f"{models} has no captioner (encoder.pkl and decoder.pkl in a folder). "
            "Train one with train.py, or name another folder with --models."
        )
    return found


def _rank(named: tuple[str, Pair]) -> tuple[int, float]:
    """Return what captioners are sorted by: SHIPPED in its order, then the newest file first."""
    name, (_, decoder) = named
    if name in SHIPPED:
        return list(SHIPPED).index(name), 0
    return len(SHIPPED), -decoder.stat().st_mtime


def _same_content(pair: Pair, other: Pair) -> bool:
    return all(filecmp.cmp(a, b, shallow=False) for a, b in zip(pair, other, strict=True))


def title(name: str, pair: Pair) -> str:
    """Return how the page lists a captioner; programs ask for it by `name`."""
    if name in SHIPPED:
        return f"{SHIPPED[name]} ({name})"
    encoder = pair[0]
    epoch = encoder.stem.removeprefix("encoder").removeprefix("-")
    if epoch:
        return f"Your training in {name}, epoch {epoch}"
    return f"Your training in {name}" + (", best epoch" if encoder.parent.name == "best" else "")
