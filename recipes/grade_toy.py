"""Marks captions of the drawn pictures by fact, beside two captioners that never look.

    python caption.py data/toy/images/test2014 ... --out results.json
    python benchmarks/toy_truth.py results.json --data data/toy --split test

Beside the captions given stand the same captions shuffled between pictures, and the most common
training caption for every picture: what remains of a score when nobody looks. Counts of two and
more, and things in colours that training never showed them in, have rows of their own.
"""

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run from anywhere

from toy_coco import mark
from vocabulary import cli_errors, read_json, write_atomically

ROWS = {
    "things": "of the things named, are there (%)",
    "largest": "largest thing named (%)",
    "colours": "of the colours given, are right (%)",
    "colours of seen pairs": "  of things in colours seen in training (%)",
    "colours of unseen pairs": "  of things in colours never seen in training (%)",
    "settings": "of the settings given, are right (%)",
    "numbers of two or more": "number right where two or more are there (%)",
    "relations": "of the relations given, are right (%)",
}


def read_captions(path: str, records: list[dict]) -> dict[int, str]:
    """Captions by image id from COCO's results, whose `image_id` is the official number, or the
    file's stem as `caption.py` writes it without `--annotations`."""
    by_name = {Path(record["file_name"]).stem: record["image_id"] for record in records}
    found = {}
    for result in read_json(path, list):
        if not isinstance(result, dict) or not isinstance(result.get("caption"), str):
            raise ValueError(f"{path} is not a list of COCO results with image_id and caption.")
        image_id = result.get("image_id")
        image_id = by_name.get(str(image_id), image_id)
        if image_id in found:
            raise ValueError(f"{path} has two captions for image {image_id}. Keep one of them.")
        found[image_id] = result["caption"]
    if not found:
        raise ValueError(f"{path} has no captions.")
    return found


def shuffled(captions: dict[int, str], seed: int = 0) -> dict[int, str]:
    """Every picture gets another picture's caption."""
    ids = list(captions)
    order = random.Random(seed).sample(ids, len(ids))
    return {
        image: captions[other] for image, other in zip(order, order[1:] + order[:1], strict=True)
    }


def most_common_caption(path: Path) -> str:
    """The training caption that occurs most often; of equals, the first."""
    captions = (annotation["caption"] for annotation in read_json(path)["annotations"])
    return Counter(captions).most_common(1)[0][0]


def compare(captions: dict[int, str], data: Path, split: str) -> dict[str, dict]:
    """The marks of the captions, of the same ones shuffled, and of the most common one."""
    scenes = read_json(data / "annotations" / f"scenes_{split}.json")
    common = most_common_caption(data / "annotations" / "captions_train2014.json")
    return {
        "captions": mark(captions, scenes),
        "shuffled": mark(shuffled(captions), scenes),
        "most common": mark(dict.fromkeys(captions, common), scenes),
    }


def table(marks: dict[str, dict]) -> str:
    """One row a question, one column a captioner; behind the first figure the number of cases."""
    first = next(iter(marks.values()))
    lines = [" " * 50 + "".join(f"{name:>14}" for name in marks) + "   cases"]
    for key, text in {"different": "different captions", "things named": "things named, "
                      "where two or more are there"}.items():  # fmt: skip
        lines.append(f"{text:50}" + "".join(f"{m[key]:>14}" for m in marks.values()))
    for key, text in ROWS.items():
        cells = ("-" if m[key]["right"] is None else m[key]["right"] for m in marks.values())
        lines.append(f"{text:50}" + "".join(f"{c:>14}" for c in cells) + f"{first[key]['said']:8}")
    mistakes = ", ".join(f"{name} {count}" for name, count in first["mistakes"].items())
    return "\n".join([*lines, f"mistakes: {mistakes or 'none'}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", help="captions as COCO results: a JSON list")
    parser.add_argument("--data", default="data/toy", help="folder of the drawn dataset")
    parser.add_argument("--split", default="test", help="train, val or test (%(default)s)")
    parser.add_argument("--out", help="write the marks there too, as JSON")
    with cli_errors():
        arguments = parser.parse_args()
        data = Path(arguments.data)
        split = arguments.split if arguments.split[-1].isdigit() else arguments.split + "2014"
        records = read_json(data / "annotations" / f"scenes_{split}.json")["scenes"]
        marks = compare(read_captions(arguments.results, records), data, split)
        print(table(marks))
        if arguments.out:
            with write_atomically(arguments.out, "w") as file:
                json.dump(marks, file, indent=1)


if __name__ == "__main__":
    main()
