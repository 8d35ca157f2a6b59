"""A classifier of torchvision, cut at one of its layers: what comes out is the grid's maps.

    cut_network(classifier, name)          its last feature map, whatever the family
    cut_network(classifier, name, layer)   a layer of your choice, fully connected ones included

Nodes are named as torchvision's feature extraction does (`get_graph_node_names`). The output is
maps (B, D, h, w); a vector (B, D) becomes maps of one place, channels-last maps are transposed.
"""

import warnings
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from captioning.models.efficientnet_lite import SamePadConv2d

PROBE_SIZE = 224  # pixels
TRACER = {"leaf_modules": [SamePadConv2d]}  # its padding depends on the size of the image


class ToMaps(nn.Module):
    """(B, D, h, w), (B, h, w, D) or (B, D) -> maps (B, D, h, w); ValueError for anything else"""

    def __init__(self, layer: str):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.dim() not in (2, 4):
            raise ValueError(
                f"The layer {self.layer} gives neither feature maps (B, D, h, w) nor a vector "
                "(B, D) for each image; choose another one with --backbone-layer."
            )
        if x.dim() == 2:
            return x[:, :, None, None]
        return x.permute(0, 3, 1, 2) if is_channels_last(x.shape) else x


class OneOutput(nn.Module):
    """A feature extractor of torchvision that returns its one tensor rather than a dictionary."""

    def __init__(self, extractor: nn.Module, layer: str):
        super().__init__()
        self.extractor, self.layer = extractor, layer

    def forward(self, images: Tensor) -> Tensor:
        return self.extractor(images)[self.layer]


def is_channels_last(shape: torch.Size) -> bool:
    """Return whether maps of a square image are (B, h, w, D), as those of Swin are."""
    return len(shape) == 4 and shape[1] == shape[2] != shape[3]


def is_map(value: object) -> bool:
    """Return whether a layer's output is a feature map of more than one place."""
    if not isinstance(value, Tensor) or value.dim() != 4:
        return False
    height, width = value.shape[1:3] if is_channels_last(value.shape) else value.shape[2:]
    return height == width > 1


def cut_network(classifier: nn.Module, name: str, layer: str | None = None) -> nn.Sequential:
    """Return the classifier up to `layer`, or without its pooling and classification layers.

    Raises ValueError where it has no such layer, or no feature map at all.
    """
    if layer is None:
        if hasattr(classifier, "layer4"):  # the ResNet family: its children run in order
            layers = OrderedDict(classifier.named_children())
            del layers["avgpool"], layers["fc"]
            return nn.Sequential(layers)
        if isinstance(features := getattr(classifier, "features", None), nn.Sequential):
            image = torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE)
            with torch.no_grad():
                maps = features.eval()(image)
            if not is_channels_last(maps.shape):
                return features  # VGG, MobileNet, EfficientNet, DenseNet ...
        layer = last_map(classifier, name)
    nodes = layer_names(classifier)
    if layer not in nodes:
        raise ValueError(
            f"{name} has no layer {layer!r}; the last of its {len(nodes)} layers are "
            f"{', '.join(nodes[-8:])}."
        )
    body = OneOutput(extract_layers(classifier, [layer]), layer)
    return nn.Sequential(OrderedDict(body=body, maps=ToMaps(layer)))


def layer_names(classifier: nn.Module) -> list[str]:
    """Return the names of all layers in the order in which they run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that training may run others
        return get_graph_node_names(classifier.eval(), tracer_kwargs=TRACER)[1]


def extract_layers(classifier: nn.Module, layers: list[str]) -> nn.Module:
    """Return a network, images -> {layer: its output}."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return create_feature_extractor(
            classifier, train_return_nodes=layers, eval_return_nodes=layers, tracer_kwargs=TRACER
        )


def last_map(classifier: nn.Module, name: str) -> str:
    """Return the name of the last layer whose output is a feature map."""
    try:
        nodes = layer_names(classifier)
        extractor = extract_layers(classifier, nodes).eval()
        with torch.no_grad():
            outputs = extractor(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"{name} cannot be cut into layers ({error}); try resnet50.") from None
    maps = [node for node, value in outputs.items() if is_map(value)]
    if not maps or nodes.index(maps[-1]) < len(nodes) / 2:  # a ViT's only map is its input
        raise ValueError(f"{name} has no feature map; choose a convolutional classifier.")
    return maps[-1]
