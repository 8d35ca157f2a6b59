"""The eight settings of the drawn scenes: the background behind the things, and the light.

SETTINGS          {name: painter(canvas, horizon, rng)}; the ground begins at row `horizon`
SETTING_WORDS     {name: words that name the setting in a caption}
finish(...)       falling snow, the light of the hour, vignette and noise, added last
"""

import random

import numpy as np

from captioning.toy.canvas import Canvas, darker, lighter
from captioning.toy.nature import beach, farm, lake, park, sky, snow, tree

FACADES = [(226, 205, 176), (214, 180, 160), (196, 208, 204), (221, 213, 226), (232, 222, 190)]

# Lists of points read best in long lines.
# fmt: off


def lamp(c: Canvas, x: float, y: float, height: float, lit: bool) -> None:
    c.place(x, y, height)
    c.stroke([(0, 0), (0, 0.9)], 0.025, (66, 70, 80), 0.2)
    c.stroke([(0, 0.9), (0.1, 0.93)], 0.022, (66, 70, 80), 0.2)
    c.poly([(0.05, 0.86), (0.15, 0.86), (0.13, 0.95), (0.07, 0.95)],
        (250, 232, 170) if lit else (214, 220, 222), 0.4)
    if lit:
        c.oval(0.1, 0.89, 0.16, 0.16, (255, 226, 150), 0, 0.25)
    c.in_pixels()
    if lit:
        c.shade(x + 0.1 * height, y + height * 0.06, height * 0.3, height * 0.09, 1.75)


def houses(c: Canvas, base: float, rng: random.Random) -> None:
    """Paint a row of house fronts with roofs, windows, doors and flower boxes."""
    x = -c.width * rng.uniform(0, 0.15)
    while x < c.width:
        wide, tall = c.width * rng.uniform(0.2, 0.32), base * rng.uniform(0.55, 0.85)
        wall, top = rng.choice(FACADES), base - tall
        c.box(x, top, wide, tall, wall, 0.25)
        if rng.random() < 0.6:
            roof = rng.choice([(152, 96, 80), (110, 104, 112), (134, 110, 92)])
            c.poly([(x - 3, top), (x + wide / 2, top - base * 0.17), (x + wide + 3, top)], roof)
        else:
            c.box(x - 2, top - 5, wide + 4, 7, darker(wall, 0.15))
        columns, rows, door = rng.choice([2, 3]), 2, rng.randrange(2)
        for row in range(rows):
            for column in range(columns):
                w, h = wide / columns * 0.44, tall * 0.24
                u = x + wide * (column + 0.5) / columns - w / 2
                v = top + tall * (0.12 + 0.44 * row)
                if row == 1 and column == door:
                    c.box(u, v, w, base - v, (118, 92, 78), 0.4)
                    c.oval(u + w * 0.8, (v + base) / 2, 1.3, 1.3, (230, 210, 140), 0)
                    continue
                c.box(u - 1.5, v - 1.5, w + 3, h + 3, (248, 246, 240), 0.25)
                c.box(u, v, w, h, (142, 172, 192), 0.2)
                c.poly([(u, v + h), (u, v + h * 0.4), (u + w, v), (u + w, v + h * 0.3)],
                    (188, 210, 220), 0)
                if rng.random() < 0.3:
                    for k in range(4):
                        c.oval(u + w * (k + 0.5) / 4, v + h + 2, 2.4, 2,
                            rng.choice([(214, 120, 130), (232, 206, 130)]), 0)
        x += wide + rng.choice([0, 0, 3])


def street(c: Canvas, horizon: float, rng: random.Random) -> None:
    sky(c, horizon, rng, 2)
    houses(c, horizon, rng)
    walk = horizon + (c.height - horizon) * 0.22
    c.gradient(horizon, walk, (184, 180, 174), (202, 198, 190))
    for k in range(9):
        x = c.width * k / 8
        c.poly([(x, horizon), (x + (x - c.width / 2) * 0.08, walk),
            (x + (x - c.width / 2) * 0.08 + 1, walk)], (160, 157, 152), 0)
    c.box(0, walk, c.width, 4, (222, 219, 210), 0.2)
    c.gradient(walk + 4, c.height, (112, 112, 118), (136, 134, 138))
    c.grain(walk + 4, c.height, rng, 7, (5, 3))
    middle = (walk + c.height) / 2 + 6
    for k in range(-1, 6):
        x = c.width * (k + rng.uniform(0.2, 0.24)) / 5
        c.poly([(x, middle), (x + c.width * 0.09, middle), (x + c.width * 0.08, middle + 5),
            (x - c.width * 0.02, middle + 5)], (234, 230, 214), 0)
    for across in (rng.uniform(0.02, 0.3), rng.uniform(0.7, 0.95)):
        if rng.random() < 0.5:
            tree(c, c.width * across, walk - 4, horizon * rng.uniform(0.6, 0.9), rng)
        else:
            lamp(c, c.width * across, walk - 2, horizon * 0.9, False)


def night_city(c: Canvas, horizon: float, rng: random.Random) -> None:
    c.gradient(0, horizon, (22, 26, 66), rng.choice([(92, 74, 130), (60, 78, 132), (122, 84, 118)]))
    for _ in range(45):
        r = rng.choice([0.5, 0.7, 1.1])
        c.oval(c.width * rng.random(), horizon * rng.uniform(0, 0.7), r, r, (240, 238, 220), 0)
    x, y, r = c.width * rng.uniform(0.1, 0.9), horizon * rng.uniform(0.12, 0.3), c.width * 0.045
    c.oval(x, y, r * 1.8, r * 1.8, (240, 236, 200), 0, 0.2)
    c.oval(x, y, r, r, (246, 240, 214), 0)
    for layer, tint in ((0.85, (62, 60, 104)), (0.6, (40, 40, 74))):
        x = -c.width * rng.uniform(0, 0.1)
        while x < c.width:
            wide, tall = c.width * rng.uniform(0.1, 0.2), horizon * layer * rng.uniform(0.55, 1)
            c.box(x, horizon - tall, wide, tall + 2, tint, 0.3)
            if rng.random() < 0.3:
                c.stroke([(x + wide / 2, horizon - tall), (x + wide / 2, horizon - tall * 1.12)], 2,
                    tint)
            for v in np.arange(horizon - tall + 6, horizon - 8, 10).tolist():
                for u in np.arange(x + 5, x + wide - 7, 9).tolist():
                    if rng.random() < 0.45:
                        c.box(u, v, 4.5, 5.5, rng.choice([(255, 222, 130), (255, 200, 110),
                            (190, 214, 232)]), 0)
            x += wide + rng.choice([0, 2, 5])
    walk = horizon + (c.height - horizon) * 0.16
    c.gradient(horizon, walk, (84, 82, 104), (104, 100, 118))
    c.box(0, walk, c.width, 3, (140, 136, 150), 0.2)
    c.gradient(walk + 3, c.height, (58, 58, 80), (80, 78, 98))
    c.grain(walk, c.height, rng, 6, (6, 3))
    for k in range(-1, 6):
        x, middle = c.width * (k + 0.3) / 5, (walk + c.height) / 2
        c.poly([(x, middle), (x + c.width * 0.09, middle), (x + c.width * 0.08, middle + 4),
            (x - c.width * 0.02, middle + 4)], (170, 166, 150), 0)
    for across in (rng.uniform(0.05, 0.25), rng.uniform(0.4, 0.6), rng.uniform(0.7, 0.92)):
        lamp(c, c.width * across, walk, horizon * 0.75, True)


def living_room(c: Canvas, horizon: float, rng: random.Random) -> None:
    wall = rng.choice([(220, 206, 184), (190, 208, 204), (216, 196, 200), (196, 204, 220),
        (214, 214, 188)])
    c.gradient(0, horizon, lighter(wall, 0.2), wall)
    step = c.width / rng.choice([12, 16, 20])
    if rng.random() < 0.6:
        for k in range(0, 21, 2):
            c.box(k * step, 0, step * 0.6, horizon, darker(wall, 0.06), 0)
    else:
        for k in range(140):
            c.oval(k % 14 * c.width / 13, (k // 14 + 0.5 * (k % 2)) * horizon / 9, 1.8, 1.8,
                darker(wall, 0.15), 0)
    for across, kind in zip(rng.sample([0.18, 0.5, 0.8], 3),
            ("window", "picture", rng.choice(["picture", "shelf", ""])), strict=True):
        x, y, w = c.width * across, horizon * rng.uniform(0.36, 0.44), c.width * 0.1
        if kind == "window":
            h = horizon * 0.3
            c.box(x - w - 4, y - h - 4, 2 * w + 8, 2 * h + 8, (250, 248, 242))
            c.box(x - w, y - h, 2 * w, 2 * h, (168, 208, 230), 0.2)
            c.oval(x - w * 0.1, y + h, w * 0.8, h * 0.5, (138, 178, 122), 0, arc=(0.5, 1))
            c.box(x - 1.5, y - h, 3, 2 * h, (250, 248, 242), 0.1)
            c.box(x - w, y - 1.5, 2 * w, 3, (250, 248, 242), 0.1)
            cloth = rng.choice([(206, 160, 150), (180, 176, 206), (226, 208, 160)])
            for side in (-1, 1):
                c.poly([(x + side * (w + 8), y - h - 8), (x + side * w * 0.4, y - h - 8),
                    (x + side * w * 0.85, y + h + 10), (x + side * (w + 8), y + h + 10)], cloth)
        elif kind == "picture":
            h = w * rng.uniform(0.6, 1.1)
            c.box(x - w * 0.8, y - h, w * 1.6, 2 * h, (134, 106, 80))
            c.box(x - w * 0.65, y - h * 0.8, w * 1.3, h * 1.6, (232, 228, 214), 0.2)
            c.poly([(x - w * 0.65, y + h * 0.8), (x - w * 0.1, y - h * 0.3),
                (x + w * 0.2, y + h * 0.3), (x + w * 0.4, y), (x + w * 0.65,
                y + h * 0.8)], rng.choice([(150, 170, 160), (190, 160, 150), (150, 160, 190)]), 0.1)
        elif kind == "shelf":
            for k in range(7):
                tall = horizon * rng.uniform(0.1, 0.17)
                c.box(x - w + k * w * 0.26, y - tall, w * 0.22, tall, rng.choice(FACADES), 0.35)
            c.box(x - w * 1.2, y, w * 2.4, 5, (150, 116, 86))
    boards = rng.choice([(190, 150, 110), (168, 130, 98), (206, 176, 140)])
    c.gradient(horizon, c.height, darker(boards, 0.08), boards)
    for k in range(-8, 17):
        x = c.width * k / 8
        c.poly([(x, horizon), (x + (x - c.width / 2) * 0.7, c.height),
            (x + (x - c.width / 2) * 0.7 + 1.5, c.height)], darker(boards, 0.2), 0)
    c.box(0, horizon - 7, c.width, 8, (244, 240, 232), 0.2)
    rug, x, y = rng.choice([(196, 176, 190), (176, 190, 196), (214, 196, 164),
        (190, 156, 146)]), c.width * rng.uniform(0.4, 0.6), (horizon + c.height) / 2 + 8
    for size, tint in ((1, rug), (0.88, lighter(rug, 0.4)), (0.8, rug), (0.45, lighter(rug, 0.25))):
        c.oval(x, y, c.width * 0.42 * size, (c.height - horizon) * 0.36 * size, tint, 0.12)


SETTING_WORDS = {
    "street": ["street", "road", "town"],
    "night city": ["night", "city", "downtown", "dark"],
    "beach": ["beach", "sea", "seaside", "ocean", "sand", "sandy"],
    "park": ["park"],
    "snow": ["snow", "snowy", "winter"],
    "lake": ["lake"],
    "farm": ["farm", "barn", "field", "meadow", "countryside"],
    "living room": ["room", "house", "indoors", "inside"],
}
SETTINGS = {
    "street": street, "night city": night_city, "beach": beach, "park": park, "snow": snow,
    "lake": lake, "farm": farm, "living room": living_room,
}


def finish(c: Canvas, setting: str, rng: random.Random) -> None:
    """Add falling snow, the light of the hour, a slight vignette and the camera's noise."""
    if setting == "snow" and rng.random() < 0.8:
        for _ in range(rng.randint(40, 110)):
            r = rng.choice([0.8, 1.1, 1.5, 2.0])
            c.oval(c.width * rng.random(), c.height * rng.random(), r, r, (255, 255, 255), 0, 0.85)
    hours = [(1, 1, 1), (0.95, 0.98, 1.02), (1.03, 1.03, 1.03), (1.04, 1, 0.94)]
    light = np.array(rng.choice(hours[:3] if setting == "snow" else hours))
    light = light * rng.uniform(0.93, 1.08) * ((0.86, 0.86, 0.98) if setting == "night city" else 1)
    down = np.linspace(-1, 1, c.height, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, c.width, dtype=np.float32)[None]
    vignette = 1 - rng.uniform(0.02, 0.12) * (down**2 + across**2)
    values = np.frombuffer(rng.randbytes(c.image.size), np.uint8).reshape(c.image.shape)
    noise = (values.astype(np.float32) - 127.5) * (rng.uniform(2, 9) / 127.5)
    bright = c.image * (vignette[:, :, None] * light.astype(np.float32))
    c.image[:] = np.clip(bright + noise, 0, 255)
