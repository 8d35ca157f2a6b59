"""What real captions are like, in numbers: the notebooks show them beside the drawn ones.

    python -m recipes.photo_statistics data/flickr8k data/coco --out FILE

Of each folder (in COCO's layout, see prepare.py) the training captions are counted, and those of
val decide how many words a vocabulary does not know. No photo and no caption is kept, only counts:
the file is a few kB, so that a notebook has it without the photographs.
"""

import argparse
import json
import re
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from captioning.data.coco import CaptionSet, find_split, has_split, read_captions
from captioning.files import atomic_write, cli_errors, read_json
from vocabulary import tokenize

THRESHOLDS = (1, 2, 3, 5, 10, 20, 50, 100)
BINS = 26  # edges of the histogram of agreement
RANKS = 40  # points of Zipf's curve
CATEGORIES = 20  # the most frequent ones

Statistics = dict[str, Any]


def describe(folder: Path) -> Statistics:
    """Return the statistics of the training captions in a folder."""
    train = read_captions(folder, "train")
    words = [tokenize(caption) for caption in train.captions]
    counts = Counter(word for caption in words for word in caption)
    ranked = sorted(counts.values(), reverse=True)
    ranks = np.unique(np.geomspace(1, len(ranked), RANKS).round().astype(int))
    result = {
        "photos": len(train.photos),
        "captions": len(words),
        "lengths": np.bincount([len(caption) for caption in words]).tolist(),
        "different words": len(ranked),
        "words in all": sum(ranked),
        "ten most frequent": dict(counts.most_common(10)),
        "zipf": [[int(rank), ranked[rank - 1]] for rank in ranks],
        "agreement": agreement(train),
    }
    if has_split(folder, "val"):
        held_out = Counter(
            word for caption in read_captions(folder, "val").captions for word in tokenize(caption)
        )
        result["thresholds"] = [
            {"threshold": threshold, **cost_of(threshold, counts, held_out)}
            for threshold in THRESHOLDS
        ]
    if categories := named_categories(folder, train):
        result["categories"] = categories
    return result


def cost_of(threshold: int, counts: Counter[str], held_out: Counter[str]) -> Statistics:
    """Return what a vocabulary threshold costs: words to learn, words unknown (%) in val."""
    known = {word for word, count in counts.items() if count >= threshold}
    unknown = sum(count for word, count in held_out.items() if word not in known)
    return {"words": len(known), "unknown": round(100 * unknown / held_out.total(), 2)}


def jaccard(one: str, other: str) -> float:
    """Return the number of words that two captions share over the number that either uses."""
    a, b = set(tokenize(one)), set(tokenize(other))
    return len(a & b) / max(len(a | b), 1)


def agreement(train: CaptionSet) -> Statistics:
    """Return means and histograms of the agreement of captions of one photo, and of two photos."""
    several = [captions for captions in train.references().values() if len(captions) > 1]
    same = [jaccard(a, b) for captions in several for a, b in combinations(captions, 2)]
    different = [jaccard(a[0], b[1]) for a, b in pairwise(several)]
    edges = np.linspace(0, 1, BINS)
    return {
        name: {
            "mean": round(float(np.mean(values)), 3),
            "histogram": np.histogram(values, edges, density=True)[0].round(3).tolist(),
        }
        for name, values in (("same photo", same), ("different photos", different))
    }


def named_categories(folder: Path, train: CaptionSet) -> Statistics:
    """Return of each frequent category the photos that show it, and whose captions name it."""
    path, _ = find_split(folder, "train")
    boxes = path.with_name(path.name.replace("captions", "instances"))
    if not boxes.exists():
        return {}
    content, shown_in = read_json(boxes), {}
    names = {category["id"]: category["name"] for category in content["categories"]}
    for thing in content["annotations"]:
        shown_in.setdefault(thing["image_id"], set()).add(names[thing["category_id"]])
    shown, named = Counter(), Counter()
    for photo_id, captions in train.references().items():
        text = " ".join(word for caption in captions for word in tokenize(caption))
        for name in shown_in.get(photo_id, ()):
            shown[name] += 1
            named[name] += bool(re.search(rf"\b{name}(s|es)?\b", text))
    return {
        name: {"shown": count, "named": named[name]}
        for name, count in shown.most_common(CATEGORIES)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders in COCO's layout")
    parser.add_argument("--out", required=True, help="JSON file to write")
    args = parser.parse_args()
    with cli_errors():
        statistics = {folder.name: describe(folder) for folder in args.folders}
        with atomic_write(args.out, "w") as file:
            json.dump(statistics, file, indent=1)


if __name__ == "__main__":
    main()
