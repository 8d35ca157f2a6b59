"""Five annotators describe a drawn scene, each with habits of their own.

    captions(record, rng)   five captions of 6-18 words; the record is one of `scenes_*.json`
    PHRASES                 {relation: phrases for it}

Everything a caption says is true of the picture, so `grading.grade` can check other captions by
the same rules.
"""

import random

from captioning.toy.kinds import KINDS, plural

NUMBERS = {1: ["a"], 2: ["two", "two", "a pair of", "a couple of"], 3: ["three"], 4: ["four"]}
PLACES = {
    "street": ["on the street", "on a quiet street", "on a road in town", "along the street",
               "on a street with houses", "by the side of the road"],
    "night city": ["in the city at night", "downtown at night", "in a city after dark",
                   "in the big city on a starry night", "at night"],
    "beach": ["on the beach", "on a sandy beach", "by the sea", "at the seaside", "at the beach",
              "on the sand by the ocean"],
    "park": ["in the park", "in a leafy park", "at the park", "on the grass in a park",
             "in a park with trees"],
    "snow": ["in the snow", "on a snowy day", "in a snowy landscape", "on a cold winter day",
             "in deep snow"],
    "lake": ["by the lake", "at the lake", "near a mountain lake", "by a calm lake",
             "at the edge of a lake"],
    "farm": ["on a farm", "in a field near a barn", "on the grass by a barn", "at the farm",
             "in a meadow", "out in the countryside"],
    "living room": ["in the living room", "in a living room", "in a cozy room", "inside a house",
                    "in a room with pictures on the wall", "indoors"],
}  # fmt: skip
PHRASES = {
    "holding": ["holding", "carrying"],
    "riding": ["riding", "on"],
    "flying": ["flying"],
    "on": ["on", "on top of"],
    "under": ["under", "beneath", "below"],
    "in front of": ["in front of"],
    "behind": ["behind"],
    "next to": ["next to", "beside", "near", "close to"],
    "left of": ["to the left of", "on the left of"],
    "right of": ["to the right of", "on the right of"],
    "above": ["above", "over", "high above"],
}
# relative probability that an annotator mentions a relation
WEIGHTS = {
    "holding": 12, "riding": 12, "flying": 12, "on": 12, "under": 5, "in front of": 6, "behind": 3,
    "next to": 4, "left of": 1, "right of": 1, "above": 3,
}  # fmt: skip
ACTIONS = ("holding", "riding", "flying")  # relations that are verbs themselves
POSTURES = {
    "man": ["standing", "waiting"], "woman": ["standing", "waiting"],
    "dog": ["standing", "waiting"],
    "cat": ["sitting", "resting"], "horse": ["standing"], "sheep": ["standing", "resting"],
    "bird": ["standing", "resting"], "car": ["parked"], "bus": ["parked", "stopped"],
    "bicycle": ["parked"], "boat": ["floating", "sailing"], "umbrella": ["", "open"],
    "kite": ["flying"], "ball": ["lying", "resting"], "bench": [""], "chair": [""], "couch": [""],
    "teddy bear": ["sitting"], "potted plant": [""], "balloon": ["floating"],
}  # fmt: skip
ALOFT = {"bird": ["flying"], "balloon": ["floating"], "kite": ["flying", "floating"]}
LIVING = ("person", "animal")

Group = list[dict]  # records of things that are named together
Pair = tuple[Group, str, Group]  # subject, relation, object


class Speaker:
    """One annotator who looks at one picture.

    color_rate     probability that a color is given
    synonym_rate   probability that a kind is named by one of all its words, not by the plainest
    """

    def __init__(self, record: dict, rng: random.Random, color_rate: float, synonym_rate: float):
        self.rng, self.color_rate, self.synonym_rate = rng, color_rate, synonym_rate
        self.setting = record["setting"]
        self.groups: list[Group] = []  # the one with the largest thing first
        for thing in sorted(record["things"], key=lambda thing: (-thing["area"], thing["id"])):
            key = thing["kind"], thing["pose"]
            fitting = (g for g in self.groups if (g[0]["kind"], g[0]["pose"]) == key)
            group = next(fitting, None)
            if group is None:
                self.groups.append([thing])
            else:
                group.append(thing)
        self.relations: list[Pair] = [
            (a, relation["relation"], b)
            for relation in record["relations"]
            for a in self.groups
            for b in self.groups
            if self.holds(a, relation, b)
        ]

    @staticmethod
    def holds(a: Group, relation: dict, b: Group) -> bool:
        """Return whether a relation of two things also holds for their groups.

        Between groups of several things, only the vague "next to" does.
        """
        ends = relation["subject"] == a[0]["id"] and relation["object"] == b[0]["id"]
        alone = len(a) == len(b) == 1
        return ends and a is not b and (alone or relation["relation"] == "next to")

    def place(self) -> str:
        return self.rng.choice(PLACES[self.setting])

    def noun(self, kind: str, count: int) -> str:
        words = KINDS[kind].words
        word = self.rng.choice(words) if self.rng.random() < self.synonym_rate else words[0]
        return word if count == 1 else plural(word)

    def name(self, group: Group, contrast: bool = False) -> str:
        """Return a noun phrase: "two men in blue shirts", "a red kite and a green kite".

        In `contrast` to another thing of its kind, a thing is always named with its color.
        """
        kind, count, rng = group[0]["kind"], len(group), self.rng
        colors = {thing["color"] for thing in group}
        if count == 2 == len(colors) and rng.random() < 0.7:
            return f"{self.name(group[:1], True)} and {self.name(group[1:], True)}"
        number, noun = rng.choice(NUMBERS[count]), self.noun(kind, count)
        if len(colors) > 1 or (not contrast and rng.random() > self.color_rate):
            return an(f"{number} {noun}")
        color = group[0]["color"]
        if kind == "potted plant":
            pot = an(f"a {color} pot") if count == 1 else f"{color} pots"
            return f"{number} {'plant' if count == 1 else 'plants'} in {pot}"
        if KINDS[kind].category != "person":
            return an(f"{number} {color} {noun}")
        garment = "coat" if self.setting == "snow" else "dress" if kind == "woman" else "shirt"
        if garment == "shirt" and rng.random() < 0.3:
            garment = "jacket"
        worn = f"a {color} {garment}" if count == 1 else f"{color} {plural(garment)}"
        return an(f"{number} {noun} {rng.choice(['in', 'in', 'wearing'])} {worn}")

    def posture(self, group: Group) -> str:
        """Return what the things are doing: "standing", "parked" ..."""
        kind, pose = group[0]["kind"], group[0]["pose"]
        if pose == "sit":
            return "sitting"
        return self.rng.choice(POSTURES[kind] if pose != "fly" else ALOFT[kind])

    def pair(self) -> Pair | None:
        """Return a relation that involves the largest thing, or None."""
        found = [r for r in self.relations if self.groups[0] in (r[0], r[2])]
        vague = all(relation in ("left of", "right of") for _, relation, _ in found)
        if vague and (not found or self.rng.random() < 0.4):
            return None
        weights = [
            WEIGHTS[relation] * (3 if KINDS[a[0]["kind"]].supercategory in LIVING else 1)
            for a, relation, _ in found
        ]
        return self.rng.choices(found, weights)[0]

    def related(self, pair: Pair, posture: bool, be: bool = False) -> str:
        """Return "a cat is sitting on a couch", with or without `posture` and the verb `be`."""
        a, relation, b = pair
        subject, verb = self.name(a), []
        if be:
            verb.append("are" if len(a) > 1 else "is")
        if posture and relation not in ACTIONS:
            verb.append(self.posture(a))
        return " ".join([subject, *verb, self.rng.choice(PHRASES[relation]), self.name(b)])

    def names(self, most: int, excluded: Pair | tuple[()] = ()) -> list[str]:
        """Return the names of up to `most` groups that are not in `excluded`."""
        return [self.name(g) for g in self.groups if not any(g is x for x in excluded)][:most]

    def maybe(self, probability: float, text: str) -> str:
        return text if self.rng.random() < probability else ""


def an(phrase: str) -> str:
    """Correct the article: `a orange cat` -> `an orange cat`."""
    return phrase.replace("a orange", "an orange").replace("a umbrella", "an umbrella")


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def there_are(names: list[str]) -> str:
    many = names[0].startswith(("two", "three", "four", "a pair", "a couple"))
    return f"there {'are' if many else 'is'} {listed(names)}"


def brief(s: Speaker) -> str:
    """Return a phrase without a main verb: "A man holding a red umbrella on the street"."""
    if not (pair := s.pair()):
        names = s.names(3)
        return f"{listed(names)} {s.posture(s.groups[0]) if len(names) == 1 else ''} {s.place()}"
    more = s.names(1, pair)
    tail = f"and {more[0]}" if more and s.rng.random() < 0.3 else s.maybe(0.6, s.place())
    return f"{s.related(pair, posture=s.rng.random() < 0.3)} {tail}"


def there_is(s: Speaker) -> str:
    """Return "There is a cat on a couch in the living room"."""
    if pair := s.pair():
        clause = there_are([s.related(pair, posture=s.rng.random() < 0.4)])
        return f"{clause} {s.maybe(0.7, s.place())}"
    return f"{there_are(s.names(2))} {s.place()}"


def sentence(s: Speaker) -> str:
    """Return "A cat is sitting on a couch in the living room"."""
    if pair := s.pair():
        return f"{s.related(pair, posture=True, be=True)} {s.maybe(0.5, s.place())}"
    names, first = s.names(2), s.groups[0]
    if len(names) > 1:
        return f"{listed(names)} are together {s.place()}"
    return f"{names[0]} {'are' if len(first) > 1 else 'is'} {s.posture(first)} {s.place()}"


def place_first(s: Speaker) -> str:
    """Return "In the living room, a cat is on a couch"."""
    if pair := s.pair():
        return f"{s.place()}, {s.related(pair, posture=s.rng.random() < 0.5, be=True)}"
    return f"{s.place()}, {there_are(s.names(2))}"


def inventory(s: Speaker) -> str:
    """Return "A picture of a couch, a cat and two balloons in the living room"."""
    starts = ["a picture of", "a drawing of", "a scene with", "this picture shows", "we can see"]
    start = s.rng.choice(starts)
    pair = s.pair() if s.rng.random() < 0.35 else None
    if not pair:
        return f"{start} {listed(s.names(3))} {s.maybe(0.8, s.place())}"
    more = s.names(1, pair)
    tail = f", and {more[0]}" if more and s.rng.random() < 0.5 else f" {s.maybe(0.6, s.place())}"
    return f"{start} {s.related(pair, posture=False)}{tail}"


# each annotator's kind of sentence, color_rate and synonym_rate
ANNOTATORS = [
    (brief, 0.9, 0.15), (there_is, 0.95, 0.3), (sentence, 0.85, 0.5), (place_first, 0.9, 0.3),
    (inventory, 0.95, 0.2),
]  # fmt: skip


def captions(record: dict, rng: random.Random) -> list[str]:
    """Return five captions of 6-18 words, one per annotator."""
    found = []
    for sentence_of, color_rate, synonym_rate in ANNOTATORS:
        words = 0
        while not 6 <= words <= 18:
            caption = " ".join(sentence_of(Speaker(record, rng, color_rate, synonym_rate)).split())
            words = len(caption.split())
        found.append(caption[0].upper() + caption[1:] + ".")
    return found
