"""Painting in color, with an id map that records which thing covers each pixel.

    Canvas                image (H, W, 3) uint8 RGB, and ids (H, W) uint8: 0 setting, 1.. things
    canvas.place(...)     switches to the coordinates of a thing: feet at (0, 0), v upward
    canvas.blob/oval/stroke/poly   the four shapes that everything is made of
    outlines(mask)        polygons around a mask, as in COCO's segmentations

OpenCV paints the picture. The id map, from which boxes, areas and polygons come, is filled here in
integers, so that the ground truth does not depend on the version of a library.
"""

import itertools
import math
import random

import cv2
import numpy as np

Color = tuple[float, float, float]  # red, green, blue, 0-255
Points = list[tuple[float, float]] | np.ndarray  # (N, 2)

PALETTE: dict[str, Color] = {
    "red": (205, 42, 42),
    "orange": (243, 136, 30),
    "yellow": (248, 213, 56),
    "green": (52, 148, 70),
    "blue": (46, 100, 204),
    "pink": (246, 146, 190),
    "white": (246, 244, 238),
    "black": (46, 44, 52),
    "brown": (134, 84, 48),
}


def mix(a: Color, b: Color, weight: float) -> Color:
    """Return the color between `a` (weight 0) and `b` (weight 1)."""
    red, green, blue = (p + (q - p) * weight for p, q in zip(a, b, strict=True))
    return red, green, blue


def darker(color: Color, weight: float = 0.25) -> Color:
    return mix(color, (14, 12, 34), weight)


def lighter(color: Color, weight: float = 0.25) -> Color:
    return mix(color, (255, 252, 240), weight)


def jitter(color: Color, rng: random.Random, amount: float = 9) -> Color:
    """Return a color close to `color`, still clearly of the same name."""
    light = rng.uniform(-amount, amount)
    red, green, blue = (min(255.0, max(0.0, c + light + rng.uniform(-5, 5))) for c in color)
    return red, green, blue


def smooth(points: Points, steps: int = 6) -> np.ndarray:
    """Return a closed Catmull-Rom curve through `points`: (N, 2) -> (N * steps, 2)."""
    p = np.asarray(points, float)
    a, b, c, d = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = (np.arange(steps) / steps)[:, None, None]
    curve = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
    curve = (curve + (3 * b - a - 3 * c + d) * t**3) / 2
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def fill(ids: np.ndarray, polygon: np.ndarray, value: int) -> None:
    """Write `value` where a pixel's center lies inside `polygon` (N, 2), in sixteenths of a pixel.

    Follows the even-odd rule in integer arithmetic: every machine fills the same pixels.
    """
    height, width = ids.shape
    x, y = polygon.astype(np.int64).T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    top, bottom = max(0, int(y.min()) // 16), min(height, int(y.max()) // 16 + 1)
    left, right = max(0, int(x.min()) // 16), min(width, int(x.max()) // 16 + 1)
    if top >= bottom or left >= right:
        return
    centers = np.arange(top, bottom) * 16 + 8
    edge, row = np.nonzero((y[:, None] <= centers) != (y_next[:, None] <= centers))
    run, rise = x_next[edge] - x[edge], y_next[edge] - y[edge]
    crossing = x[edge] + (centers[row] - y[edge]) * run // rise
    column = np.clip((crossing + 8) // 16 - left, 0, right - left)
    span = right - left + 1
    flips = np.bincount(row * span + column, minlength=(bottom - top) * span).reshape(-1, span)
    inside = np.cumsum(flips, axis=1)[:, :-1] % 2 == 1
    ids[top:bottom, left:right][inside] = value


class Canvas:
    """A picture and its id map; shapes painted next belong to the id `canvas.thing`."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.image: np.ndarray = np.zeros((height, width, 3), np.uint8)
        self.ids: np.ndarray = np.zeros((height, width), np.uint8)
        self.thing = 0
        self.in_pixels()

    def in_pixels(self) -> None:
        """Measure points in pixels from the upper left corner, v downward."""
        self.origin, self.axes, self.size = np.zeros(2), np.eye(2), 1.0

    def place(self, x: float, y: float, size: float, flip: bool = False, tilt: float = 0.0) -> None:
        """Measure points in units of `size` pixels from (x, y), v upward; `tilt` in radians."""
        c, s, side = math.cos(tilt) * size, math.sin(tilt) * size, -1 if flip else 1
        self.origin, self.size = np.array([x, y]), size
        self.axes = np.array([[side * c, -s], [-side * s, -c]])

    def poly(self, points: Points, color: Color, edge: float = 0.3, alpha: float = 1.0) -> None:
        """Paint a filled polygon; `edge` is how much darker its outline is, 0 for no outline."""
        sixteenths = np.round((np.asarray(points, float) @ self.axes + self.origin) * 16)
        sixteenths = sixteenths.astype(np.int32)
        if self.thing and alpha == 1:
            fill(self.ids, sixteenths, self.thing)
        if alpha < 1:
            (left, top), (right, bottom) = sixteenths.min(0) // 16, sixteenths.max(0) // 16 + 2
            area = np.s_[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
            if self.image[area].size:
                before = self.image[area].copy()
                cv2.fillPoly(self.image, [sixteenths - 8], color, cv2.LINE_AA, 4)
                after = cv2.addWeighted(self.image[area], alpha, before, 1 - alpha, 0)
                self.image[area] = after
            return
        # OpenCV measures from a pixel's center, everything else here from its corner
        cv2.fillPoly(self.image, [sixteenths - 8], color, cv2.LINE_AA, 4)
        if edge:
            dark = darker(color, edge)
            cv2.polylines(self.image, [sixteenths - 8], True, dark, 1, cv2.LINE_AA, 4)

    def blob(self, points: Points, color: Color, edge: float = 0.3, alpha: float = 1.0) -> None:
        """Paint a smooth shape through `points`."""
        self.poly(smooth(points), color, edge, alpha)

    def oval(
        self, u: float, v: float, ru: float, rv: float, color: Color, edge: float = 0.3,
        alpha: float = 1.0, turn: float = 0.0, arc: tuple[float, float] = (0.0, 1.0),
    ) -> None:  # fmt: skip
        """Paint an ellipse, or its part `arc` (in turns, counter-clockwise where v is upward)."""
        count = 12 if max(ru, rv) * self.size < 6 else 28
        angle = (np.arange(count + 1) / count * (arc[1] - arc[0]) + arc[0]) * 2 * math.pi
        a, b = ru * np.cos(angle), rv * np.sin(angle)
        c, s = math.cos(turn), math.sin(turn)
        self.poly(np.stack([u + a * c - b * s, v + a * s + b * c], 1), color, edge, alpha)

    def box(
        self, u: float, v: float, width: float, height: float, color: Color, edge: float = 0.3,
        alpha: float = 1.0,
    ) -> None:  # fmt: skip
        """Paint a rectangle; (u, v) is the corner with the smallest coordinates."""
        corners = [(u, v), (u + width, v), (u + width, v + height), (u, v + height)]
        self.poly(corners, color, edge, alpha)

    def stroke(self, points: Points, width: float, color: Color, edge: float = 0.3) -> None:
        """Paint a line of `width` with round ends through `points`."""
        for (u, v), (u2, v2) in itertools.pairwise(points):
            angle = math.atan2(v2 - v, u2 - u)
            ends: list[np.ndarray] = []
            for end_u, end_v, start in ((u2, v2, -0.5), (u, v, 0.5)):
                turns = angle + (start + np.arange(5) / 4) * math.pi
                ends.append(np.stack([np.cos(turns), np.sin(turns)], 1) * width / 2)
                ends[-1] += (end_u, end_v)
            self.poly(np.concatenate(ends), color, edge)

    def shade(self, x: float, y: float, rx: float, ry: float, gain: float) -> None:
        """Multiply a soft ellipse, in pixels, by `gain`: below 1 a shadow, above 1 light."""
        top, bottom = max(0, int(y - 2 * ry)), min(self.height, int(y + 2 * ry) + 1)
        left, right = max(0, int(x - 2 * rx)), min(self.width, int(x + 2 * rx) + 1)
        if top >= bottom or left >= right:
            return
        down, across = np.ogrid[top:bottom, left:right]
        distance = ((across - x) / rx) ** 2 + ((down - y) / ry) ** 2
        soft = 1 + (gain - 1) * np.exp(-1.2 * distance).astype(np.float32)
        area = self.image[top:bottom, left:right]
        area[:] = np.minimum(area * soft[:, :, None], 255)

    def gradient(self, top: float, bottom: float, upper: Color, lower: Color) -> None:
        """Fill the rows from `top` to `bottom` with a vertical gradient."""
        first, last = max(0, round(top)), min(self.height, round(bottom))
        weight = np.clip((np.arange(first, last) - top) / max(bottom - top, 1), 0, 1)[:, None, None]
        self.image[first:last] = np.array(upper) * (1 - weight) + np.array(lower) * weight

    def grain(
        self, top: float, bottom: float, rng: random.Random, strength: float, size: tuple[int, int]
    ) -> None:
        """Roughen the ground: light and dark patches of about `size` (width, height) pixels."""
        first, last = max(0, round(top)), min(self.height, round(bottom))
        if last <= first:
            return
        rows, columns = int((last - first) // size[1]) + 2, int(self.width // size[0]) + 2
        values = np.frombuffer(rng.randbytes(rows * columns), np.uint8).reshape(rows, columns)
        noise: np.ndarray = (values.astype(np.float32) / 127.5 - 1) * strength
        noise = cv2.resize(noise, (self.width, last - first), interpolation=cv2.INTER_LINEAR)
        area = self.image[first:last]
        area[:] = np.clip(area + noise[:, :, None], 0, 255)


def outlines(mask: np.ndarray, max_points: int = 40, min_area: float = 12) -> list[list[float]]:
    """Return polygons [x1, y1, x2, y2, ...] around the parts of a boolean `mask` (H, W).

    Walks along the cracks between pixels with the mask on the right-hand side; holes are dropped.
    A polygon has at most `max_points` points. Parts smaller than `min_area` pixels are left out.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for axis, sign, start, move in (
        (0, 1, (0, 0), (1, 0)), (0, -1, (1, 0), (-1, 0)),
        (1, 1, (0, 1), (0, -1)), (1, -1, (0, 0), (0, 1)),
    ):  # fmt: skip
        change = np.diff(padded, axis=axis) == sign  # the mask begins (1) or ends (-1) here
        for y, x in np.argwhere(change).tolist():
            at = (x - 1 + start[0], y + start[1]) if axis == 0 else (x, y - 1 + start[1])
            steps.setdefault(at, []).append((at[0] + move[0], at[1] + move[1]))
    polygons = []
    while steps:
        first = at = next(iter(steps))
        loop = []
        while True:
            loop.append(at)
            exits = steps[at]
            following = exits.pop()
            if not exits:
                del steps[at]
            at = following
            if at == first:
                break
        kept = loop[:: math.ceil(len(loop) / max_points)]
        polygon = [float(value) for point in kept for value in point]
        if area_of([polygon]) >= min_area:
            polygons.append(polygon)
    return polygons


def area_of(polygons: list[list[float]]) -> float:
    """Return the area inside polygons [x1, y1, x2, y2, ...] that do not overlap."""
    total = 0.0
    for polygon in polygons:
        x, y = np.reshape(polygon, (-1, 2)).T
        total += float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
    return total
