"""Files from strangers: what is looked at before anything is built from them.

    load_plain(path)       `torch.load` that runs no code and unpacks nothing larger than the file
    fits(build, state)     refuses a model that is not the size of the weights that came with it
    alike(wanted, found)   whether two plain values differ in their numbers only
    one_line(error)        what a library says about it, short enough for a sentence

A saved file is plain data: numbers, text, lists, dictionaries, tensors. A pickle could be a
program; `weights_only=True` refuses that. What is left are lies: a few bytes that claim to be
40 GB, a configuration of a billion layers, an optimizer that remembers text.
"""

import pickle
import tokenize
import zipfile
from collections.abc import Callable, Iterator
from numbers import Real
from pathlib import Path

import torch
from torch import Tensor, nn

BROKEN = (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError)
BROKEN += (TypeError, AttributeError, IndexError, OverflowError, MemoryError, NotImplementedError)
BROKEN += (SyntaxError, tokenize.TokenError)  # numpy reads the head of an array as Python's words


def one_line(error: Exception, most: int = 120) -> str:
    return " ".join(str(error).split())[:most] or type(error).__name__


def load_plain(path: str | Path) -> dict:
    """The dictionary of plain data in a file of `torch.save`. Code in it is refused, never run.

    Raises FileNotFoundError or ValueError, each one sentence.
    """
    try:
        refuse_compressed(Path(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        whole = all(is_whole(tensor) for tensor in tensors(loaded, set()))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing. Check the path, or train first.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}).") from None
    except BROKEN as error:
        kind = type(error).__name__
        raise ValueError(
            f"{path} is refused ({kind}): it is broken, or holds more than plain weights. "
            "Fetch it again from a source you trust, or train it anew."
        ) from None
    if not whole:
        raise ValueError(f"{path} is refused: it has tensors that are larger than it says.")
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not weights.")
    return loaded


def refuse_compressed(path: Path) -> None:
    """torch.save compresses nothing; who does means to fill the memory of whoever unpacks it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("it unpacks to more than its size")


def tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor in a plain value, once, also where lists are in themselves."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors(part, seen)


def is_whole(tensor: Tensor) -> bool:
    """Whether every number of it is really there: one number can be expanded to ten billion."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def fits(build: Callable[[], nn.Module], state: dict[str, Tensor]) -> None:
    """ValueError where `build()` would have other weights than `state`; costs no memory.

    So no configuration, whatever it says, makes a model larger than the file that it came in.
    """
    with torch.device("meta"):  # shapes without numbers
        wanted = {name: tensor.shape for name, tensor in build().state_dict().items()}
    for name in wanted.keys() | state.keys():
        if name not in state and name.endswith("num_batches_tracked"):
            continue  # older files lack it
        found = getattr(state.get(name), "shape", None)
        if name not in wanted or found != wanted[name]:
            raise ValueError(f"its weight {name!s:.40} is not what its configuration says")
        if state[name].is_floating_point() and not state[name].isfinite().all():
            raise ValueError(f"its weight {name} has values that are no numbers")


def alike(wanted: object, found: object) -> bool:
    """Whether `found` is built as `wanted` is: the same keys, lengths, shapes, texts and flags."""
    if isinstance(wanted, dict):
        same = isinstance(found, dict) and wanted.keys() == found.keys()
        return same and all(alike(wanted[key], found[key]) for key in wanted)
    if isinstance(wanted, list | tuple):
        same = type(wanted) is type(found) and len(wanted) == len(found)
        return same and all(alike(a, b) for a, b in zip(wanted, found, strict=True))
    if isinstance(wanted, Tensor):
        same = isinstance(found, Tensor) and wanted.dtype == found.dtype
        return same and wanted.shape == found.shape
    if isinstance(wanted, Real) and not isinstance(wanted, bool):
        return isinstance(found, Real) and not isinstance(found, bool)
    return type(wanted) is type(found) and wanted == found
