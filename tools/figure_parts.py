"""The parts of the course's figures, for `draw_figures`. Lengths are pixels at README width.

    card                    an opaque sheet with round corners; y grows downward
    text, tensor, label     words; a tensor's name and shape; a word that interrupts a line
    box, chain, arrow       a part of the model, a row of parts with arrows, a free arrow
    photo, grid, sheets     the photo of all figures, 7 x 7 lines, a stack of 7 x 7 planes

Blue is frozen, orange is trained, green is a word, red is the loss; the rest has no color.
"""

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from matplotlib.path import Path as Line

INK, MUTED, PALE, PAPER = "#22252B", "#646A73", "#A9AEB5", "#FCFBF8"
SHEET = {"fill": PAPER, "edge": "#D5D2CB"}
FILL = {"frozen": "#DCEDF9", "trained": "#FDEBCB", "word": "#DDF2EA", "loss": "#FBE2D5"}
EDGE = {"frozen": "#0072B2", "trained": "#C77E00", "word": "#00805E", "loss": "#C04F00"}
HEIGHT, RADIUS = {"word": 24, "node": 22}, {"word": 12, "node": 11}  # of a box of that kind
PIXELS_PER_INCH, DPI = 100, 160  # sharp on a screen with small pixels


def card(width: int, height: int, title: str) -> Axes:
    figure = plt.figure(figsize=(width / PIXELS_PER_INCH, height / PIXELS_PER_INCH))
    figure.set_facecolor("none")
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    box(ax, width / 2, height / 2, width - 4, height=height - 4, radius=14, z=0, **SHEET)
    text(ax, 24, 30, title, 15, ha="left", weight="bold")
    return ax


def save(path: Path) -> None:
    """Write the current figure as a PNG, which records Matplotlib's version, and close it."""
    plt.savefig(path, dpi=DPI)
    plt.close()


def text(ax: Axes, x: float, y: float, words: str, size: float = 12, **style) -> None:
    """Write `words`, centered at (x, y) unless `style` aligns them; `size` in pixels."""
    if "\n" not in words:  # one line stands on its baseline, so that neighbors stand level
        y, style = y + 0.36 * size, {"va": "baseline"} | style
    style = {"ha": "center", "va": "center", "color": INK, "linespacing": 1.35, "zorder": 5} | style
    ax.text(x, y, words, fontsize=size * 72 / PIXELS_PER_INCH, **style)


def tensor(ax: Axes, x: float, y: float, name: str, shape: str, **style) -> None:
    text(ax, x, y, name, family="monospace", weight="bold", **style)
    text(ax, x, y + 17, shape, 11, family="monospace", color=MUTED, **style)


def label(ax: Axes, x: float, y: float, words: str, color: str = MUTED, **style) -> None:
    """Write small words; a line behind them is interrupted."""
    paper = {"fc": PAPER, "ec": "none", "boxstyle": "square,pad=0.15"}
    text(ax, x, y, words, 11, color=color, bbox=paper, **style)


def box(
    ax: Axes, x: float, y: float, width: float, words: str = "", kind: str = "",
    height: float = 36, size: float = 12, radius: float = 6, z: int = 3, **look: str,
) -> None:  # fmt: skip
    """Draw a rounded box; `kind` picks colors and shape, `fill`, `edge` and `ink` override them."""
    height, radius = HEIGHT.get(kind, height), RADIUS.get(kind, radius)
    fill, edge = look.get("fill", FILL.get(kind, "white")), look.get("edge", EDGE.get(kind, PALE))
    corner, style = (x - width / 2, y - height / 2), f"round,pad=0,rounding_size={radius}"
    ax.add_patch(FancyBboxPatch(corner, width, height, style, fc=fill, ec=edge, lw=1.1, zorder=z))
    text(ax, x, y, words, size, family="monospace", color=look.get("ink", INK))


def chain(ax: Axes, y: float, *parts: tuple) -> None:
    """Draw boxes (x, width, words, kind) from left to right, arrows between; (x, width): a gap."""
    for i, (x, width, *content) in enumerate(parts):
        if content:
            box(ax, x, y, width, *content)
        if i:
            arrow(ax, (parts[i - 1][0] + parts[i - 1][1] / 2, y), (x - width / 2, y))


def arrow(ax: Axes, *points: tuple[float, float], color: str = MUTED, lw: float = 1.3) -> None:
    """Draw an arrow along `points`; the head is at the last one."""
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "zorder": 2}
    ax.add_patch(FancyArrowPatch(path=Line(points), color=color, lw=lw, **style))


def grid(ax: Axes, x: float, y: float, size: float, color: str) -> None:
    """Draw the lines between the 7 x 7 places of a square centered at (x, y)."""
    for i in range(1, 7):
        line = (i / 7 - 0.5) * size
        ax.plot((x + line,) * 2, (y - size / 2, y + size / 2), color=color, lw=0.6, zorder=4)
        ax.plot((x - size / 2, x + size / 2), (y + line,) * 2, color=color, lw=0.6, zorder=4)


def sheets(ax: Axes, x: float, y: float, size: float, count: int, kind: str) -> None:
    """Draw a stack of `count` planes; the front one is centered at (x, y)."""
    for back in reversed(range(count)):
        box(ax, x + 4 * back, y - 4 * back, size, kind=kind, height=size, radius=0.1)
    grid(ax, x, y, size, EDGE[kind])


def photo(ax: Axes, x: float, y: float, size: float, weights: list[float] | None = None) -> None:
    """Draw a red kite over a beach; of 49 `weights`, one per place, the smaller are darker."""
    frame = Rectangle(
        (x - size / 2, y - size / 2), size, size, fc="#BFE1F2", ec=INK, lw=1, zorder=3
    )
    ax.add_patch(frame)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x + (u - 0.5) * size, y + (v - 0.5) * size) for u, v in points]

    def line(*points: tuple[float, float], color: str = INK, lw: float = 0.7) -> Polygon:
        return Polygon(at(*points), closed=False, fill=False, ec=color, lw=lw)

    top, right, low, left = (0.64, 0.13), (0.75, 0.27), (0.66, 0.48), (0.54, 0.29)
    tail = [(0.66 + 0.02 * math.sin(t), 0.48 + 0.016 * t) for t in range(12)]
    shapes = [
        Polygon(at((0, 0.62), (1, 0.62), (1, 0.8), (0, 0.8)), fc="#5BA6C6"),  # sea
        Polygon(at((0, 0.75), (1, 0.70), (1, 1), (0, 1)), fc="#EBD8A6"),  # sand
        Ellipse(*at((0.24, 0.20)), 0.26 * size, 0.09 * size, fc="white"),  # cloud
        Ellipse(*at((0.32, 0.16)), 0.18 * size, 0.09 * size, fc="white"),
        line(low, (0.26, 0.72)),
        line(*tail, color="#B3261E", lw=1.2),
        Polygon(at(top, right, low, left), fc="#D3362D"),  # kite
        line(top, right, low, left, top, low, color="#8E1B15"),
        line(left, right, color="#8E1B15"),
        Polygon(at((0.19, 0.90), (0.22, 0.72), (0.28, 0.90)), fc="#34495E"),  # child
        Circle(*at((0.225, 0.695)), 0.032 * size, fc="#8D5A3B"),
    ]
    for shape in shapes:
        shape.set(zorder=3, clip_path=frame)
        ax.add_patch(shape)
    for place, weight in enumerate(weights or []):
        (corner,) = at((place % 7 / 7, place // 7 / 7))
        shade = 0.72 * (1 - weight / max(weights))
        ax.add_patch(Rectangle(corner, size / 7, size / 7, fc=(0.08, 0.09, 0.14, shade), zorder=4))
