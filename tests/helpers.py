"""A tiny dataset, a tiny encoder and one of every decoder, for tests in every folder.

make(kind)          a small decoder with random weights, one of KINDS, in eval mode
random_features     (B, P, E)              random_captions   (B, T)
write_data(root)    12 training and 6 validation photos in COCO's layout, drawn on the spot
"""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from captioning.models.decoder import Decoder
from model import NEEDS_GRID, make_decoder

ROOT = Path(__file__).parents[1]
TOY_WEIGHTS = ROOT / "models" / "resnet50_toy.pth"
COLORS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220)}
SHAPES = ("ball", "box")
PLACES = {"beach": (240, 220, 150), "snow": (235, 240, 245), "street": (110, 110, 115)}

EMBED, HIDDEN, VOCAB, NUM_PLACES = 12, 16, 9, 4
KINDS = {
    "rnn": {"kind": "rnn"},
    "rnn, relu": {"kind": "rnn", "nonlinearity": "relu"},
    "gru": {"kind": "gru"},
    "gru, 2 layers": {"kind": "gru", "num_layers": 2},
    "lstm": {"kind": "lstm"},
    "lstm, 2 layers": {"kind": "lstm", "num_layers": 2},
    "lstm, image as state": {"kind": "lstm", "num_layers": 2, "image_input": "state"},
    "attention": {"kind": "attention"},
    "transformer": {"kind": "transformer", "num_layers": 1, "num_heads": 2},
    "transformer, 2 layers": {"kind": "transformer", "num_layers": 2, "num_heads": 4},
}

every_decoder = pytest.mark.parametrize("name", KINDS)
with_attention = pytest.mark.parametrize(
    "name", [name for name, config in KINDS.items() if config["kind"] in NEEDS_GRID]
)


def make(name: str, vocab_size: int = VOCAB, scale: float = 2.0, seed: int = 0, **more) -> Decoder:
    """Return the decoder KINDS[name] in eval mode, with `scale` times its initial weights.

    Larger weights make the words' probabilities differ more.
    """
    torch.manual_seed(seed)
    sizes = {"embed_size": EMBED, "hidden_size": HIDDEN, "vocab_size": vocab_size}
    decoder = make_decoder(**(sizes | KINDS[name] | more)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(scale)
    return decoder


def random_features(images: int, seed: int = 1) -> torch.Tensor:
    """Return features (B, P, E), different for each image."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, NUM_PLACES, EMBED, generator=generator)


def random_captions(
    images: int, words: int, vocab_size: int = VOCAB, seed: int = 2
) -> torch.Tensor:
    """Return captions (B, T): `<start>`, then words that are not special."""
    generator = torch.Generator().manual_seed(seed)
    captions = torch.randint(4, vocab_size, (images, words), generator=generator)
    captions[:, 0] = 0
    return captions


def padded_captions() -> torch.Tensor:
    """Return three captions (3, 7) that end after 3, 6 and 4 words, with `<end>` and padding."""
    captions = random_captions(3, 7)
    for i, end in enumerate((3, 6, 4)):
        captions[i, end] = 1
        captions[i, end + 1 :] = 3
    return captions


def random_images(images: int = 3, size: int = 48) -> torch.Tensor:
    """Return images (B, 3, size, size)."""
    return torch.randn(images, 3, size, size, generator=torch.Generator().manual_seed(3))


def assert_close(found: torch.Tensor, expected: torch.Tensor, within: float = 2e-5) -> None:
    torch.testing.assert_close(found, expected, atol=within, rtol=1e-4)


def draw(path: Path, color: str, shape: str, place: str, left: int) -> None:
    """Draw a colored ball or box in front of a plain background."""
    photo = Image.new("RGB", (60, 50), PLACES[place])
    pen = ImageDraw.Draw(photo)
    box = (left, 10, left + 28, 40)
    (pen.ellipse if shape == "ball" else pen.rectangle)(box, fill=COLORS[color])
    photo.save(path, quality=92)


def write_split(root: Path, split: str, photos: int, first: int) -> None:
    """Write photos and captions of one split in COCO's layout."""
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
    """Write a dataset of 12 training and 6 validation photos into `root`; return `root`."""
    write_split(root, "train2014", 12, first=0)
    write_split(root, "val2014", 6, first=100)
    return root
