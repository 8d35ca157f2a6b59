"""The open country of the drawn scenes: beach, park, snow, lake and farm, and their parts.

A setting's painter gets an empty canvas, the row `horizon` where the ground begins, and a random
generator.
"""

import random

import numpy as np

from captioning.toy.canvas import Canvas, Color, darker, lighter, mix

# Lists of points and colors read best in long lines.
# fmt: off

LEAVES = [(86, 138, 74), (104, 152, 78), (70, 124, 84), (128, 160, 80)]
SKIES = [
    ((108, 172, 226), (214, 234, 244)), ((132, 188, 220), (240, 238, 220)),
    ((120, 150, 206), (250, 214, 186)), ((158, 178, 196), (222, 228, 230)),
]


def sky(c: Canvas, horizon: float, rng: random.Random, clouds: int = 3) -> None:
    """Paint the sky of one of four hours, with clouds and sometimes a sun."""
    upper, lower = rng.choice(SKIES)
    c.gradient(0, horizon + 2, upper, lower)
    if rng.random() < 0.4:
        x, y = c.width * rng.uniform(0.1, 0.9), horizon * rng.uniform(0.15, 0.45)
        r = c.width * 0.04
        c.oval(x, y, r * 1.7, r * 1.7, (255, 246, 206), 0, alpha=0.35)
        c.oval(x, y, r, r, (255, 244, 200), 0)
    for _ in range(rng.randint(0, clouds)):
        x, y = c.width * rng.uniform(0, 1), horizon * rng.uniform(0.08, 0.55)
        r = c.width * rng.uniform(0.04, 0.08)
        puffs = ((-1.3, 0.15, 0.6), (-0.5, -0.2, 0.9), (0.5, -0.05, 0.8), (1.4, 0.2, 0.5))
        for u, v, size in puffs:
            wide, tall = size * r * 1.25, size * r * 0.7
            c.oval(x + u * r, y + v * r, wide, tall, (253, 252, 250), 0, 0.75)


def ridge(
    c: Canvas, base: float, height: float, color: Color, rng: random.Random, peaks: int
) -> None:
    """Paint smooth hills along the horizon."""
    u = np.linspace(-0.1, 1.1, peaks * 2 + 1) * c.width
    v = [base - height * rng.uniform(0.25, 0.5 if i % 2 else 1.0) for i in range(len(u))]
    fine = np.linspace(u[0], u[-1], 60)
    curve = np.interp(fine, u, v)
    curve = np.convolve(np.pad(curve, 4, mode="edge"), np.ones(9) / 9, "valid")
    c.poly([(u[-1], base + 4), (u[0], base + 4), *zip(fine, curve, strict=True)], color, 0.12)


def mountains(c: Canvas, base: float, height: float, color: Color, rng: random.Random) -> None:
    """Paint pointed mountains with snow on top."""
    for across in (0.05, 0.8, 0.4, 0.62, 0.2):
        x, tall = c.width * (across + rng.uniform(-0.1, 0.1)), height * rng.uniform(0.6, 1)
        wide = tall * rng.uniform(0.9, 1.3)
        rock = mix(color, (225, 230, 240), rng.uniform(0, 0.3))
        c.poly([(x - wide, base + 2), (x, base - tall), (x + wide, base + 2)], rock, 0.15)
        c.poly([(x, base - tall), (x + wide, base + 2), (x + wide * 0.15, base + 2)],
            darker(rock, 0.13), 0)
        snow = [(0, 1), (0.32, 0.68), (0.16, 0.74), (0.04, 0.64), (-0.12, 0.75), (-0.32, 0.68)]
        c.poly([(x + u * wide, base - v * tall) for u, v in snow], (248, 250, 253), 0)


def tree(c: Canvas, x: float, y: float, height: float, rng: random.Random) -> None:
    """Paint a round leafy tree whose foot is at (x, y)."""
    c.shade(x, y, height * 0.35, height * 0.07, 0.75)
    c.place(x, y, height)
    leaf = rng.choice(LEAVES)
    c.stroke([(0, 0), (0.01, 0.5)], 0.09, (112, 84, 62))
    c.stroke([(0, 0.3), (0.14, 0.5)], 0.045, (112, 84, 62))
    for u, v, r in ((-0.19, 0.55, 0.2), (0.2, 0.58, 0.2), (0.0, 0.74, 0.26), (-0.02, 0.52, 0.2)):
        c.oval(u, v, r * rng.uniform(0.9, 1.1), r, leaf, 0.2)
    for _ in range(7):
        u, v = rng.uniform(-0.22, 0.16), rng.uniform(0.5, 0.86)
        c.oval(u, v, 0.05, 0.028, lighter(leaf, 0.25), 0, 0.8)
    c.in_pixels()


def fir(c: Canvas, x: float, y: float, height: float, snowy: bool) -> None:
    c.shade(x, y, height * 0.25, height * 0.05, 0.8)
    c.place(x, y, height)
    c.stroke([(0, 0), (0, 0.2)], 0.07, (96, 74, 60))
    for v, half, tall in ((0.12, 0.27, 0.42), (0.36, 0.21, 0.38), (0.6, 0.15, 0.4)):
        c.poly([(-half, v), (half, v), (0, v + tall)], (58, 104, 84), 0.25)
        if snowy:
            tip = [(-half * 0.5, v + tall * 0.5), (0, v + tall * 0.42),
                (half * 0.5, v + tall * 0.5)]
            c.poly([*tip, (0, v + tall)], (244, 248, 252), 0.08)
    c.in_pixels()


def palm(c: Canvas, x: float, y: float, height: float, rng: random.Random) -> None:
    c.place(x, y, height, flip=x > c.width / 2)
    c.stroke([(0, 0), (0.03, 0.35), (0.1, 0.65), (0.2, 0.9)], 0.05, (150, 116, 82))
    for turn in (-0.5, 0.1, 0.7, 2.2, 2.8, 3.5):
        u, v = np.cos(turn) * 0.34, np.sin(turn) * 0.22
        c.blob([(0.2, 0.92), (0.2 + u * 0.5, 0.97 + v), (0.2 + u, 0.86 + v * 0.8),
            (0.2 + u * 0.5, 0.9 + v * 0.8)], rng.choice(LEAVES))
    c.in_pixels()


def waves(c: Canvas, top: float, bottom: float, rng: random.Random, count: int) -> None:
    for _ in range(count):
        x, near = c.width * rng.uniform(-0.1, 1), rng.random() ** 1.3  # near: 0 far, 1 close
        y, wide = top + 3 + (bottom - top - 6) * near, c.width * (0.04 + 0.1 * near)
        crest = [(x, y), (x + wide * 0.25, y - 1.5 - near), (x + wide * 0.5, y),
            (x + wide * 0.75, y - 1.5 - near), (x + wide, y)]
        c.poly([*crest, (x + wide * 0.5, y + 1.2)], (236, 246, 248), 0, 0.6)


def grass(
    c: Canvas, top: float, rng: random.Random, upper: Color, lower: Color, flowers: int
) -> None:
    """Paint a meadow from `top` to the lower edge, with tufts and flowers."""
    c.gradient(top, c.height, upper, lower)
    c.grain(top, c.height, rng, 9, (26, 8))
    c.grain(top, c.height, rng, 7, (3, 3))
    for _ in range(26 + flowers):
        near = rng.random() ** 0.7  # 0 at the top, 1 at the lower edge
        x, y, size = c.width * rng.random(), top + 4 + (c.height - top) * near, 3 + 5 * near
        for lean in (-0.5, 0, 0.45):
            c.poly([(x - 1, y), (x + lean * size, y - size), (x + 1, y)], darker(lower, 0.16), 0)
        if flowers > 0:
            flowers -= 1
            petal = rng.choice([(250, 246, 240), (250, 220, 110), (238, 170, 190), (196, 170, 226)])
            for u, v in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                c.oval(x + u * size * 0.2, y - size + v * size * 0.2, size * 0.2, size * 0.2, petal,
                    0)
            c.oval(x, y - size, size * 0.14, size * 0.14, (232, 176, 60), 0)


def beach(c: Canvas, horizon: float, rng: random.Random) -> None:
    sky(c, horizon, rng)
    shore = horizon + (c.height - horizon) * 0.36
    c.gradient(horizon, shore + 8, (58, 142, 178), (126, 206, 206))
    waves(c, horizon, shore, rng, 26)
    u = np.linspace(0, c.width, 24)
    line = shore + 4 * np.sin(u / c.width * rng.uniform(9, 15) + rng.uniform(0, 6))
    c.poly([*zip(u, line - 4, strict=True), (c.width, c.height), (0, c.height)], (248, 252, 250), 0)
    c.poly([*zip(u, line + 2, strict=True), (c.width, c.height), (0, c.height)], (206, 184, 142), 0)
    c.poly([*zip(u, line + 12, strict=True), (c.width, c.height), (0, c.height)], (234, 214, 168),
        0)
    c.grain(shore + 16, c.height, rng, 8, (14, 6))
    c.grain(shore + 8, c.height, rng, 9, (2, 2))
    for _ in range(rng.randint(2, 5)):
        x, y = c.width * rng.random(), shore + (c.height - shore) * rng.uniform(0.3, 0.97)
        c.oval(x, y, 4, 2.6, rng.choice([(250, 238, 226), (238, 196, 180), (214, 170, 140)]), 0.3,
            arc=(0, 0.5), turn=3.14)
    if rng.random() < 0.45:
        palm(c, c.width * rng.choice([0.05, 0.95]), shore + 14, c.height * 0.5, rng)


def park(c: Canvas, horizon: float, rng: random.Random) -> None:
    sky(c, horizon, rng)
    ridge(c, horizon, horizon * 0.3, (146, 178, 150), rng, 3)
    grass(c, horizon, rng, (138, 184, 104), (112, 166, 82), rng.randint(6, 20))
    x, mid = c.width * rng.uniform(0.1, 0.9), c.width * rng.uniform(0.3, 0.7)
    low, h = c.height, c.height - horizon
    path = [(x, horizon), (x + 6, horizon), (mid + 30, horizon + h * 0.4), (mid + 50, low + 20),
        (mid - 50, low + 20), (mid - 10, horizon + h * 0.4)]
    c.blob(path, (214, 198, 164), 0.1)
    for across in sorted(rng.uniform(-0.02, 1.02) for _ in range(rng.randint(3, 5))):
        tree(c, c.width * across, horizon + h * rng.uniform(0.02, 0.12),
            horizon * rng.uniform(0.55, 0.9), rng)


def snow(c: Canvas, horizon: float, rng: random.Random) -> None:
    c.gradient(0, horizon, *rng.choice([((156, 184, 212), (232, 238, 244)),
        ((182, 190, 206), (238, 232, 230))]))
    mountains(c, horizon, horizon * 0.75, (142, 158, 184), rng)
    ridge(c, horizon, horizon * 0.16, (224, 232, 242), rng, 3)
    c.gradient(horizon, c.height, (222, 230, 242), (246, 248, 252))
    c.grain(horizon, c.height, rng, 6, (50, 16))
    for across in (rng.uniform(0, 0.2), rng.uniform(0.22, 0.5), rng.uniform(0.55, 0.78),
            rng.uniform(0.8, 1)):
        if rng.random() < 0.75:
            fir(c, c.width * across, horizon + c.height * rng.uniform(0, 0.05),
                horizon * rng.uniform(0.45, 0.85), True)
    for _ in range(4):
        x, y = c.width * rng.random(), horizon + (c.height - horizon) * rng.uniform(0.2, 0.95)
        c.oval(x, y, c.width * 0.12, 4, (208, 220, 238), 0, 0.6)


def lake(c: Canvas, horizon: float, rng: random.Random) -> None:
    sky(c, horizon, rng)
    mountains(c, horizon, horizon * 0.6, (126, 148, 160), rng)
    ridge(c, horizon, horizon * 0.2, (98, 136, 104), rng, 4)
    shore = horizon + (c.height - horizon) * 0.5
    c.gradient(horizon, shore + 6, (92, 146, 172), (136, 186, 198))
    mirror = c.image[max(0, round(horizon) - 30) : round(horizon)][::-1]
    water = c.image[round(horizon) : round(horizon) + len(mirror)]
    water[:] = water * 0.6 + mirror[: len(water)] * 0.4
    waves(c, horizon, shore, rng, 14)
    grass(c, shore, rng, (132, 168, 96), (106, 152, 78), rng.randint(3, 9))
    for _ in range(rng.randint(2, 4)):
        x = c.width * rng.choice([rng.uniform(0, 0.2), rng.uniform(0.8, 1)])
        for _ in range(6):
            u, tall = x + rng.uniform(-12, 12), c.height * rng.uniform(0.06, 0.13)
            c.stroke([(u, shore + 8), (u + 2, shore + 8 - tall)], 1.6, (104, 132, 72), 0)
            c.stroke([(u + 2, shore + 8 - tall), (u + 2, shore + 2 - tall)], 3.6, (122, 90, 62), 0)


def farm(c: Canvas, horizon: float, rng: random.Random) -> None:
    sky(c, horizon, rng)
    ridge(c, horizon, horizon * 0.34, (188, 192, 128), rng, 2)
    ridge(c, horizon, horizon * 0.16, (160, 182, 108), rng, 3)
    x, tall = c.width * rng.uniform(0.08, 0.72), horizon * rng.uniform(0.34, 0.46)
    c.place(x, horizon + 3, tall)
    barn = rng.choice([(164, 84, 72), (172, 122, 92)])
    c.poly([(0, 0), (1.2, 0), (1.2, 0.6), (0.95, 0.9), (0.6, 1.05), (0.25, 0.9), (0, 0.6)], barn)
    c.poly([(-0.06, 0.58), (0.23, 0.94), (0.6, 1.1), (0.97, 0.94), (1.26, 0.58), (1.2, 0.54),
        (0.93, 0.86), (0.6, 1.0), (0.27, 0.86), (0, 0.54)], (110, 96, 96))
    c.box(0.38, 0, 0.44, 0.42, (240, 230, 216), 0.4)
    c.stroke([(0.4, 0.02), (0.8, 0.4)], 0.03, barn, 0)
    c.stroke([(0.4, 0.4), (0.8, 0.02)], 0.03, barn, 0)
    c.box(0.5, 0.6, 0.2, 0.18, (240, 230, 216), 0.4)
    c.in_pixels()
    grass(c, horizon, rng, (164, 186, 100), (132, 168, 82), rng.randint(2, 12))
    for _ in range(rng.randint(0, 2)):
        u, r = c.width * rng.random(), c.height * 0.035
        c.oval(u, horizon + r * 0.6, r * 1.2, r, (222, 190, 106), 0.3)
        c.oval(u, horizon + r * 0.6, r * 0.6, r * 0.5, (206, 170, 90), 0.2)
    rail = horizon + (c.height - horizon) * 0.08
    for u in np.arange(0, c.width + 20, c.width / 9).tolist():
        c.box(u - 2, rail - 14, 4, 20, (226, 214, 194), 0.35)
    for v in (rail - 10, rail - 3):
        c.box(0, v, c.width, 3, (232, 222, 204), 0.3)
