"""Take a photo's file apart: the pixels stay, and how to turn them. No Pillow.

    photo_format(head)             "JPEG", "PNG" ... by a file's first bytes, not by its name
    strip_metadata(data, format)   the same photo without metadata, and its EXIF block
    read_orientation(exif)         the one number that counts

Cameras, phones and editors write dates, places and color profiles beside the pixels, often broken.
A caption needs none of them, and what a decoder never sees cannot stop it.
"""

import re
import struct
from collections.abc import Iterator

import numpy as np

HEAD = 64  # bytes that `photo_format` needs
ORIENTATION, COLOR_MAP, SHORT = 0x0112, 0x0140, 3  # TIFF's numbers of two tags and a type
INTEGERS = {1: "B", SHORT: "H", 4: "L", 6: "b", 8: "h", 9: "l"}  # type of TIFF -> of struct
PIXEL_TAGS = {
    *(256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, COLOR_MAP, 322, 323),
    *(324, 325, 332, 338, 339, 347, *range(512, 522), 529, 530, 531, 532, 50674),
}  # of TIFF: how the pixels are stored
PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}  # of PNG


def photo_format(head: bytes) -> str:
    """Return the format that a file's first HEAD bytes show, "" where it is not a photo."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and head[15:18] == b"\0\0\0":  # the size of a second header
        return "BMP"
    if head.startswith((b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head[4:8] == b"ftyp":  # a container of pictures or films
        brands = {head[at : at + 4] for at in range(8, min(head[3], HEAD), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
            return "HEIC"
    if head.startswith((b"\0\0\0\x0cJXL ", b"\xff\x0a")):
        return "JPEG XL"
    if head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "JPEG 2000"
    return ""


def strip_metadata(data: bytes, format: str) -> tuple[bytes, bytes]:
    """Return the file without its metadata, and the EXIF block that it had in a JPEG, PNG or TIFF.

    Whatever does not follow the format stays, for the decoder to judge.
    """
    if format == "JPEG":
        return _strip_jpeg(data)
    if format == "PNG":
        return _strip_png(data)
    if format == "TIFF":  # an EXIF block is a TIFF
        return _strip_tiff(data), data
    if format == "AVIF":  # whose container says how to turn it; EXIF does not count
        return re.sub(rb"(infe.{8,10}?)Exif", rb"\1none", data, flags=re.DOTALL), b""
    return data, b""


def read_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 (upright, or not known) to 8."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = _byte_order(exif)
    for tag, kind, count, place in _tiff_entries(exif):
        if tag == ORIENTATION and kind in INTEGERS and count:
            at = _value_place(exif, kind, count, place)
            number = exif[at : at + struct.calcsize(order + INTEGERS[kind])]
            value = int.from_bytes(number, "little" if order == "<" else "big")
            return value if 1 <= value <= 8 else 1
    return 1


def _strip_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """Drop comments and the segments of applications, but for the two that concern colors."""
    kept, exif, at = [data[:2]], b"", 2
    while 0 <= (at := data.find(b"\xff", at)) <= len(data) - 4:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        if kind in (0x00, 0xFF):  # a filler
            at += 1
            continue
        if kind == 0xDA or 0xD0 <= kind <= 0xD9 or length < 2 or end > len(data):
            break  # the pixels begin, or the file is broken
        if kind == 0xE1 and data.startswith(b"Exif\0\0", at + 4) and not exif:
            exif = data[at + 4 : end]
        needed = kind in (0xE0, 0xEE) and length >= 14  # JFIF and Adobe, if they are whole
        if needed or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:] if at >= 0 else b""]), exif


def _strip_png(data: bytes) -> tuple[bytes, bytes]:
    """Keep PIXEL_CHUNKS."""
    kept, exif, at = [data[:8]], b"", 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">L4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if name == b"eXIf":
            exif = data[at + 8 : end - 4]
        if name in PIXEL_CHUNKS:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]]), exif


def _strip_tiff(data: bytes) -> bytes:
    """Keep the entries of PIXEL_TAGS in the first directory, which becomes the only one."""
    order, big = _byte_order(data), _is_big(data)
    entries = list(_tiff_entries(data))
    kept = [entry for entry in entries if entry[0] in PIXEL_TAGS]
    if not kept:
        return data
    size, width = (20, 8) if big else (12, 4)  # bytes of an entry and of an offset
    directory = struct.pack(order + ("Q" if big else "H"), len(kept))
    start = entries[0][3] - len(directory)
    directory += b"".join(data[place : place + size] for *_, place in kept) + bytes(width)
    stripped = bytearray(data)
    stripped[start : start + len(directory)] = directory
    for tag, kind, count, place in kept:
        at = _value_place(data, kind, count, place)
        if (tag, kind) == (COLOR_MAP, SHORT) and count and at + 2 * count <= len(data):
            colors = np.frombuffer(stripped, order + "u2", count, at)
            if colors.max() < 256:  # 8 bits where 16 belong: everything would be black
                colors *= 257
    return bytes(stripped)


def _tiff_entries(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, type and number of values of each entry in the first directory, and its place."""
    order, big = _byte_order(data), _is_big(data)
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)
        (number,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
        first, size = (start + 8, 20) if big else (start + 2, 12)
        for place in range(first, min(first + number * size, len(data) - size + 1), size):
            yield *struct.unpack_from(order + ("HHQ" if big else "HHL"), data, place), place
    except struct.error:
        return  # it ends too early


def _value_place(data: bytes, kind: int, count: int, place: int) -> int:
    """Return where the values of an entry of one of INTEGERS begin: inside it, if they are few."""
    order, big = _byte_order(data), _is_big(data)
    inside, room = (place + 12, 8) if big else (place + 8, 4)
    if count * struct.calcsize(order + INTEGERS.get(kind, "Q")) <= room:
        return inside
    return struct.unpack_from(order + ("Q" if big else "L"), data, inside)[0]


def _byte_order(data: bytes) -> str:
    return "<" if data.startswith(b"II") else ">"


def _is_big(data: bytes) -> bool:
    return b"+" in data[2:4]  # version 43, BigTIFF
