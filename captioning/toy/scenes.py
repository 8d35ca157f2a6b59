"""A whole drawn scene: the picture, the truth about it, and the map of which thing is where.

    scene(seed, split, index)  ->  image (H, W, 3) uint8 RGB, record, ids (H, W) uint8

The record is one entry of `scenes_*.json`; `toy_coco` describes it. Scenes in which something is
hidden, cut off or tiny are composed anew, so everything in a record can be seen, and which thing is
the largest is no matter of a few pixels.
"""

import math
import random

import numpy as np

from toy.clusters import Cluster, Composer, Thing
from toy.drawing import PALETTE, Canvas, jitter
from toy.kinds import HELD_OUT, KINDS, words_of
from toy.settings import SETTING_WORDS, SETTINGS, finish

HORIZON = {"living room": (0.52, 0.62), "lake": (0.32, 0.4), "beach": (0.32, 0.42)}
LEAST_VISIBLE, LEAST_AREA = 0.4, 0.004  # of the thing, of the picture
LEAST_LEAD = 1.25  # of the largest thing over the next one of another kind

Drawn = tuple[np.ndarray, dict, np.ndarray]


def scene(seed: int, split: str, index: int, unseen: bool = False) -> Drawn:
    """The scene of this number; `unseen` asks for a pair of HELD_OUT, otherwise there is none."""
    rng = random.Random(f"{seed} {split} {index}")
    setting, count = rng.choice(list(SETTINGS)), rng.choices([1, 2, 3, 4], [12, 46, 30, 12])[0]
    while True:
        trial = random.Random(rng.random())
        if drawn := compose(trial, setting, count, unseen):
            return drawn


def compose(rng: random.Random, setting: str, count: int, unseen: bool) -> Drawn | None:
    """One trial of a scene; None if not everything can be seen, or nothing is the largest."""
    side, aspect = rng.uniform(270, 340), rng.uniform(0.78, 1.4)
    canvas = Canvas(round(side * math.sqrt(aspect)), round(side / math.sqrt(aspect)))
    horizon = canvas.height * rng.uniform(*HORIZON.get(setting, (0.38, 0.5)))
    clusters, aloft = Composer(rng, setting, unseen).compose(count)
    things = [thing for cluster in clusters for thing in cluster.things] + aloft
    if unseen != any((thing.kind, thing.colour) in HELD_OUT for thing in things):
        return None
    arrange(clusters, aloft, setting, canvas, horizon, rng)
    whole = draw(canvas, clusters, things, setting, horizon, rng)
    records = [describe(thing, canvas.ids, number) for number, thing in enumerate(things, 1)]
    for record, area in zip(records, whole, strict=True):
        x, y, width, height = record["box"]
        cut = x == 0 or y == 0 or x + width == canvas.width or y + height == canvas.height
        if cut or record["area"] < max(LEAST_VISIBLE * area, LEAST_AREA * canvas.ids.size):
            return None
    largest = max(records, key=lambda thing: thing["area"])
    others = [thing["area"] for thing in records if thing["kind"] != largest["kind"]]
    if others and largest["area"] < LEAST_LEAD * max(others):
        return None
    finish(canvas, setting, rng)
    kinds = [thing.kind for thing in things]
    record = {
        "setting": setting,
        "setting_words": SETTING_WORDS[setting],
        "things": records,
        "counts": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "largest": largest["id"],
        "relations": relations(clusters, records, canvas.width, canvas.height),
        "unseen": [
            thing["id"] for thing in records if (thing["kind"], thing["colour"]) in HELD_OUT
        ],
    }
    return canvas.image, record, canvas.ids


def arrange(
    clusters: list[Cluster], aloft: list[Thing], setting: str, canvas: Canvas, horizon: float,
    rng: random.Random,
) -> None:  # fmt: skip
    """Turn the things' places and sizes into pixels: clusters in a row, the far ones smaller."""
    width, height, ground = canvas.width, canvas.height, canvas.height - horizon
    gaps = [rng.choice([0.02, 0.03, 0.05, 0.12]) for _ in clusters[1:]]
    total = sum(cluster.width for cluster in clusters) + sum(gaps)
    zoom = rng.uniform(1.1, 1.7) if len(clusters) == 1 else rng.uniform(0.85, 1.25)
    scale = min(math.sqrt(width * height) * zoom, 0.93 * width / total)
    depth, bases = rng.uniform(0.2, 0.75), []
    for cluster in clusters:
        share = min(0.92, max(0.12, depth + rng.uniform(-0.12, 0.12)))
        if cluster.things[0].kind == "boat":
            share = rng.uniform(0.08, 0.3) if setting == "beach" else rng.uniform(0.12, 0.46)
        elif setting in ("lake", "beach"):  # the nearer half is dry
            share = 0.56 + 0.4 * share
        bases.append(horizon + ground * share)
        scale = min(scale, (bases[-1] - 0.03 * height) / cluster.height)
    left = rng.uniform(0.02, 0.98 - total * scale / width) * width
    for cluster, base, gap in zip(clusters, bases, [*gaps, 0.0], strict=True):
        middle = left + cluster.width * scale / 2
        unit = scale * (0.8 + 0.25 * (base - horizon) / ground)
        for thing in cluster.things:
            thing.x, thing.y = middle + thing.x * unit, base - thing.y * unit
            thing.nearer = base + thing.nearer * scale
            thing.size *= KINDS[thing.kind].height * unit
        left += (cluster.width + gap) * scale
    for thing in aloft:
        thing.size = KINDS[thing.kind].height * scale * rng.uniform(0.9, 1.2)
        thing.x, thing.flip = width * rng.uniform(0.12, 0.88), rng.random() < 0.5
        highest = 0.04 * height + thing.size
        thing.y = rng.uniform(highest, max(horizon * 0.62, highest + 1))
        thing.tilt = rng.uniform(-0.4, 0.4) if thing.kind == "kite" else 0.0


def draw(
    canvas: Canvas, clusters: list[Cluster], things: list[Thing], setting: str, horizon: float,
    rng: random.Random,
) -> list[int]:  # fmt: skip
    """Paint everything, the far things first; returns each thing's pixels before any is hidden."""
    SETTINGS[setting](canvas, horizon, rng)
    for cluster in clusters:
        if cluster.relations and cluster.relations[0][1] == "flying":
            string(canvas, *cluster.things)
    areas = [0] * len(things)
    for number in sorted(range(len(things)), key=lambda number: things[number].nearer):
        areas[number] = paint(canvas, things[number], number + 1, rng)
    return areas


def string(canvas: Canvas, person: Thing, kite: Thing) -> None:
    """From the raised hand to the kite, sagging a little."""
    side = -1 if person.flip else 1
    hand = (person.x + side * 0.31 * person.size, person.y - 0.74 * person.size)
    end = (kite.x, kite.y + 0.3 * kite.size)
    sag = ((hand[0] + end[0]) / 2 + 4, (hand[1] + end[1]) / 2 + 6)
    canvas.stroke([hand, sag, end], 1, (130, 126, 126), 0)


def paint(canvas: Canvas, thing: Thing, number: int, rng: random.Random) -> int:
    """Paint one thing and its shadow; returns how many pixels it has."""
    kind = KINDS[thing.kind]
    if thing.ground and thing.kind != "boat":
        half = thing.size * kind.width / kind.height * 0.42
        canvas.shade(thing.x, thing.y, half, thing.size * 0.06, 0.68)
    canvas.thing = number
    canvas.place(thing.x, thing.y, thing.size, thing.flip, thing.tilt)
    kind.paint(canvas, jitter(PALETTE[thing.colour], rng), rng, thing.pose)
    canvas.thing = 0
    canvas.in_pixels()
    mask = canvas.ids == number
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows):  # light from above rounds the flat colours
        part = np.s_[rows[0] : rows[-1] + 1]
        light = np.linspace(1.06, 0.9, rows[-1] + 1 - rows[0], dtype=np.float32)[:, None, None]
        lit = np.minimum(canvas.image[part] * light, 255).astype(np.uint8)
        np.copyto(canvas.image[part], lit, where=mask[part][:, :, None])
    return int(mask.sum())


def describe(thing: Thing, ids: np.ndarray, number: int) -> dict:
    """The truth about one thing; its box and area are those of what can be seen of it."""
    mask = ids == number
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [0, 0, 0, 0]
    if len(rows):
        x, y = int(columns[0]), int(rows[0])
        box = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
    return {
        "id": number,
        "kind": thing.kind,
        "category": KINDS[thing.kind].category,
        "colour": thing.colour,
        "pose": thing.pose,
        "box": box,
        "area": int(mask.sum()),
        "words": words_of(thing.kind),
    }


def relations(clusters: list[Cluster], things: list[dict], width: int, height: int) -> list[dict]:
    """How things lie to each other: what the clusters know, then what one can see for the rest."""
    said, first = [], 1
    for cluster in clusters:
        said += [(first + a, word, first + b) for a, word, b in cluster.relations]
        first += len(cluster.things)
    known = {frozenset((a, b)) for a, _, b in said}
    for a in things:
        for b in things:
            if a is not b and frozenset((a["id"], b["id"])) not in known:
                said += [(a["id"], word, b["id"]) for word in seen(a, b, width, height)]
    return [{"subject": a, "relation": word, "object": b} for a, word, b in said]


def seen(a: dict, b: dict, width: int, height: int) -> list[str]:
    """How `a` lies to `b` by their boxes alone."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a["box"], b["box"]
    apart = max(ax, bx) - min(ax + aw, bx + bw)  # pixels between their sides, negative: overlap
    if "fly" in (a["pose"], b["pose"]):
        higher = a["pose"] == "fly" and ay + ah < by + bh * 0.25 and apart < 0.06 * width
        return ["above"] if higher else []
    if apart <= -2 or "held" in (a["pose"], b["pose"]):
        return []
    level = abs(ay + ah - by - bh) < 0.12 * height
    beside = ["next to"] if level and apart < 0.1 * width else []
    return ["left of" if ax < bx else "right of", *beside]
