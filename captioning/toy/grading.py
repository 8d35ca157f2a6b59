"""Holds captions against the truth about the drawn pictures.

    mark_caption(caption, record)   one caption: what it says, and what of that is so
    mark(captions, scenes)          many captions: percentages, with how many cases each rests on
    read(caption)                   the things a caption names, with number, colour and relation

Only what a caption says is judged: a colour, a number, a relation or a setting that is not given
is no mistake. A thing that is there and not named is none either, but the largest should be.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from toy.captions import PHRASES
from toy.drawing import PALETTE
from toy.kinds import KINDS, words_of
from toy.settings import SETTING_WORDS

NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "pair": 2, "couple": 2, "three": 3, "four": 4}
GARMENTS = r"(?:shirt|jacket|coat|dress|dresse|pot)s?"
COLOURS = "|".join(PALETTE)
NOUNS = sorted({word for name in KINDS for word in words_of(name)}, key=lambda w: (-len(w), w))
# number, colour, noun, and the colour of what is worn; "of" belongs to "a pair of"
NAMED = re.compile(
    rf"\b(?:(?P<number>{'|'.join(NUMBERS)})\s+(?:of\s+)?)?(?:the\s+)?(?:(?P<colour>{COLOURS})\s+)?"
    rf"(?P<noun>{'|'.join(NOUNS)})\b"
    rf"(?:\s+(?:in|wearing|with)\s+(?:an?\s+)?(?P<worn>{COLOURS})\s+{GARMENTS}\b)?"
)
RELATION_OF = {phrase: relation for relation, phrases in PHRASES.items() for phrase in phrases}
RELATION_OF |= {"left of": "left of", "right of": "right of", "by": "next to"}
_LONGEST_FIRST = sorted(RELATION_OF, key=lambda phrase: (-len(phrase), phrase))
RELATED = re.compile(rf"\b({'|'.join(_LONGEST_FIRST)})\s*$")
IMPLIED = {"riding": {"on"}, "on": {"riding"}}  # "a man on a horse"


@dataclass
class Mention:
    """One noun phrase of a caption."""

    noun: str
    count: int
    colour: str | None
    relation: str | None = None  # to the mention before
    things: list[dict] = field(default_factory=list)  # of the picture, that it may stand for


@dataclass
class Marks:
    """What one caption says: (said, right) for each question, and its mistakes in words."""

    tally: Counter = field(default_factory=Counter)  # e.g. "colour" said, "colour right"
    mistakes: list[str] = field(default_factory=list)  # e.g. "colour: the car is blue, not green"

    def note(self, question: str, right: bool, mistake: str = "") -> None:
        self.tally[question] += 1
        self.tally[f"{question} right"] += right
        if not right and mistake:
            self.mistakes.append(mistake)


def read(caption: str) -> list[Mention]:
    """The noun phrases of a caption that name things, in order."""
    text = " ".join(re.findall(r"[a-z0-9'-]+", caption.lower()))
    mentions, end = [], 0
    for found in NAMED.finditer(text):
        number, colour = found["number"], found["colour"] or found["worn"]
        mention = Mention(found["noun"], NUMBERS.get(number, 1), colour)
        related = RELATED.search(text[end : found.start()])
        if related and mentions:
            mention.relation = RELATION_OF[related[1]]
        mentions.append(mention)
        end = found.end()
    return mentions


def mark_caption(caption: str, record: dict) -> Marks:
    """Hold one caption against a record of `scenes_*.json`."""
    marks, mentions = Marks(), read(caption)
    things = record["things"]
    unnamed = list(things)
    for mention in sorted(mentions, key=lambda mention: mention.colour is None):  # the exact first
        candidates = [thing for thing in unnamed if mention.noun in thing["words"]]
        candidates.sort(key=lambda thing: thing["colour"] != mention.colour)  # stable
        mention.things = candidates[: mention.count]
        unnamed = [thing for thing in unnamed if not any(thing is t for t in mention.things)]
    for mention in mentions:
        kind = "thing" if unnamed else "invented thing"
        marks.note("things", bool(mention.things), f"{kind}: no {mention.noun} (any more)")
        if mention.things and mention.colour:
            mark_colour(mention, record, marks)
    mark_numbers(mentions, things, marks)
    for before, mention in itertools.pairwise(mentions):
        if mention.relation and before.things and mention.things:
            mark_relation(before, mention, record, marks)
    largest = next(thing for thing in things if thing["id"] == record["largest"])
    named = any(mention.noun in largest["words"] for mention in mentions)
    marks.note("largest", named, f"unnamed: the {largest['kind']}, which is the largest")
    mark_setting(caption, record, marks)
    if len(things) > 1:
        marks.tally["captions of two or more"] += 1
        marks.tally["things named of two or more"] += len(mentions)
    return marks


def mark_colour(mention: Mention, record: dict, marks: Marks) -> None:
    right = all(thing["colour"] == mention.colour for thing in mention.things)
    wrong = [thing["colour"] for thing in mention.things if thing["colour"] != mention.colour]
    seen = " and ".join(dict.fromkeys(wrong))
    marks.note("colours", right, f"colour: {seen}, not {mention.colour} ({mention.noun})")
    unseen = any(thing["id"] in record["unseen"] for thing in mention.things)
    marks.note("colours of unseen pairs" if unseen else "colours of seen pairs", right)


def mark_numbers(mentions: list[Mention], things: list[dict], marks: Marks) -> None:
    """Numbers are judged where two or more are there, or are said to be there."""
    said: Counter = Counter()
    for mention in mentions:
        if mention.things:
            said[mention.things[0]["kind"]] += mention.count
    there = Counter(thing["kind"] for thing in things)
    for kind, number in said.items():
        mistake = f"number: {there[kind]} of kind {kind}, not {number}"
        if there[kind] > 1:
            marks.note("numbers of two or more", number == there[kind], mistake)
        elif number > 1:
            marks.note("numbers said of single things", False, mistake)


def mark_relation(before: Mention, mention: Mention, record: dict, marks: Marks) -> None:
    wanted = {mention.relation, *IMPLIED.get(mention.relation, ())}
    subjects, objects = fitting(before, record), fitting(mention, record)
    right = any(
        relation["relation"] in wanted
        and relation["subject"] in subjects
        and relation["object"] in objects
        for relation in record["relations"]
    )
    mistake = f"relation: the {before.noun} is not {mention.relation} the {mention.noun}"
    marks.note("relations", right, mistake)


def fitting(mention: Mention, record: dict) -> list[int]:
    """Ids of all things that the noun and the colour, where one is given, fit."""
    named = [thing for thing in record["things"] if mention.noun in thing["words"]]
    exact = [thing for thing in named if mention.colour in (None, thing["colour"])]
    return [thing["id"] for thing in exact or named]


def mark_setting(caption: str, record: dict, marks: Marks) -> None:
    words = re.findall(r"[a-z]+", caption.lower())
    said = [place for place, names in SETTING_WORDS.items() if any(name in words for name in names)]
    if said:
        right = said == [record["setting"]]
        marks.note("settings", right, f"setting: {record['setting']}, not {said[0]}")


def mark(captions: dict[int, str], scenes: dict | Iterable[dict]) -> dict:
    """Hold captions (by image id) against `scenes_*.json`, or against some of its records.

    Returns {"captions": ..., "different": ..., "things named": mean per picture with two or more,
    "things": {"said": n, "right": percent}, ...}. Raises ValueError for an id without a record.
    """
    records = scenes["scenes"] if isinstance(scenes, dict) else scenes
    by_id = {record["image_id"]: record for record in records}
    tally: Counter = Counter()
    kinds_of_mistakes: Counter = Counter()
    for image_id, caption in captions.items():
        if image_id not in by_id:
            raise ValueError(f"no scene has the image id {image_id}: captions of another set?")
        marks = mark_caption(caption, by_id[image_id])
        tally.update(marks.tally)
        kinds_of_mistakes.update(mistake.split(":")[0] for mistake in marks.mistakes)
    result: dict = {"captions": len(captions), "different": len(set(captions.values()))}
    several = tally["captions of two or more"]
    result["things named"] = round(tally["things named of two or more"] / max(several, 1), 2)
    for question in QUESTIONS:
        said, right = tally[question], tally[f"{question} right"]
        result[question] = {"said": said, "right": round(100 * right / said, 1) if said else None}
    result["mistakes"] = dict(sorted(kinds_of_mistakes.items()))
    return result


QUESTIONS = [
    "things", "largest", "colours", "colours of seen pairs", "colours of unseen pairs", "settings",
    "numbers of two or more", "relations",
]  # fmt: skip
