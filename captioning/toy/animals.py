"""People and animals of the drawn scenes: one painter for each.

A painter gets a canvas whose origin is at the feet and whose unit is the height, the color, a
random generator for details, and a pose. Faces look to the right; the canvas mirrors them.
"""

import random

from captioning.toy.canvas import Canvas, Color, darker, lighter

CREAM = (248, 244, 234)
SKIN = [(250, 216, 186), (232, 184, 146), (198, 142, 102), (140, 94, 66)]
HAIR = [(58, 42, 36), (110, 70, 44), (214, 174, 96), (170, 88, 48), (150, 146, 146)]
TROUSERS = [(62, 68, 92), (92, 88, 84), (70, 60, 58), (150, 136, 110)]

# Lists of points read best in long lines.
# fmt: off


def eye(c: Canvas, u: float, v: float, r: float) -> None:
    c.oval(u, v, r, r, (250, 250, 246), 0.5)
    c.oval(u + r * 0.15, v, r * 0.6, r * 0.65, (30, 26, 30), 0)


def person(c: Canvas, color: Color, rng: random.Random, pose: str, woman: bool) -> None:
    """Paint a person who stands, holds an arm up ("hold"), rides ("ride") or sits ("sit")."""
    skin, hair, shoes = rng.choice(SKIN), rng.choice(HAIR), rng.choice([(60, 44, 40), CREAM])
    legs = skin if woman else rng.choice(TROUSERS)
    if woman:
        c.blob([(-0.12, 0.74), (-0.14, 0.95), (0, 1.04), (0.14, 0.95), (0.12, 0.74), (0, 0.8)],
            hair)
    if pose == "ride":
        c.stroke([(0.0, 0.42), (0.13, 0.24), (0.07, 0.06)], 0.1, legs)
        c.stroke([(0.06, 0.04), (0.13, 0.04)], 0.07, shoes)
    else:
        for side in (-0.08, 0.08):
            c.stroke([(side, 0.42), (side * 1.2, 0.04)], 0.1, legs)
            c.stroke([(side * 1.2 - 0.02, 0.03), (side * 1.2 + 0.04, 0.03)], 0.07, shoes)
    left = right = [(0.21, 0.56), (0.2, 0.42)]  # elbow and hand
    if pose == "hold":
        right = [(0.26, 0.62), (0.31, 0.74)]
    elif pose == "ride":
        left, right = [(0.1, 0.6), (-0.2, 0.56)], [(0.22, 0.6), (0.34, 0.58)]
    for side, bend in ((-1, left), (1, right)):
        arm = [(side * u, v) for u, v in [(0.14, 0.71), *bend]]
        c.oval(*arm[-1], 0.045, 0.045, skin)
        c.stroke(arm, 0.085, darker(color, 0.08))
    c.stroke([(0, 0.76), (0, 0.82)], 0.07, skin)
    if woman:
        c.blob([(-0.12, 0.75), (0, 0.77), (0.12, 0.75), (0.1, 0.58), (0.25, 0.3), (0, 0.26),
            (-0.25, 0.3), (-0.1, 0.58)], color)
        c.stroke([(-0.09, 0.57), (0.09, 0.57)], 0.028, darker(color, 0.35), 0)
    else:
        c.blob([(-0.17, 0.73), (0, 0.77), (0.17, 0.73), (0.15, 0.56), (0.15, 0.39), (0, 0.37),
            (-0.15, 0.39), (-0.15, 0.56)], color)
        c.stroke([(0, 0.74), (0, 0.42)], 0.012, darker(color, 0.3), 0)
    c.oval(0, 0.9, 0.1, 0.112, skin)
    c.oval(0, 0.912, 0.107, 0.106, hair, 0.2, arc=(0.03, 0.47))
    if not woman and rng.random() < 0.25:
        c.oval(0, 0.96, 0.11, 0.07, (96, 84, 76), arc=(0, 0.5))
        c.stroke([(-0.15, 0.96), (0.15, 0.96)], 0.025, (96, 84, 76))
    for side in (-0.04, 0.04):
        c.oval(side, 0.892, 0.012, 0.015, (36, 30, 34), 0)
        c.oval(side * 1.5, 0.86, 0.02, 0.013, (238, 130, 120), 0, 0.5)
    c.oval(0, 0.853, 0.036, 0.022, (160, 60, 60), 0, arc=(0.5, 1))


def man(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    person(c, color, rng, pose, woman=False)


def woman(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    person(c, color, rng, pose, woman=True)


def dog(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    far = darker(color, 0.3)
    step = rng.uniform(-0.08, 0.1)
    wag = rng.uniform(0.8, 1.05)
    c.stroke([(-0.5, 0.62), (-0.68, 0.74), (-0.74, wag)], 0.1, color)
    c.stroke([(-0.36, 0.45), (-0.34 - step, 0.05)], 0.13, far)
    c.stroke([(0.3, 0.45), (0.3 + step, 0.05)], 0.13, far)
    c.blob([(-0.55, 0.6), (-0.3, 0.72), (0.2, 0.7), (0.45, 0.8), (0.54, 0.55), (0.3, 0.34),
        (-0.2, 0.38), (-0.52, 0.38)], color)
    c.oval(0.2, 0.42, 0.24, 0.07, lighter(color, 0.3), 0, 0.7)
    for u in (-0.44 + step, 0.4 - step / 2):
        c.stroke([(u, 0.45), (u, 0.06)], 0.14, color)
        c.oval(u + 0.04, 0.05, 0.1, 0.055, lighter(color, 0.35))
    c.blob([(0.36, 0.9), (0.55, 1.04), (0.74, 0.98), (0.96, 0.86), (0.94, 0.72), (0.7, 0.66),
        (0.45, 0.68)], color)
    c.oval(0.84, 0.76, 0.12, 0.085, lighter(color, 0.35), 0)
    c.oval(0.94, 0.84, 0.055, 0.045, (36, 30, 34), 0)
    c.stroke([(0.9, 0.74), (0.78, 0.71)], 0.018, (60, 30, 34), 0)
    if rng.random() < 0.5:
        c.blob([(0.8, 0.71), (0.88, 0.71), (0.87, 0.58), (0.81, 0.59)], (232, 110, 120), 0)
    eye(c, 0.66, 0.88, 0.05)
    c.blob([(0.46, 1.0), (0.56, 0.92), (0.54, 0.66), (0.42, 0.58), (0.35, 0.76)],
        darker(color, 0.38))
    c.stroke([(0.4, 0.68), (0.56, 0.62)], 0.055, rng.choice([(196, 60, 60), (70, 110, 190)]), 0)


def cat(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    end = rng.uniform(0.3, 0.55)
    c.stroke([(0.2, 0.08), (0.44, 0.1), (0.56, 0.26), (0.5, end)], 0.1, color)
    c.blob([(-0.14, 0.62), (0.14, 0.62), (0.27, 0.34), (0.33, 0.12), (0.24, 0.0), (-0.24, 0.0),
        (-0.33, 0.12), (-0.27, 0.34)], color)
    c.oval(0, 0.33, 0.12, 0.2, lighter(color, 0.4), 0, 0.8)
    for u in (-0.09, 0.09):
        c.stroke([(u, 0.3), (u, 0.05)], 0.11, color)
        c.oval(u, 0.045, 0.075, 0.045, lighter(color, 0.4))
    for side in (-1, 1):
        c.poly([(side * 0.27, 0.76), (side * 0.25, 1.06), (side * 0.06, 0.92)], color)
        c.poly([(side * 0.23, 0.82), (side * 0.22, 0.98), (side * 0.11, 0.9)], (236, 160, 160), 0)
    c.oval(0, 0.74, 0.29, 0.225, color)
    for u in (-0.06, 0, 0.06):
        c.stroke([(u, 0.96), (u * 0.8, 0.89)], 0.022, darker(color, 0.4), 0)
    for side in (-1, 1):
        c.oval(side * 0.12, 0.76, 0.062, 0.058, rng.choice([(176, 206, 84), (226, 196, 80)]), 0.4)
        c.oval(side * 0.12, 0.76, 0.02, 0.05, (24, 22, 26), 0)
        for v in (0.62, 0.67):
            c.stroke([(side * 0.1, 0.66), (side * 0.36, v + 0.02)], 0.01, lighter(color, 0.6), 0)
    c.oval(0, 0.65, 0.11, 0.07, lighter(color, 0.45), 0)
    c.poly([(-0.035, 0.69), (0.035, 0.69), (0, 0.65)], (220, 120, 130), 0)


def horse(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    far, mane = darker(color, 0.3), rng.choice([darker(color, 0.55),
        (226, 208, 170) if sum(color) < 600 else (150, 140, 130)])
    step = rng.uniform(-0.05, 0.06)
    c.blob([(-0.46, 0.66), (-0.6, 0.6), (-0.66, 0.36), (-0.56, 0.18), (-0.54, 0.42)], mane)
    for u, lean in ((-0.3, -step), (0.26, step)):
        c.stroke([(u, 0.42), (u + lean, 0.2), (u + lean, 0.04)], 0.09, far)
    c.blob([(-0.48, 0.6), (-0.35, 0.69), (0.0, 0.64), (0.25, 0.7), (0.38, 0.56), (0.3, 0.38),
        (-0.1, 0.36), (-0.42, 0.4)], color)
    for u, lean in ((-0.4, step), (0.33, -step)):
        c.stroke([(u, 0.45), (u + lean, 0.22), (u + lean, 0.05)], 0.095, color)
        c.oval(u + lean + 0.01, 0.03, 0.055, 0.035, (52, 44, 42))
    c.blob([(0.14, 0.66), (0.3, 0.9), (0.4, 1.0), (0.52, 0.94), (0.44, 0.76), (0.4, 0.56)], color)
    c.blob([(0.36, 0.98), (0.46, 1.01), (0.6, 0.86), (0.7, 0.76), (0.66, 0.7), (0.56, 0.73),
        (0.4, 0.82)], color)
    c.oval(0.66, 0.75, 0.05, 0.045, lighter(color, 0.35), 0)
    c.oval(0.68, 0.765, 0.012, 0.012, (40, 30, 30), 0)
    c.poly([(0.37, 0.97), (0.4, 1.08), (0.45, 0.98)], color)
    c.blob([(0.4, 1.0), (0.3, 0.99), (0.16, 0.8), (0.12, 0.64), (0.24, 0.72), (0.34, 0.88)], mane)
    eye(c, 0.49, 0.91, 0.024)


def sheep(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    face = (70, 62, 62) if sum(color) > 240 else (196, 176, 156)
    for u in (-0.34, -0.14, 0.16, 0.36):
        c.stroke([(u, 0.3), (u, 0.04)], 0.09, darker(face, 0.15))
    puffs = [(-0.42, 0.5), (-0.3, 0.72), (-0.06, 0.8), (0.2, 0.76), (0.4, 0.62), (0.34, 0.38),
        (0.06, 0.3), (-0.24, 0.34)]
    for u, v in puffs:
        c.oval(u, v, 0.2, 0.19, color, 0.25)
    c.oval(0, 0.54, 0.42, 0.28, color, 0)
    for _ in range(7):
        u, v = rng.uniform(-0.4, 0.3), rng.uniform(0.38, 0.76)
        c.oval(u, v, 0.06, 0.045, darker(color, 0.2), 0, arc=(0.0, 0.4))
        c.oval(u, v - 0.01, 0.055, 0.04, color, 0)
    c.blob([(0.42, 0.86), (0.58, 0.92), (0.74, 0.76), (0.76, 0.58), (0.64, 0.52), (0.48, 0.66)],
        face)
    c.oval(0.42, 0.82, 0.1, 0.045, face, turn=0.4)
    c.oval(0.5, 0.92, 0.14, 0.09, color, 0.25)
    eye(c, 0.62, 0.78, 0.035)


def bird(c: Canvas, color: Color, rng: random.Random, pose: str) -> None:
    beak = (240, 160, 40)
    if pose == "fly":
        c.blob([(-0.05, 0.5), (-0.4, 0.95), (-0.72, 1.0), (-0.5, 0.66), (-0.26, 0.42)],
            darker(color, 0.15))
        c.poly([(-0.4, 0.5), (-0.82, 0.56), (-0.8, 0.38), (-0.4, 0.36)], darker(color, 0.2))
        c.blob([(-0.5, 0.46), (-0.1, 0.56), (0.3, 0.56), (0.48, 0.44), (0.2, 0.24), (-0.2, 0.28)],
            color)
        c.oval(0.42, 0.5, 0.19, 0.17, color)
        c.poly([(0.57, 0.55), (0.8, 0.48), (0.57, 0.42)], beak)
        c.blob([(0.16, 0.5), (0.16, 0.95), (-0.12, 1.14), (-0.2, 0.8), (-0.18, 0.46)],
            darker(color, 0.06))
        eye(c, 0.46, 0.54, 0.05)
        return
    for u in (-0.06, 0.1):
        c.stroke([(u, 0.3), (u, 0.03), (u + 0.1, 0.02)], 0.04, beak)
    c.poly([(-0.3, 0.5), (-0.8, 0.56), (-0.78, 0.36), (-0.3, 0.36)], darker(color, 0.2))
    c.blob([(-0.48, 0.5), (-0.1, 0.68), (0.2, 0.8), (0.42, 0.62), (0.34, 0.32), (0.02, 0.18),
        (-0.32, 0.28)], color)
    c.oval(0.22, 0.34, 0.15, 0.13, lighter(color, 0.5), 0, 0.85)
    c.oval(0.3, 0.78, 0.24, 0.22, color)
    c.poly([(0.5, 0.84), (0.76, 0.75), (0.5, 0.68)], beak)
    c.blob([(-0.44, 0.42), (-0.1, 0.6), (0.14, 0.52), (0.02, 0.34), (-0.26, 0.3)],
        darker(color, 0.2))
    eye(c, 0.36, 0.84, 0.055)
