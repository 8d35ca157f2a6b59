"""Several processes that train one model. torchrun starts them; without it, nothing here acts.

    torchrun --nproc-per-node 8 train.py --data data/coco --out models/coco

    init_distributed(device)   inside the block this process is one of many, if torchrun started it
    rank(), world_size()       which process, of how many; only process 0 writes
    shard(rows)                rows[rank::world_size]: every row belongs to exactly one process
    data_parallel(module)      the module in PyTorch's DistributedDataParallel (DDP)
    backward(loss)             the gradients of the whole batch, on every process
    all_reduce(value)          the sum of a tensor over all processes
    all_gather(value)          the value of every process, on every process; waits for the slowest
    broadcast(value)           process 0's value, on every process
    check_in_sync(value, name) stops where the processes do not have the same value
    BatchShare                 which fraction of a batch this process has

Every process has the whole model and the same weights. Of each batch it takes its shard; a loss is
a sum over words divided by the words of the whole batch, so the sum of the gradients is the
gradient of the whole batch, whichever process computed which part (data parallelism: Goyal et al.
2017, arXiv:1706.02677). DDP sends the gradients while the backward pass still computes others (Li
et al. 2020, arXiv:2006.15704). Equal inputs give equal steps, and equal steps give equal weights.
"""

import contextlib
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from captioning.device import get_device
from captioning.files import short_message

TIMEOUT = timedelta(minutes=10)  # a process that is silent for longer is taken for dead
RESUME_HINT = "Start the same command again with --resume: it continues from the last checkpoint."
Value = TypeVar("Value")
Rows = TypeVar("Rows", Tensor, range, list)


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class BatchShare(NamedTuple):
    """The fractions of a batch's words and captions that this process has."""

    words: float = 1.0
    captions: float = 1.0


FULL_BATCH = BatchShare()


def rank() -> int:
    """Return the number of this process, counted from 0."""
    return dist.get_rank() if world_size() > 1 else 0


@contextlib.contextmanager
def init_distributed(device: str = "auto", timeout: timedelta = TIMEOUT) -> Iterator[None]:
    """Connect the processes that torchrun started, for the length of the block.

    device  "auto", "cuda" (one GPU for each process of a machine) or "cpu"

    Raises ValueError where a machine has fewer GPUs than processes, ConnectionError where the
    other processes cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:  # torchrun sets it
        yield
        return
    kind, local = get_device(device).type, int(os.environ["LOCAL_RANK"])
    if kind == "mps":
        raise ValueError("Several processes need CUDA or the CPU; add --device cpu.")
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"this machine has {torch.cuda.device_count()} GPUs for "
                f"{os.environ['LOCAL_WORLD_SIZE']} processes; lower --nproc-per-node, or add "
                "--device cpu."
            )
        torch.cuda.set_device(local)  # from here on, "cuda" means this one
    signal.signal(signal.SIGTERM, handle_sigterm)
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    importlib.import_module("torch.distributed.nn")  # imported later, it would keep the group
    try:
        with readable_errors():
            dist.init_process_group(backend, timeout=timeout)
            yield
    except BaseException as error:
        if kind == "cpu":  # NCCL might wait here for the others, who wait for this process
            leave_group(error)
        raise
    leave_group()


def leave_group(error: BaseException | None = None) -> None:
    """Destroy the process group and its threads, which would disturb the end of the interpreter.

    Models in DDP keep the group, and the frames of an error keep models.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process is ending anyway
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()


def handle_sigterm(signal_number: int, frame: object) -> None:
    """Exit with a sentence: torchrun ends the other processes when one of them dies."""
    sys.exit(f"error: process {rank()} was stopped: another process died, see above. {RESUME_HINT}")


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what the libraries raise about a lost process into one sentence."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise  # a mistake of this process
        raise ConnectionError(
            f"process {rank()} lost the other processes: one of them died, or the network did "
            f"({short_message(error)}). {RESUME_HINT}"
        ) from None


def shard(rows: Rows) -> Rows:
    """Return this process's rows: every `world_size`-th, from `rank` on."""
    return rows[rank() :: world_size()]


def share_of(mine: Tensor, batch: Tensor) -> BatchShare:
    """lengths (R,) of this process's captions, lengths of the whole batch's -> its share"""
    own_words, words = mine - 1, batch - 1  # <start> is not a target
    return BatchShare(int(own_words.sum()) / int(words.sum()), len(mine) / len(batch))


def data_parallel(module: nn.Module) -> nn.Module:
    """Return the module in DDP, with the weights of process 0; with a single process unchanged.

    In every step, all its trainable parameters must have a part in the loss of every process.
    """
    if world_size() == 1:
        return module
    parallel = nn.parallel.DistributedDataParallel(module)
    parallel.broadcast_buffers = False  # nothing changes them
    return parallel


def backward(loss: Tensor) -> None:
    """Compute the gradients of the sum of all processes' losses; DDP would take their mean."""
    (world_size() * loss).backward()


def all_reduce(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, which may be written into it."""
    if world_size() > 1:
        dist.all_reduce(value)
    return value


def all_gather(value: Value) -> list[Value]:
    """Return the value of every process, in the order of their ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast(value: Value) -> Value:
    """Return process 0's value on every process."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def check_in_sync(value: object, name: str) -> None:
    """Raise ValueError on every process if one of them has another `value`, called `name`."""
    if any(other != value for other in all_gather(value)):
        raise ValueError(
            f"the processes do not see the same {name}: all need the same command, the same kind "
            "of hardware, and data and output on a disk that all of them share."
        )
