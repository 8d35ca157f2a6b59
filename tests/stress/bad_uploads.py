"""200 uploads that no page should trust: each must get a sentence, and the next photo a caption.

    python -m tests.stress.bad_uploads --photos data/toy/images/test2014

Cut-off and altered photos, decompression bombs, other kinds of files under a photo's name, empty
files, 100 MB, odd names. Then requests that try to read files which nobody uploaded. Exit status 1
where an answer is not a sentence, a good photo afterwards gets no caption, or a file can be read.
"""

import argparse
import io
import random
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
from PIL import Image

from benchmarks.common import report
from caption import find_photos
from captioning.files import cli_errors
from gradio_main import find_captioners
from tests.helpers import ROOT
from tests.page_client import PageClient
from tests.stress.load import serve

COUNT = 200
ODD_NAMES = [
    "ünï çødé 照片.jpg", "two  spaces .jpg", "<script>alert(1)<script>.jpg", "quote'\"s.jpg",
    "%2e%2e%2f.jpg", "-rf.jpg", "$(reboot).jpg", ".hidden.jpg", "no suffix", "a" * 200 + ".jpg",
    "photo.jpg.exe", "CON.jpg",
]  # fmt: skip


def png(width: int, height: int, data: bytes) -> bytes:
    """Return a PNG whose header promises width x height gray pixels, whatever `data` holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def bad_contents(photo: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield kinds of bad files and their bytes, again and again."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("photo.jpg", photo)
    gif = io.BytesIO()
    Image.new("P", (64, 64)).save(gif, "GIF")
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    while True:
        yield "cut off", photo[: rng.randrange(3, len(photo) - 200)]
        yield "empty", b""
        yield "random bytes", rng.randbytes(rng.randrange(1, 50_000))
        yield "text", b"I am a photo, honestly.\n" * rng.randrange(1, 1000)
        yield "head of a JPEG, then noise", photo[:20] + rng.randbytes(5000)
        yield "bomb", png(40_000 + rng.randrange(20_000), 40_000, bytes(10_000_000))
        yield "fewer pixels than promised", png(3000, 3000, bytes(rng.randrange(1000)))
        yield "SVG", svg.encode()
        yield "archive", archive.getvalue()
        yield "HTML", b"<!doctype html><script>alert(1)</script>"
        yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n"
        yield "cut-off GIF", gif.getvalue()[: rng.randrange(7, 30)]


def ask(client: PageClient, path: Path, name: str) -> str:
    """Return the sentence that an upload gets, or "a caption"."""
    try:
        answer = client.ask(path, name)
    except (ValueError, httpx.HTTPError) as error:
        return f"refused: {error}"
    return f"error: {answer['error']}" if "error" in answer else "a caption"


def send_large(address: str) -> str:
    """Send 100 MB, which gradio's own client would refuse to do; return the answer."""
    large = {"files": ("large.jpg", bytes(100_000_000))}
    answer = httpx.post(f"{address}gradio_api/upload", files=large, timeout=60)
    return f"refused: {answer.text}" if answer.status_code == 413 else "a caption"


def is_sentence(said: str) -> bool:
    """Return whether a visitor may read this: short, no traceback, no path of the server."""
    return (
        said != "a caption" and len(said) < 600 and "Traceback" not in said and "/tmp" not in said
    )


def readable(address: str, name: str, places: list[str]) -> list[str]:
    """Return those of `places` that a request can read, as a file or as the photo to caption."""
    found = []
    for place in places:
        got = httpx.get(f"{address}gradio_api/file={place}")
        found += [f"GET {place}"] if got.status_code == 200 else []
        for photo in ({"path": place, "meta": {"_type": "gradio.FileData"}}, {"path": place}):
            data = {"data": [photo, name, 3, 0.7]}
            event = httpx.post(f"{address}gradio_api/call/caption", json=data).json()["event_id"]
            said = httpx.get(f"{address}gradio_api/call/caption/{event}", timeout=60).text
            found += [f"POST {place}"] if "captions" in said or "is not a photo" in said else []
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=str(ROOT / "models"))
    parser.add_argument("--weights", help="backbone weights, if not where the encoder files say")
    parser.add_argument("--photos", default=str(ROOT / "data/toy/images/test2014"))
    args = parser.parse_args()
    with cli_errors(), tempfile.TemporaryDirectory() as folder:
        return run(args, Path(folder))


def run(args: argparse.Namespace, folder: Path) -> int:
    good, rng = find_photos([args.photos])[0].resolve(), random.Random(0)
    name, failures, kinds = next(iter(find_captioners(args.models))), [], Counter()
    contents = bad_contents(good.read_bytes(), rng)
    with serve(args.models, args.weights) as (address, server):
        client, began, most = PageClient(address), time.perf_counter(), 0.0
        for number in range(COUNT):
            kind, content = next(contents) if number else ("100 MB", b"")
            path = folder / str(number) / ODD_NAMES[number % len(ODD_NAMES)]
            path.parent.mkdir()
            path.write_bytes(content)
            said = ask(client, path, name) if number else send_large(address)
            kinds[kind] += 1
            if not is_sentence(said):
                failures.append(f"{kind} ({path.name[:40]}): {said[:300]}")
            if ask(client, good, name) != "a caption":
                failures.append(f"no caption for a good photo after {kind}")
            most = max(most, server.memory_info().rss / 2**20)
            path.unlink()
        seconds = time.perf_counter() - began
        client.close()
        own = [str(good), str(ROOT / "LICENSE"), str(ROOT / "gradio_main.py"), "/etc/passwd"]
        outside = [
            *own,
            *(f"../../../../../../../..{place}" for place in own),
            "http://127.0.0.1:22/",
        ]
        leaks = readable(address, name, outside)
    row = {
        "bad uploads": COUNT,
        "answered in a sentence, then a good photo with a caption": COUNT - len(failures),
        "files of others tried": len(outside),
        "readable": len(leaks),
        "most memory (MiB)": f"{most:.0f}",
        "seconds": f"{seconds:.0f}",
    }
    print(*failures[:10], *leaks, sep="\n")
    mix = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    report("Bad uploads", [row], f"Of which: {mix}.")
    return 1 if failures or leaks else 0


if __name__ == "__main__":
    sys.exit(main())
