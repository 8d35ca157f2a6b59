"""Chooses the things of a drawn scene, which of them belong together, and their relations.

    Composer(...).compose(count)  ->  clusters on the ground from left to right, things in the air

A cluster is one thing, or two that belong together: a man who holds an umbrella, a woman on a
horse, a cat on a couch, a dog under a parasol, a bird in front of a bench.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from captioning.toy.kinds import HELD_OUT, KINDS


def _kinds(names: str) -> list[str]:
    return [name.replace("_", " ") for name in names.split()]


def _table(rows: dict[str, str]) -> dict[str, list[str]]:
    return {key: _kinds(names) for key, names in rows.items()}


# a kind that is listed twice is chosen twice as often
GROUND = _table({
    "street": "man woman dog cat car car bus bus bicycle bench bird potted_plant",
    "night city": "man woman dog cat car car bus bus bicycle bench",
    "beach": "man woman dog bird ball chair chair boat boat umbrella umbrella teddy_bear",
    "park": "man woman dog cat bicycle bench bird ball ball horse teddy_bear",
    "snow": "man woman dog horse bird bench sheep sheep car",
    "lake": "man woman dog bird boat boat bench chair chair bicycle",
    "farm": "horse sheep sheep sheep dog cat man woman bird",
    "living room": "man woman cat dog ball chair couch couch couch potted_plant potted_plant "
                   "teddy_bear teddy_bear",
})  # fmt: skip
ALOFT = _table({
    "street": "balloon bird", "beach": "kite bird balloon", "park": "kite balloon bird",
    "lake": "kite bird balloon", "farm": "kite bird", "snow": "bird", "living room": "balloon",
    "night city": "",
})  # fmt: skip
HELD = _table({
    "street": "umbrella balloon", "night city": "umbrella balloon", "snow": "umbrella",
    "park": "umbrella balloon kite", "beach": "kite balloon", "lake": "umbrella kite",
    "farm": "kite balloon", "living room": "balloon teddy_bear teddy_bear",
})  # fmt: skip
RIDDEN = _table({
    "street": "bicycle", "night city": "bicycle", "park": "bicycle horse", "beach": "horse",
    "lake": "bicycle", "farm": "horse", "snow": "horse", "living room": "",
})  # fmt: skip
SAT_ON = _table({
    "couch": "cat dog teddy_bear teddy_bear man woman", "bench": "cat bird man woman",
    "chair": "cat cat teddy_bear",
})  # fmt: skip
SEAT = {"couch": (0.55, 0.5), "bench": (0.46, 0.5), "chair": (0.45, 0.0)}  # height, sideways reach
PEOPLE = ["man", "woman"]
BIG = _kinds("car bus horse couch bench bicycle")
SMALL = _kinds("dog cat man woman bird ball sheep potted_plant teddy_bear")


@dataclass
class Thing:
    """One thing; lengths are in units of the picture's mean side, after `scenes.arrange` in pixels.

    `color` of a person is that of the clothes, of a plant that of the pot.
    """

    kind: str
    color: str
    pose: str = "stand"
    x: float = 0.0  # of its feet, from the cluster's middle
    y: float = 0.0  # of its feet, above the ground
    size: float = 1.0  # times the kind's usual height
    nearer: float = 0.0  # things are painted in ascending order of this
    tilt: float = 0.0  # radians
    flip: bool = False
    ground: bool = True  # casts a shadow at its feet


@dataclass
class Cluster:
    """One thing, or two that belong together, and the room that they take on the ground."""

    things: list[Thing]
    width: float
    height: float
    # (subject, relation, object), things as positions in the list above
    relations: list[tuple[int, str, int]] = field(default_factory=list)


class Composer:
    """Chooses the things of one scene.

    With `unseen`, pairs of kind and color in HELD_OUT are preferred; otherwise they never occur.
    """

    def __init__(self, rng: random.Random, setting: str, unseen: bool):
        self.rng, self.setting, self.unseen = rng, setting, unseen
        self.used: set[str] = set()  # kinds; never iterated, since the order of a set varies

    def thing(self, kind: str, **fields: Any) -> Thing:
        """Return a new thing of `kind` in one of its colors; `fields` are those of Thing."""
        colors = KINDS[kind].colors
        held_out = [color for color in colors if (kind, color) in HELD_OUT]
        seen = [color for color in colors if (kind, color) not in HELD_OUT]
        self.used.add(kind)
        color = self.rng.choice(held_out if self.unseen and held_out else seen)
        return Thing(kind, color, **fields)

    def unused(self, kinds: list[str]) -> str | None:
        """Return one of `kinds` that is not in the scene yet, or None."""
        kinds = [kind for kind in kinds if kind not in self.used]
        return self.rng.choice(kinds) if kinds else None

    def coin(self) -> bool:
        return self.rng.random() < 0.5

    def alone(self, thing: Thing) -> Cluster:
        kind = KINDS[thing.kind]
        thing.flip = self.coin()
        if thing.kind == "umbrella":  # stands on its own: a parasol
            thing.size = 1.5
        return Cluster([thing], kind.width * thing.size, kind.height * thing.size)

    def single(self) -> Cluster | None:
        kind = self.unused(GROUND[self.setting])
        return self.alone(self.thing(kind)) if kind else None

    def group(self, count: int) -> list[Cluster]:
        """Return `count` things of one kind, mostly of one color. The scene is still empty."""
        kinds = [kind for kind in GROUND[self.setting] if kind not in ("bus", "couch")]
        kind = self.rng.choice(kinds)
        first = self.thing(kind)
        same = self.rng.random() < (0.6 if kind in PEOPLE else 0.85)
        rest = [Thing(kind, first.color) if same else self.thing(kind) for _ in range(count - 1)]
        return [self.alone(thing) for thing in [first, *rest]]

    def holding(self) -> Cluster | None:
        who, what = self.unused(PEOPLE), self.unused(HELD[self.setting])
        if not who or not what:
            return None
        tall, side = KINDS[who].height, self.rng.choice([-1, 1])
        person = self.thing(who, pose="hold", flip=side < 0, nearer=0.1)
        thing = self.thing(what, pose="held", ground=False)
        if what == "kite":
            thing.x, thing.y = side * self.rng.uniform(0.2, 0.34), tall * 1.25
            thing.tilt, thing.nearer = -side * 0.3, -0.1
            return Cluster([person, thing], 0.5, 0.8, [(0, "flying", 1)])
        if what == "teddy bear":
            thing.x, thing.y, thing.size, thing.nearer = side * 0.25 * tall, 0.5 * tall, 0.8, 0.2
            return Cluster([person, thing], 0.3, tall * 1.05, [(0, "holding", 1)])
        thing.x, thing.y = side * 0.31 * tall, 0.74 * tall
        thing.tilt = side * (0.25 if what == "umbrella" else -0.1)
        relations = [(0, "holding", 1)] + ([(0, "under", 1)] if what == "umbrella" else [])
        return Cluster([person, thing], 0.44, 0.74 * tall + KINDS[what].height, relations)

    def riding(self) -> Cluster | None:
        who, what = self.unused(PEOPLE), self.unused(RIDDEN[self.setting])
        if not who or not what:
            return None
        mount = self.thing(what, flip=self.coin())
        up, back = (0.125, -0.03) if what == "horse" else (0.095, -0.055)
        rider = self.thing(who, pose="ride", flip=mount.flip, size=0.88, nearer=0.1, ground=False)
        rider.x, rider.y = -back if mount.flip else back, up
        return Cluster([rider, mount], KINDS[what].width, up + 0.38, [(0, "riding", 1)])

    def seated(self) -> Cluster | None:
        seat = self.unused([kind for kind in GROUND[self.setting] if kind in SEAT])
        who = self.unused(SAT_ON[seat]) if seat else None
        if not seat or not who or (who == "teddy bear" and self.setting != "living room"):
            return None
        (high, reach), below, above = SEAT[seat], KINDS[seat], KINDS[who]
        base, guest = self.thing(seat), self.thing(who, nearer=0.1, ground=False)
        guest.flip, guest.size = self.coin(), 0.8 if seat == "chair" else 0.9
        guest.x = self.rng.uniform(-1, 1) * reach * below.width * 0.5
        guest.y = high * below.height
        if who in PEOPLE:
            guest.pose, guest.y, guest.size = "sit", guest.y - 0.3 * above.height, 1.0
        elif who == "bird":
            guest.y = 0.97 * below.height
        tall = high * below.height + above.height
        return Cluster([guest, base], below.width, tall, [(0, "on", 1)])

    def sheltered(self) -> Cluster | None:
        """Return a person, an animal or a thing under a parasol, on the beach."""
        shade = self.unused(["umbrella"]) if self.setting == "beach" else None
        who = self.unused(_kinds("dog ball chair bird man woman"))
        if not shade or not who:
            return None
        parasol = self.thing(shade, size=1.9)
        guest = self.thing(who, nearer=0.1, x=self.rng.uniform(-0.1, 0.1), flip=self.coin())
        guest.size = 0.8 if who in PEOPLE else 1.0
        return Cluster([guest, parasol], 0.72, 0.58, [(0, "under", 1)])

    def overlapping(self) -> Cluster | None:
        here = GROUND[self.setting]
        big = self.unused([kind for kind in here if kind in BIG])
        small = self.unused([kind for kind in here if kind in SMALL])
        if not big or not small:
            return None
        behind, front = self.thing(big, flip=self.coin()), self.thing(small, flip=self.coin())
        front.x = self.rng.choice([-1, 1]) * KINDS[big].width * self.rng.uniform(0.2, 0.4)
        front.y, front.size, front.nearer = -self.rng.uniform(0.05, 0.09), 1.05, 0.1
        width = KINDS[big].width + KINDS[small].width * 0.6
        height = max(KINDS[big].height, KINDS[small].height)
        relations = [(0, "in front of", 1), (1, "behind", 0)]
        return Cluster([front, behind], width, height, relations)

    def compose(self, count: int) -> tuple[list[Cluster], list[Thing]]:
        """Return `count` things: a row of clusters on the ground, at most one thing in the air."""
        rng = self.rng
        clusters: list[Cluster] = []
        aloft: list[Thing] = []
        if count > 1 and rng.random() < 0.24:
            clusters += self.group(count if count == 2 or rng.random() < 0.5 else count - 1)
        missing = count - len(clusters)
        flyer = self.unused(ALOFT[self.setting])
        if flyer and missing and count > 1 and rng.random() < 0.22:
            aloft, missing = [self.thing(flyer, pose="fly", ground=False)], missing - 1
        pairs = [self.holding, self.riding, self.seated, self.sheltered, self.overlapping]
        while missing:
            cluster = rng.choice(pairs)() if missing > 1 and rng.random() < 0.75 else self.single()
            if cluster:
                clusters.append(cluster)
                missing -= len(cluster.things)
        rng.shuffle(clusters)
        return clusters, aloft
