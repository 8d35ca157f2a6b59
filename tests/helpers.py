"""A tiny dataset, a tiny encoder and one of every decoder, for tests in every folder.

    make(kind)          a small decoder with random weights, one of KINDS, in eval mode
    random_features     (B, P, E)              random_captions   (B, T)
    write_data(root)    12 training and 6 validation photos in COCO's layout, drawn on the spot
"""

import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from captioning.models.decoder import Decoder
from model import make_decoder

ROOT = Path(__file__).parents[1]
COLORS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220)}
SHAPES = ("ball", "box")
PLACES = {"beach": (240, 220, 150), "snow": (235, 240, 245), "street": (110, 110, 115)}

EMBED, HIDDEN, VOCAB, PLACES_SEEN = 12, 16, 9, 4
KINDS = {
    "rnn": {"kind": "rnn"},
    "rnn, relu": {"kind": "rnn", "nonlinearity": "relu"},
    "gru": {"kind": "gru"},
    "gru, 2 layers": {"kind": "gru", "num_layers": 2},
    "lstm": {"kind": "lstm"},
    "lstm, 2 layers": {"kind": "lstm", "num_layers": 2},
    "lstm, image as state": {"kind": "lstm", "num_layers": 2, "image_as": "state"},
    "attention": {"kind": "attention"},
    "transformer": {"kind": "transformer", "num_layers": 1, "num_heads": 2},
    "transformer, 2 layers": {"kind": "transformer", "num_layers": 2, "num_heads": 4},
}


def make(name: str, vocab_size: int = VOCAB, loud: float = 2.0, seed: int = 0, **more) -> Decoder:
    """The decoder KINDS[name] in eval mode; `loud` times its usual weights, so words differ."""
    torch.manual_seed(seed)
    sizes = {"embed_size": EMBED, "hidden_size": HIDDEN, "vocab_size": vocab_size}
    decoder = make_decoder(**(sizes | KINDS[name] | more)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(loud)
    return decoder


def random_features(images: int, seed: int = 1) -> torch.Tensor:
    """(B, P, E) that no two images share"""
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(images, PLACES_SEEN, EMBED, generator=chance)


def random_captions(images: int, words: int, vocab_size: int = VOCAB, seed: int = 2):
    """(B, T): `<start>`, then words that are none of the special ones"""
    chance = torch.Generator().manual_seed(seed)
    captions = torch.randint(4, vocab_size, (images, words), generator=chance)
    captions[:, 0] = 0
    return captions


def draw(path: Path, color: str, shape: str, place: str, left: int) -> None:
    photo = Image.new("RGB", (60, 50), PLACES[place])
    pen = ImageDraw.Draw(photo)
    box = (left, 10, left + 28, 40)
    (pen.ellipse if shape == "ball" else pen.rectangle)(box, fill=COLORS[color])
    photo.save(path, quality=92)


def write_split(root: Path, split: str, photos: int, first: int) -> None:
    """Photos and captions of one split, in COCO's layout."""
    folder = root / "images" / split
    folder.mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(first, first + photos):
        color = list(COLORS)[number % 3]
        shape = SHAPES[number // 3 % 2]
        place = list(PLACES)[(number // 2) % 3]
        name = f"photo_{number:03}.jpg"
        draw(folder / name, color, shape, place, left=(7 * number) % 30)
        images.append({"id": number, "file_name": name, "width": 60, "height": 50})
        for caption in (
            f"A {color} {shape}.",
            f"There is a {color} {shape} on the {place}.",
            f"The {place}, and a {shape} that is {color}",
        ):
            annotations.append({"id": len(annotations), "image_id": number, "caption": caption})
    content = {"images": images, "annotations": annotations}
    path = root / "annotations" / f"captions_{split}.json"
    path.write_text(json.dumps(content), encoding="utf-8")


def write_data(root: Path) -> Path:
    write_split(root, "train2014", 12, first=0)
    write_split(root, "val2014", 6, first=100)
    return root
