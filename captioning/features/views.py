"""Read the views of photos that the frozen network is to see: decoded ahead, by threads or a GPU.

    ViewReader(...)       threads decode photos, squash and crop them
    GpuViewReader(...)    threads only read JPEG files; a GPU decodes, squashes and crops them

View 0 is the whole photo; views 1, 2, ... are random crops, chosen once for each (photo, view).
"""

import io
from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from captioning.data.coco import Photo
from captioning.data.decode import TURNS, open_photo
from captioning.data.photos import read_photo
from captioning.features.cache import base_view, transform_of
from model import EncoderCNN

END_OF_JPEG = b"\xff\xd9"
MAX_PIXELS = 2_000_000  # of a photo for the GPU; the CPU need not decode all of a larger one


class ViewReader:
    """Row of a photo -> its views (views, 3, crop, crop) uint8, or why it cannot be read."""

    def __init__(self, encoder: EncoderCNN, photos: list[Photo], views: int):
        self.photos, self.views = photos, views
        self.base, self.scales = base_view(encoder, views)
        self.random = transform_of(encoder, train=True)

    def __call__(self, row: int) -> Tensor | str:
        path = self.photos[row].path
        try:
            return self.crops(row, read_photo(path, min_side=self.base.min_side))
        except (OSError, ValueError) as error:
            return str(error)

    def crops(self, row: int, photo: Image.Image | Tensor) -> Tensor:
        """Return the views of a photo: a PIL image, or uint8 (3, H, W)."""
        name = self.photos[row].path.name
        crops = [self.base.resize_and_crop(photo)]
        crops += [self.random.resize_and_crop(photo, (name, v)) for v in range(1, self.views)]
        return torch.stack(crops)

    def batch(
        self, rows: range, read_ahead: Iterator[Tensor | str], unreadable: dict[int, str]
    ) -> Iterator[Tensor]:
        """Yield the views of each row; a photo that cannot be read is noted, and counts as black.

        read_ahead  what `self(row)` returned, of all rows in order
        """
        for row in rows:
            yield self.noted(row, next(read_ahead), unreadable)

    def noted(self, row: int, crops: Tensor | str, unreadable: dict[int, str]) -> Tensor:
        if isinstance(crops, Tensor):
            return crops
        unreadable[row] = crops
        side = self.base.crop
        return torch.zeros(self.views, 3, side, side, dtype=torch.uint8)


class GpuViewReader(ViewReader):
    """The same, for a GPU that decodes JPEG files: row -> the bytes of a file, or as above.

    Files that need more than decoding (turned, in CMYK, cut off, not JPEG), and large ones, are
    read by the CPU.
    """

    def __init__(self, encoder: EncoderCNN, photos: list[Photo], views: int, device: torch.device):
        super().__init__(encoder, photos, views)
        self.device = device

    def __call__(self, row: int) -> Tensor | str:
        try:
            photo, orientation = open_photo(self.photos[row].path)
        except (OSError, ValueError) as error:
            return str(error)
        assert isinstance(photo.fp, io.BytesIO)
        content = photo.fp.getvalue()
        plain = photo.format == "JPEG" and photo.mode in ("RGB", "L") and orientation not in TURNS
        is_small = photo.width * photo.height <= MAX_PIXELS
        if not (plain and is_small and content.endswith(END_OF_JPEG)):
            return super().__call__(row)
        return torch.frombuffer(bytearray(content), dtype=torch.uint8)  # (bytes,)

    def batch(
        self, rows: range, read_ahead: Iterator[Tensor | str], unreadable: dict[int, str]
    ) -> Iterator[Tensor]:
        from torchvision.io import ImageReadMode, decode_jpeg  # takes a second to import

        found = {row: next(read_ahead) for row in rows}
        files = {row: file for row, file in found.items() if _is_file(file)}
        contents = list(files.values())
        try:  # torchvision refuses an empty list
            decoded = decode_jpeg(contents, ImageReadMode.RGB, self.device) if files else []
        except RuntimeError:  # one of them is broken: the CPU finds out which
            found |= {row: ViewReader.__call__(self, row) for row in files}
        else:
            found |= zip(files, map(self.crops, files, decoded), strict=True)
        for row in rows:
            yield self.noted(row, found[row], unreadable).to(self.device)


def _is_file(found: Tensor | str) -> bool:
    return isinstance(found, Tensor) and found.dim() == 1
