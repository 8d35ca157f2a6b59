"""Drawn scenes: the same on every machine, everything visible, captions well formed."""

import hashlib
import json
import random
import re

import numpy as np
import pytest

from captioning.toy.canvas import PALETTE, Canvas
from captioning.toy.captions import captions
from captioning.toy.kinds import HELD_OUT, KINDS
from captioning.toy.scenes import all_visible, has_clear_largest, scene


def test_the_ground_truth_is_the_same_on_every_machine():
    """Boxes, areas and words come from integers, not from a library's rasterizer."""
    drawn = [scene(0, "train2014", index)[1] for index in range(12)]
    described = [captions(record, random.Random(0)) for record in drawn]
    text = json.dumps([drawn, described]).encode()
    assert hashlib.sha256(text).hexdigest() == GOLDEN


GOLDEN = "d31ea0e71bc07e121deb064cf3ff2980b720acb6247d268173d2972e3d2ac34f"


@pytest.mark.parametrize(("seed", "index"), [(1, 112), (2, 28), (3, 189), (9, 154)])
def test_a_single_thing_in_a_park_or_on_a_farm_can_be_unseen(seed, index):
    """These scenes begin with a setting and a number of things that allow no unseen pair."""
    record = scene(seed, "test2014", index, unseen=True)[1]
    assert record["unseen"]
    assert any((thing["kind"], thing["color"]) in HELD_OUT for thing in record["things"])


def record(kind="dog", area=2000, box=(5, 5, 50, 40)):
    return {"kind": kind, "area": area, "box": list(box)}


@pytest.mark.parametrize(
    ("thing", "full_area", "visible"),
    [
        (record(), 2000, True),
        (record(), 4900, True),
        (record(), 5100, False),  # more than 60 % is hidden
        (record(area=30), 30, False),  # tiny
        (record(box=(0, 5, 50, 40)), 2000, False),  # cut off
        (record(box=(5, 5, 95, 40)), 2000, False),
        (record(box=(5, 60, 50, 40)), 2000, False),
    ],
)
def test_all_visible(thing, full_area, visible):
    assert all_visible([record(), thing], [2000, full_area], Canvas(100, 100)) == visible


def test_has_clear_largest():
    assert has_clear_largest([record(area=100)])
    assert has_clear_largest([record(area=100), record(area=99)])  # of the same kind
    assert has_clear_largest([record(area=100), record("cat", area=80)])
    assert not has_clear_largest([record(area=100), record("cat", area=81)])


def test_captions_are_short_varied_and_well_formed():
    found, words = [], set()
    for index in range(120):
        for caption in captions(scene(5, "words", index)[1], random.Random(index)):
            tokens = re.findall(r"[a-z]+", caption.lower())
            assert 6 <= len(tokens) <= 18, caption
            assert re.fullmatch(r"[A-Z][a-z, ]+\.", caption), caption
            assert not re.search(r"\b(\w+) \1\b|\ba [aeiou]|\ban [^aeiou]|  ", caption), caption
            words.update(tokens)
            found.append(caption)
    assert len(words) >= 120
    assert len(set(found)) >= 0.85 * len(found)


def test_every_kind_can_be_painted_in_every_pose():
    for name, kind in KINDS.items():
        for pose in ("stand", "hold", "held", "ride", "sit", "fly"):
            canvas = Canvas(160, 160)
            canvas.thing = 1
            canvas.place(80, 130, 60)
            kind.paint(canvas, PALETTE[kind.colors[0]], random.Random(0), pose)
            rows, columns = np.nonzero(canvas.ids)
            height, width = np.ptp(rows) / 60, np.ptp(columns) / 60
            assert 0.7 < height < 1.5, name
            assert width == pytest.approx(kind.width / kind.height, rel=0.6), name
