"""The rows beside a score: baselines, people, diversity."""

import numpy as np
import pytest

from captioning.evaluation.baselines import baselines, diversity, nearest_neighbors
from tests.evaluation.references import random_references


def test_each_baseline_is_better_than_the_one_before():
    references, training = random_references(50), random_references(200, seed=2)
    nearest = {image: several[1] for image, several in references.items()}
    rows = baselines(references, training, nearest)
    assert list(rows) == ["random", "common", "nearest", "human"]
    assert rows["random"]["CIDEr"] < rows["human"]["CIDEr"] < rows["nearest"]["CIDEr"]
    assert rows == baselines(references, training, nearest), "seeded"
    alone = {image: several[:1] for image, several in references.items()}
    assert "human" not in baselines(alone, training), "there is nobody to compare a person with"


def test_human_baseline_by_hand():
    references = {1: ["a dog", "a dog"], 2: ["one", "two"]}
    rows = baselines(references, {9: ["x y"]})
    assert rows["human"]["BLEU-1"] == pytest.approx(100 * 2 / 3)  # each turn: 2 of 3 words right


def test_nearest_neighbors():
    bank = np.eye(5, dtype=np.float32) * np.array([1, 2, 3, 4, 5], np.float32)[:, None]
    assert nearest_neighbors(np.eye(5)[[3, 0]] * 7, bank).tolist() == [3, 0]
    many = np.eye(5)[np.arange(3000) % 5]
    assert (nearest_neighbors(many, bank) == np.arange(3000) % 5).all()


def test_diversity():
    captions = {1: "A dog runs.", 2: "a dog runs", 3: "a cat"}
    found = diversity(captions, {5: ["a cat!", "a bird"]})
    assert found == {
        "different captions, %": pytest.approx(200 / 3),
        "copied from training, %": pytest.approx(100 / 3),
        "different words": 4,
        "words per caption": pytest.approx(8 / 3),
    }
