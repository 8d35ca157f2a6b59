"""Names of photos, in files that strangers wrote and in folders of any system. No torch in here.

is_plain_name(name)             whether a name stays in its folder on every system
require_plain_name(name, ...)   the same, or ValueError
names_in(folder)                names as they may be written -> names of the files
relative_name(path, folder)     a path in a table -> "beach/one.jpg"
find_file(folder, name, ...)    the file of such a name, however its accents are stored
flat_name(name)                 "beach/one.jpg" -> "beach_one.jpg", not too long for a system
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from captioning.files import PathLike
from captioning.scripts import nfc

SIMPLE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
MAX_BYTES = 180  # of a name; most systems allow 255, and temporary files need some of them


def is_plain_name(name: str) -> bool:
    """Return whether `name` stays in its folder on every system: no path, no drive, no `..`.

    Control characters and halves of characters, which no system shows, are not allowed either;
    narrow spaces and joiners are.
    """
    if SIMPLE_NAME.fullmatch(name):  # a Path takes twenty times as long
        return True
    if not name.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return False
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    return plain and name not in ("", ".", "..")


def require_plain_name(name: str, source: PathLike) -> str:
    """Return `name`; raise ValueError where it could lead out of its folder on any system."""
    if not is_plain_name(name):
        raise ValueError(f"{source} names a file {name!r:.80}, which is not a plain file name.")
    return name


def names_in(folder: Path) -> dict[str, str]:
    """Return names -> name of the file for the files in `folder`.

    Systems and archives store an accented letter as one character or as two: each file is found
    by its own name and by the composed one (NFC).
    """
    names = [entry.name for entry in os.scandir(folder)] if folder.is_dir() else []
    return {nfc(name): name for name in names} | {name: name for name in names}


def relative_name(path: str, folder: Path) -> str:
    """Return the name of a photo in `folder` for a path as a table may have it.

    Paths may be relative or absolute, with the slashes of any system. Raises ValueError where one
    leads out of `folder`.
    """
    name = path.strip().replace("\\", "/")
    roots = [folder.absolute(), folder.resolve()]
    if not os.path.exists(folder / name):
        roots.append(folder)  # relative to where the user stands
    for root in roots:
        name = name.removeprefix(root.as_posix().rstrip("/") + "/")
    parts = [part for part in name.split("/") if part != "."]
    if not all(map(is_plain_name, parts)):
        raise ValueError(f"{path!r:.80}, which is not a plain file name or a path inside {folder}")
    return "/".join(parts)


def find_file(folder: Path, name: str, names_in: Callable[[Path], dict[str, str]]) -> Path:
    """Return the file `name` ("beach/one.jpg") in `folder`; its plain path where there is none.

    names_in  the function of this name, or one that remembers what it found
    """
    plain = found = folder / PurePosixPath(name)
    if not os.path.exists(plain):
        found = folder
        for part in name.split("/"):
            existing = names_in(found)
            found /= existing.get(part) or existing.get(nfc(part), part)
    return found if os.path.exists(found) else plain


def flat_name(name: str) -> str:
    """Return `name` composed and without folders; a long one keeps its beginning and its suffix."""
    flat = nfc(name.replace("/", "_"))
    if len(os.fsencode(flat)) <= MAX_BYTES:
        return flat
    digest = hashlib.sha256(flat.encode("utf-8")).hexdigest()[:12]
    return f"{flat[:40]}_{digest}{PurePosixPath(flat).suffix[:8]}"
