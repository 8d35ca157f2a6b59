"""Captions judged by eye: the counts, and how well the familiarity knows the failures."""

import json

import pytest

from benchmarks.judged import JUDGED, MARKS, auc, counts, interval, still_judged
from captioning.inference.captioner import Caption


def test_auc_is_the_share_of_pairs_in_the_right_order():
    assert auc([3, 4], [1, 2]) == 1
    assert auc([1], [1, 1]) == 0.5
    assert auc([1, 3], [2]) == 0.5


def test_the_interval_is_wilsons():
    low, high = interval(27, 49)  # 55 %
    assert (low, high) == pytest.approx((0.4129, 0.6815), abs=2e-3)
    assert interval(0, 10)[0] == pytest.approx(0, abs=1e-9)


def test_captions_that_changed_since_are_not_counted(capsys):
    judged = {
        "a": {"subject": "food", "caption": "a cup", "first": "right", "second": "right"},
        "b": {"subject": "food", "caption": "a dog", "first": "right", "second": "wrong"},
        "c": {"subject": "rooms", "caption": "a bed", "first": "wrong", "second": "partly"},
    }
    said = {name: Caption(text, 0, 0, ()) for name, text in (("a", "a cup"), ("b", "a cat"))}
    kept = still_judged(judged, said)
    assert list(kept) == ["a"]
    assert "1 caption is no longer the one that was judged" in capsys.readouterr().err
    with pytest.raises(ValueError, match="none of these captions was judged"):
        still_judged(judged, {})
    found = counts(judged)
    assert found["subjects"]["food"] == {"right": 1, "partly": 0, "wrong": 1}
    assert (found["right or partly"], found["readings agree"]) == (2, 1)


def test_every_photo_in_the_file_has_two_marks():
    judged = json.loads(JUDGED.read_text(encoding="utf-8"))
    assert len(judged["photos"]) >= 46
    for row in judged["photos"].values():
        assert {row["first"], row["second"]} <= set(MARKS)
        assert row["subject"]
        assert row["caption"]
    kinds = judged["errors"]["kinds"]
    assert sum(kinds.values()) + judged["errors"]["right"] == judged["errors"]["photos"] == 100
