"""The drawn dataset's encoder: right targets, consistent augmentation, weights as plain data."""

from collections import Counter

import pytest
import torch

from captioning.models.classifiers import narrow_resnet50
from captioning.toy.kinds import HELD_OUT
from captioning.toy.scenes import scene
from recipes import pretrain_toy
from recipes.pretrain_toy import (
    COLOR,
    KIND,
    MEAN,
    PAIRS,
    RELATION,
    SETTING,
    STD,
    MultiTaskNet,
    PretrainConfig,
    Targets,
    augment,
    example,
    normalize,
    pretrain,
)
from tests.helpers import TOY_WEIGHTS


@pytest.fixture(scope="module")
def batch():
    parts = [example((5, "pretrain", index, 112)) for index in range(6)]
    return [
        torch.stack([torch.from_numpy(part) for part in column])
        for column in zip(*parts, strict=True)
    ]


def test_targets_are_those_of_the_scenes(batch):
    _, ids, labels = batch
    targets = Targets(labels, ids)
    for row in range(6):
        record = scene(5, "pretrain", row)[1]
        things = record["things"]
        counts = {KIND[k]: int(n) for k, n in enumerate(targets.counts[row]) if n}
        assert counts == record["counts"]
        assert {PAIRS[p] for p in targets.pairs[row].nonzero()[:, 0]} == {
            (thing["kind"], thing["color"]) for thing in things
        }
        assert SETTING[targets.setting[row]] == record["setting"]
        assert {RELATION[r] for r in targets.relations[row].nonzero()[:, 0]} == {
            relation["relation"] for relation in record["relations"]
        }
        largest = next(thing for thing in things if thing["id"] == record["largest"])
        assert KIND[targets.largest[row]] == largest["kind"]
        kinds = Counter(KIND[k - 1] for k in targets.kind_map[row].flatten() if k)
        colors = Counter(COLOR[c - 1] for c in targets.color_map[row].flatten() if c)
        assert set(kinds) <= {thing["kind"] for thing in things}
        assert kinds[largest["kind"]] > 0
        assert colors[largest["color"]] > 0


def test_no_picture_and_no_loss_has_a_pair_held_out(batch):
    _, ids, labels = batch
    shown = Targets(labels, ids).pairs.sum(0)
    net = MultiTaskNet(4)
    for index, pair in enumerate(PAIRS):
        assert bool(net.seen[index]) == (pair not in HELD_OUT)
        assert pair not in HELD_OUT or shown[index] == 0


def test_picture_and_map_are_augmented_alike(batch):
    """A picture that is painted from its map still agrees with it."""
    _, ids, _ = batch
    painted = torch.stack([ids * 50] * 3, dim=3)  # gray, so permuted channels change nothing
    images, cut, true_colors = augment(painted, ids, 96)
    assert images.shape == (6, 3, 96, 96)
    assert true_colors.tolist() == [0, 0, 0, 1, 1, 1]
    expected = normalize(torch.stack([cut * 50] * 3, dim=3))
    brightness = (images * expected).sum((1, 2, 3)) / expected.square().sum((1, 2, 3))
    torch.testing.assert_close(images, expected * brightness[:, None, None, None])


def test_a_short_training_ends_in_weights_that_load(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain_toy, "examples", few_examples)
    out = tmp_path / "small.pth"
    small = {"scenes": 8, "width": 4, "epochs": 1, "batch_size": 4, "device": "cpu"}
    scores = pretrain(PretrainConfig(str(out), **small))
    assert all(0 <= value <= 100 for value in scores.values())
    saved = torch.load(out, weights_only=True)
    network = narrow_resnet50(**saved["config"])
    network.load_state_dict({k: v.float() for k, v in saved["state_dict"].items()})
    assert saved["transform"] == {"resize": 120, "crop": 112, "mean": MEAN, "std": STD}


def few_examples(seed, split, count, side):
    parts = [example((seed, split, index, side)) for index in range(min(count, 8))]
    return [
        torch.stack([torch.from_numpy(part) for part in column])
        for column in zip(*parts, strict=True)
    ]


def test_shipped_weights():
    saved = torch.load(TOY_WEIGHTS, weights_only=True)
    assert saved["arch"] == "narrow_resnet50"
    assert TOY_WEIGHTS.stat().st_size < 8e6
    network = narrow_resnet50(**saved["config"]).eval()
    network.load_state_dict({k: v.float() for k, v in saved["state_dict"].items()})
    crop = saved["transform"]["crop"]
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, crop, crop))
    assert maps.shape == (1, 32 * saved["config"]["width"], crop // 16, crop // 16)
    assert maps.isfinite().all()
