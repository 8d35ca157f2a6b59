"""Measure whether attention finds the named thing, on drawn pictures, whose boxes are known.

    python -m recipes.attention_accuracy --data data/toy --split test

For each word of the greedy captions that names a thing: the fraction of the attention inside the
thing's box, divided by the box's fraction of the picture, so that uniform attention scores 1.0. A
control lays the maps of other pictures over the boxes and shows how much is only a preference for
the center. Only boxes of 3 to 50 % of the picture count, and only nouns that fit a single thing.
The network sees the whole picture squashed to a square, so a box keeps its position as fractions
of width and height.
"""

import argparse
import random
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import report
from captioning.data.photos import read_photo
from captioning.files import cli_errors, read_json
from captioning.inference.attention_maps import views_and_places, weights_to_maps
from captioning.inference.captioner import Captioner
from captioning.inference.search import attention_weights, greedy
from vocabulary import tokenize

MIN_BOX, MAX_BOX = 0.03, 0.5  # fractions of the picture

Box = tuple[float, float, float, float]  # left, top, right, bottom as fractions of the picture


def attention_inside(attention: Tensor, box: Box) -> float:
    """Return the fraction of an attention map (h, w) inside a box.

    A place that lies half inside the box counts half.
    """
    height, width = attention.shape

    def overlap(count: int, first: float, last: float) -> Tensor:
        edges = torch.arange(count + 1) / count
        return (edges[1:].clamp(max=last) - edges[:-1].clamp(min=first)).clamp(min=0) * count

    cover = overlap(height, box[1], box[3])[:, None] * overlap(width, box[0], box[2])
    return float((attention * cover).sum() / attention.sum())


def named_things(text: str, record: dict) -> list[tuple[int, dict]]:
    """Return (position, thing) for each word of the caption that fits one thing alone."""
    words, found = tokenize(text), []
    for thing in record["things"]:
        for noun in thing["words"]:
            last, others = noun.split()[-1], [t for t in record["things"] if t is not thing]
            if last in words and not any(noun in other["words"] for other in others):
                found.append((words.index(last), thing))
                break
    return found


def box_fractions(thing: dict, size: tuple[int, int]) -> Box:
    """Turn COCO's box (x, y, width, height) in pixels into fractions of the picture's `size`."""
    (x, y, width, height), (picture_width, picture_height) = thing["box"], size
    return (
        x / picture_width,
        y / picture_height,
        (x + width) / picture_width,
        (y + height) / picture_height,
    )


def named_attention(
    captioner: Captioner, records: list[dict], folder: Path
) -> list[tuple[Tensor, Box]]:
    """Return (attention map, box) for each word of the greedy captions that names a thing."""
    found = []
    for record in records:
        photo = read_photo(folder / record["file_name"])
        features = captioner.features([photo])
        ids = captioner.as_caption(greedy(captioner.decoder, features)[0].tolist()).words
        attention = attention_weights(captioner.decoder, features, list(ids))
        if attention is None:
            raise ValueError("This captioner has no attention. Give --run a pair that has.")
        text = " ".join(captioner.vocab.words[word] for word in ids)
        for position, thing in named_things(text, record):
            left, top, right, bottom = box_fractions(thing, photo.size)
            if MIN_BOX <= (right - left) * (bottom - top) <= MAX_BOX:
                maps = weights_to_maps(attention, views_and_places(captioner))
                found.append((maps[position], (left, top, right, bottom)))
    return found


def measure(cases: list[tuple[Tensor, Box]]) -> dict[str, float]:
    """Return means over all words, and ratios to the box area and to other pictures' maps."""
    maps, boxes = [attention for attention, _ in cases], [box for _, box in cases]
    order = random.Random(0).sample(range(len(maps)), len(maps))
    inside = sum(attention_inside(attention, box) for attention, box in cases)
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    control = sum(attention_inside(maps[j], box) for j, box in zip(order, boxes, strict=True))
    return {
        "words": len(cases),
        "attention in the box": round(inside / len(cases), 3),
        "area of the box": round(area / len(cases), 3),
        "times its area": round(inside / area, 2),
        "times other pictures' maps": round(inside / control, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/toy", help="folder of the drawn dataset")
    parser.add_argument("--split", default="test", help="train, val or test (%(default)s)")
    parser.add_argument("--run", default="models/toy-attention", help="folder of the saved pair")
    args = parser.parse_args()
    with cli_errors():
        captioner = Captioner.load(Path(args.run, "encoder.pkl"), Path(args.run, "decoder.pkl"))
        split, data = f"{args.split}2014", Path(args.data)
        records = read_json(data / "annotations" / f"scenes_{split}.json")["scenes"]
        with torch.inference_mode():
            cases = named_attention(captioner, records, data / "images" / split)
        if not cases:
            raise ValueError(
                f"No caption names a thing whose box takes {MIN_BOX:.0%} to {MAX_BOX:.0%} of its "
                "picture. Choose another split or pair."
            )
        report("Attention inside the box of the named thing", [measure(cases)])


if __name__ == "__main__":
    main()
