"""Find the photos that a command is given: files, folders, patterns, a list on standard input."""

import contextlib
import glob
import os
import sys
from pathlib import Path

from captioning.data.decode import FORMATS
from captioning.data.metadata import HEAD, photo_format
from captioning.text import read_paths

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}


def find_photos(arguments: list[str], recursive: bool = False) -> list[Path]:
    """Return files, the photos in folders, what patterns match, and for "-" the lines of stdin.

    recursive  looks into the folders inside a folder too

    Raises FileNotFoundError for a pattern that matches nothing, ValueError for a folder without
    photos.
    """
    paths: list[Path] = []
    for argument in arguments:
        if argument == "-":
            paths += find_photos(read_paths("-"), recursive)
        elif Path(argument).is_dir():
            paths += photos_in(Path(argument), recursive)
        elif Path(argument).exists() or not glob.has_magic(argument):
            paths.append(Path(argument))
        else:
            matched = sorted(glob.glob(argument, recursive=True))
            if not matched:
                raise FileNotFoundError(f"no file matches {argument}")
            paths += find_photos(matched, recursive)
    return paths


def photos_in(folder: Path, recursive: bool = False) -> list[Path]:
    """Return the photos in `folder`, by name; notes on stderr say what is left out.

    Raises ValueError where there are none.
    """
    photos: list[Path] = []
    others: list[Path] = []
    inner: list[Path] = []
    for place, folders, names in os.walk(folder):
        for path in (Path(place, name) for name in sorted(names)):
            (photos if is_photo(path) else others).append(path)
        folders.sort()
        paths = [Path(place, name) for name in folders]
        inner += [p for p in paths if not recursive or p.is_symlink() or not os.access(p, os.R_OK)]
        if not recursive:
            folders.clear()  # os.walk enters no others
    if others:
        print(f"note: left out what is not a photo: {_listed(others)}", file=sys.stderr)
    if inner:
        hint = "" if recursive else "; name them too, or add --recursive to caption.py"
        print(f"note: left out folders inside {folder}: {_listed(inner)}{hint}", file=sys.stderr)
    if not photos:
        raise ValueError(f"{folder} has no photos ({', '.join(FORMATS)}).")
    return photos


def is_photo(path: Path) -> bool:
    """Return whether a file begins as a photo does, or has the suffix of one.

    A broken file with such a suffix counts, so that its reader says what is wrong with it.
    """
    head = b""
    if path.is_file():
        with contextlib.suppress(OSError), open(path, "rb") as file:
            head = file.read(HEAD)
    named_so = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return bool(photo_format(head)) or named_so


def _listed(paths: list[Path]) -> str:
    return f"{paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
