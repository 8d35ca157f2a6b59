"""Load untrusted weight files safely: what is checked before anything is built from them.

    safe_load(path)                  `torch.load` that runs no code and unpacks no zip bomb
    shapes_only()                    modules built in it have shapes, but no numbers
    check_state_dict(build, state)   refuses a model that does not have the size of its weights
    same_structure(expected, found)  whether two plain values differ in their numbers only

A saved file is plain data: numbers, text, lists, dictionaries, tensors. A pickle could be a
program; `weights_only=True` refuses that. What remains are false claims: a few bytes that claim to
be 40 GB, a configuration of a billion layers, an optimizer state that holds text.
"""

import contextlib
import pickle
import tokenize
import zipfile
from collections.abc import Callable, Iterator
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captioning.files import PathLike

LOAD_ERRORS: tuple[type[Exception], ...] = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
)
LOAD_ERRORS += (
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    NotImplementedError,
)
LOAD_ERRORS += (SyntaxError, tokenize.TokenError)  # numpy parses an array's header as Python


def safe_load(path: PathLike) -> dict[str, Any]:
    """Return the dictionary of plain data in a file of `torch.save`; code in it never runs.

    Raises FileNotFoundError or ValueError, each one sentence.
    """
    try:
        refuse_compressed(Path(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        complete = all(has_all_values(tensor) for tensor in iter_tensors(loaded, set()))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing. Check the path, or train first.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}).") from None
    except LOAD_ERRORS as error:
        kind = type(error).__name__
        raise ValueError(
            f"{path} is refused ({kind}): it is broken, or holds more than plain weights. "
            "Download it again from a source you trust, or train it again."
        ) from None
    if not complete:
        raise ValueError(
            f"{path} is refused: it has tensors with fewer values than their shapes claim."
        )
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not weights.")
    return loaded


def refuse_compressed(path: Path) -> None:
    """Refuse compressed archives: torch.save writes none, and a zip bomb would fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("it unpacks to more than its size")


def iter_tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    """Yield every tensor in a plain value once, even where a list contains itself."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        for part in value.values() if isinstance(value, dict) else value:
            yield from iter_tensors(part, seen)


def has_all_values(tensor: Tensor) -> bool:
    """Return whether every value is stored: one number can be expanded to ten billion."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


class WithoutInit(TorchFunctionMode):
    """Within it the functions of torch.nn.init do nothing: the weights come from a file."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Build modules without their numbers, in no time and memory; `load_state_dict(assign=True)`
    gives them some.
    """
    with torch.device("meta"), WithoutInit():
        yield


def check_state_dict(build: Callable[[], nn.Module], state: dict[str, Tensor]) -> None:
    """Raise ValueError where `build()` would not have the weights of `state`; costs no memory.

    So no configuration, whatever it claims, makes a model larger than the file that it came in.
    """
    with shapes_only():
        expected = {name: tensor.shape for name, tensor in build().state_dict().items()}
    for name in expected.keys() | state.keys():
        if name not in state and name.endswith("num_batches_tracked"):
            continue  # older files lack it
        found = getattr(state.get(name), "shape", None)
        if name not in expected or found != expected[name]:
            raise ValueError(f"its weight {name!s:.40} is not what its configuration says")
        if state[name].is_floating_point() and not state[name].isfinite().all():
            raise ValueError(f"its weight {name} has values that are not finite")


def same_structure(expected: object, found: object) -> bool:
    """Return whether both have the same keys, lengths, shapes, texts and flags."""
    if isinstance(expected, Real) and not isinstance(expected, bool):
        return isinstance(found, Real) and not isinstance(found, bool)
    if type(expected) is not type(found) and not isinstance(expected, Tensor):
        return False
    if isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys():
            return False
        return all(same_structure(expected[key], found[key]) for key in expected)
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        if len(expected) != len(found):
            return False
        return all(same_structure(a, b) for a, b in zip(expected, found, strict=True))
    if isinstance(expected, Tensor):
        if not isinstance(found, Tensor):
            return False
        return expected.dtype == found.dtype and expected.shape == found.shape
    return expected == found
