"""EXIF blocks that no camera should write, and some do."""

import struct


def odd_exif(tags: list[tuple[int, int, int, bytes]], order: str = "<") -> bytes:
    """Return an EXIF block with tags: number, type, count, and the bytes of values or an offset."""
    block = b"II*\0" if order == "<" else b"MM\0*"
    block += struct.pack(order + "LH", 8, len(tags))
    for *head, content in tags:
        block += struct.pack(order + "HHL", *head) + content.ljust(4, b"\0")
    return b"Exif\0\0" + block + bytes(4)


TURN = (0x0112, 3, 1, b"\6\0")
ODD_TAGS = {
    "resolution unit as a byte": [(0x0128, 1, 1, b"\2"), (0x011A, 5, 1, b"\xff")],
    "resolution as text": [(0x011A, 2, 4, b"abc\0"), (0x0128, 3, 1, b"\2")],
    "maker as a rational that is cut off": [(0x010F, 5, 9, b"\x08")],
    "EXIF's own directory as text": [(0x8769, 2, 4, b"abc\0")],
    "GPS as a float": [(0x8825, 11, 1, b"\0\0\x80\x7f")],
    "a type that does not exist": [(0x010E, 99, 2**31, b"\xff" * 4)],
    "no values": [(0x9286, 7, 0, b"")],
}
