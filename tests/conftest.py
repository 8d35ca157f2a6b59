"""What the core tests share: a tiny data set, a tiny encoder, one of every decoder, one short run.

data        folder in COCO's layout: 12 training and 6 validation photos, drawn on the spot
weights     state dict of a narrow ResNet-50 with 0.03 M numbers, which sees 48 x 48 pixels
encoder     EncoderCNN with it, grid=True: P = 9 places, D = 128
make(kind)  a small decoder with random weights, one of KINDS, in eval mode
run         folder of a finished training run on all this
"""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that a bare `pytest` finds the modules, too

from backbones import narrow_resnet50  # noqa: E402
from contract import Decoder  # noqa: E402
from data_loader import read_captions  # noqa: E402
from model import EncoderCNN, make_decoder  # noqa: E402
from photos import PhotoTransform, read_photo  # noqa: E402
from settings import Settings  # noqa: E402

torch.set_num_threads(1)  # tensors are tiny: a second thread would only wait

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 220)}
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


def draw(path: Path, colour: str, shape: str, place: str, left: int) -> None:
    photo = Image.new("RGB", (60, 50), PLACES[place])
    pen = ImageDraw.Draw(photo)
    box = (left, 10, left + 28, 40)
    (pen.ellipse if shape == "ball" else pen.rectangle)(box, fill=COLOURS[colour])
    photo.save(path, quality=92)


def write_split(root: Path, split: str, photos: int, first: int) -> None:
    """Photos and captions of one split, in COCO's layout."""
    folder = root / "images" / split
    folder.mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(first, first + photos):
        colour = list(COLOURS)[number % 3]
        shape = SHAPES[number // 3 % 2]
        place = list(PLACES)[(number // 2) % 3]
        name = f"photo_{number:03}.jpg"
        draw(folder / name, colour, shape, place, left=(7 * number) % 30)
        images.append({"id": number, "file_name": name, "width": 60, "height": 50})
        for caption in (
            f"A {colour} {shape}.",
            f"There is a {colour} {shape} on the {place}.",
            f"The {place}, and a {shape} that is {colour}",
        ):
            annotations.append({"id": len(annotations), "image_id": number, "caption": caption})
    content = {"images": images, "annotations": annotations}
    path = root / "annotations" / f"captions_{split}.json"
    path.write_text(json.dumps(content), encoding="utf-8")


def write_data(root: Path) -> Path:
    write_split(root, "train2014", 12, first=0)
    write_split(root, "val2014", 6, first=100)
    return root


@pytest.fixture(scope="session", autouse=True)
def no_fsync():
    """What tests write need not survive a power cut; waiting for the disk took most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Not to be changed by tests; those that do draw their own with `write_data(tmp_path)`."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory, data) -> Path:
    """Random weights whose BatchNorm has seen the photos, so that it does something."""
    torch.manual_seed(0)
    config = {"width": 4, "last_stride": 1}
    network = narrow_resnet50(**config)
    about = {"resize": 56, "crop": 48, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    transform = PhotoTransform(**about)
    photos = [transform(read_photo(p.path)) for p in read_captions(data, "train").photos]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain average of what it sees
    with torch.no_grad():
        network.train()(torch.stack(photos))
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    state = network.state_dict()
    about = {"arch": "narrow_resnet50", "config": config, "transform": about}
    torch.save(about | {"state_dict": state}, path)
    return path


@pytest.fixture
def encoder(weights) -> EncoderCNN:
    torch.manual_seed(0)
    return EncoderCNN(EMBED, weights=str(weights), grid=True)


@pytest.fixture
def settings_of(data, weights):
    """Settings of a training run that takes a second; `settings_of(out, ...)` changes some."""

    def settings(out: Path, **changed) -> Settings:
        small = {"embed_size": 16, "hidden_size": 24, "batch_size": 8, "vocab_threshold": 1}
        small |= {"data": str(data), "weights": str(weights), "out": str(out), "num_epochs": 2}
        small |= {"device": "cpu", "precision": "float32", "print_every": 2, "lr": 5e-3}
        return Settings(**(small | changed))

    return settings


@pytest.fixture(scope="session")
def run(data, weights, tmp_path_factory) -> Path:
    """The folder of a finished run of two epochs."""
    from train import train

    out = tmp_path_factory.mktemp("run")
    small = {"embed_size": 16, "hidden_size": 24, "batch_size": 8, "vocab_threshold": 1}
    train(
        Settings(
            data=str(data), weights=str(weights), out=str(out), num_epochs=2, lr=1e-2,
            device="cpu", precision="float32", **small,
        )
    )  # fmt: skip
    return out


@pytest.fixture
def cli(monkeypatch):
    """`cli(main, "--flag", value)` runs a command line in this process: its exit status."""

    def call(main, *arguments) -> int | str:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        try:
            return main() or 0
        except SystemExit as stopped:
            return stopped.code or 0

    return call
