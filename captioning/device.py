"""The machine: which device, which precision, whether it can compile, how to use its threads.

get_device("auto")            the GPU where there is one
device_of(module)             where the weights of a module are
compute_dtype(device)         bfloat16 where the hardware multiplies it, else float32 or float16
can_compile(device)           whether torch.compile has what it needs
free_memory()                 bytes of memory that programs can still have
rows_where(chosen)            the chosen rows, and a few more: products of few different shapes
keep_freed_memory()           glibc keeps freed memory instead of handing it back
parallel_map(function, items) results in order, computed ahead by a few threads
"""

import contextlib
import ctypes
import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

Item = TypeVar("Item")
Result = TypeVar("Result")


def get_device(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is CUDA, else MPS, else the CPU.

    Raises ValueError where the machine has no such device.
    """
    if name == "auto":
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"There is no device {name!r}; choose auto, cpu, cuda or mps.") from None
    absent = device.type == "cuda" and not torch.cuda.is_available()
    if absent or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise ValueError(f"This machine has no {device.type}; use --device cpu, or leave it out.")
    return device


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the module's weights."""
    return next(module.parameters()).device


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the precision to compute in: bfloat16 where the hardware multiplies it.

    Recent GPUs and CPUs with AVX512-BF16 or AMX do; other CPUs get float32.
    """
    if device.type == "cuda":
        return cuda_dtype(torch.cuda.get_device_capability(device))
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if any(getattr(torch.cpu, probe, bool)() for probe in probes):
            return torch.bfloat16
    return torch.float32


def cuda_dtype(capability: tuple[int, int]) -> torch.dtype:
    """Return the precision for a GPU of that compute capability, by what it does in hardware.

    From 8.0 on (A100, RTX 30) bfloat16; 7.x (V100, T4) float16, because there torch only emulates
    bfloat16, slowly; older GPUs float32. Float16 is used for the frozen network alone: training
    would need its loss scaled, so on those GPUs it stays in float32.
    """
    if capability >= (8, 0):
        return torch.bfloat16
    return torch.float16 if capability >= (7, 0) else torch.float32


def can_compile(device: torch.device) -> bool:
    """Return whether `torch.compile` has what it needs: a C compiler, and Triton on a GPU."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return has_triton()
    compilers = (os.environ.get("CXX"), "g++", "c++", "clang++", "cl")
    return device.type == "cpu" and any(name and shutil.which(name) for name in compilers)


def free_memory() -> float:
    """Return the bytes that programs can still have; infinity where the system does not tell.

    Linux does, and counts what it keeps of files. A container has a limit of its own.
    """
    free = float("inf")
    with contextlib.suppress(OSError):
        if found := re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text()):
            free = 1024.0 * int(found[1])
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        free = min(free, float(limit)) if limit.isdigit() else free
    return free


def rows_where(chosen: Tensor, multiple: int) -> Tensor:
    """chosen (N,), true or false -> the numbers of the true rows in order, then of a few others.

    The others fill them up to a multiple of `multiple`, or to N. For each new shape of a product in
    bfloat16 a CPU first generates machine code, which takes longer than the product, and keeps it.
    `benchmarks/training.py` compares round numbers of rows with any number.
    """
    count = -(-int(chosen.sum()) // multiple) * multiple
    return chosen.int().argsort(descending=True, stable=True)[:count]


def keep_freed_memory() -> None:
    """Ask glibc to keep large pieces of freed memory; elsewhere nothing happens.

    By default every large tensor is made of new pages, which the system fills with zeros first:
    ResNet-50 in bfloat16 spends up to half of its time there.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(option, 1 << 30)  # bytes


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` in order, computed by threads, at most a few results ahead."""
    threads = threads or min(16, os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def prefetch(items: Iterable[Item], ahead: int = 2) -> Iterator[Item]:
    """Yield `items` in order; a thread computes the next ones while the caller uses these."""
    iterator = iter(items)
    waiting: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(ahead):
            waiting.append(pool.submit(next, iterator))
        while True:
            try:
                item = waiting.popleft().result()
            except StopIteration:
                return
            waiting.append(pool.submit(next, iterator))
            yield item
