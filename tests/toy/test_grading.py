"""Captions checked against the ground truth: known verdicts, and the references themselves."""

import random

import pytest

from captioning.toy.captions import captions
from captioning.toy.grading import find_mentions, grade, grade_caption
from captioning.toy.scenes import scene


def thing(number, kind, color, area, words):
    return {"id": number, "kind": kind, "color": color, "area": area, "words": words}


DOG = ["dog", "puppy", "dogs", "puppies"]
RECORD = {
    "image_id": 7,
    "file_name": "COCO_test2014_000000000007.jpg",
    "setting": "beach",
    "things": [
        thing(1, "dog", "brown", 900, DOG),
        thing(2, "dog", "black", 700, DOG),
        thing(3, "woman", "green", 2000, ["woman", "lady", "person", "women", "people"]),
    ],
    "largest": 3,
    "unseen": [3],
    "relations": [
        {"subject": 1, "relation": "next to", "object": 3},
        {"subject": 3, "relation": "right of", "object": 1},
    ],
}

VERDICTS = [
    # caption, mistakes, some of the tallies
    ("A woman in a green dress on the beach.", [], {"colors right": 1, "settings right": 1}),
    ("Two dogs and a lady by the sea.", [], {"numbers of two or more right": 1, "things right": 2}),
    ("A brown dog and a black dog near a person.", ["relation"], {"numbers of two or more": 1}),
    ("A brown dog next to a woman.", ["number"], {"relations right": 1, "largest right": 1}),
    ("A woman to the right of two dogs.", [], {"relations right": 1}),
    ("A woman in a red dress at night.", ["color", "setting"], {"colors of unseen pairs": 1}),
    ("Three dogs and a woman.", ["number"], {"numbers of two or more": 1}),
    ("A cat in the park.", ["thing", "unnamed", "setting"], {"things": 1, "settings": 1}),
    ("Two dogs, a woman and a kite.", ["invented thing"], {"things": 3, "things right": 2}),
    ("Two brown dogs and a woman.", ["color"], {"colors": 1}),
    ("A woman and two women with two dogs.", ["invented thing"], {"things": 3}),
    ("", ["unnamed"], {"things": 0, "largest": 1}),
]


@pytest.mark.parametrize(("caption", "mistakes", "tally"), VERDICTS)
def test_verdicts(caption, mistakes, tally):
    grades = grade_caption(caption, RECORD)
    assert [mistake.split(":")[0] for mistake in grades.mistakes] == mistakes
    assert {key: grades.tally[key] for key in tally} == tally


def test_finds_noun_phrases():
    caption = "A pair of orange kitties sitting on top of a plant in a red pot."
    first, second = find_mentions(caption)
    assert (first.noun, first.count, first.color) == ("kitties", 2, "orange")
    assert (second.noun, second.color, second.relation) == ("plant", "red", "on")
    bear = find_mentions("the white stuffed bear")[0]
    assert (bear.noun, bear.color) == ("stuffed bear", "white")


def test_references_are_right():
    """Captions and grading check each other: an annotator's claims are true and understood."""
    records, references = [], {}
    for index in range(100):
        record = {"image_id": index, **scene(11, "marks", index, unseen=index % 5 == 0)[1]}
        for number, caption in enumerate(captions(record, random.Random(index))):
            records.append({**record, "image_id": 10 * index + number})
            references[10 * index + number] = caption
    grades = grade(references, records)
    assert grades["mistakes"] == {}
    assert grades["things named"] > 1.7
    for claim in ("things", "largest", "colors", "settings", "relations"):
        assert grades[claim]["said"] > 200
        assert grades[claim]["right"] == 100
    assert grades["colors of unseen pairs"]["said"] > 30
    assert grades["numbers of two or more"]["said"] > 30
    assert all(find_mentions(caption) for caption in references.values())


def test_captions_of_another_set_are_refused():
    with pytest.raises(ValueError, match="image id 8"):
        grade({8: "a dog"}, [RECORD])
