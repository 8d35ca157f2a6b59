"""Check captions of the drawn pictures against their ground truth.

    python caption.py data/toy/images/test2014 ... --out results.json
    python -m recipes.grade_toy results.json --data data/toy --split test

Two columns show what a captioner scores that never looks: `control` deals the same captions to the
wrong pictures, `most common` gives every picture the most frequent training caption. Counts of two
or more, and pairs of kind and color that never occur in training, have rows of their own.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from captioning.data.coco import ImageId
from captioning.data.results import read_results
from captioning.files import atomic_write, cli_errors, read_json
from captioning.toy.grading import grade

COUNTS = {
    "different": "different captions",
    "things named": "named objects where two or more are present",
}
ACCURACIES = {
    "things": "named objects that are present (%)",
    "largest": "largest object named (%)",
    "colors": "correct colors (%)",
    "colors of seen pairs": "  pairs seen in training (%)",
    "colors of unseen pairs": "  pairs never seen in training (%)",
    "settings": "correct settings (%)",
    "numbers of two or more": "correct counts, two or more (%)",
    "relations": "correct relations (%)",
}


def deal(captions: Mapping[ImageId, str], seed: int = 0) -> dict[ImageId, str]:
    """Give every picture the caption of another picture, chosen at random."""
    ids = list(captions)
    order = random.Random(seed).sample(ids, len(ids))
    return {
        image: captions[other] for image, other in zip(order, order[1:] + order[:1], strict=True)
    }


def most_common_caption(path: Path) -> str:
    """Return the most frequent caption of an annotation file; of a tie, the first in the file."""
    captions = (annotation["caption"] for annotation in read_json(path)["annotations"])
    return Counter(captions).most_common(1)[0][0]


def compare(captions: dict[ImageId, str], data: Path, split: str) -> dict[str, dict]:
    """Return the grades of the captions, of the control and of the most common caption."""
    scenes = read_json(data / "annotations" / f"scenes_{split}.json")
    common = most_common_caption(data / "annotations" / "captions_train2014.json")
    return {
        "captions": grade(captions, scenes),
        "control": grade(deal(captions), scenes),
        "most common": grade(dict.fromkeys(captions, common), scenes),
    }


def table(grades: dict[str, dict]) -> str:
    """Return a row for each quantity, a column for each captioner, and the support of the first."""
    first = next(iter(grades.values()))
    lines = [" " * 50 + "".join(f"{name:>14}" for name in grades) + "   cases"]
    for key, text in COUNTS.items():
        lines.append(f"{text:50}" + "".join(f"{g[key]:>14}" for g in grades.values()))
    for key, text in ACCURACIES.items():
        cells = ("-" if g[key]["right"] is None else g[key]["right"] for g in grades.values())
        lines.append(f"{text:50}" + "".join(f"{c:>14}" for c in cells) + f"{first[key]['said']:8}")
    mistakes = ", ".join(f"{name} {count}" for name, count in first["mistakes"].items())
    return "\n".join([*lines, f"mistakes: {mistakes or 'none'}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", help='captions: [{"image_id": ..., "caption": "..."}, ...]')
    parser.add_argument("--data", default="data/toy", help="folder of the drawn dataset")
    parser.add_argument("--split", default="test", help="train, val or test (%(default)s)")
    parser.add_argument("--partial", action="store_true", help="grade the images in both files")
    parser.add_argument("--out", help="also write the grades to this JSON file")
    args = parser.parse_args()
    with cli_errors():
        data = Path(args.data)
        split = args.split if args.split[-1:].isdigit() else args.split + "2014"
        records = read_json(data / "annotations" / f"scenes_{split}.json")["scenes"]
        file_names = {record["image_id"]: record["file_name"] for record in records}
        captions = read_results(args.results, file_names, file_names, args.partial)
        grades = compare(captions, data, split)
        print(table(grades))
        if args.out:
            with atomic_write(args.out, "w") as file:
                json.dump(grades, file, indent=1)


if __name__ == "__main__":
    main()
