"""Frozen image networks: all of a classifier but its last layers.

    Backbone(name, weights)   any torchvision classifier, or an EfficientNet-Lite: with ImageNet's
                              weights, those of a file, or random ones
    narrow_resnet50(width)    the drawn dataset's small ResNet-50
    feature_maps, maps_to_grid   images -> maps (B, D, h, w) -> grid (B, P, D)

A Backbone maps images (B, 3, H, W) to a grid (B, P, D): P places (49 for ResNet-50 at 224 pixels)
and D features at each (2048); pooled means P = 1, the mean over all places.
"""

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import Bottleneck

from captioning.data.photos import PhotoTransform
from captioning.files import short_message
from captioning.models.efficientnet_lite import (
    SIZES,
    EfficientNetLite,
    input_transform,
    load_package,
)
from captioning.models.layers import cut_network
from captioning.safe_load import LOAD_ERRORS, check_state_dict, safe_load

Transform = dict[str, Any]  # the fields of a PhotoTransform, as they are saved
IMAGENET_TRANSFORM: Transform = {
    "resize": 256,
    "crop": 224,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
HEADS = ("fc.", "classifier.", "head.", "aux1.", "aux2.", "AuxLogits.")  # what may be missing
PACKAGE = "package"  # in place of a file: the weights that an installed package holds
MODELS = Path(__file__).parents[2] / "models"
TOY_WEIGHTS = MODELS / "resnet50_toy.pth"


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
        with torch.device("meta"):
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


def feature_maps(network: Callable[[Tensor], Tensor], images: Tensor, tta: bool) -> Tensor:
    """images (B, 3, H, W) -> maps (B, D, h, w); with `tta` the mirrored image's maps follow: 2 h"""
    if not tta:
        return network(images)
    return torch.cat([network(images), network(images.flip(-1))], dim=2)


def maps_to_grid(maps: Tensor, grid: bool) -> Tensor:
    """maps (B, D, h, w) -> all P = h * w places (B, P, D), or their mean (B, 1, D)"""
    places = maps.flatten(2).transpose(1, 2).float()
    return places if grid else places.mean(dim=1, keepdim=True)


class Backbone(nn.Module):
    """The frozen part of the encoder: images (B, 3, H, W) -> grid (B, P, D).

    name        a torchvision classifier (resnet50, mobilenet_v2, vgg16 ...), or efficientnet_lite0,
                1 or 2
    weights     torchvision's enum name ("IMAGENET1K_V1", downloaded once); "package", those of the
                installed package of an EfficientNet-Lite, whatever enum name is asked; the path of
                a state dict; or None for random weights
    grid        keep all P places, or only their mean (P = 1)
    pca         principal components kept of the D features, by a last layer; 0: all
    image_size  side in pixels of the square that it sees, if not that of its training
    tta         test-time augmentation: see the photo at the size from which training crops its
                windows, so that objects are as large as they were there (Touvron et al. 2019,
                arXiv:1906.06423), and its mirror image as well; the places of both count
    layer       where the classifier is cut, by torchvision's name ("classifier.4" for the 4,096
                fully connected features of VGG-16); None: at its last feature map
    """

    def __init__(
        self,
        name: str = "resnet50",
        weights: str | None = None,
        grid: bool = False,
        pca: int = 0,
        image_size: int = 0,
        tta: bool = False,
        layer: str | None = None,
    ):
        super().__init__()
        if name not in SIZES and name not in models.list_models(module=models):
            raise ValueError(
                f"There is no backbone named {name!r}: choose {', '.join(SIZES)} or a classifier "
                "of torchvision such as resnet50."
            )
        self.name, self.grid, self.tta = name, grid, tta
        if weights and name in SIZES and weights.startswith("IMAGENET1K"):
            weights = PACKAGE
        self.weights_name = Path(weights).name if weights else None
        network, transform, self.toy_only = build_network(name, weights, layer)
        if image_size:
            margin = transform["resize"] / transform["crop"]  # room for random windows
            transform |= {"crop": image_size, "resize": round(image_size * margin)}
            PhotoTransform(**transform)  # refuses impossible sizes
        self.train_transform, self.transform = dict(transform), transform
        if tta:
            self.transform["crop"] = self.transform["resize"]
        self.network = network.eval().requires_grad_(False)
        _, self.grid_size, height, width = self.map_size(self.transform["crop"], tta)
        self.num_grid_places = height * width
        if pca:
            if not 0 < pca < self.grid_size:
                raise ValueError(f"pca must keep 1 to {self.grid_size - 1} components, not {pca}.")
            self.network.add_module("pca", nn.Conv2d(self.grid_size, pca, 1).requires_grad_(False))
            self.grid_size = pca

    @property
    def places(self) -> int:
        """P: the number of places at which the decoder gets features."""
        return self.num_grid_places if self.grid else 1

    def children_in_order(self) -> list[tuple[str, nn.Module]]:
        """Return the parts of the network by name, the first one first."""
        body = getattr(self.network, "body", None)
        return list((body.extractor if body else self.network).named_children())

    def forward(self, images: Tensor) -> Tensor:
        return maps_to_grid(feature_maps(self.network, images, self.tta), self.grid)

    @torch.no_grad()
    def map_size(self, side: int, tta: bool) -> torch.Size:
        """Return (1, D, h, w) for images of side x side pixels.

        Raises ValueError where the network cannot see images of that size.
        """
        device = next((parameter.device for parameter in self.network.parameters()), None)
        image = torch.zeros(1, 3, side, side, device=device)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # a traced network prints its code
                return feature_maps(self.network, image, tta).shape
        except (RuntimeError, AssertionError):
            advice = " or leave out --tta" if tta else ""
            raise ValueError(
                f"{self.name} cannot see images of {side} x {side} pixels: choose another size "
                f"with --image-size{advice}."
            ) from None

    def fingerprint(self, with_pca: bool = False) -> str:
        """Return 16 hex digits that change when any weight of the network does."""
        digest = hashlib.sha256()
        for key, tensor in self.network.state_dict().items():
            if key.startswith("pca.") and not with_pca:
                continue
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def build_network(
    name: str, weights: str | None, layer: str | None
) -> tuple[nn.Sequential, Transform, bool]:
    """Return the network up to `layer`, its transform, and whether it is a toy (see above)."""
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
