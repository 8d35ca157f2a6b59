"""The statistics of real captions, on a folder small enough to count by hand."""

import json
import sys
from collections import Counter

import pytest

from recipes import photo_statistics
from recipes.photo_statistics import cost_of, describe, jaccard
from tests.helpers import write_data


def test_agreement_is_shared_words_over_all_words():
    assert jaccard("A red ball.", "A ball rolls.") == pytest.approx(2 / 4)
    assert jaccard("A dog", "a dog.") == 1
    assert jaccard("One", "two") == 0


def test_a_threshold_costs_words():
    counts, held_out = Counter({"a": 9, "dog": 2, "kite": 1}), Counter(["a", "a", "b"])
    assert cost_of(1, counts, held_out) == {"words": 3, "unknown": 33.33}
    assert cost_of(10, counts, held_out) == {"words": 0, "unknown": 100.0}


def test_everything_is_counted_once(tmp_path):
    data = write_data(tmp_path / "data")
    found = describe(data)
    assert found["photos"] == 12
    assert found["captions"] == sum(found["lengths"]) == 36
    assert found["words in all"] == sum(n * count for n, count in enumerate(found["lengths"]))
    assert found["zipf"][0] == [1, max(found["ten most frequent"].values())]
    assert found["zipf"][-1][0] == found["different words"]
    unknown = [row["unknown"] for row in found["thresholds"]]
    assert unknown == sorted(unknown)
    same, different = (found["agreement"][f"{name}"]["mean"] for name in
                       ("same photo", "different photos"))  # fmt: skip
    assert 0 <= different <= 1
    assert 0 < same <= 1


def test_the_command_writes_counts_only(tmp_path, monkeypatch):
    data, out = write_data(tmp_path / "data"), tmp_path / "numbers.json"
    monkeypatch.setattr(sys, "argv", ["photo_statistics", str(data), "--out", str(out)])
    photo_statistics.main()
    content = json.loads(out.read_text(encoding="utf-8"))
    assert list(content) == ["data"]
    assert "photo_0" not in out.read_text(encoding="utf-8")
