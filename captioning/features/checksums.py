"""The checksum of every photo, kept beside the features: a start need not read all photos again.

    checksums(paths, folder)   the checksum of each file; those that are known are not read
    checksum(path)             size and CRC of a file

Features belong to the content of photos, so their key needs the content: 13 GB for COCO, minutes
from a cold disk. A file whose size and times are those of the list in `folder` has not changed, and
asking for them costs a second. The list leaves out files that changed just now, as git does: they
could change once more within the same tick of the clock.
"""

import contextlib
import json
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from captioning import distributed
from captioning.device import parallel_map
from captioning.files import atomic_write, read_json, short_message

LIST = "checksums.json"  # path -> its `signature` and its checksum
ROW = [int, int, int, str]  # the types of an entry
JUST_NOW = 2_000_000_000  # nanoseconds; FAT disks count time in steps of two seconds


def checksums(paths: Iterable[Path], folder: Path | None = None) -> list[str]:
    """Return the checksum of each file, "" where it cannot be read.

    folder  where the list of known checksums is; None: every file is read
    """
    paths = list(paths)
    if folder is None:
        return list(map(checksum, paths))
    known, now = read_list(folder / LIST), time.time_ns()
    signatures = [signature(path) for path in paths]
    names = [str(path) for path in paths]
    entries = zip(paths, names, signatures, strict=True)
    changed = [path for path, name, seen in entries if not seen or known.get(name, [])[:-1] != seen]
    read = dict(zip(map(str, changed), parallel_map(checksum, changed), strict=True))
    found = [read[name] if name in read else known[name][-1] for name in names]
    for name, seen, result in zip(names, signatures, found, strict=True):
        if name in read and seen and max(seen[1:]) < now - JUST_NOW:
            known[name] = [*seen, result]
    if read and distributed.rank() == 0:
        # a folder that cannot be written costs the next start some time, no more
        with contextlib.suppress(OSError), atomic_write(folder / LIST, "w") as file:
            json.dump(known, file)
    return found


def signature(path: Path) -> list[int]:
    """Return size and times of the last change, of content and of the file; [] where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def checksum(path: Path) -> str:
    """Return size and CRC of a file, "" where it cannot be read; editing a photo changes it."""
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    return f"{len(content)} {zlib.crc32(content)}"


def read_list(path: Path) -> dict[str, list[Any]]:
    """Return the list in `path`; an empty one, with a note, where it is broken."""
    try:
        known = read_json(path)
        if not all(type(row) is list and list(map(type, row)) == ROW for row in known.values()):
            raise ValueError("it is not a list of checksums")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        print(f"note: {path} is broken ({short_message(error)}); the photos are read again")
        return {}
    return known
