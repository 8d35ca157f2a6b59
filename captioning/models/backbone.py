"""Frozen image networks: all of a classifier but its last layers.

    Backbone(name, weights)   any torchvision classifier: ImageNet's, from a file, or random
    narrow_resnet50(width)    the drawn dataset's small ResNet-50

A Backbone maps images (B, 3, H, W) to a grid (B, P, D): P places (49 for ResNet-50 at 224 pixels)
and D numbers for each (2048); pooled means P = 1, the average place.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import Bottleneck

from distrust import BROKEN, fits, load_plain, one_line
from photos import PhotoTransform

IMAGENET_TRANSFORM = {
    "resize": 256,
    "crop": 224,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
MODELS = Path(__file__).parent / "models"
TOY_WEIGHTS = MODELS / "resnet50_toy.pth"


def narrow_resnet50(width: int = 20, last_stride: int = 1) -> nn.Sequential:
    """ResNet-50's 3-4-6-3 bottleneck blocks with `width` channels where it has 64.

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


def cut_classifier(classifier: nn.Module, name: str) -> nn.Sequential:
    """A torchvision classifier without its pooling and classification layers."""
    if hasattr(classifier, "layer4"):  # the ResNet family
        layers = OrderedDict(classifier.named_children())
        del layers["avgpool"], layers["fc"]
        return nn.Sequential(layers)
    if isinstance(getattr(classifier, "features", None), nn.Sequential):  # VGG, MobileNet, ...
        return classifier.features
    raise ValueError(f"{name} keeps no grid of features; choose a convolutional classifier.")


def load_weights_file(path: str | Path, name: str) -> tuple[nn.Sequential, dict, bool]:
    """The network that the state dict at `path` belongs to, its transform, and whether it knows
    drawings only."""
    loaded = load_plain(path)
    try:
        state = loaded.get("state_dict", loaded)
        state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        if loaded.get("arch") == "narrow_resnet50":
            fits(lambda: narrow_resnet50(**loaded["config"]), state)
            network = narrow_resnet50(**loaded["config"])
            network.load_state_dict(state)
            PhotoTransform(**loaded["transform"])  # refuses what cannot be
            return network, dict(loaded["transform"]), True
        with torch.device("meta"):
            empty = models.get_model(name, weights=None).state_dict()
        head = [k for k in empty if k.startswith(("fc.", "classifier."))]  # cut off below
        head = {k: torch.zeros(empty[k].shape) for k in head if k not in state}
        fits(lambda: models.get_model(name, weights=None), head | state)
        classifier = models.get_model(name, weights=None)
        classifier.load_state_dict(head | state)
    except BROKEN as error:
        raise ValueError(f"{path} holds no weights of {name} ({one_line(error)}).") from None
    return cut_classifier(classifier, name), dict(IMAGENET_TRANSFORM), False


def maps_of(network: Callable[[Tensor], Tensor], images: Tensor, second_look: bool) -> Tensor:
    """images (B, 3, H, W) -> maps (B, D, h, w); with a second look, at the mirror image, 2 h."""
    if not second_look:
        return network(images)
    return torch.cat([network(images), network(images.flip(-1))], dim=2)


def as_grid(maps: Tensor, grid: bool) -> Tensor:
    """maps (B, D, h, w) -> all P = h * w places (B, P, D), or their average (B, 1, D)"""
    places = maps.flatten(2).transpose(1, 2).float()
    return places if grid else places.mean(dim=1, keepdim=True)


class Backbone(nn.Module):
    """The frozen part of the encoder: images (B, 3, H, W) -> grid (B, P, D).

    name         a torchvision classifier: resnet50, resnext50_32x4d, mobilenet_v2, vgg16 ...
    weights      torchvision's enum name ("IMAGENET1K_V1", downloaded once), the path of a state
                 dict, or None for random numbers
    grid         all P places, or their average (P = 1)
    pca          keep so many of the D numbers, by a last layer that pca.py sets; 0: all
    pixels       side of the square that it sees, where not what it was trained with: more places
    second_look  in use, see the photo at the size that training cuts its windows from, so that
                 things are as large as they were there (Touvron et al. 2019, arXiv:1906.06423),
                 and its mirror image as well; the places of both count
    """

    def __init__(
        self,
        name: str = "resnet50",
        weights: str | None = None,
        grid: bool = False,
        pca: int = 0,
        pixels: int = 0,
        second_look: bool = False,
    ):
        super().__init__()
        if name not in models.list_models(module=models):
            raise ValueError(f"torchvision has no classifier named {name!r}; try resnet50.")
        self.name, self.grid, self.transform = name, grid, dict(IMAGENET_TRANSFORM)
        self.weights_name = Path(weights).name if weights else None
        self.only_drawn = False  # whether it has never seen a photograph
        if weights and weights in models.get_model_weights(name).__members__:
            recipe = models.get_model_weights(name)[weights].transforms()
            self.transform = {
                "resize": recipe.resize_size[0],
                "crop": recipe.crop_size[0],
                "mean": list(recipe.mean),
                "std": list(recipe.std),
            }
            try:
                network = cut_classifier(models.get_model(name, weights=weights), name)
            except URLError as error:
                raise OSError(
                    f"{weights} of {name} cannot be downloaded ({error.reason}). Name a file with "
                    "--weights; for the drawn dataset it is models/resnet50_toy.pth."
                ) from None
        elif weights:
            path = find_weights(weights)
            network, self.transform, self.only_drawn = load_weights_file(path, name)
        else:
            network = cut_classifier(models.get_model(name, weights=None), name)
        if pixels:
            margin = self.transform["resize"] / self.transform["crop"]  # room for random windows
            self.transform |= {"crop": pixels, "resize": round(pixels * margin)}
            PhotoTransform(**self.transform)  # refuses what cannot be
        self.second_look, self.train_transform = second_look, dict(self.transform)
        if second_look:
            self.transform["crop"] = self.transform["resize"]
        self.network = network.eval().requires_grad_(False)
        _, self.grid_size, high, wide = self.map_size(self.transform["crop"], second_look)
        self.all_places = high * wide
        if pca:
            if not 0 < pca < self.grid_size:
                raise ValueError(f"pca keeps 1 to {self.grid_size - 1} numbers, not {pca}.")
            self.network.add_module("pca", nn.Conv2d(self.grid_size, pca, 1).requires_grad_(False))
            self.grid_size = pca

    @property
    def places(self) -> int:
        return self.all_places if self.grid else 1

    def forward(self, images: Tensor) -> Tensor:
        return as_grid(maps_of(self.network, images, self.second_look), self.grid)

    @torch.no_grad()
    def map_size(self, side: int, second_look: bool) -> torch.Size:
        """(1, D, h, w) for images of side x side pixels."""
        device = next(self.network.parameters()).device
        image = torch.zeros(1, 3, side, side, device=device)
        return maps_of(self.network, image, second_look).shape

    def fingerprint(self, with_pca: bool = False) -> str:
        """16 hex digits that change when any number in the network does."""
        digest = hashlib.sha256()
        for key, tensor in self.network.state_dict().items():
            if key.startswith("pca.") and not with_pca:
                continue
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def find_weights(weights: str) -> Path:
    """`weights` itself, or the file of that name in `models/`; FileNotFoundError elsewhere."""
    for path in (Path(weights), MODELS / Path(weights).name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"The backbone's weights {weights} are not here. Name the file with --weights, or say "
        "--weights IMAGENET1K_V1 for torchvision's ImageNet weights (downloaded once)."
    )
