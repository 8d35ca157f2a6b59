"""Turn a photo into the tensor that the encoder expects.

    read_photo(path)        PIL image, upright, RGB; see decode.py, which needs no torch
    PhotoTransform(...)     PIL image -> (3, crop, crop), scaled as the encoder's weights expect it

A caption may mention anything in the photo, so at test time nothing is cropped away: the whole
photo is squashed to a square. Training takes a random crop, mirrored half the time.
"""

import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from captioning.data.decode import FORMATS, read_photo

__all__ = ["FORMATS", "PhotoTransform", "read_photo", "transform_test", "transform_train"]


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

    def resize_and_crop(self, photo: Image.Image | Tensor, seed: object = None) -> Tensor:
        """PIL image or uint8 (3, H, W) -> uint8 (3, crop, crop), a quarter of float32's bytes"""
        if not isinstance(photo, Tensor):
            photo = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
        pixels = photo[None]  # (1, 3, H, W)
        if not self.train:
            return squash(pixels, self.crop)
        rng = random.Random(seed if seed is None else str(seed))
        top, left = (rng.randint(0, self.resize - self.crop) for _ in range(2))
        pixels = squash(pixels, self.resize)
        pixels = pixels[:, top : top + self.crop, left : left + self.crop]
        return pixels.flip(-1) if rng.random() < self.flip else pixels

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return uint8 pixels (..., 3, H, W) as float32, scaled as the network was trained."""
        mean, std = (
            torch.tensor(numbers, device=pixels.device).view(3, 1, 1)
            for numbers in (self.mean, self.std)
        )
        return (pixels / 255 - mean) / std


def squash(pixels: Tensor, side: int) -> Tensor:
    """uint8 (1, 3, H, W) -> uint8 (3, side, side); where it shrinks, pixels are averaged"""
    if not pixels.is_cuda:
        return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)[0]
    resized = F.interpolate(pixels.float(), (side, side), mode="bilinear", antialias=True)[0]
    return resized.round().to(torch.uint8)  # a GPU resizes floats only


transform_test = PhotoTransform()
transform_train = PhotoTransform(train=True)
