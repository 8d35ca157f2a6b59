"""Read a photo from a file of any format, and turn it into the tensor that the encoder expects.

    read_photo(path)        PIL image; a broken file is refused in a sentence, never half gray
    PhotoTransform(...)     PIL image -> (3, crop, crop), scaled as the encoder's weights expect it

A caption may mention anything in the photo, so at test time nothing is cropped away: the whole
photo is squashed to a square. Training takes a random crop, mirrored half the time.
"""

import random
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from captioning.files import PathLike

MAX_PIXELS = 100_000_000  # larger ones are refused before they are decoded
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # none that runs a program to open
Image.MAX_IMAGE_PIXELS = None  # `read_photo` has a limit of its own, and says so in a sentence


def read_photo(path: PathLike, min_side: int | None = None) -> Image.Image:
    """Return the photo at `path`, RGB, upright. Transparent parts become white.

    min_side  pixels that the shorter side needs; a much larger JPEG is decoded at 1/2, 1/4 or 1/8
              of its size, which is several times faster

    Raises FileNotFoundError or ValueError: one sentence that names the file and the cause.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as photo:
            width, height = photo.size
            if width * height <= MAX_PIXELS:
                if min_side and min(width, height) > min_side:
                    photo.draft("RGB", (min_side, min_side))  # a hint that only JPEG follows
                return _as_rgb(ImageOps.exif_transpose(photo))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing.") from None
    except UnidentifiedImageError:
        empty = path.is_file() and path.stat().st_size == 0
        cause = "is empty (0 bytes)" if empty else f"is not a photo ({', '.join(FORMATS)} are)"
        raise ValueError(f"{path} {cause}.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a photo.") from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError) as error:
        raise ValueError(f"{path} is broken and cannot be read ({error}).") from None
    raise ValueError(f"{path} has {width} x {height} pixels, more than {MAX_PIXELS:,}; shrink it.")


def _as_rgb(photo: Image.Image) -> Image.Image:
    """Return the photo in RGB, gray of 16 or 32 bits scaled to 8, transparent parts white."""
    if photo.mode.startswith(("I", "F")):  # 16 or 32 bits of gray: PIL would clip them to white
        gray = np.asarray(photo, dtype=np.float32)
        scale = 65535.0 if photo.mode.startswith("I") else max(float(gray.max()), 1.0)
        photo = Image.fromarray((gray.clip(0, scale) * (255 / scale)).astype(np.uint8))
    if photo.has_transparency_data:
        photo = photo.convert("RGBA")
        white = Image.new("RGBA", photo.size, "white")
        photo = Image.alpha_composite(white, photo)
    return photo.convert("RGB")


@dataclass(frozen=True)
class PhotoTransform:
    """Turn a PIL image into a normalized tensor (3, crop, crop), as torchvision's transforms do.

    train=False  squashes the whole photo to crop x crop; the same photo gives the same tensor
    train=True   squashes it to resize x resize, takes a random crop x crop window and mirrors it
                 with probability `flip`; `seed` fixes the choices
    """

    resize: int = 256  # pixels
    crop: int = 224  # pixels, the side of the image that the network gets
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    flip: float = 0.5  # probability
    train: bool = False

    def __post_init__(self) -> None:
        whole = isinstance(self.crop, int) and isinstance(self.resize, int)
        if not whole or not 1 <= self.crop <= self.resize <= 4096:
            raise ValueError(
                f"crop {self.crop} and resize {self.resize} must be pixels, 1 <= crop <= resize "
                "<= 4096."
            )
        colors = [float(number) for number in (*self.mean, *self.std)]
        if len(self.mean) != 3 or len(self.std) != 3 or 0 in colors[3:]:
            raise ValueError("mean and std must be three numbers each, and no std 0.")

    @property
    def min_side(self) -> int:
        """Return the pixels that the shorter side needs; with fewer, the features would change."""
        return 2 * self.crop

    def __call__(self, photo: Image.Image, seed: object = None) -> Tensor:
        return self.normalize(self.resize_and_crop(photo, seed))

    def resize_and_crop(self, photo: Image.Image, seed: object = None) -> Tensor:
        """Return the image as uint8 (3, crop, crop), a quarter of the bytes of float32."""
        pixels = F.pil_to_tensor(photo)
        if not self.train:
            return F.resize(pixels, [self.crop, self.crop], antialias=True)
        rng = random.Random(seed if seed is None else str(seed))
        top, left = (rng.randint(0, self.resize - self.crop) for _ in range(2))
        pixels = F.resize(pixels, [self.resize, self.resize], antialias=True)
        pixels = pixels[:, top : top + self.crop, left : left + self.crop]
        return pixels.flip(-1) if rng.random() < self.flip else pixels

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return uint8 pixels (..., 3, H, W) as float32, scaled as the network was trained."""
        mean, std = (
            torch.tensor(numbers, device=pixels.device).view(3, 1, 1)
            for numbers in (self.mean, self.std)
        )
        return (pixels / 255 - mean) / std


transform_test = PhotoTransform()
transform_train = PhotoTransform(train=True)
