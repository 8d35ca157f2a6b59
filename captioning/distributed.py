"""Several processes that train one model. torchrun starts them; without it, all this is nothing.

    torchrun --nproc-per-node 8 train.py --data data/coco --out models/coco

    joined(device)            inside the block this process is one of many, where torchrun says so
    rank(), world()           which one, of how many; process 0 is the only one that writes
    share(rows)               rows[rank::world]: every row belongs to exactly one process
    sum_gradients(...)        what all processes learned from their shares of one batch
    gather(thing)             the thing of every process, on every process; waits for the slowest
    from_first(thing)         process 0's thing, on every process
    agree(thing, name)        refuses to go on where the processes do not have the same thing

Every process has the whole model and the same weights. Of each batch it takes its share; a loss is
a sum over words divided by the words of the whole batch, so the sum of the gradients is the
gradient of the whole batch, whoever computed which part (data parallelism: Goyal et al. 2017,
arXiv:1706.02677). Nothing is trusted to luck: equal numbers in, equal steps, equal weights.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from speed import pick_device

PATIENCE = timedelta(minutes=10)  # a process that is silent for so long is taken for dead
GO_ON = "Start the same command again with --resume: it goes on from the last checkpoint."
Thing = TypeVar("Thing")
Rows = TypeVar("Rows", Tensor, Sequence)


def world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world() > 1 else 0


@contextlib.contextmanager
def joined(device: str = "auto", patience: timedelta = PATIENCE) -> Iterator[None]:
    """Inside the block the processes that torchrun started know each other.

    device  "auto", "cuda" (one GPU for each process of a machine) or "cpu"

    Raises ValueError where a machine has fewer GPUs than processes, ConnectionError where the
    other processes cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:  # torchrun sets it
        yield
        return
    kind, local = pick_device(device).type, int(os.environ["LOCAL_RANK"])
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
    signal.signal(signal.SIGTERM, stopped)
    with watched():
        backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=patience)
    yield
    dist.destroy_process_group()


def stopped(signal_number: int, frame: object) -> None:
    """torchrun ends the others when one process dies."""
    sys.exit(f"error: process {rank()} was told to stop: another one died, see above. {GO_ON}")


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """What the libraries below say about a lost process, in a sentence."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise ConnectionError(
            f"process {rank()} lost the others: one died, or the network did ({reason}). {GO_ON}"
        ) from None


def share(rows: Rows) -> Rows:
    return rows[rank() :: world()]


def sum_gradients(parameters: list[nn.Parameter], loss: Tensor) -> Tensor:
    """Adds up the gradients over all processes; returns the sum of their losses.

    One message with everything in it: many small ones would wait for each other.
    """
    if world() == 1:
        return loss
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    everything = torch.cat([*(gradient.flatten() for gradient in gradients), loss.view(1)])
    with watched():
        dist.all_reduce(everything)
    *sums, total = everything.split([*(p.numel() for p in parameters), 1])
    for parameter, part in zip(parameters, sums, strict=True):
        parameter.grad = part.view_as(parameter)
    return total[0]


def gather(thing: Thing) -> list[Thing]:
    """One entry for each process, in the order of their ranks."""
    if world() == 1:
        return [thing]
    things: list[Any] = [None] * world()
    with watched():
        dist.all_gather_object(things, thing)
    return things


def from_first(thing: Thing) -> Thing:
    if world() == 1:
        return thing
    things = [thing]
    with watched():
        dist.broadcast_object_list(things, src=0)
    return things[0]


def agree(thing: object, name: str) -> None:
    """ValueError on every process where one has another `thing`: called `name` in the sentence."""
    if any(other != thing for other in gather(thing)):
        raise ValueError(
            f"the processes do not see the same {name}: all need the same command, the same kind "
            "of hardware, and data and output on a disk that all of them share."
        )
