"""Photos per second through the frozen ResNet-50: plain torchvision against this course's way.

    python benchmarks/extraction.py [--weights PATH]

From tensors that are already on the device, so nothing but the network is measured. The peak is
the rate of a large matrix product on the same device, in the same precision, in the same run.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import torch.nn.functional as F

from benchmarks.common import machine, rate, report
from captioning.device import compute_dtype, get_device
from captioning.features.fast_network import COMPILE_FROM, FastBackbone
from captioning.models.backbone import Backbone

FLOPS_PER_PHOTO = 8.2e9  # ResNet-50 at 224 x 224: 4.1 billion multiply-adds


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return floating-point operations per second of a large product of random matrices."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return rate(torch.matmul, 2 * size**3, a, b)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--weights", help="of the backbone; random by default, the speed is the same"
    )
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="images at once")
    args = parser.parse_args()
    print(machine())
    device, rows = get_device(), []
    dtype = compute_dtype(device)
    sizes = args.batch_sizes or ([256, 1024] if device.type == "cuda" else [8, 16, 32])
    backbone = Backbone("resnet50", args.weights).to(device)
    peaks = {kind: peak(device, kind) for kind in (torch.float32, dtype)}
    for size in sizes:
        images = torch.randn(size, 3, 224, 224, device=device)
        ways = {
            "plain torchvision": (backbone, torch.float32),
            "folded, half, channels last": (FastBackbone(backbone, device, dtype, size), dtype),
            "the same, compiled": (
                FastBackbone(backbone, device, dtype, size, num_images=COMPILE_FROM),
                dtype,
            ),
        }
        truth, plain = backbone(images), None
        for way, (network, precision) in ways.items():
            speed = rate(network, size, images)
            plain = plain or speed
            close = F.cosine_similarity(network(images), truth, dim=-1).min()
            rows.append(
                {
                    "way": way,
                    "batch": size,
                    "photos/s": f"{speed:.1f}",
                    "times": f"{speed / plain:.1f}",
                    "of the peak": f"{100 * speed * FLOPS_PER_PHOTO / peaks[precision]:.0f} %",
                    "least cosine": f"{close:.5f}",
                }
            )
    tera = ", ".join(f"{value / 1e12:.2f} ({kind})" for kind, value in peaks.items())
    report("Extraction: ResNet-50, 224 x 224", rows, f"Measured peak, TFLOP/s: {tera}")


if __name__ == "__main__":
    main()
