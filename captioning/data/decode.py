"""Read a photo from a file of any kind, upright and in RGB. Pillow and numpy, no torch.

    read_photo(path)   PIL image; a broken file is refused in a sentence, never half gray
    open_photo(path)   the same before it is decoded: its size, mode and orientation

A photo is its pixels: nothing else in its file can stop it, see metadata.py. Numbers that no
display has (16 bits, 12 bits in 16, floats) are scaled by the values found.
"""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError, features
from PIL.ImageFile import ImageFile

from captioning.data.metadata import HEAD, photo_format, read_orientation, strip_metadata
from captioning.files import PathLike, short_message

MAX_PIXELS = 100_000_000  # larger ones are refused before they are decoded
MAX_BYTES = 16 * MAX_PIXELS  # four floats a pixel
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # no programs to run
if "avif" in features.modules and features.check("avif"):  # Pillow 11.3 or newer
    FORMATS += ("AVIF",)
WHITES = (1, 255, 1023, 4095, 16383, 65535)  # the largest values of floats, and of 8 to 16 bits
SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # byte orders
TURNS = dict(enumerate(("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE",
                        "ROTATE_270", "TRANSVERSE", "ROTATE_90"), start=2))  # fmt: skip
logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs, it also raises
Image.MAX_IMAGE_PIXELS = None  # `open_photo` has a limit of its own, and says so in a sentence


def read_photo(path: PathLike, min_side: int | None = None) -> Image.Image:
    """Return the photo at `path`, RGB, upright. Transparent parts become white.

    min_side  pixels that the shorter side needs; a much larger JPEG is decoded at 1/2, 1/4 or 1/8
              of its size, which is several times faster

    Raises FileNotFoundError or ValueError: one sentence that names the file and the cause.
    """
    photo, orientation = open_photo(path)
    with _decoder_errors(path):
        if min_side and min(photo.size) > min_side:
            photo.draft("RGB", (min_side, min_side))  # a hint that only JPEG follows
        upright = _as_rgb(photo)
        if orientation in TURNS:
            upright = upright.transpose(Image.Transpose[TURNS[orientation]])
    return upright


def open_photo(path: PathLike) -> tuple[ImageFile, int]:
    """Return the photo with its pixels not decoded yet, and its EXIF orientation, 1 to 8.

    Raises as `read_photo` does.
    """
    data, format = _read_file(path if isinstance(path, Path) else Path(path))
    with _decoder_errors(path):
        data, exif = strip_metadata(data, format)
        photo = Image.open(io.BytesIO(data), formats=[format])
        orientation = read_orientation(exif or photo.info.get("exif", b""))  # of WebP and AVIF
    width, height = photo.size
    if width * height > MAX_PIXELS:
        size = f"{width} x {height} pixels, more than {MAX_PIXELS:,}"
        raise ValueError(f"{path} has {size}; shrink it.")
    if width * height == 0:
        raise ValueError(f"{path} is broken and cannot be read (it has no pixels).")
    return photo, orientation


def _read_file(path: Path) -> tuple[bytes, str]:
    """Return all bytes of the photo at `path`, and which of FORMATS they have."""
    try:
        with path.open("rb") as file:  # a member of a tar opens itself
            head = file.read(HEAD)
            format, size = photo_format(head), path.stat().st_size
            data = head + file.read() if format in FORMATS and size <= MAX_BYTES else head
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a photo.") from None
    except (OSError, ValueError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read ({short_message(error)}).") from None
    if not head:
        raise ValueError(f"{path} is empty (0 bytes).")
    if not format:
        raise ValueError(f"{path} is not a photo ({', '.join(FORMATS)} are).")
    if format not in FORMATS:
        raise ValueError(f"{path} is {format}, which cannot be read here; save it as JPEG.")
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, more than {MAX_BYTES:,}; shrink it.")
    return data, format


@contextlib.contextmanager
def _decoder_errors(path: PathLike) -> Iterator[None]:
    """Turn whatever Pillow raises while it parses a broken file into a sentence."""
    try:
        yield
    except UnidentifiedImageError:
        cause = "its header is damaged, or of an unusual kind; save it again as JPEG"
        raise ValueError(f"{path} is broken and cannot be read ({cause}).") from None
    except Exception as error:  # noqa: BLE001
        cause = short_message(error)
        raise ValueError(f"{path} is broken and cannot be read ({cause}).") from None


def _as_rgb(photo: ImageFile) -> Image.Image:
    """Return the photo in RGB, its values scaled to 8 bits, transparent parts white."""
    if photo.mode.startswith(("I", "F")):  # gray of 16 or 32 bits
        return Image.fromarray(_to_8_bits(np.asarray(photo))).convert("RGB")
    if photo.mode == "LAB":
        lab, rgb = (ImageCms.createProfile(space) for space in ("LAB", "sRGB"))
        return ImageCms.profileToProfile(photo, lab, rgb, outputMode="RGB")  # type: ignore
    seen = _scale_colors(photo) if _raw_mode(photo)[-4:-1] == ";16" else photo
    if seen.has_transparency_data:
        seen = seen.convert("RGBA")
        if seen.getchannel("A").getbbox():  # else it is meant to be seen all the same
            seen = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return seen.convert("RGB")


def _scale_colors(photo: ImageFile) -> Image.Image:
    """Return a color photo of 16 bits a channel, scaled if its values need 14 bits or fewer.

    Pillow keeps the upper byte of each value only, which would look black. Read in the other byte
    order, the same file gives the lower bytes.
    """
    assert isinstance(photo.fp, io.BytesIO)
    assert photo.format
    other = Image.open(io.BytesIO(photo.fp.getvalue()), formats=[photo.format])
    values = np.asarray(photo).astype(np.uint16)  # (H, W, bands)
    is_color = [name != "A" for name in photo.getbands()]
    if values[..., is_color].max() > 63:
        return photo
    raw = _raw_mode(other)
    if not raw.startswith("LA"):  # for which Pillow knows one order only
        raw = raw[:-1] + SWAPPED[raw[-1]]
        other.tile = [
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
            for tile in other.tile
        ]
        values = 256 * values + np.asarray(other)
    scaled = np.empty(values.shape, np.uint8)
    scaled[..., is_color] = _to_8_bits(values[..., is_color])
    if not all(is_color):
        scaled[..., -1] = _to_8_bits(values[..., -1])
    return Image.frombytes(photo.mode, photo.size, scaled.tobytes())


def _raw_mode(photo: ImageFile) -> str:
    """Return how the file orders the bits of a pixel, in Pillow's words: "RGB;16B"."""
    args = photo.tile[0].args if photo.tile else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Return numbers of any range as uint8: 0 stays black, the largest WHITES they need is white.

    Few outliers do not count. Raises ValueError where no value is finite.
    """
    sample = values.ravel()[:: max(1, values.size // 1_000_000)]
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        raise ValueError("none of its values is finite")
    low, high = np.percentile(finite, (0.1, 99.9), method="nearest").tolist()
    white = next((white for white in WHITES if high <= white), high)
    if high < white / 4:  # all would look black
        white = high
    black = min(low, 0)
    with np.errstate(all="ignore"):  # infinite ones stay infinite, and are clipped
        scaled = (values.astype(np.float32) - black) / ((white - black) or 1)
    scaled = np.nan_to_num(scaled, copy=False, nan=0, posinf=1, neginf=0).clip(0, 1)
    return (255 * scaled + 0.5).astype(np.uint8)
