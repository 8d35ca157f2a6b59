"""One photo: from a file of any kind to the tensor that the encoder wants.

    read_photo(path)        strict: a broken file is refused in a sentence, never half grey
    PhotoTransform(...)     photo -> (3, crop, crop), as the encoder's weights expect it

A caption may speak of anything in the photo, so at test time nothing is cut off: the whole photo
is squashed to a square. In training a random window of it, sometimes mirrored, is always new.
"""

import os
import random
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

MAX_PIXELS = 100_000_000  # larger ones are refused before they are decoded
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # none that runs a program to open
Image.MAX_IMAGE_PIXELS = None  # `read_photo` has its own limit, and answers in a sentence


def read_photo(path: str | os.PathLike, at_least: int | None = None) -> Image.Image:
    """The photo at `path`, RGB, upright. Transparent parts become white.

    at_least  pixels that the shorter side needs; a JPEG much larger is decoded at 1/2, 1/4 or 1/8
              of its size, which is several times faster

    Raises FileNotFoundError or ValueError: one sentence that names the file and the cause.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as photo:
            width, height = photo.size
            if width * height <= MAX_PIXELS:
                if at_least and min(width, height) > at_least:
                    photo.draft("RGB", (at_least, at_least))  # a hint that only JPEG follows
                return _as_rgb(ImageOps.exif_transpose(photo))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing.") from None
    except UnidentifiedImageError:
        empty = path.is_file() and path.stat().st_size == 0
        cause = "is empty (0 bytes)" if empty else f"is no photo ({', '.join(FORMATS)} are)"
        raise ValueError(f"{path} {cause}.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a photo.") from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError) as error:
        raise ValueError(f"{path} is broken and cannot be read ({error}).") from None
    raise ValueError(f"{path} has {width} x {height} pixels, more than {MAX_PIXELS:,}; shrink it.")


def _as_rgb(photo: Image.Image) -> Image.Image:
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
    """Photo -> tensor (3, crop, crop), normalised; a callable like torchvision's transforms.

    train=False  the whole photo squashed to crop x crop; the same photo gives the same tensor
    train=True   squashed to resize x resize, a random crop x crop window of it, mirrored with
                 probability `flip`; `seed` fixes the choice
    """

    resize: int = 256  # pixels
    crop: int = 224  # pixels, what the network sees
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    flip: float = 0.5
    train: bool = False

    def __post_init__(self) -> None:
        whole = isinstance(self.crop, int) and isinstance(self.resize, int)
        if not whole or not 1 <= self.crop <= self.resize <= 4096:
            raise ValueError(
                f"crop {self.crop} and resize {self.resize} must be pixels, 1 <= crop <= resize "
                "<= 4096."
            )
        colours = [float(number) for number in (*self.mean, *self.std)]
        if len(self.mean) != 3 or len(self.std) != 3 or 0 in colours[3:]:
            raise ValueError("mean and std must be three numbers each, and no std 0.")

    @property
    def enough(self) -> int:
        """Pixels of the shorter side that `read_photo` needs; with fewer, features would change."""
        return 2 * self.crop

    def __call__(self, photo: Image.Image, seed: object = None) -> Tensor:
        return self.normalize(self.cut(photo, seed))

    def cut(self, photo: Image.Image, seed: object = None) -> Tensor:
        """photo -> uint8 (3, crop, crop): a quarter of the bytes to hand from thread to thread."""
        pixels = F.pil_to_tensor(photo)
        if not self.train:
            return F.resize(pixels, [self.crop, self.crop], antialias=True)
        chance = random.Random(seed if seed is None else str(seed))
        top, left = (chance.randint(0, self.resize - self.crop) for _ in range(2))
        pixels = F.resize(pixels, [self.resize, self.resize], antialias=True)
        pixels = pixels[:, top : top + self.crop, left : left + self.crop]
        return pixels.flip(-1) if chance.random() < self.flip else pixels

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 (..., 3, H, W) -> float32, as the network's training photos were scaled."""
        mean, std = (
            torch.tensor(numbers, device=pixels.device).view(3, 1, 1)
            for numbers in (self.mean, self.std)
        )
        return (pixels / 255 - mean) / std


transform_test = PhotoTransform()
transform_train = PhotoTransform(train=True)
