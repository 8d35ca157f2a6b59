"""Does attention find the thing? Measured on the drawn pictures, whose boxes are known.

    python benchmarks/attention_mass.py --data data/toy --split test

For every word of the greedy captions that names a thing, the share of the attention that lies in
the thing's box, beside the share of the picture that the box takes: a decoder that looks anywhere
gives 1.0 times the area. The same maps laid over the boxes of other pictures tell how much of that
is only a liking for the centre. Boxes between 3 and 50 % of the picture count, of kinds that are
once in it. The picture is squashed to the network's square as a whole, so a box keeps its place in
fractions of width and height.
"""

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run from anywhere

import torch
from common import report
from torch import Tensor

from caption import Captioner, attention_of, greedy
from photos import read_photo
from seeing import as_maps
from vocabulary import cli_errors, read_json, tokenize

SMALLEST, LARGEST = 0.03, 0.5  # boxes, as shares of the picture


def inside(look: Tensor, box: tuple[float, float, float, float]) -> float:
    """Share of the map (h, w) within a box (left, top, right, bottom), in fractions of the picture.

    A place that lies half in the box counts half.
    """
    height, width = look.shape

    def overlap(count: int, first: float, last: float) -> Tensor:
        edges = torch.arange(count + 1) / count
        return (edges[1:].clamp(max=last) - edges[:-1].clamp(min=first)).clamp(min=0) * count

    cover = overlap(height, box[1], box[3])[:, None] * overlap(width, box[0], box[2])
    return float((look * cover).sum() / look.sum())


def named_things(text: str, record: dict) -> list[tuple[int, dict]]:
    """(place of the word, thing) for each word of the caption that can mean one thing only."""
    words, found = tokenize(text), []
    for thing in record["things"]:
        for noun in thing["words"]:
            last, others = noun.split()[-1], [t for t in record["things"] if t is not thing]
            if last in words and not any(noun in other["words"] for other in others):
                found.append((words.index(last), thing))
                break
    return found


def fractions(thing: dict, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """COCO's box (x, y, width, height) in pixels -> (left, top, right, bottom) as fractions."""
    (x, y, width, height), (across, down) = thing["box"], size
    return x / across, y / down, (x + width) / across, (y + height) / down


def looks_at_things(
    captioner: Captioner, records: list[dict], folder: Path
) -> list[tuple[Tensor, tuple[float, float, float, float]]]:
    """(map, box) for each word of the greedy captions that names a thing of the right size."""
    found = []
    for record in records:
        photo = read_photo(folder / record["file_name"])
        features = captioner.features([photo])
        said = captioner.as_caption(greedy(captioner.decoder, features)[0].tolist())
        attention = attention_of(captioner.decoder, features, list(said.words))
        if attention is None:
            raise ValueError("this captioner has no attention to measure; give one that has.")
        words = [captioner.vocab.words[word] for word in said.words]
        for place, thing in named_things(" ".join(words), record):
            left, top, right, bottom = fractions(thing, photo.size)
            if SMALLEST <= (right - left) * (bottom - top) <= LARGEST:
                found.append((as_maps(attention)[place], (left, top, right, bottom)))
    return found


def measure(looks: list[tuple[Tensor, tuple[float, float, float, float]]]) -> dict[str, float]:
    """Sums over all words: attention in the box against its area, and against shuffled maps."""
    maps, boxes = [look for look, _ in looks], [box for _, box in looks]
    order = random.Random(0).sample(range(len(maps)), len(maps))
    others = [maps[j] for j in order]
    mass = sum(inside(look, box) for look, box in looks)
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    shuffled = sum(inside(look, box) for look, box in zip(others, boxes, strict=True))
    return {
        "words": len(looks),
        "attention in the box": round(mass / len(looks), 3),
        "area of the box": round(area / len(looks), 3),
        "times its area": round(mass / area, 2),
        "times other pictures' maps": round(mass / shuffled, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/toy", help="folder of the drawn dataset")
    parser.add_argument("--split", default="test", help="train, val or test (%(default)s)")
    parser.add_argument("--run", default="models/toy-attention", help="folder of the pair")
    args = parser.parse_args()
    with cli_errors():
        pair = (Path(args.run, "encoder.pkl"), Path(args.run, "decoder.pkl"))
        captioner = Captioner.load(*pair)
        split, data = f"{args.split}2014", Path(args.data)
        records = read_json(data / "annotations" / f"scenes_{split}.json")["scenes"]
        with torch.inference_mode():
            looks = looks_at_things(captioner, records, data / "images" / split)
        if not looks:
            raise ValueError("no caption names a thing of the right size; nothing to measure.")
        report("Attention inside the box of the thing that is named", [measure(looks)])


if __name__ == "__main__":
    main()
