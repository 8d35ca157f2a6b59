"""Scores captions against their references, beside honest baselines.

    python metrics.py results.json data/flickr8k/annotations/captions_val.json
    python metrics.py results.json annotations.json --training captions_train.json --java

The scores are in captioning/evaluation: scores.py (BLEU, ROUGE-L, CIDEr-D, intervals), baselines.py
and java.py (METEOR, SPICE). All are printed times 100.
"""

import argparse
import json
import sys

from captioning.data.coco import read_references
from captioning.data.results import read_results
from captioning.evaluation.baselines import baselines, diversity, nearest_neighbors
from captioning.evaluation.java import java_scores
from captioning.evaluation.scores import (
    CiderD,
    Scores,
    bleu,
    bootstrap_intervals,
    evaluate,
    note_on_cider,
    per_image,
    rouge_l,
    tokens,
)
from captioning.files import atomic_write, cli_errors
from captioning.text import plural

__all__ = ["CiderD", "bleu", "nearest_neighbors", "per_image", "rouge_l"]


def table(columns: dict[str, Scores], intervals: dict[str, tuple[float, float]]) -> str:
    """Return the scores as text, a line each; the intervals are those of the first column.

    The columns have room for 1000.0, the highest CIDEr.
    """
    first, *others = columns
    heads = "".join(f"{name:>10}" for name in others)
    lines = [f"{'':8}{first:>10}{'95 % interval':>18}{heads}"]
    for name, (low, high) in intervals.items():
        interval = f"{low:.1f} to {high:.1f}"
        rest = "".join(f"{columns[other][name]:10.1f}" for other in others)
        lines.append(f"{name:8}{columns[first][name]:10.1f}{interval:>18}{rest}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Score captions (COCO results JSON); scores are multiplied by 100."
    )
    parser.add_argument("results", help='captions: [{"image_id": ..., "caption": "..."}, ...]')
    parser.add_argument("annotations", help="captions_<split>.json in COCO's format")
    parser.add_argument(
        "--partial", action="store_true", help="score only the images that are in both files"
    )
    parser.add_argument("--training", help="captions_train.json: adds baselines and diversity")
    parser.add_argument("--java", action="store_true", help="add METEOR and SPICE; needs Java")
    parser.add_argument("--out", help="also write the scores to this JSON file")
    args = parser.parse_args()
    with cli_errors():
        references, file_names = read_references(args.annotations)
        captions = read_results(args.results, references, file_names, args.partial)
        if empty := [image for image, caption in captions.items() if not tokens(caption)]:
            count = plural(len(empty), "caption has", "captions have")
            print(f"note: {count} no words, the first of image {empty[0]}", file=sys.stderr)
        references = {image: references[image] for image in captions}
        columns: dict[str, Scores] = {"captions": evaluate(references, captions)}
        if note := note_on_cider(references, columns["captions"]):
            print(note, file=sys.stderr)
        more: dict[str, Scores] = {}
        if args.java:
            more["java"] = java_scores(references, captions)
        if args.training:
            training, _ = read_references(args.training)
            columns |= baselines(references, training)
            more["diversity"] = diversity(captions, training)
        total = sum(map(len, references.values()))
        print(f"{plural(len(captions), 'image')}, {plural(total, 'reference')}")
        intervals = bootstrap_intervals(references, captions)
        print(table(columns, intervals))
        for kind, scores in more.items():
            for name, value in scores.items():
                print(f"{kind:10}{name:24}{value:9.1f}")
        if args.out:
            with atomic_write(args.out, "w") as file:
                content = {"images": len(captions), **columns, "intervals": intervals, **more}
                json.dump(content, file, indent=1)


if __name__ == "__main__":
    main()
