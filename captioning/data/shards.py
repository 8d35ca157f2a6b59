"""Read photos and captions from tar shards, webdataset's layout, as img2dataset writes it.

    read_data(location, split)   one split of a folder in COCO's layout, or of shards
    has_data(location, split)    whether there is such a split
    write_shards(data, out)      a folder in COCO's layout -> <out>/train-00000.tar, ...
    Member                       a photo inside a tar, which reads as any Path does

A tar of a thousand photos is read in sequence, where a thousand files are a thousand searches of a
disk. In it `000012.jpg`, `000012.txt` and `000012.json` belong together: a photo, its caption, and
whatever else is known of it, such as several `captions`. A location of shards is a pattern that
ends in `.tar`: `shards/{0000..0127}.tar`, `shards/*.tar`. The split is the beginning of a tar's
name; train where it has none. A tar is not compressed, so a photo is a stretch of its bytes, and
whatever reads a photo by its path reads a member of a tar.
"""

import contextlib
import glob
import io
import json
import os
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from captioning.data.annotations import official_id, split_of
from captioning.data.coco import CaptionSet, Photo, has_split, read_captions
from captioning.data.names import is_plain_name
from captioning.files import PathLike, atomic_write, short_message
from captioning.text import plural

SUFFIXES = ("jpg", "jpeg", "png", "webp")
PHOTOS = 1_000  # in a shard
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


class Member(type(Path())):  # type: ignore[misc]
    """The path `<tar>/<name>` of a photo in a tar: bytes `first` to `first + length` of it."""

    first, length = 0, 0

    def read_bytes(self) -> bytes:
        with open(self.parent, "rb") as file:
            file.seek(self.first)
            return file.read(self.length)

    def open(self, *args: Any, **options: Any) -> IO[Any]:
        return io.BytesIO(self.read_bytes())

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what the system knows of the tar, with the size of the photo."""
        whole = os.stat(self.parent)
        found = list(whole)
        found[6] = self.length  # st_size
        times = {"st_mtime_ns": whole.st_mtime_ns, "st_ctime_ns": whole.st_ctime_ns}
        return os.stat_result(found, times)

    def __reduce__(self) -> tuple[Any, ...]:
        return _member, (str(self), self.first, self.length)


def _member(path: str, first: int, length: int) -> Member:
    member = Member(path)
    member.first, member.length = first, length
    return member


def is_shards(location: PathLike) -> bool:
    """Return whether a location of data is a pattern of tars."""
    return os.fspath(location).endswith(".tar")


def has_data(location: PathLike, split: str) -> bool:
    """Return whether there are captions of `split` in a folder, or in shards."""
    if is_shards(location):
        return bool(shards_of(location, split))
    return has_split(location, split)


def read_data(location: PathLike, split: str) -> CaptionSet:
    """Return the photos and captions of one split of a folder in COCO's layout, or of shards.

    Pairs that lack their photo or their caption are counted in a line, and left out. Raises
    FileNotFoundError or ValueError where nothing is left.
    """
    if not is_shards(location):
        return read_captions(location, split)
    whole, broken = CaptionSet([], [], []), Counter[str]()
    paths = shards_of(location, split)
    for path in tqdm(paths, desc="reading shards", disable=None if len(paths) > 20 else True):
        for key, photo, captions in _pairs(path, broken):
            whole.photo_index += len(captions) * [len(whole.photos)]
            whole.captions += captions
            whole.photos.append(Photo(official_id(key), photo))
    if broken:
        kinds = ", ".join(f"{number} {kind}" for kind, number in broken.items())
        print(f"left out {plural(broken.total(), 'pair')} of {location}: {kinds}", file=sys.stderr)
    if not whole.photos:
        raise FileNotFoundError(
            f"{location} has no photos with captions of the split {split}. Give a pattern of tars "
            "in quotes, such as 'shards/{0000..0127}.tar'."
        )
    return whole


def shards_of(location: PathLike, split: str) -> list[Path]:
    """Return the tars of that split among those that a pattern names, in order.

    Raises FileNotFoundError where the pattern names none of any split.
    """
    patterns = list(expand_braces(os.fspath(location)))
    found = [Path(name) for pattern in patterns for name in sorted(glob.glob(pattern))]
    if not found:
        raise FileNotFoundError(f"{location} names no file. Give a pattern of tars, in quotes.")
    return [path for path in found if (split_of(path.stem) or "train") == split]


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern with {0000..0127} or {train,val} stands for."""
    match = BRACES.search(pattern)
    if not match:
        yield pattern
        return
    first, last, names = match.groups()
    numbers = range(int(first), int(last) + 1) if first else ()
    parts = names.split(",") if names else [f"{number:0{len(first)}}" for number in numbers]
    for part in parts:
        yield from expand_braces(pattern[: match.start()] + part + pattern[match.end() :])


def _pairs(path: Path, broken: Counter[str]) -> Iterator[tuple[str, Member, list[str]]]:
    """Yield (key, photo, its captions) of a tar; count what is broken."""
    for key, parts in groupby(_members(path, broken), key=lambda member: member[0]):
        photo, texts = None, {}
        for _, suffix, member, content in parts:
            if suffix in SUFFIXES:
                photo = member
            else:
                texts[suffix] = content
        captions = captions_in(texts)
        if photo is None or not captions:
            broken["without a photo" if photo is None else "without a caption"] += 1
        else:
            yield key, photo, captions


def _members(path: Path, broken: Counter[str]) -> Iterator[tuple[str, str, Member, bytes]]:
    """Yield (key, suffix, place, content unless it is a photo) of the files in a tar."""
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                name = info.name.rpartition("/")[2]
                key, _, suffix = name.partition(".")
                if not info.isreg() or suffix.lower() not in (*SUFFIXES, "txt", "json"):
                    continue
                if not is_plain_name(name):
                    broken["with a name that is not plain"] += 1
                    continue
                member = _member(str(path / name), info.offset_data, info.size)
                yield (
                    key,
                    suffix.lower(),
                    member,
                    b"" if suffix in SUFFIXES else _content(tar, info),
                )
    except (OSError, tarfile.TarError) as error:
        reason = short_message(error)
        print(f"note: {path} is not whole ({reason}); what follows is left out", file=sys.stderr)


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    return file.read() if file else b""


def captions_in(texts: dict[str, bytes]) -> list[str]:
    """Return the captions of a photo: `captions` of its json, else its txt, else `caption`."""
    about: Any = {}
    with contextlib.suppress(ValueError, RecursionError):
        about = json.loads(texts.get("json", b"{}"))
    about = about if isinstance(about, dict) else {}
    found = about.get("captions")
    if not isinstance(found, list):
        text = texts.get("txt", b"").decode("utf-8", errors="replace")
        found = [text if text.strip() else about.get("caption")]
    return [" ".join(text.split()) for text in found if isinstance(text, str) and text.strip()]


def write_shards(data: Path, out: Path) -> None:
    """Write every split of a folder in COCO's layout as tars of a thousand photos each.

    Raises FileNotFoundError where it is not such a folder.
    """
    splits = [split for split in ("train", "val", "test") if has_split(data, split)]
    for split in splits or ["train"]:
        captions = read_captions(data, split)
        references = captions.references()
        stems = Counter(photo.path.stem for photo in captions.photos)
        for first in tqdm(range(0, len(captions.photos), PHOTOS), desc=split, disable=None):
            path = out / f"{split}-{first // PHOTOS:05}.tar"
            with atomic_write(path) as file, tarfile.open(fileobj=file, mode="w") as tar:
                for photo in captions.photos[first : first + PHOTOS]:
                    texts = references[photo.id]
                    about = {"id": photo.id, "captions": texts}
                    stem, name = photo.path.stem, photo.path.name
                    stem = (name if stems[stem] > 1 else stem).replace(".", "_")  # a key has none
                    _add(tar, f"{stem}{photo.path.suffix}", photo.path.read_bytes())
                    _add(tar, f"{stem}.txt", (texts or [""])[0].encode())
                    _add(tar, f"{stem}.json", json.dumps(about).encode())
        print(f"{split}: {plural(len(captions.photos), 'photo')} in {out}/{split}-*.tar")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # no time, no owner: the same photos give the same bytes
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
