"""A whole drawn scene: the picture, its ground truth, and the map of which thing is where.

    scene(seed, split, index)  ->  image (H, W, 3) uint8 RGB, record, ids (H, W) uint8

`composition` chooses the things, `arrange` gives them places, and `kinds` and `places` hold their
painters. The record is one entry of `scenes_*.json`; `toy_coco` documents it. A scene is composed
again until nothing in it is hidden, cut off or tiny, so that everything in a record can be seen,
and until its largest thing is clearly the largest.
"""

import math
import random

import numpy as np

from captioning.toy.canvas import PALETTE, Canvas, jitter
from captioning.toy.composition import GROUND, Cluster, Composer, Thing
from captioning.toy.kinds import HELD_OUT, KINDS, words_of
from captioning.toy.places import SETTING_WORDS, SETTINGS, finish

HORIZON = {"living room": (0.52, 0.62), "lake": (0.32, 0.4), "beach": (0.32, 0.42)}
MIN_VISIBLE, MIN_AREA = 0.4, 0.004  # visible area as a fraction of the thing, of the picture
MIN_LEAD = 1.25  # ratio of the largest area to that of the next thing of another kind
HELD_OUT_KINDS = {kind for kind, _ in HELD_OUT}

Drawn = tuple[np.ndarray, dict, np.ndarray]


def scene(seed: int, split: str, index: int, unseen: bool = False) -> Drawn:
    """Return scene number `index`, with a pair of HELD_OUT where `unseen`, otherwise without."""
    rng = random.Random(f"{seed} {split} {index}")
    setting, count = choose_size(rng)
    while unseen and count == 1 and not HELD_OUT_KINDS.intersection(GROUND[setting]):
        setting, count = choose_size(rng)  # a single thing on a farm is never such a pair
    while True:
        trial = random.Random(rng.random())
        if drawn := compose(trial, setting, count, unseen):
            return drawn


def choose_size(rng: random.Random) -> tuple[str, int]:
    """Return a setting and a number of things."""
    return rng.choice(list(SETTINGS)), rng.choices([1, 2, 3, 4], [12, 46, 30, 12])[0]


def compose(rng: random.Random, setting: str, count: int, unseen: bool) -> Drawn | None:
    """Draw one trial of a scene; return None unless all is visible and one thing the largest."""
    side, aspect = rng.uniform(270, 340), rng.uniform(0.78, 1.4)
    canvas = Canvas(round(side * math.sqrt(aspect)), round(side / math.sqrt(aspect)))
    horizon = canvas.height * rng.uniform(*HORIZON.get(setting, (0.38, 0.5)))
    clusters, aloft = Composer(rng, setting, unseen).compose(count)
    things = [thing for cluster in clusters for thing in cluster.things] + aloft
    if has_held_out_pair(things) != unseen:
        return None
    arrange(clusters, aloft, setting, canvas, horizon, rng)
    full_areas = paint_all(canvas, clusters, things, setting, horizon, rng)
    records = [describe(thing, canvas.ids, number) for number, thing in enumerate(things, 1)]
    if not (all_visible(records, full_areas, canvas) and has_clear_largest(records)):
        return None
    finish(canvas, setting, rng)
    kinds = [thing.kind for thing in things]
    record = {
        "setting": setting,
        "setting_words": SETTING_WORDS[setting],
        "things": records,
        "counts": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "largest": largest_of(records)["id"],
        "relations": relations(clusters, records, canvas.width, canvas.height),
        "unseen": [thing["id"] for thing in records if (thing["kind"], thing["color"]) in HELD_OUT],
    }
    return canvas.image, record, canvas.ids


def has_held_out_pair(things: list[Thing]) -> bool:
    return any((thing.kind, thing.color) in HELD_OUT for thing in things)


def all_visible(records: list[dict], full_areas: list[int], canvas: Canvas) -> bool:
    """Return whether no thing is mostly hidden, tiny, or cut off by an edge of the picture.

    full_areas   pixels of each thing before others were painted over it
    """
    return all(
        record["area"] >= max(MIN_VISIBLE * full_area, MIN_AREA * canvas.ids.size)
        and not touches_edge(record["box"], canvas)
        for record, full_area in zip(records, full_areas, strict=True)
    )


def touches_edge(box: list[int], canvas: Canvas) -> bool:
    x, y, width, height = box
    return x == 0 or y == 0 or x + width == canvas.width or y + height == canvas.height


def has_clear_largest(records: list[dict]) -> bool:
    """Return whether the largest thing leads every other kind by a factor of MIN_LEAD."""
    largest = largest_of(records)
    others = [thing["area"] for thing in records if thing["kind"] != largest["kind"]]
    return not others or largest["area"] >= MIN_LEAD * max(others)


def largest_of(records: list[dict]) -> dict:
    return max(records, key=lambda thing: thing["area"])


def arrange(
    clusters: list[Cluster], aloft: list[Thing], setting: str, canvas: Canvas, horizon: float,
    rng: random.Random,
) -> None:  # fmt: skip
    """Turn places and sizes of the things into pixels: clusters in a row, the far ones smaller."""
    width, height, ground = canvas.width, canvas.height, canvas.height - horizon
    gaps = [rng.choice([0.02, 0.03, 0.05, 0.12]) for _ in clusters[1:]]
    total = sum(cluster.width for cluster in clusters) + sum(gaps)
    zoom = rng.uniform(1.1, 1.7) if len(clusters) == 1 else rng.uniform(0.85, 1.25)
    scale = min(math.sqrt(width * height) * zoom, 0.93 * width / total)
    depth = rng.uniform(0.2, 0.75)
    bases: list[float] = []  # the row of each cluster's feet
    for cluster in clusters:
        near = min(0.92, max(0.12, depth + rng.uniform(-0.12, 0.12)))  # 0 horizon, 1 lower edge
        if cluster.things[0].kind == "boat":
            near = rng.uniform(0.08, 0.3) if setting == "beach" else rng.uniform(0.12, 0.46)
        elif setting in ("lake", "beach"):  # the nearer half is dry
            near = 0.56 + 0.4 * near
        bases.append(horizon + ground * near)
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


def paint_all(
    canvas: Canvas, clusters: list[Cluster], things: list[Thing], setting: str, horizon: float,
    rng: random.Random,
) -> list[int]:  # fmt: skip
    """Paint the setting and the things, the far ones first; return the full area of each thing."""
    SETTINGS[setting](canvas, horizon, rng)
    for cluster in clusters:
        if cluster.relations and cluster.relations[0][1] == "flying":
            paint_string(canvas, *cluster.things)
    areas = [0] * len(things)
    for number in sorted(range(len(things)), key=lambda number: things[number].nearer):
        areas[number] = paint(canvas, things[number], number + 1, rng)
    return areas


def paint_string(canvas: Canvas, person: Thing, kite: Thing) -> None:
    """Paint the string from the raised hand to the kite, sagging a little."""
    side = -1 if person.flip else 1
    hand = (person.x + side * 0.31 * person.size, person.y - 0.74 * person.size)
    end = (kite.x, kite.y + 0.3 * kite.size)
    sag = ((hand[0] + end[0]) / 2 + 4, (hand[1] + end[1]) / 2 + 6)
    canvas.stroke([hand, sag, end], 1, (130, 126, 126), 0)


def paint(canvas: Canvas, thing: Thing, number: int, rng: random.Random) -> int:
    """Paint one thing and its shadow; return its area in pixels."""
    kind = KINDS[thing.kind]
    if thing.ground and thing.kind != "boat":
        half = thing.size * kind.width / kind.height * 0.42
        canvas.shade(thing.x, thing.y, half, thing.size * 0.06, 0.68)
    canvas.thing = number
    canvas.place(thing.x, thing.y, thing.size, thing.flip, thing.tilt)
    kind.paint(canvas, jitter(PALETTE[thing.color], rng), rng, thing.pose)
    canvas.thing = 0
    canvas.in_pixels()
    mask = canvas.ids == number
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows):  # light from above rounds the flat colors
        part = np.s_[rows[0] : rows[-1] + 1]
        light = np.linspace(1.06, 0.9, rows[-1] + 1 - rows[0], dtype=np.float32)[:, None, None]
        lit = np.minimum(canvas.image[part] * light, 255).astype(np.uint8)
        np.copyto(canvas.image[part], lit, where=mask[part][:, :, None])
    return int(mask.sum())


def describe(thing: Thing, ids: np.ndarray, number: int) -> dict:
    """Return the ground truth of one thing; box and area are those of its visible part."""
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
        "color": thing.color,
        "pose": thing.pose,
        "box": box,
        "area": int(mask.sum()),
        "words": words_of(thing.kind),
    }


def relations(clusters: list[Cluster], things: list[dict], width: int, height: int) -> list[dict]:
    """Return all relations: those of the clusters, then those of the boxes for all other pairs."""
    found, first = [], 1
    for cluster in clusters:
        found += [(first + a, word, first + b) for a, word, b in cluster.relations]
        first += len(cluster.things)
    known = {frozenset((a, b)) for a, _, b in found}
    for a in things:
        for b in things:
            if a is not b and frozenset((a["id"], b["id"])) not in known:
                found += [(a["id"], word, b["id"]) for word in box_relations(a, b, width, height)]
    return [{"subject": a, "relation": word, "object": b} for a, word, b in found]


def box_relations(a: dict, b: dict, width: int, height: int) -> list[str]:
    """Return the relations of `a` to `b` that follow from their boxes alone."""
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
