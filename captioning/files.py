"""Files and errors: every module stands on this one. No torch in here.

atomic_write(path)             a file that is either whole or not there
read_json, read_json_list      JSON from a file, or one sentence that says what is wrong
cli_errors()                   what a user can fix becomes one sentence and exit status 1
readable_write_errors(path)    a full disk or a read-only folder, as a sentence
exclusive(lock_file)           one process at a time
remove_partial_files(folder)   removes what a killed process left half written
short_message(error)           a library's message, short enough for a sentence
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from captioning.text import PathLike, read_text

OUT_OF_MEMORY = "there is not enough memory: lower the sizes, such as --batch-size"


@contextlib.contextmanager
def atomic_write(path: PathLike, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file beside `path` and rename it into place when the block ends well.

    A killed process leaves the old file or the new one, never half of one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # the name of a file that is not text becomes JSON's \udc.., which can be read again
        encoding, errors = (None, None) if "b" in mode else ("utf-8", "backslashreplace")
        with open(partial, mode, encoding=encoding, errors=errors) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what `atomic_write` left in `folder` when its process was killed."""
    for partial in (*folder.glob(".*.tmp"), *folder.glob("best/.*.tmp")):
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def readable_write_errors(
    path: PathLike, hint: str = "free some space or choose another folder"
) -> Iterator[None]:
    """Turn a full disk or a read-only folder into one sentence (torch.save: RuntimeError).

    hint  what the user can do about it
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or short_message(error)
        raise OSError(
            f"{path} could not be written ({reason}): {hint}. What was saved before is unharmed, "
            "and --resume continues from it."
        ) from None


@contextlib.contextmanager
def exclusive(lock_file: Path, waiting: str = "", refusal: str = "") -> Iterator[None]:
    """Let one process at a time into the block.

    waiting  a line to print before waiting for the process that is inside
    refusal  or the sentence of the ValueError to raise instead of waiting
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if refusal:
            raise ValueError(refusal) from None
        print(waiting, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def cli_errors() -> Iterator[None]:
    """Print what a user can fix (`OSError`, `ValueError`) as one sentence; exit with status 1.

    A character that the terminal does not have is printed as its number.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except MemoryError:
        sys.exit(f"error: {OUT_OF_MEMORY}")
    except RuntimeError as error:
        if "memory" not in str(error).lower():  # torch has no other way to say it
            raise
        sys.exit(f"error: {OUT_OF_MEMORY} ({short_message(error)})")
    except KeyboardInterrupt:
        sys.exit("stopped; what was saved so far is kept")


def short_message(error: Exception, limit: int = 120) -> str:
    """The message of `error` on one line of at most `limit` characters."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def read_json(path: PathLike) -> dict[str, Any]:
    """Return the JSON object in `path`.

    Raises FileNotFoundError where there is no such file, ValueError where it holds anything else.
    """
    value = _parse(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}, not a dict.")
    return value


def read_json_list(path: PathLike) -> list[Any]:
    """Return the JSON list in `path`; raises as `read_json` does."""
    value = _parse(path)
    if not isinstance(value, list):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}, not a list.")
    return value


def _parse(path: PathLike) -> object:
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, or nested without end
        raise ValueError(f"{path} is not JSON ({error}). Download it or write it again.") from None
