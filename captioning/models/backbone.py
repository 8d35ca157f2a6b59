"""Frozen image networks: all of a classifier but its last layers.

    Backbone(name, weights)   any torchvision classifier, or an EfficientNet-Lite: with ImageNet's
                              weights, those of a file, or random ones
    feature_maps, maps_to_grid   images -> maps (B, D, h, w) -> grid (B, P, D)

A Backbone maps images (B, 3, H, W) to a grid (B, P, D): P places (49 for ResNet-50 at 224 pixels)
and D features at each (2048); pooled means P = 1, the mean over all places.
"""

import contextlib
import functools
import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioning.data.photos import PhotoTransform
from captioning.models.efficientnet_lite import PACKAGE, SIZES, input_transform, load_package

resize = functools.partial(F.interpolate, mode="bilinear")


def feature_maps(
    network: Callable[[Tensor], Tensor], images: Tensor, scales: Sequence[float] = ()
) -> Tensor:
    """images (B, 3, H, W) -> maps (B, D, h, w)

    With n `scales`, for test-time augmentation, each image is seen at every one of them (1.2: 1.2
    times as large), and mirrored as well: 2 n maps of the first one's size, one below the other,
    (B, D, 2 n h, w).
    """
    if not scales:
        return network(images)
    maps: list[Tensor] = []
    for scale in scales:
        larger = images if scale == 1 else resize(images, scale_factor=scale)
        maps += [network(larger), network(larger.flip(-1))]
    size = maps[0].shape[-2:]
    return torch.cat([part if part.shape[-2:] == size else resize(part, size) for part in maps], 2)


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
    tta_scale   with tta, and above 1: see both also this many times larger, and count the places of
                all four
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
        tta_scale: float = 1.0,
    ):
        super().__init__()
        self.name, self.grid = name, grid
        self.scales = tuple(sorted({1.0, tta_scale})) if tta else ()
        if weights and name in SIZES and weights.startswith("IMAGENET1K"):
            weights = PACKAGE
        self.weights_name = Path(weights).name if weights else None
        network, transform, self.toy_only = find_network(name, weights, layer)
        if image_size:
            margin = transform["resize"] / transform["crop"]  # room for random windows
            transform |= {"crop": image_size, "resize": round(image_size * margin)}
            PhotoTransform(**transform)  # refuses impossible sizes
        self.train_transform, self.transform = dict(transform), transform
        if tta:
            self.transform["crop"] = self.transform["resize"]
        self.network = network.eval().requires_grad_(False)
        _, self.grid_size, height, width = self.map_size(self.transform["crop"], self.scales)
        self.num_grid_places = height * width
        if pca:
            if not 0 < pca < self.grid_size:
                raise ValueError(f"pca must keep 1 to {self.grid_size - 1} components, not {pca}.")
            self.network.add_module("pca", nn.Conv2d(self.grid_size, pca, 1).requires_grad_(False))
            self.grid_size = pca

    @property
    def views(self) -> int:
        """The images of each photo that the network sees, whose places all count."""
        return max(1, 2 * len(self.scales))

    @property
    def places(self) -> int:
        """P: the number of places at which the decoder gets features."""
        return self.num_grid_places if self.grid else 1

    def children_in_order(self) -> list[tuple[str, nn.Module]]:
        """Return the parts of the network by name, the first one first."""
        body = getattr(self.network, "body", None)
        return list((body.extractor if body else self.network).named_children())

    def forward(self, images: Tensor) -> Tensor:
        return maps_to_grid(feature_maps(self.network, images, self.scales), self.grid)

    @torch.no_grad()
    def map_size(self, side: int, scales: Sequence[float] = ()) -> torch.Size:
        """Return (1, D, h, w) for images of side x side pixels, as `feature_maps` does.

        Raises ValueError where the network cannot see images of that size.
        """
        device = next((parameter.device for parameter in self.network.parameters()), None)
        image = torch.zeros(1, 3, side, side, device=device)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # a traced network prints its code
                return feature_maps(self.network, image, scales).shape
        except (RuntimeError, AssertionError):
            advice = " or leave out --tta" if scales else ""
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


def find_network(
    name: str, weights: str | None, layer: str | None
) -> tuple[nn.Sequential, dict[str, Any], bool]:
    """Return the network up to `layer`, its transform, and whether it is a toy (see above)."""
    if name in SIZES and weights == PACKAGE and layer is None:
        return load_package(name).features, input_transform(name), False
    from captioning.models.classifiers import build_network  # imports torchvision: two seconds

    return build_network(name, weights, layer)
