"""Download the publishers' archives: confirmed first, resumed, checked, and unpacked safely.

    ARCHIVES        addresses, bytes, checksum and license of every archive
    fetch_all       asks, then downloads and unpacks what a dataset needs
    fetch           downloads a file from the first address that delivers all of it
    unpack          unpacks a zip, never outside its folder

An interrupted download is resumed; a file has its final name only when it is complete.
"""

import hashlib
import http.client
import os
import shutil
import struct
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from captioning.data.names import require_plain_name
from captioning.files import atomic_write

BLOCK = 1 << 20  # bytes read at a time
MAX_EXPANSION = 100  # unpacked size / archive size: text reaches 10, zip bombs thousands
BROKEN_ZIP_ERRORS = (  # what zipfile raises depends on which byte is wrong
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
)


@dataclass(frozen=True)
class Archive:
    name: str
    urls: tuple[str, ...]
    size: int | None  # bytes, where the publisher's number is known
    md5: str | None
    license: str
    about: int = 0  # bytes, roughly, where it is not

    @property
    def needs(self) -> int:
        """Return the bytes to keep free for it."""
        return self.size or self.about


def coco_archive(path: str, size: int, md5: str) -> Archive:
    urls = ("https://s3.amazonaws.com/images.cocodataset.org/", "http://images.cocodataset.org/")
    photos = path.startswith("zips/")
    license = "each photo's own, see the annotations" if photos else "CC BY 4.0, COCO Consortium"
    return Archive(Path(path).name, tuple(url + path for url in urls), size, md5, license)


def flickr8k_archive(name: str, about: int, md5: str) -> Archive:
    urls = (
        f"https://github.com/jbrownlee/Datasets/releases/download/Flickr8k/{name}",
        f"https://github.com/Avaneesh40585/Flickr8k-Dataset/releases/download/v1.0/{name}",
    )
    return Archive(name, urls, None, md5, "research and education; the photographers' own", about)


KARPATHY = Archive(
    "caption_datasets.zip",
    ("https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",),
    36745453,
    "4fa8c08369d22fe16e41dc124bd1adc2",
    "the captions' own: CC BY 4.0 for COCO",
)
COCO_2014 = [
    coco_archive(
        "annotations/annotations_trainval2014.zip", 252872794, "0a379cfc70b0e71301e0f377548639bd"
    ),
    coco_archive("zips/val2014.zip", 6645013297, "a3d79f5ed8d289b7a7554ce06a5782b3"),
    coco_archive("zips/train2014.zip", 13510573713, "0da8c0bd3d6becc4dcb32757491aca88"),
]
COCO_2017 = [
    coco_archive(
        "annotations/annotations_trainval2017.zip", 252907541, "f4bbac642086de4f52a3fdda2de5fa2c"
    ),
    coco_archive("zips/val2017.zip", 815585330, "442b8da7639aecaf257c1dceb8ba8c80"),
    coco_archive("zips/train2017.zip", 19336861798, "cced6f7f71b7629ddf16f17bbcfab6b2"),
]
ARCHIVES = {
    "flickr8k": [
        flickr8k_archive("Flickr8k_text.zip", 2_400_000, "bf6c1abcb8e4a833b7f922104de18627"),
        flickr8k_archive("Flickr8k_Dataset.zip", 1_120_000_000, "f18a1e2920de5bd84dae7cf08ec78978"),
    ],
    "coco 2014": COCO_2014,
    "coco 2017": COCO_2017,
    "coco karpathy": [KARPATHY, *COCO_2014[1:]],
    "coco test 2014": [
        coco_archive(
            "annotations/image_info_test2014.zip", 763464, "25304cbbafb2117fb801c0f7218fdbba"
        ),
        coco_archive("zips/test2014.zip", 6660437059, "04127eef689ceac55e3a572c2c92f264"),
    ],
    "coco test 2017": [
        coco_archive(
            "annotations/image_info_test2017.zip", 1144034, "85da7065e5e600ebfee8af1edb634eb5"
        ),
        coco_archive("zips/test2017.zip", 6646970404, "77ad2c53ac5d0aea611d422c0938fb35"),
    ],
}


def fetch_all(archives: list[Archive], folder: Path, yes: bool) -> None:
    """Print what will be downloaded, ask unless `yes`, download, and unpack into `folder`."""
    wanted = [archive for archive in archives if not (folder / archive.name).exists()]
    for archive in wanted:
        size = f"{'' if archive.size else 'about '}{archive.needs / 1e9:.2f} GB"
        print(f"{archive.name:30}{size:>14}   {archive.license}\n    {archive.urls[0]}")
    need, free = 2 * sum(archive.needs for archive in wanted), free_bytes(folder)
    if wanted:
        until = "until the archives, once unpacked, are deleted"
        print(f"{need / 1e9:.1f} GB of disk are needed {until}; {free / 1e9:.1f} GB are free")
    if need > free:
        raise OSError(
            f"{folder} has {free / 1e9:.1f} GB free; {need / 1e9:.1f} GB are needed. Choose a "
            "folder on a larger disk with --out."
        )
    if wanted and not yes:
        try:
            answer = input("Download these, and accept their licenses? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise ValueError("Nothing was downloaded. Answer y, or add --yes in a script.")
    for archive in archives:
        if archive in wanted:
            fetch(archive.urls, folder / archive.name, archive.size, archive.md5)
        unpack(folder / archive.name, folder)


def free_bytes(folder: Path) -> int:
    """Create `folder` where needed, and return the free space of its disk."""
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free


def fetch(
    urls: tuple[str, ...],
    target: Path,
    size: int | None = None,
    md5: str | None = None,
    pause: float = 1.0,
) -> None:
    """Download `target` from the first of `urls` that delivers all of it.

    A partial download is kept in `<target>.part` and resumed, by the next run as well. Waits
    `pause` seconds, doubled each time, before it asks a server again. Raises OSError with the
    reason for each address where none works.
    """
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in urls:
        try:
            fetch_from(url, part, size, pause)
            if md5 and (found := md5_of(part)) != md5:
                part.unlink()
                raise ValueError(f"its checksum is {found}, not {md5}")
        except (OSError, ValueError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {error or type(error).__name__}")
            if not md5:  # without a checksum, parts from two servers must not be joined
                part.unlink(missing_ok=True)
        else:
            os.replace(part, target)
            return
    raise OSError(f"{target.name} could not be downloaded. " + "; ".join(reasons))


def fetch_from(url: str, part: Path, size: int | None, pause: float, attempts: int = 5) -> None:
    """Append to `part` until it is complete; give up after `attempts` in a row that add nothing."""
    most, tries = -1, 0
    while tries < attempts:
        have = part.stat().st_size if part.exists() else 0
        tries = 0 if have > most else tries + 1
        most = max(most, have)
        if tries:
            time.sleep(pause * 2**tries)
        try:
            if fetch_once(url, part, size):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            reason = f"the server says {error.code} {error.reason}"
            if error.code == 416:  # `part` is longer than the server's file: start over
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                break
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
    raise OSError(reason)


def fetch_once(url: str, part: Path, size: int | None) -> bool:
    """Request the missing bytes of `part` once; return whether it is complete now.

    Raises ValueError where the length of the server's file is not `size`.
    """
    have = part.stat().st_size if part.exists() else 0
    if size and have >= size:
        if have > size:
            part.unlink()
        return have == size
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else size
        if size and total != size:
            raise ValueError(f"its file has {total} bytes, not {size}")
        bar = tqdm(
            total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None
        )
        with open(part, "ab" if resumed else "wb") as file, bar:
            while block := response.read(BLOCK):
                have += len(block)
                if total and have > total:
                    raise ValueError(f"it sends more than {total} bytes")
                file.write(block)
                bar.update(len(block))
    return total is None or have == total


def md5_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip into `folder`; existing files of the same size are kept.

    Raises ValueError, before anything is written, for a name that leads out of the folder, for a
    link, and for a zip bomb: an archive that grows more than MAX_EXPANSION times.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = safe_members(zipped, archive)
            need, free = sum(member.file_size for member in members), free_bytes(folder)
            if need > free:
                raise OSError(f"{folder} has too little space for {need / 1e9:.1f} GB of files.")
            for member in tqdm(members, desc=archive.name, unit="file", disable=None):
                target = folder / member.filename
                if target.exists() and target.stat().st_size == member.file_size:
                    continue
                with zipped.open(member) as source, atomic_write(target) as file:
                    shutil.copyfileobj(source, file, BLOCK)
    except BROKEN_ZIP_ERRORS as error:
        raise ValueError(f"{archive} is broken ({error}). Delete it and run this again.") from None


def safe_members(zipped: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """Return the files of a zip; raise ValueError where one of them could do harm."""
    members = [m for m in zipped.infolist() if not m.is_dir() and "__MACOSX" not in m.filename]
    size = archive.stat().st_size
    total = sum(member.file_size for member in members)
    if total > MAX_EXPANSION * max(size, BLOCK):
        raise ValueError(f"{archive} would grow to {total / 1e9:.0f} GB; it is a zip bomb.")
    for member in members:
        for part in member.filename.split("/"):
            require_plain_name(part, archive)
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise ValueError(f"{archive} has a link, {member.filename!r:.80}; it was not unpacked.")
        if not 0 <= member.header_offset < size:
            raise zipfile.BadZipFile(f"{member.filename!r:.80} is not in it")
    return members
