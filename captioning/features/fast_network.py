"""What this machine can do, and the frozen network made to do it.

    pick_device("auto")              the GPU where there is one
    fast_dtype(device)               bfloat16 where the processor multiplies it in hardware
    fold_batchnorm(network)          the same function, BatchNorm folded into the convolutions
    fast_network(network, ...)       folded, channels last, half precision, compiled: same answers
    keep_memory()                    no new pages for every tensor
    in_parallel(function, items)     results in order, computed ahead by a few threads

The frozen network's answers differ from plain float32 by rounding only: cosine above 0.999.
"""

import contextlib
import copy
import ctypes
import itertools
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

EXACT = 2  # convolutions that stay in float32; see `in_dtype`
COMPILE_FROM = 1_000  # images; compiling takes 5 to 20 seconds, which fewer never earn back


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" is CUDA, else MPS, else the CPU. ValueError where absent."""
    if name == "auto":
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"There is no device {name!r}; choose auto, cpu, cuda or mps.") from None
    absent = device.type == "cuda" and not torch.cuda.is_available()
    if absent or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise ValueError(f"This machine has no {device.type}; say --device cpu, or leave it out.")
    return device


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it (recent GPUs, CPUs with AVX512-BF16 or AMX)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if any(getattr(torch.cpu, probe, bool)() for probe in probes):
            return torch.bfloat16
    return torch.float32


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` has what it needs: a C compiler, and Triton on a GPU."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return has_triton()
    compilers = (os.environ.get("CXX"), "g++", "c++", "clang++", "cl")
    return device.type == "cpu" and any(name and shutil.which(name) for name in compilers)


def fold_batchnorm(network: nn.Module) -> nn.Module:
    """A copy in which each BatchNorm in eval mode is part of the convolution before it.

    Works where a module's children stand in the order they run, as in torchvision's classifiers.
    """
    network = copy.deepcopy(network)
    for module in [m for m in network.modules() if not isinstance(m, nn.Conv2d)]:
        children = list(module.named_children())
        for (name, first), (next_name, second) in itertools.pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, next_name, nn.Identity())
    return network


class InFloat32(nn.Module):
    """A layer that computes in float32 amid a network in `dtype`."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.layer, self.dtype = layer, dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.float()).to(self.dtype)


def in_dtype(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """`network` on the device in `dtype`, but for its first EXACT convolutions, in place.

    These subtract large numbers from each other: an edge is where neighbours differ. Rounded, they
    see edges in even areas, and most of what bfloat16 gets wrong in the end begins here.
    """
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    names = names[:EXACT] if dtype != torch.float32 else []
    exact = [InFloat32(copy.deepcopy(network.get_submodule(name)), dtype) for name in names]
    network = network.to(device, dtype, memory_format=torch.channels_last)
    for name, layer in zip(names, exact, strict=True):
        network.set_submodule(name, layer.to(device, memory_format=torch.channels_last))
    return network


def fast_network(
    network: nn.Module, device: torch.device, dtype: torch.dtype, images: int
) -> Callable[[Tensor], Tensor]:
    """`network`, made fast for `images` photos: images (B, 3, H, W) -> maps (B, D, h, w).

    Keep B the same: another one is compiled anew, and half precision rounds otherwise.
    """
    keep_memory()
    fast = in_dtype(fold_batchnorm(network), device, dtype).eval()
    if images >= COMPILE_FROM and can_compile(device):
        fast = torch.compile(fast, options={"freezing": True})

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return fast(images.to(device).contiguous(memory_format=torch.channels_last))

    return run


def keep_memory() -> None:
    """Asks glibc not to hand large pieces of memory back; elsewhere nothing happens.

    By default every large tensor is made of new pages, which the system fills with zeros first:
    ResNet-50 in bfloat16 spends up to half of its time there.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(option, 1 << 30)  # bytes


def in_parallel(function: Callable, items: Iterable, threads: int | None = None) -> Iterator:
    """`map(function, items)` by threads, in order, and at most a few results ahead."""
    threads = threads or min(16, os.cpu_count() or 1)
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
