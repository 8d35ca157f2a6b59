"""Fixtures that tests in every folder share; plain functions are in helpers.py.

data        folder in COCO's layout: 12 training and 6 validation photos, drawn on the spot
weights     file with a narrow ResNet-50 of 0.03 M parameters, which sees 48 x 48 pixels
both        that file and one of another network, which sees 32 x 32: P = 4, D = 64
encoder     EncoderCNN with these weights, grid=True: P = 9 places, D = 128
config_of   config_of(out, ...): the TrainConfig of a small run
run         folder of a finished run of two epochs
cli         cli(main, ...): a command line, run in this process
lines_printed   queue of what captioning/files.py prints, in whatever thread
"""

import os
import sys
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch

from captioning import files
from captioning.data.coco import read_captions
from captioning.data.photos import PhotoTransform, read_photo
from captioning.models.classifiers import narrow_resnet50
from captioning.training.config import TrainConfig
from model import EncoderCNN
from tests.helpers import EMBED, write_data

torch.set_num_threads(1)  # tensors are tiny: a second thread would only wait


@pytest.fixture(scope="session", autouse=True)
def no_fsync():
    """Do not wait for the disk: nothing that tests write has to survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Shared and read only; a test that changes data draws its own with `write_data(tmp_path)`."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory, data) -> Path:
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    return write_weights(path, data, width=4, crop=48)


@pytest.fixture(scope="session")
def both(weights, data) -> tuple[str, str]:
    other = write_weights(weights.with_name("other.pth"), data, width=2, crop=32)
    return str(weights), str(other)


def write_weights(path: Path, data: Path, width: int, crop: int) -> Path:
    """Write random weights, with BatchNorm statistics that were computed on the photos."""
    torch.manual_seed(0)
    config = {"width": width, "last_stride": 1}
    network = narrow_resnet50(**config)
    about = {"resize": crop + 8, "crop": crop, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    transform = PhotoTransform(**about)
    photos = [transform(read_photo(p.path)) for p in read_captions(data, "train").photos]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average over all photos
    with torch.no_grad():
        network.train()(torch.stack(photos))
    state = network.state_dict()
    about = {"arch": "narrow_resnet50", "config": config, "transform": about}
    torch.save(about | {"state_dict": state}, path)
    return path


@pytest.fixture
def encoder(weights) -> EncoderCNN:
    torch.manual_seed(0)
    return EncoderCNN(EMBED, weights=str(weights), grid=True)


@pytest.fixture(scope="session")
def config_of(data, weights):
    """`config_of(out, ...)`: the config of a run that takes a second; the options change it."""

    def make_config(out: Path, **changed) -> TrainConfig:
        small = {"embed_size": 16, "hidden_size": 24, "batch_size": 8, "vocab_threshold": 1}
        small |= {"data": str(data), "weights": str(weights), "out": str(out), "num_epochs": 2}
        small |= {"device": "cpu", "precision": "float32", "print_every": 2, "lr": 5e-3}
        return TrainConfig(**(small | changed))

    return make_config


@pytest.fixture(scope="session")
def run(config_of, tmp_path_factory) -> Path:
    """Train for two epochs; return the folder of the finished run."""
    from train import train

    out = tmp_path_factory.mktemp("run")
    train(config_of(out, lr=1e-2))
    return out


@pytest.fixture
def cli(monkeypatch):
    """Return a function that runs a command line in this process and returns its exit status.

    `cli(main, "--flag", value)`: 0, or the text that `sys.exit` printed.
    """

    def call(main, *arguments) -> int | str:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        try:
            return main() or 0
        except SystemExit as stopped:
            return stopped.code or 0

    return call


@pytest.fixture
def lines_printed(monkeypatch) -> SimpleQueue:
    """capsys, read again and again while another thread prints, may lose the line."""
    lines: SimpleQueue = SimpleQueue()
    monkeypatch.setattr(files, "print", lambda line, **_: lines.put(line), raising=False)
    return lines
