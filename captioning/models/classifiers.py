"""Classifiers of images and where their weights come from: torchvision, a file, nowhere.

    build_network(name, weights, layer)   a classifier without its last layers, and its transform
    narrow_resnet50(width)                the drawn dataset's small ResNet-50

Importing torchvision takes two seconds: backbone.py imports this module only when it is needed.
"""

import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn
from torchvision import models
from torchvision.models.resnet import Bottleneck

from captioning.data.photos import PhotoTransform
from captioning.files import short_message
from captioning.models.config import MODELS
from captioning.models.efficientnet_lite import (
    PACKAGE,
    SIZES,
    EfficientNetLite,
    input_transform,
    load_package,
)
from captioning.models.layers import cut_network
from captioning.safe_load import LOAD_ERRORS, check_state_dict, safe_load, shapes_only

Transform = dict[str, Any]  # the fields of a PhotoTransform, as they are saved
IMAGENET_TRANSFORM: Transform = {
    "resize": 256,
    "crop": 224,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
HEADS = ("fc.", "classifier.", "head.", "aux1.", "aux2.", "AuxLogits.")  # what may be missing


def build_network(
    name: str, weights: str | None, layer: str | None
) -> tuple[nn.Sequential, Transform, bool]:
    """Return the classifier `name` up to `layer`, its transform, and whether it is a toy.

    Arguments are those of `Backbone`. Raises ValueError for an unknown name or layer.
    """
    if name not in SIZES and name not in models.list_models(module=models):
        raise ValueError(
            f"There is no backbone named {name!r}: choose {', '.join(SIZES)} or a classifier "
            "of torchvision such as resnet50."
        )
    if weights == PACKAGE:
        if name not in SIZES:
            raise ValueError(f"No package holds weights of {name}; {', '.join(SIZES)} have one.")
        return cut_network(load_package(name), name, layer), default_transform(name), False
    if weights and name not in SIZES and weights in models.get_model_weights(name).__members__:
        recipe = models.get_model_weights(name)[weights].transforms()
        transform = {
            "resize": recipe.resize_size[0],
            "crop": recipe.crop_size[0],
            "mean": list(recipe.mean),
            "std": list(recipe.std),
        }
        try:
            classifier = models.get_model(name, weights=weights)
        except URLError as error:
            raise OSError(
                f"{weights} of {name} cannot be downloaded ({error.reason}). Name a file with "
                "--weights; for the drawn dataset it is models/resnet50_toy.pth."
            ) from None
        return cut_network(classifier, name, layer), transform, False
    if weights:
        return load_weights_file(resolve_weights(weights), name, layer)
    return cut_network(random_classifier(name), name, layer), default_transform(name), False


def narrow_resnet50(width: int = 20, last_stride: int = 1) -> nn.Sequential:
    """Build ResNet-50's 3-4-6-3 bottleneck blocks with `width` channels where it has 64.

    images (B, 3, H, W) -> maps (B, 32 * width, H / 16, W / 16); `last_stride=2` halves once more.
    He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385.
    """
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False))
    network.add_module("bn1", nn.BatchNorm2d(width))
    network.add_module("relu", nn.ReLU(inplace=True))
    network.add_module("maxpool", nn.MaxPool2d(3, stride=2, padding=1))
    channels = width
    for number, (blocks, stride) in enumerate([(3, 1), (4, 2), (6, 2), (3, last_stride)]):
        planes = width * 2**number
        shortcut = nn.Sequential(
            nn.Conv2d(channels, 4 * planes, 1, stride=stride, bias=False),
            nn.BatchNorm2d(4 * planes),
        )
        stage = [Bottleneck(channels, planes, stride, downsample=shortcut)]
        stage += [Bottleneck(4 * planes, planes) for _ in range(blocks - 1)]
        network.add_module(f"layer{number + 1}", nn.Sequential(*stage))
        channels = 4 * planes
    return network


def load_weights_file(
    path: Path, name: str, layer: str | None
) -> tuple[nn.Sequential, Transform, bool]:
    """Return the network of the state dict at `path`, its transform, and whether it is a toy.

    A toy network has seen drawn scenes only. Raises ValueError where the file does not fit `name`.
    """
    loaded = safe_load(path)
    try:
        state = loaded.get("state_dict", loaded)
        state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        if loaded.get("arch") == "narrow_resnet50":
            check_state_dict(lambda: narrow_resnet50(**loaded["config"]), state)
            network = narrow_resnet50(**loaded["config"])
            network.load_state_dict(state)
            PhotoTransform(**loaded["transform"])  # refuses impossible values
            return network, dict(loaded["transform"]), True
        with shapes_only():
            expected = random_classifier(name).state_dict()
        head = [k for k in expected if k.startswith(HEADS)]
        unused = [] if layer else [k for k in head if k not in state]  # removed below
        zeros = {k: torch.zeros(expected[k].shape) for k in unused}
        check_state_dict(lambda: random_classifier(name), zeros | state)
        classifier = random_classifier(name)
        classifier.load_state_dict(zeros | state)
        if hasattr(classifier, "transform_input"):  # GoogLeNet, Inception: scaled as in training
            classifier.transform_input = True  # type: ignore[assignment]
    except LOAD_ERRORS as error:
        message = short_message(error)
        raise ValueError(f"{path} does not hold weights of {name} ({message}).") from None
    return cut_network(classifier, name, layer), default_transform(name), False


def random_classifier(name: str) -> nn.Module:
    """Return the whole classifier with random weights."""
    if name in SIZES:
        return EfficientNetLite(name)
    with warnings.catch_warnings():  # GoogLeNet's and Inception's, about their initialization
        warnings.simplefilter("ignore", FutureWarning)
        return models.get_model(name, weights=None)


def default_transform(name: str) -> Transform:
    """Return the transform of a classifier where its weights do not state another one."""
    return input_transform(name) if name in SIZES else dict(IMAGENET_TRANSFORM)


def resolve_weights(weights: str) -> Path:
    """Return the file `weights`; a bare name, or models/NAME, is also looked up in the course.

    Raises FileNotFoundError where there is no such file.
    """
    candidates = [Path(weights)]
    if Path(weights).parent in (Path(), Path("models")):  # as recorded in a saved encoder
        candidates.append(MODELS / Path(weights).name)
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"The weights of the backbone, {weights}, are missing. Name the file with --weights, or "
        "use --weights IMAGENET1K_V1 for torchvision's ImageNet weights (downloaded once)."
    )
