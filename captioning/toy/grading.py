"""Checks captions of the drawn pictures against their ground truth.

    grade_caption(caption, record)   one caption: its claims, how many are right, its mistakes
    grade(captions, scenes)          many captions: accuracy by kind of claim, with its support
    find_mentions(caption)           the things a caption names, with number, color and relation

Only claims are judged: leaving out a color, a number, a relation, the setting or a thing is not a
mistake, with one exception: the largest thing should be named.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from captioning.toy.canvas import PALETTE
from captioning.toy.captions import PHRASES
from captioning.toy.kinds import KINDS, words_of
from captioning.toy.places import SETTING_WORDS

NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "pair": 2, "couple": 2, "three": 3, "four": 4}
GARMENTS = r"(?:shirt|jacket|coat|dress|dresse|pot)s?"
COLORS = "|".join(PALETTE)
NOUNS = sorted({word for name in KINDS for word in words_of(name)}, key=lambda w: (-len(w), w))
# number, color, noun, and the color of a garment; "of" belongs to "a pair of"
NAMED = re.compile(
    rf"\b(?:(?P<number>{'|'.join(NUMBERS)})\s+(?:of\s+)?)?(?:the\s+)?(?:(?P<color>{COLORS})\s+)?"
    rf"(?P<noun>{'|'.join(NOUNS)})\b"
    rf"(?:\s+(?:in|wearing|with)\s+(?:an?\s+)?(?P<worn>{COLORS})\s+{GARMENTS}\b)?"
)
RELATION_OF = {phrase: relation for relation, phrases in PHRASES.items() for phrase in phrases}
RELATION_OF |= {"left of": "left of", "right of": "right of", "by": "next to"}
_LONGEST_FIRST = sorted(RELATION_OF, key=lambda phrase: (-len(phrase), phrase))
RELATED = re.compile(rf"\b({'|'.join(_LONGEST_FIRST)})\s*$")
CLAIMS = [
    "things", "largest", "colors", "colors of seen pairs", "colors of unseen pairs", "settings",
    "numbers of two or more", "relations",
]  # fmt: skip
IMPLIED = {"riding": {"on"}, "on": {"riding"}}  # "a man on a horse"


@dataclass
class Mention:
    """One noun phrase of a caption that names things."""

    noun: str
    count: int
    color: str | None
    relation: str | None = None  # of the previous mention to this one
    things: list[dict] = field(default_factory=list)  # of the picture, matched to it


@dataclass
class Grades:
    """The claims of one caption, counted by kind, and its mistakes in words."""

    tally: Counter[str] = field(default_factory=Counter)  # e.g. "colors", and "colors right"
    mistakes: list[str] = field(default_factory=list)  # e.g. "color: the car is blue, not green"

    def add(self, claim: str, right: bool, mistake: str = "") -> None:
        self.tally[claim] += 1
        self.tally[f"{claim} right"] += right
        if not right and mistake:
            self.mistakes.append(mistake)


def find_mentions(caption: str) -> list[Mention]:
    """Return the noun phrases of a caption that name things, in order."""
    text = " ".join(re.findall(r"[a-z0-9'-]+", caption.lower()))
    mentions: list[Mention] = []
    end = 0
    for found in NAMED.finditer(text):
        number, color = found["number"], found["color"] or found["worn"]
        mention = Mention(found["noun"], NUMBERS.get(number, 1), color)
        related = RELATED.search(text[end : found.start()])
        if related and mentions:
            mention.relation = RELATION_OF[related[1]]
        mentions.append(mention)
        end = found.end()
    return mentions


def grade_caption(caption: str, record: dict) -> Grades:
    """Check one caption against its record of `scenes_*.json`."""
    grades, mentions = Grades(), find_mentions(caption)
    things = record["things"]
    unnamed = list(things)
    for mention in sorted(mentions, key=lambda mention: mention.color is None):  # colored first
        candidates = [thing for thing in unnamed if mention.noun in thing["words"]]
        candidates.sort(key=lambda thing: thing["color"] != mention.color)  # stable
        mention.things = candidates[: mention.count]
        unnamed = [thing for thing in unnamed if not any(thing is t for t in mention.things)]
    for mention in mentions:
        kind = "thing" if unnamed else "invented thing"
        grades.add("things", bool(mention.things), f"{kind}: no (further) {mention.noun}")
        if mention.things and mention.color:
            grade_color(mention, record, grades)
    grade_numbers(mentions, things, grades)
    for before, mention in itertools.pairwise(mentions):
        if mention.relation and before.things and mention.things:
            grade_relation(before, mention, record, grades)
    largest = next(thing for thing in things if thing["id"] == record["largest"])
    named = any(mention.noun in largest["words"] for mention in mentions)
    grades.add("largest", named, f"unnamed: the {largest['kind']}, the largest thing")
    grade_setting(caption, record, grades)
    if len(things) > 1:
        grades.tally["captions of two or more"] += 1
        grades.tally["things named of two or more"] += len(mentions)
    return grades


def grade_color(mention: Mention, record: dict, grades: Grades) -> None:
    right = all(thing["color"] == mention.color for thing in mention.things)
    wrong = [thing["color"] for thing in mention.things if thing["color"] != mention.color]
    actual = " and ".join(dict.fromkeys(wrong))
    grades.add("colors", right, f"color: {actual}, not {mention.color} ({mention.noun})")
    unseen = any(thing["id"] in record["unseen"] for thing in mention.things)
    grades.add("colors of unseen pairs" if unseen else "colors of seen pairs", right)


def grade_numbers(mentions: list[Mention], things: list[dict], grades: Grades) -> None:
    """Check the number of each kind where the picture, or the caption, has two or more of it."""
    claimed: Counter[str] = Counter()
    for mention in mentions:
        if mention.things:
            claimed[mention.things[0]["kind"]] += mention.count
    actual = Counter(thing["kind"] for thing in things)
    for kind, number in claimed.items():
        mistake = f"number: {actual[kind]} of kind {kind}, not {number}"
        if actual[kind] > 1:
            grades.add("numbers of two or more", number == actual[kind], mistake)
        elif number > 1:
            grades.add("numbers said of single things", False, mistake)


def grade_relation(before: Mention, mention: Mention, record: dict, grades: Grades) -> None:
    accepted = {mention.relation, *IMPLIED.get(mention.relation or "", ())}
    subjects, objects = matching_ids(before, record), matching_ids(mention, record)
    right = any(
        relation["relation"] in accepted
        and relation["subject"] in subjects
        and relation["object"] in objects
        for relation in record["relations"]
    )
    mistake = f"relation: the {before.noun} is not {mention.relation} the {mention.noun}"
    grades.add("relations", right, mistake)


def matching_ids(mention: Mention, record: dict) -> list[int]:
    """Return the ids of all things that match the noun and, where given, the color."""
    named = [thing for thing in record["things"] if mention.noun in thing["words"]]
    exact = [thing for thing in named if mention.color in (None, thing["color"])]
    return [thing["id"] for thing in exact or named]


def grade_setting(caption: str, record: dict, grades: Grades) -> None:
    words = re.findall(r"[a-z]+", caption.lower())
    claimed = [
        setting for setting, names in SETTING_WORDS.items() if any(name in words for name in names)
    ]
    if claimed:
        right = claimed == [record["setting"]]
        grades.add("settings", right, f"setting: {record['setting']}, not {claimed[0]}")


def grade(captions: Mapping[Any, str], scenes: dict | Iterable[dict]) -> dict[str, Any]:
    """Check captions (by image id) against the records of `scenes_*.json`, or some of them.

    Returns {"captions": number, "different": number of distinct ones, "things named": mean number
    in pictures of two or more things, "mistakes": {kind of mistake: number}}, and for each of
    CLAIMS {"said": number of such claims, "right": accuracy in percent, or None}.
    Raises ValueError for an id without a record.
    """
    records = scenes["scenes"] if isinstance(scenes, dict) else scenes
    by_id = {record["image_id"]: record for record in records}
    tally: Counter[str] = Counter()
    mistakes: Counter[str] = Counter()
    for image_id, caption in captions.items():
        if image_id not in by_id:
            raise ValueError(
                f"No scene has the image id {image_id}. Give captions and scenes of one split."
            )
        grades = grade_caption(caption, by_id[image_id])
        tally.update(grades.tally)
        mistakes.update(mistake.split(":")[0] for mistake in grades.mistakes)
    result: dict[str, Any] = {"captions": len(captions), "different": len(set(captions.values()))}
    pictures = tally["captions of two or more"]
    result["things named"] = round(tally["things named of two or more"] / max(pictures, 1), 2)
    for claim in CLAIMS:
        said, right = tally[claim], tally[f"{claim} right"]
        result[claim] = {"said": said, "right": round(100 * right / said, 1) if said else None}
    result["mistakes"] = dict(sorted(mistakes.items()))
    return result
