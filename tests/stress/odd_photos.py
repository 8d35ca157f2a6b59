"""Photos with whole pixels and something odd about them, drawn by number.

    odd_exif(number, rng)       each EXIF tag with each type of TIFF, odd counts, an orientation
    odd_segments(number, rng)   broken segments of a JPEG, broken chunks of a PNG
    odd_pixels(number, rng)     modes, 10 to 16 bits, floats, palettes with transparency

Each returns the file and the picture that it must show.
"""

import functools
import io
import itertools
import random
import struct
import zlib

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms

from captioning.data.decode import FORMATS
from captioning.data.metadata import PIXEL_TAGS

COLORS = np.array([[[225, 225, 225], [190, 30, 30]], [[30, 30, 190], [20, 20, 20]]])
NOISE = np.random.default_rng(0).integers(-15, 16, (32, 48, 1))
PICTURE = (np.kron(COLORS, np.ones((16, 24, 1), int)) + NOISE).astype(np.uint8)
GRAY = np.asarray(Image.fromarray(PICTURE).convert("L"))
TAGS = sorted({*ExifTags.TAGS, *ExifTags.GPSTAGS, 0, 0xFFFF})
SIZES = dict(enumerate([1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4]))  # bytes of each type of TIFF
SIZES |= {16: 8, 17: 8, 18: 8, 99: 1}  # 0 and 99 do not exist
PAIRS = list(itertools.product(TAGS, SIZES))
random.Random(0).shuffle(PAIRS)
COUNTS = (1, 0, 2, 3, 7, 1000, 2**31)
ORIENTATION, SHORT = 0x0112, 3
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "F")
EXIF_PLACE = b"Exif\0\0MM\0*\0\0\0\x08\0\0" + bytes(4000)  # what an AVIF file reserves for EXIF
Tag = tuple[int, int, int, bytes]  # name, type, number of values, their bytes
Odd = tuple[bytes, np.ndarray | None]  # a file, and how it must look where that is known


def turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    """Return the upright picture (H, W, ...) of one that was stored with this orientation."""
    half = picture[::-1, ::-1]
    turns = [picture, picture[:, ::-1], half, picture[::-1], picture.swapaxes(0, 1)]
    turns += [np.rot90(picture, -1), half.swapaxes(0, 1), np.rot90(picture)]
    return turns[orientation - 1]


def save(picture: np.ndarray | Image.Image, format: str, **options) -> bytes:
    memory = io.BytesIO()
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(memory, format, **options)
    return memory.getvalue()


@functools.cache
def plain(format: str, **options) -> bytes:
    """Return PICTURE as a file without anything odd."""
    return save(PICTURE, format, **options)


# --- odd metadata ----------------------------------------------------------------------------


def odd_exif(number: int, rng: random.Random) -> Odd:
    """Return a photo that has three of PAIRS in its EXIF, and an orientation."""
    format, order = rng.choice(FORMATS), rng.choice("<>")
    order = "<" if format == "TIFF" else order  # as Pillow writes it
    orientation = rng.randint(1, 8)
    tags = [(ORIENTATION, SHORT, 1, struct.pack(order + "H", orientation))]
    for tag, kind in (PAIRS[(3 * number + i) % len(PAIRS)] for i in range(3)):
        if tag != ORIENTATION:
            tags.append(odd_tag(tag, kind, rng))
    if format == "TIFF":
        data = with_tags(plain("TIFF"), [tag for tag in tags if tag[0] not in PIXEL_TAGS])
        return data, turned(PICTURE, orientation)
    rng.shuffle(tags)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    exif = b"Exif\0\0" + start + directory(tags, 8, order, rng.choice((0, 0, 8, 2**31)))
    if format == "AVIF":  # whose container turns it, not its EXIF
        data = plain("AVIF", exif=EXIF_PLACE)
        place = EXIF_PLACE[6:]
        assert data.count(place) == 1
        return data.replace(place, exif[6:].ljust(len(place), b"\0")), PICTURE
    if format not in ("JPEG", "PNG", "WEBP"):
        return plain(format), PICTURE
    if format == "JPEG":
        data = segments(plain("JPEG"), [(0xE1, exif)])
    elif format == "PNG":
        data = chunks(plain("PNG"), [(b"eXIf", exif[6:])])
    else:
        data = save(PICTURE, "WEBP", exif=exif[rng.choice((0, 6)) :])
    return data, turned(PICTURE, orientation)


def odd_tag(tag: int, kind: int, rng: random.Random) -> tuple[int, int, int, bytes]:
    """Return a tag with an odd number of values, of which some may be missing."""
    count = rng.choice(COUNTS)
    return tag, kind, count, rng.randbytes(min(count * SIZES[kind], 60))


def directory(tags: list[Tag | bytes], at: int, order: str, after: int = 0) -> bytes:
    """Return a directory of TIFF for place `at` of a file, with the values that need more room.

    tags  new ones, or entries of another directory as they are
    """
    entries, values = struct.pack(order + "H", len(tags)), b""
    free = at + 2 + 12 * len(tags) + 4
    for tag in tags:
        if isinstance(tag, bytes):
            entries += tag
            continue
        name, kind, count, content = tag
        entries += struct.pack(order + "HHL", name, kind, count)
        if count * SIZES[kind] > 4:
            entries += struct.pack(order + "L", free + len(values))
            values += content
        else:
            entries += content.ljust(4, b"\0")
    return entries + struct.pack(order + "L", after) + values


def with_tags(tiff: bytes, tags: list[Tag]) -> bytes:
    """Return a little-endian TIFF file with more tags, which replace those of the same name."""
    (start,) = struct.unpack_from("<L", tiff, 4)
    (number,) = struct.unpack_from("<H", tiff, start)
    all_tags: dict[int, Tag | bytes] = {}
    for at in range(start + 2, start + 2 + 12 * number, 12):
        all_tags[struct.unpack_from("<H", tiff, at)[0]] = tiff[at : at + 12]
    all_tags |= {tag[0]: tag for tag in tags}
    entries = [all_tags[name] for name in sorted(all_tags)]
    return b"".join(
        [tiff[:4], struct.pack("<L", len(tiff)), tiff[8:], directory(entries, len(tiff), "<")]
    )


def segments(jpeg: bytes, added: list[tuple[int, bytes]]) -> bytes:
    """Return a JPEG with more segments (marker, content) at its start."""
    parts = [b"\xff" + bytes([kind]) + struct.pack(">H", len(c) + 2) + c for kind, c in added]
    return b"".join([jpeg[:2], *parts, jpeg[2:]])


def chunks(png: bytes, added: list[tuple[bytes, bytes]], damage: int = 0) -> bytes:
    """Return a PNG with more chunks (name, content) after its header; `damage` spoils their CRC."""
    parts = [
        struct.pack(">L", len(c)) + name + c + struct.pack(">L", zlib.crc32(name + c) ^ damage)
        for name, c in added
    ]
    return b"".join([png[:33], *parts, png[33:]])


def odd_segments(number: int, rng: random.Random) -> Odd:
    """Return a JPEG or a PNG with junk beside its pixels that begins as it should."""
    junk = rng.randbytes(rng.choice((0, 1, 3, 8, 40, 600)))
    if number % 2:
        starts = (b"", b"JFIF\0", b"Adobe\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
        starts += (
            b"ICC_PROFILE\0\1\1",
            b"MPF\0",
            b"MPF\0II*\0\x08\0\0\0",
            b"Photoshop 3.0\x008BIM",
        )
        start = starts[number // 2 % len(starts)]
        kinds = [0xFE, *range(0xE0, 0xF0)]
        if len(start + junk) >= 12 and start.startswith(b"Adobe"):
            kinds.remove(0xEE)  # then it tells how the colors are stored
        return segments(plain("JPEG"), [(rng.choice(kinds), start + junk)]), PICTURE
    names = (b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"acTL")
    names += (b"eXIf", b"tIME", b"bKGD", b"hIST", b"sBIT", b"sPLT", b"fcTL", b"fdAT", b"prVt")
    start = rng.choice(
        (b"", b"name\0", b"name\0\0", b"Raw profile type exif\0\0", b"name\0\1\0\0\0")
    )
    damage = rng.choice((0, 0, 1))
    return chunks(plain("PNG"), [(names[number // 2 % len(names)], start + junk)], damage), PICTURE


# --- odd pixels ------------------------------------------------------------------------------


def odd_pixels(number: int, rng: random.Random) -> Odd:
    makers = (pillow_mode, deep_color, deep_gray, floats, transparent)
    return makers[number % len(makers)](number // len(makers), rng)


def pillow_mode(number: int, rng: random.Random) -> Odd:
    """Return PICTURE in each mode and format that Pillow can save."""
    mode, format, options = savable()[number % len(savable())]
    data = save(in_mode(mode), format, **dict(options))
    is_gray = mode in ("1", "L", "LA", "I;16", "I", "F")
    return data, np.dstack([GRAY] * 3) if is_gray else PICTURE


def in_mode(mode: str) -> Image.Image:
    picture = Image.fromarray(PICTURE)
    if mode == "LAB":
        rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(picture, rgb, lab, outputMode="LAB")
    return (
        Image.fromarray(GRAY.astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    )


def compressions(mode: str) -> list[tuple]:
    """Return the options for those of TIFF that can hold a mode; others crash Pillow's encoder."""
    names = ["tiff_lzw", "tiff_adobe_deflate", "packbits"]
    names += ["jpeg"] if mode in ("L", "RGB") else ["group4"] if mode == "1" else []
    return [(("compression", name),) for name in names]


@functools.cache
def savable() -> list[tuple[str, str, tuple]]:
    """Return the mode, format and options of every file that Pillow writes and reads again."""
    found = []
    options = {format: [()] for format in FORMATS}
    options["JPEG"] += [(("progressive", True),), (("subsampling", 2), ("quality", 60))]
    options["WEBP"] += [(("lossless", True),)]
    for mode in MODES:
        for format in ("PNG", "TIFF") if mode in ("I;16", "F") else FORMATS:
            for choice in options[format] + (compressions(mode) if format == "TIFF" else []):
                try:
                    data = save(in_mode(mode), format, **dict(choice))
                    Image.open(io.BytesIO(data)).load()
                except (OSError, ValueError, KeyError):
                    continue
                found.append((mode, format, choice))
    return found


def deep_color(number: int, rng: random.Random) -> Odd:
    """Return a color photo with 10 to 16 bits in each 16, perhaps with a channel of opacity."""
    white = 2 ** rng.choice((10, 12, 14, 16)) - 1
    picture = np.round(PICTURE[..., ::-1] / 255 * white).astype(np.uint16)
    if rng.random() < 0.3:
        picture = np.dstack([picture, np.full(GRAY.shape, white, np.uint16)])
    suffix = rng.choice((".png", ".tif"))
    compression = rng.choice((1, 5, 8)) if suffix == ".tif" else 0
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression] if compression else []
    return cv2.imencode(suffix, picture, options)[1].tobytes(), PICTURE


def deep_gray(number: int, rng: random.Random) -> Odd:
    white = 2 ** rng.choice((10, 12, 14, 16)) - 1
    picture = np.round(GRAY / 255 * white)
    wanted = np.dstack([GRAY] * 3)
    if rng.random() < 0.2:
        return save((picture * 1000).astype(np.int32), "TIFF"), wanted
    return save(picture.astype(np.uint16), rng.choice(("PNG", "TIFF"))), wanted


def floats(number: int, rng: random.Random) -> Odd:
    """Return floats of any range, some of them not finite."""
    picture = (GRAY / 255 * rng.choice((1, 255, 4095, 65535, 1e-6, 1e9))).astype(np.float32)
    for _ in range(rng.choice((0, 0, 3, 20))):
        value = rng.choice((np.nan, np.inf, -np.inf))
        picture[rng.randrange(32), rng.randrange(48)] = value
    return save(picture, "TIFF"), np.dstack([GRAY] * 3)


def transparent(number: int, rng: random.Random) -> Odd:
    """Return a photo of which one quarter is transparent."""
    quarter = (slice(16, 32), slice(0, 24))
    wanted = PICTURE.copy()
    wanted[quarter] = 255
    kind = rng.choice(("RGBA", "LA", "index", "bytes"))
    if kind in ("RGBA", "LA"):
        alpha = np.full(GRAY.shape, 255, np.uint8)
        alpha[quarter] = 0
        picture = np.dstack([GRAY if kind == "LA" else PICTURE, alpha])
        if kind == "LA":
            wanted = np.where(alpha[..., None] == 0, 255, GRAY[..., None]) + np.zeros(3, int)
        return save(picture, rng.choice(("PNG", "TIFF"))), wanted
    indices = np.kron([[1, 2], [0, 3]], np.ones((16, 24), int)).astype(np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette([0, 0, 0, *COLORS[0].ravel().tolist(), *COLORS[1, 1].tolist()])
    opacity = 0 if kind == "index" else bytes([0, 255, 255, 255])
    format = rng.choice(("PNG", "GIF")) if kind == "index" else "PNG"
    return save(picture, format, transparency=opacity), wanted
