"""Vehicles, furniture and toys of the drawn scenes: one painter for each.

A painter gets a canvas whose origin is at the foot and whose unit is the height, the color, a
random generator for details, and a pose.
"""

import math
import random

from captioning.toy.animals import CREAM, HAIR, SKIN
from captioning.toy.canvas import Canvas, Color, darker, lighter

STEEL, TIRE, GLASS = (186, 190, 196), (44, 44, 50), (186, 214, 226)

# Lists of points read best in long lines.
# fmt: off


def wheel(c: Canvas, u: float, v: float, r: float) -> None:
    c.oval(u, v, r, r, TIRE)
    c.oval(u, v, r * 0.55, r * 0.55, STEEL)
    c.oval(u, v, r * 0.2, r * 0.2, TIRE, 0)


def car(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    c.blob([(-0.7, 0.5), (-0.5, 0.92), (-0.2, 1.02), (0.2, 1.0), (0.5, 0.82), (0.72, 0.5)], color)
    c.poly([(-0.56, 0.58), (-0.42, 0.86), (-0.06, 0.92), (-0.06, 0.58)], GLASS)
    c.poly([(0.02, 0.58), (0.02, 0.92), (0.26, 0.88), (0.54, 0.58)], GLASS)
    c.poly([(-0.36, 0.6), (-0.26, 0.86), (-0.18, 0.88), (-0.28, 0.6)], (232, 242, 246), 0)
    c.blob([(-1.06, 0.3), (-1.04, 0.54), (-0.8, 0.6), (0.0, 0.6), (0.8, 0.58), (1.08, 0.46),
        (1.1, 0.24), (0.6, 0.17), (-0.6, 0.17), (-1.0, 0.2)], color)
    c.stroke([(-0.9, 0.28), (0.95, 0.28)], 0.035, darker(color, 0.3), 0)
    c.stroke([(-0.02, 0.56), (-0.02, 0.24)], 0.015, darker(color, 0.4), 0)
    c.stroke([(0.04, 0.47), (0.14, 0.47)], 0.03, darker(color, 0.5), 0)
    c.oval(1.0, 0.4, 0.075, 0.075, (255, 240, 180))
    c.oval(-1.0, 0.44, 0.05, 0.07, (206, 50, 50))
    for u in (-0.62, 0.62):
        wheel(c, u, 0.2, 0.2)


def bus(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    c.blob([(-0.96, 0.16), (-0.99, 0.5), (-0.96, 0.9), (-0.88, 0.99), (0.0, 1.0), (0.9, 0.99),
        (0.98, 0.88), (1.0, 0.5), (0.98, 0.15), (0, 0.12)], color)
    c.box(-0.9, 0.36, 1.84, 0.06, CREAM if sum(color) < 660 else (120, 130, 150), 0)
    for k in range(5):
        c.box(-0.88 + k * 0.28, 0.54, 0.23, 0.3, GLASS, 0.4)
        c.poly([(-0.86 + k * 0.28, 0.56), (-0.78 + k * 0.28, 0.82), (-0.72 + k * 0.28, 0.82),
            (-0.8 + k * 0.28, 0.56)], (230, 240, 244), 0)
        if rng.random() < 0.45:
            c.oval(-0.76 + k * 0.28, 0.6, 0.055, 0.09, rng.choice(SKIN), 0)
            c.oval(-0.76 + k * 0.28, 0.66, 0.055, 0.05, rng.choice(HAIR), 0, arc=(0, 0.5))
    c.box(0.55, 0.2, 0.2, 0.62, (206, 222, 228), 0.4)
    c.box(0.8, 0.48, 0.17, 0.36, GLASS, 0.4)
    c.oval(0.93, 0.26, 0.045, 0.05, (255, 240, 180))
    c.stroke([(-0.8, 0.93), (0.8, 0.93)], 0.03, lighter(color, 0.3), 0)
    for u in (-0.58, 0.38):
        wheel(c, u, 0.13, 0.13)


def bicycle(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    for u in (-0.5, 0.5):
        for turn in range(5):
            a = turn * math.pi / 5
            c.stroke([(u - 0.3 * math.cos(a), 0.33 - 0.3 * math.sin(a)),
                (u + 0.3 * math.cos(a), 0.33 + 0.3 * math.sin(a))], 0.012, (170, 172, 178), 0)
        for k in range(20):
            a, b = k * math.pi / 10, (k + 1) * math.pi / 10
            c.stroke([(u + 0.31 * math.cos(a), 0.33 + 0.31 * math.sin(a)),
                (u + 0.31 * math.cos(b), 0.33 + 0.31 * math.sin(b))], 0.06, TIRE, 0)
    bars = [(-0.5, 0.33), (-0.02, 0.3), (0.36, 0.78), (-0.2, 0.74), (-0.02, 0.3)]
    for line in (bars, [(-0.5, 0.33), (-0.2, 0.74), (-0.23, 0.88)],
            [(0.5, 0.33), (0.36, 0.78), (0.33, 0.96)]):
        c.stroke(line, 0.085, color)
    c.stroke([(0.33, 0.97), (0.2, 1.0)], 0.06, TIRE)
    c.blob([(-0.38, 0.9), (-0.12, 0.92), (-0.12, 0.86), (-0.34, 0.84)], (74, 52, 44))
    c.oval(-0.02, 0.3, 0.08, 0.08, STEEL)
    if rng.random() < 0.5:
        c.poly([(0.4, 0.86), (0.66, 0.86), (0.62, 0.64), (0.44, 0.64)], (196, 156, 104))


def boat(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    c.stroke([(0.02, 0.2), (0.02, 1.0)], 0.03, (136, 104, 74))
    c.poly([(0.06, 0.96), (0.06, 0.32), (0.56, 0.32), (0.4, 0.58)], CREAM)
    c.poly([(-0.02, 0.9), (-0.02, 0.32), (-0.42, 0.32)], (236, 228, 210))
    c.stroke([(0.08, 0.5), (0.42, 0.5)], 0.02, (206, 196, 176), 0)
    c.poly([(0.02, 1.0), (-0.16, 0.96), (0.02, 0.91)], color)
    c.blob([(-0.66, 0.3), (-0.3, 0.25), (0.3, 0.25), (0.72, 0.32), (0.56, 0.08), (0.3, -0.02),
        (-0.36, -0.02), (-0.56, 0.1)], color)
    c.stroke([(-0.6, 0.27), (-0.3, 0.22), (0.3, 0.22), (0.64, 0.28)], 0.035, lighter(color, 0.55),
        0)
    for u in (-0.25, 0.02, 0.28):
        c.oval(u, 0.12, 0.04, 0.04, (222, 232, 236))
    c.thing = 0
    for u in (-0.6, -0.1, 0.36):
        c.oval(u + 0.1, -0.03, 0.24, 0.035, (230, 242, 246), 0, 0.75)


def umbrella(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    """Paint a person's umbrella ("held"), or a parasol that stands in the sand ("stand")."""
    thin = 0.03 if pose == "stand" else 0.04
    c.stroke([(0, 0), (0, 0.92)], thin, (126, 106, 92))
    rim = 0.56
    c.oval(0, rim, 0.62, 0.42, color, arc=(0, 0.5))
    for k, (left, right) in enumerate(((-0.62, -0.36), (-0.36, 0), (0, 0.36), (0.36, 0.62))):
        tint = color if k % 2 else darker(color, 0.16)
        side = [(left * math.cos(a) * 1.0, rim + 0.42 * math.sin(a)) for a in (0, 0.5, 1.0, 1.3,
            1.57)]
        back = [(right * math.cos(a) * 1.0, rim + 0.42 * math.sin(a)) for a in (1.57, 1.3, 1.0, 0.5,
            0)]
        c.poly([*side, *back], tint, 0.2)
        c.oval((left + right) / 2, rim, (right - left) / 2, 0.05, tint, 0)
    c.oval(0, 1.0, 0.02, 0.035, (126, 106, 92))


def kite(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    string = [(0, 0.3), (-0.08, 0.1), (0.03, -0.1), (-0.06, -0.3)]
    c.stroke(string, 0.02, (120, 110, 110), 0)
    for u, v in string[1:]:
        for side in (-1, 1):
            c.poly([(u, v), (u + side * 0.09, v + 0.06), (u + side * 0.09, v - 0.06)],
                lighter(color, 0.25))
    c.poly([(0, 1.0), (0.34, 0.66), (0, 0.26), (-0.34, 0.66)], color)
    c.poly([(0, 1.0), (0.34, 0.66), (0, 0.66)], lighter(color, 0.25), 0)
    c.poly([(0, 0.26), (-0.34, 0.66), (0, 0.66)], darker(color, 0.12), 0)
    c.stroke([(0, 1.0), (0, 0.26)], 0.02, darker(color, 0.45), 0)
    c.stroke([(-0.34, 0.66), (0.34, 0.66)], 0.02, darker(color, 0.45), 0)


def ball(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    c.oval(0, 0.5, 0.5, 0.5, color)
    turn = rng.uniform(0, 3)
    light = CREAM if sum(color) < 660 else (150, 160, 176)
    for k in range(3):
        a = turn + k * 2.1
        c.oval(0.3 * math.cos(a), 0.5 + 0.3 * math.sin(a), 0.17, 0.07, light, 0, turn=a)
    c.oval(0, 0.5, 0.09, 0.09, light, 0)
    c.oval(-0.18, 0.74, 0.1, 0.06, (255, 255, 255), 0, 0.6, turn=0.6)


def bench(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    iron = (66, 68, 74)
    for u in (-0.72, 0.72):
        c.stroke([(u, 0.0), (u, 0.5), (u * 1.02, 1.0)], 0.07, iron)
        c.stroke([(u * 1.12, 0.0), (u * 1.12, 0.4)], 0.06, iron)
    for v in (0.86, 0.7):
        c.box(-0.86, v, 1.72, 0.12, color)
    c.poly([(-0.84, 0.52), (0.84, 0.52), (0.94, 0.4), (-0.94, 0.4)], lighter(color, 0.12))
    c.box(-0.94, 0.32, 1.88, 0.09, darker(color, 0.12))
    for u in (-0.72, 0.72):
        c.stroke([(u * 1.12, 0.4), (u * 1.16, 0.64), (u * 1.0, 0.66)], 0.06, iron)


def chair(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    dark = darker(color, 0.22)
    for u in (-0.24, 0.24):
        c.stroke([(u, 0.4), (u, 0.08)], 0.06, darker(color, 0.4))
    c.stroke([(-0.28, 0.42), (-0.28, 0.97)], 0.075, dark)
    c.stroke([(0.28, 0.42), (0.28, 0.97)], 0.075, dark)
    for v in (0.86, 0.7, 0.55):
        c.box(-0.27, v, 0.54, 0.1, color)
    c.poly([(-0.3, 0.5), (0.3, 0.5), (0.38, 0.38), (-0.38, 0.38)], lighter(color, 0.18))
    c.box(-0.38, 0.31, 0.76, 0.08, color)
    for u in (-0.33, 0.33):
        c.stroke([(u, 0.32), (u, 0.03)], 0.075, dark)


def couch(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    for u in (-0.85, 0.85):
        c.stroke([(u, 0.12), (u, 0.03)], 0.08, (96, 70, 52))
    c.blob([(-0.9, 0.3), (-0.92, 0.84), (-0.8, 0.98), (0, 1.0), (0.8, 0.98), (0.92, 0.84),
        (0.9, 0.3)], color)
    for u in (-0.4, 0.4):
        c.blob([(u - 0.36, 0.5), (u - 0.38, 0.84), (u, 0.9), (u + 0.38, 0.84), (u + 0.36, 0.5)],
            lighter(color, 0.08), 0.2)
        c.blob([(u - 0.4, 0.34), (u - 0.38, 0.52), (u, 0.55), (u + 0.38, 0.52), (u + 0.4, 0.34)],
            lighter(color, 0.2), 0.25)
    c.box(-0.86, 0.1, 1.72, 0.28, color)
    for side in (-1, 1):
        c.blob([(side * 1.08, 0.1), (side * 1.12, 0.5), (side * 1.0, 0.66), (side * 0.82, 0.58),
            (side * 0.8, 0.1)], darker(color, 0.1))
    if rng.random() < 0.6:
        side = rng.choice([-1, 1])
        c.blob([(side * 0.52, 0.5), (side * 0.56, 0.76), (side * 0.78, 0.72), (side * 0.74, 0.48)],
            rng.choice([CREAM, (216, 190, 150), (150, 160, 170)]))


def teddy_bear(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    pale = lighter(color, 0.45)
    for side in (-1, 1):
        c.oval(side * 0.32, 0.46, 0.11, 0.19, color, turn=side * 0.6)
        c.oval(side * 0.23, 0.94, 0.1, 0.1, color)
        c.oval(side * 0.23, 0.94, 0.055, 0.055, pale, 0)
    c.oval(0, 0.36, 0.29, 0.3, color)
    c.oval(0, 0.34, 0.17, 0.2, pale, 0)
    c.oval(0, 0.78, 0.29, 0.235, color)
    for side in (-1, 1):
        c.oval(side * 0.27, 0.13, 0.15, 0.13, color)
        c.oval(side * 0.28, 0.12, 0.085, 0.075, pale, 0)
        c.oval(side * 0.11, 0.83, 0.028, 0.032, (30, 26, 30), 0)
    c.oval(0, 0.71, 0.13, 0.095, pale, 0)
    c.oval(0, 0.745, 0.045, 0.032, (46, 36, 36), 0)
    c.stroke([(0, 0.72), (0, 0.67)], 0.014, (46, 36, 36), 0)
    bow = rng.choice([(206, 60, 70), (70, 120, 200), (240, 200, 80)])
    for side in (-1, 1):
        c.poly([(0, 0.565), (side * 0.13, 0.62), (side * 0.13, 0.51)], bow)


def potted_plant(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    leaf = rng.choice([(74, 140, 80), (96, 156, 90), (58, 122, 86)])
    for k in range(9):
        a = math.pi * (0.08 + 0.105 * k) + rng.uniform(-0.06, 0.06)
        r = rng.uniform(0.44, 0.58)
        u, v = r * math.cos(a) * 0.8, 0.42 + r * math.sin(a)
        c.stroke([(0, 0.36), (u * 0.6, 0.36 + (v - 0.36) * 0.62)], 0.022, darker(leaf, 0.2), 0)
        turn = math.atan2(v - 0.4, u)
        c.oval(u * 0.8, 0.4 + (v - 0.4) * 0.8, 0.17, 0.075, lighter(leaf, 0.12 * (k % 3)),
            turn=turn)
    c.poly([(-0.24, 0.36), (0.24, 0.36), (0.17, 0.0), (-0.17, 0.0)], color)
    c.box(-0.28, 0.33, 0.56, 0.1, lighter(color, 0.1))
    c.poly([(-0.18, 0.32), (-0.12, 0.32), (-0.1, 0.03), (-0.14, 0.03)], lighter(color, 0.4), 0,
        0.6)


def balloon(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    c.stroke([(0, 0.4), (0.03, 0.25), (-0.02, 0.12), (0, 0.0)], 0.014, (110, 104, 104), 0)
    c.blob([(0, 0.4), (0.24, 0.58), (0.28, 0.8), (0.17, 0.96), (0, 1.0), (-0.17, 0.96),
        (-0.28, 0.8), (-0.24, 0.58)], color)
    c.poly([(0, 0.42), (0.05, 0.36), (-0.05, 0.36)], color)
    c.oval(-0.12, 0.84, 0.05, 0.09, (255, 255, 255), 0, 0.65, turn=-0.4)
