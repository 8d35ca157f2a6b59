"""Fixtures that tests in every folder share; the plain functions are in helpers.py.

data        folder in COCO's layout: 12 training and 6 validation photos, drawn on the spot
weights     state dict of a narrow ResNet-50 with 0.03 M parameters, which sees 48 x 48 pixels
encoder     EncoderCNN with it, grid=True: P = 9 places, D = 128
run         folder of a finished training run on all this
"""

import os
import sys
from pathlib import Path

import pytest
import torch

from captioning.data.coco import read_captions
from captioning.data.photos import PhotoTransform, read_photo
from captioning.models.backbone import narrow_resnet50
from captioning.training.config import TrainConfig
from model import EncoderCNN
from tests.helpers import EMBED, write_data

torch.set_num_threads(1)  # tensors are tiny: a second thread would only wait


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

    def settings(out: Path, **changed) -> TrainConfig:
        small = {"embed_size": 16, "hidden_size": 24, "batch_size": 8, "vocab_threshold": 1}
        small |= {"data": str(data), "weights": str(weights), "out": str(out), "num_epochs": 2}
        small |= {"device": "cpu", "precision": "float32", "print_every": 2, "lr": 5e-3}
        return TrainConfig(**(small | changed))

    return settings


@pytest.fixture(scope="session")
def run(data, weights, tmp_path_factory) -> Path:
    """The folder of a finished run of two epochs."""
    from train import train

    out = tmp_path_factory.mktemp("run")
    small = {"embed_size": 16, "hidden_size": 24, "batch_size": 8, "vocab_threshold": 1}
    train(
        TrainConfig(
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
