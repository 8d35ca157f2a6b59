"""What people make of the captions of models/photos, and whether its familiarity knows it.

    python benchmarks/judged.py --coco data/coco_few --known data/flickr8k

benchmarks/judged.json holds the marks. Every photo (odd ids of COCO's val, and the album; none of
them taught or chose anything) was judged by eye twice, the second time without sight of the first
marks. Right: what is shown and what happens is named, and nothing that matters is untrue. Partly:
the main thing or the scene is right, something else is not. Wrong: the main thing is not there. The
tables count the second reading. A caption that is no longer the one that was judged is left out,
with a note. It also holds the first error of each of 100 captions of Flickr8k's development photos
(every tenth), by kind.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from captioning.data.album import album
from captioning.data.find_photos import photos_in
from captioning.files import atomic_write, cli_errors, read_json
from captioning.inference.captioner import Caption, Captioner
from captioning.inference.serialization import find_pair
from captioning.text import plural

MARKS = ("right", "partly", "wrong")
UNLIKE = ("food", "rooms", "things")  # subjects that Flickr8k does not have
JUDGED = Path(__file__).with_suffix(".json")


def caption_all(captioner: Captioner, paths: list[Path]) -> dict[str, Caption]:
    """Return the best caption of each photo, by the photo's name."""
    return {
        path.stem: found[0]
        for path, found in captioner.caption_stream(paths)
        if not isinstance(found, str)
    }


def by_familiarity(captions: Iterable[Caption]) -> list[float]:
    return [caption.judgment.familiarity for caption in captions if caption.judgment]


def by_trust(captions: Iterable[Caption]) -> list[float]:
    return [caption.trust for caption in captions]


def auc(above: list[float], below: list[float]) -> float:
    """Return the area under the ROC curve: how often a value of `above` is the larger one."""
    wins = sum((a > b) + 0.5 * (a == b) for a in above for b in below)
    return wins / (len(above) * len(below))


def interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a fraction (Wilson 1927)."""
    z, p = 1.96, count / total
    center = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2)) / (1 + z * z / total)
    return center - half, center + half


def main() -> None:
    parser = argparse.ArgumentParser(description="Count what people make of captions.")
    parser.add_argument("--coco", type=Path, default="data/coco_few", help="%(default)s")
    parser.add_argument("--known", type=Path, default="data/flickr8k", help="%(default)s")
    parser.add_argument("--captioner", default="photos", help="%(default)s")
    parser.add_argument("--out", help="also write the numbers to this JSON file")
    args = parser.parse_args()
    with cli_errors():
        captioner = Captioner.load(*find_pair(args.captioner))
        paths = photos_in(args.coco / "images" / "test")
        said = caption_all(captioner, paths + [photo.path for photo in album() if photo.path])
        judged = read_json(JUDGED)
        photos = still_judged(judged["photos"], said)
        known = caption_all(captioner, photos_in(args.known / "images" / "val"))
        good, wrong, unlike = (
            [said[name] for name, row in photos.items() if chosen(row)]
            for chosen in (is_good, lambda row: not is_good(row), is_unlike)
        )
        numbers = counts(photos)
        for name, of in (("trust", by_trust), ("familiarity", by_familiarity)):
            numbers[f"auc right, {name}"] = auc(of(good), of(wrong))
        numbers["auc unlike"] = auc(by_familiarity(known.values()), by_familiarity(unlike))
        numbers["errors"] = judged["errors"]
        show(numbers)
        if args.out:
            with atomic_write(args.out, "w") as file:
                json.dump(numbers, file, indent=1)


def is_good(photo: dict) -> bool:
    return photo["second"] != "wrong"


def is_unlike(photo: dict) -> bool:
    return photo["subject"] in UNLIKE


def still_judged(photos: dict[str, dict], said: dict[str, Caption]) -> dict[str, dict]:
    """Return the photos whose caption is the one that was judged; note the others."""
    missing = [name for name in photos if name not in said]
    changed = [n for n in photos if n in said and said[n].text != photos[n]["caption"]]
    for names, what in ((missing, "not here"), (changed, "no longer the one that was judged")):
        if names:
            count = plural(len(names), "caption is", "captions are")
            print(f"note: {count} {what}, the first {names[0]}", file=sys.stderr)
    kept = {name: row for name, row in photos.items() if name not in (*missing, *changed)}
    if not kept:
        raise ValueError("none of these captions was judged")
    return kept


def counts(photos: dict[str, dict]) -> dict:
    """Return how many captions of each subject have each mark, and how both readings agree."""
    marks: dict[str, Counter] = {}
    for row in photos.values():
        marks.setdefault(row["subject"], Counter())[row["second"]] += 1
    good = sum(map(is_good, photos.values()))
    return {
        "photos": len(photos),
        "subjects": {name: {mark: c[mark] for mark in MARKS} for name, c in marks.items()},
        "right or partly": good,
        "interval": interval(good, len(photos)),
        "readings agree": sum(row["first"] == row["second"] for row in photos.values()),
    }


def show(numbers: dict) -> None:
    print(f"{'':10}", *(f"{mark:>7}" for mark in MARKS))
    for subject, marks in numbers["subjects"].items():
        print(f"{subject:10}", *(f"{marks[mark]:7}" for mark in MARKS))
    total, good = numbers["photos"], numbers["right or partly"]
    low, high = (100 * end for end in numbers["interval"])
    print(
        f"right or partly: {good} of {total}, {100 * good / total:.0f} % ({low:.0f} to {high:.0f})"
    )
    print(f"both readings agree on {numbers['readings agree']} of {total}")
    for name in ("trust", "familiarity"):
        value = numbers[f"auc right, {name}"]
        print(f"{name}, at least partly right against wrong: AUC {value:.2f}")
    print(f"familiarity, Flickr8k val against {', '.join(UNLIKE)}: AUC {numbers['auc unlike']:.2f}")


if __name__ == "__main__":
    main()
