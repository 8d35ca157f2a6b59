"""Shared by the benchmarks: the machine in words, timing, the page of results."""

import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import torch
import torchvision

from captioning.device import compute_dtype, get_device
from vocabulary import tokenize

RESULTS = Path(__file__).parent / "results.md"
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "neon", "bf16")


def machine() -> str:
    """Return processor or GPU, cores, the instructions that matter, and versions, in a line."""
    device = get_device()
    if device.type == "cuda":
        what = torch.cuda.get_device_name()
    else:
        text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        words = set(text.split())
        what = f"{platform.machine()} CPU, {torch.get_num_threads()} cores"
        what += f" ({' '.join(flag for flag in FLAGS if flag in words) or 'flags unknown'})"
    dtype = str(compute_dtype(device)).removeprefix("torch.")
    return f"{what}, {dtype}, torch {torch.__version__}, torchvision {torchvision.__version__}"


def report(title: str, rows: list[dict], notes: str = "", results: Path = RESULTS) -> None:
    """Print a table and append it to the page of results, with date and machine."""
    head = list(rows[0])
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    lines += [f"| {' | '.join(str(row.get(key, '')) for key in head)} |" for row in rows]
    text = f"\n## {title}\n\n{date.today()}, {machine()}\n\n" + "\n".join(lines) + "\n"
    text += f"\n{notes}\n" if notes else ""
    print(text)
    with open(results, "a", encoding="utf-8") as file:
        file.write(text)


def rate(function: Callable, items: int, *arguments, seconds: float = 3.0) -> float:
    """Return items per second of `function`, which handles `items` a call; one more warms up."""
    function(*arguments)
    synchronize()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        function(*arguments)
        calls += 1
        synchronize()
    return items * calls / (time.perf_counter() - began)


def synchronize() -> None:
    """Wait for the GPU, whose work would otherwise not be finished when the clock is read."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextlib.contextmanager
def timed(stages: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds of the block to stages[name]."""
    synchronize()
    began = time.perf_counter()
    yield
    synchronize()
    stages[name] = stages.get(name, 0.0) + time.perf_counter() - began


def tokenizer() -> Callable[[str], list[str]]:
    """Return the course's tokenizer; on a machine without NLTK one that splits at spaces."""
    if find_spec("nltk"):
        return tokenize
    return lambda caption: caption.lower().replace(".", "").split()
