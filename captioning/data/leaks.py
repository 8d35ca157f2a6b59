"""Find photos that show the same picture: saved again, resized, mirrored, or cropped a little.

    thumbnail(photo)         PIL image -> (S,) uint8, all that is compared
    near_duplicates(a, b)    the pairs of rows of two arrays of thumbnails that show the same one
    same_picture(a, b)       whether row i of `a` and row i of `b` do

Three sieves, each finer and slower than the one before:
1. The distance of very small thumbnails, for all pairs: a matrix product.
2. The tangent distance (Simard et al. 1993), which allows for small shifts and changes of size.
3. Alignment: the shift and size that fit best are found, and what still differs is measured.

A batch of pictures is (N, C, n, n) float32: C channels, n pixels a side.
"""

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

LUMA_SIDE, CHROMA_SIDE = 32, 8  # pixels of a thumbnail: of its brightness, of its two colors
LUMA_SIZE = LUMA_SIDE**2
THUMBNAIL_SIZE = LUMA_SIZE + 2 * CHROMA_SIDE**2
DECODED_SIDE = 4 * LUMA_SIDE  # pixels that the shorter side of a photo needs
MAX_DISTANCE = 28.0  # levels (of 255), root mean square, between very small thumbnails
MAX_TANGENT_DISTANCE = 15.0  # levels that no shift or change of size explains
MAX_RESIDUAL = 0.16  # what differs after alignment, as a part of the contrast of the photo,
RESIDUAL_FLOOR = 0.5  # plus these levels, for photos with little contrast
MAX_COLOR_RESIDUAL = 6.0  # levels
DAMPING = 16.0  # levels^2 for a move by the side: no large moves where a photo is flat
MAX_WARP = 0.13  # of the side: a crop of 5 % on each side stretches the rest by 11 %
TILE = 2048  # rows compared with as many others at a time: 16 MB
CHUNK = 4096  # pairs looked at more closely at a time


def thumbnail(photo: Image.Image) -> np.ndarray:
    """Return the brightness (32 x 32 pixels) and the two colors (8 x 8) of an RGB photo, (S,)."""
    luma, *chroma = photo.convert("YCbCr").split()
    parts = [luma.resize((LUMA_SIDE, LUMA_SIDE), Image.Resampling.BILINEAR)]
    parts += [part.resize((CHROMA_SIDE,) * 2, Image.Resampling.BILINEAR) for part in chroma]
    return np.concatenate([np.asarray(part).ravel() for part in parts])


def near_duplicates(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the pairs of rows of `a` (N, S) and `b` (M, S), uint8, that show the same picture.

    Each pair once where `a` is `b`. Memory does not grow with N times M.
    """
    found: set[tuple[int, int]] = set()
    for other in (b, mirrored(b)):
        for pairs in _candidates(a, other, triangle=a is b):
            same = same_picture(a[pairs[:, 0]], other[pairs[:, 1]])
            for i, j in pairs[same].tolist():
                if (i, j) not in found:
                    found.add((i, j))
                    yield i, j


def luma(thumbnails: np.ndarray, side: int = LUMA_SIDE) -> np.ndarray:
    """Return the brightness of thumbnails (N, S) as pictures (N, 1, side, side)."""
    return shrink(_split(thumbnails)[0], side)


def chroma(thumbnails: np.ndarray, side: int = CHROMA_SIDE) -> np.ndarray:
    """Return the colors of thumbnails (N, S) as pictures (N, 2, side, side)."""
    return shrink(_split(thumbnails)[1], side)


def _split(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the brightness and the colors of thumbnails (N, S) as they are, uint8."""
    brightness = thumbnails[:, :LUMA_SIZE].reshape(-1, 1, LUMA_SIDE, LUMA_SIDE)
    return brightness, thumbnails[:, LUMA_SIZE:].reshape(-1, 2, CHROMA_SIDE, CHROMA_SIDE)


def shrink(pictures: np.ndarray, side: int) -> np.ndarray:
    """Return pictures (..., n, n) with `side` pixels a side, each the mean of a square."""
    *rest, n, _ = pictures.shape
    return (
        pictures.astype(np.float32).reshape(*rest, side, n // side, side, n // side).mean((-3, -1))
    )


def mirrored(thumbnails: np.ndarray) -> np.ndarray:
    """Return the thumbnails (N, S) of the mirrored photos."""
    return np.concatenate([_flat(part[..., ::-1]) for part in _split(thumbnails)], axis=1)


def _flat(pictures: np.ndarray, axes: int = 1) -> np.ndarray:
    """Return an array with all axes after the first `axes` joined."""
    kept = pictures.shape[:axes]
    return pictures.reshape(*kept, math.prod(pictures.shape[axes:]))


# --- first and second sieve ----------------------------------------------------------------------


def _candidates(a: np.ndarray, b: np.ndarray, triangle: bool) -> Iterator[np.ndarray]:
    """Yield pairs of rows (N, 2) that may be alike, at most CHUNK of them at a time.

    With `triangle` each pair once, and no row with itself.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b makes all distances one matrix product.
    """
    tiles = [_very_small(b[start : start + TILE]) for start in range(0, len(b), TILE)]
    others = np.concatenate(tiles or [_very_small(b)])
    squares = (others**2).sum(1)
    for first in range(0, len(a), TILE):
        rows = _very_small(a[first : first + TILE])
        moves = _very_small_changes(a[first : first + TILE])
        limit = MAX_DISTANCE**2 * rows.shape[1] - (rows**2).sum(1)[:, None]
        for second in range(first if triangle else 0, len(b), TILE):
            tile = slice(second, second + TILE)
            near = np.argwhere(squares[tile] - 2 * rows @ others[tile].T < limit)
            for start in range(0, len(near), CHUNK):
                i, j = near[start : start + CHUNK].T
                difference = (others[tile][j] - rows[i])[..., None]  # (N, 96, 1)
                _, explained = _least_squares(moves[i], difference)
                rest = (difference**2).sum((1, 2)) - explained
                close = rest < MAX_TANGENT_DISTANCE**2 * rows.shape[1]
                close &= (first + i < second + j) | (not triangle)
                yield np.stack([first + i, second + j], axis=1)[close]


def _very_small(thumbnails: np.ndarray) -> np.ndarray:
    """Return 8 x 8 pixels of brightness and 4 x 4 of each color: (N, 96)."""
    parts = [luma(thumbnails, 8), chroma(thumbnails, 4)]
    return np.concatenate([_flat(part) for part in parts], axis=1)


def _very_small_changes(thumbnails: np.ndarray) -> np.ndarray:
    """Return how the very small thumbnails change under each of the four `changes`: (N, 4, 96)."""
    parts = [shrink(changes(luma(thumbnails)), 8), shrink(changes(chroma(thumbnails)), 4)]
    return np.concatenate([_flat(part, 2) for part in parts], axis=2)


def changes(pictures: np.ndarray) -> np.ndarray:
    """Return how pictures (N, C, n, n) change when they are moved: (N, 4, C, n, n).

    Moved means shifted to the left, stretched in width, shifted up, stretched in height; each is
    the derivative, for a move by the whole side.
    """
    n = pictures.shape[-1]
    place = _places(n)
    down, right = (np.gradient(pictures, axis=axis) * n for axis in (-2, -1))
    return np.stack([right, right * place, down, down * place[:, None]], axis=1)


def _least_squares(change: np.ndarray, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much of each change (N, K, D) the difference (N, D, 1) has, (N, K).

    And how much of the difference's sum of squares that explains, (N,).
    """
    projection = change @ difference  # (N, K, 1)
    damping = DAMPING * change.shape[2] * np.eye(change.shape[1], dtype=np.float32)
    gram = change @ change.transpose(0, 2, 1) + damping
    amounts = np.linalg.solve(gram, projection)
    return amounts[..., 0], (amounts * projection).sum((1, 2))


# --- third sieve ---------------------------------------------------------------------------------


def same_picture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for thumbnails a, b (N, S) whether they show the same picture.

    Either may be the one that was cropped.
    """
    contrast = np.maximum(*(luma(part, 16).std((1, 2, 3)) for part in (a, b)))
    (luma_1, color_1), (luma_2, color_2) = residuals(a, b), residuals(b, a)
    similar = np.minimum(luma_1, luma_2) < MAX_RESIDUAL * contrast + RESIDUAL_FLOOR
    return similar & (np.minimum(color_1, color_2) < MAX_COLOR_RESIDUAL)


def residuals(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels by which `b` differs from `a`, shifted and stretched to fit it: (N,), (N,).

    Of brightness and of color, root mean squares. The fit is Gauss-Newton's, coarse to fine.
    """
    warp = np.zeros((len(a), 4), np.float32)  # the four amounts of `changes`
    for side in (16, 16, 16, 16, 32, 32):
        fixed, moving = luma(b, side), luma(a, side)
        moved, inside = warped(moving, warp)
        inside[..., [0, -1], :] = inside[..., [0, -1]] = False  # half a gradient only
        change = _flat(changes(moved) * inside[:, None], 2)
        difference = _flat((fixed - moved) * inside)[..., None]
        warp = (warp + _least_squares(change, difference)[0]).clip(-MAX_WARP, MAX_WARP)
    return _difference(luma(a), luma(b), warp, 16), _difference(chroma(a), chroma(b), warp, 8)


def _difference(moving: np.ndarray, fixed: np.ndarray, warp: np.ndarray, side: int) -> np.ndarray:
    """Return the root mean square difference of two pictures where both have pixels, (N,)."""
    moved, inside = warped(moving, warp)
    weight = np.floor(shrink(inside, side))
    difference = shrink(fixed - moved, side) * weight
    pixels = np.maximum(weight.sum((1, 2, 3)), 1) * moving.shape[1]
    return np.sqrt((difference**2).sum((1, 2, 3)) / pixels)


def warped(pictures: np.ndarray, warp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (N, C, n, n) shifted and stretched, and where they have pixels (N, 1, n, n).

    warp  (N, 4): shift and stretch to the right, shift and stretch down; parts of the side
    """
    n = pictures.shape[-1]
    right, down = _interpolation(warp[:, :2], n), _interpolation(warp[:, 2:], n)
    inside = (down.sum(2) > 0.99)[:, None, :, None] & (right.sum(2) > 0.99)[:, None, None]
    return down[:, None] @ pictures @ right[:, None].transpose(0, 1, 3, 2), inside


def _interpolation(warp: np.ndarray, n: int) -> np.ndarray:
    """Return matrices (N, n, n) that take each of n pixels from between two others."""
    place = _places(n) * (1 + warp[:, 1:]) + warp[:, :1]  # (N, n)
    distance = (place[:, :, None] - _places(n)) * n
    return np.maximum(0, 1 - np.abs(distance)).astype(np.float32)


def _places(n: int) -> np.ndarray:
    """Return the centers of n pixels, from -0.5 to 0.5."""
    return ((np.arange(n) + 0.5) / n - 0.5).astype(np.float32)
