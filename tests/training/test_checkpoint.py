"""A run continues bit for bit wherever it was cut; a checkpoint that does not fit is refused."""

import pytest
import torch

from captioning.features import reading
from captioning.safe_load import safe_load
from tests.runs import assert_equal, numbers, pairs, power_cut
from train import train

HARD = {"dropout": 0.4, "views": 3, "ema_decay": 0.9, "schedule": "onecycle", "num_epochs": 3}


def test_a_run_cut_anywhere_resumes_bit_for_bit(config_of, tmp_path):
    """Cut in the middle of an epoch, again right after an epoch, once before any checkpoint."""
    whole = train(config_of(tmp_path / "whole", **HARD))
    often = {"checkpoint_every": 2} | HARD
    with power_cut(9):  # the 4th step of epoch 2: the checkpoint is of step 2
        train(config_of(tmp_path / "cut", **often))
    with power_cut(4):  # steps 3, 4 and 5 of epoch 2, then the first of epoch 3
        train(config_of(tmp_path / "cut", resume=True, **often))
    with power_cut(1):
        train(config_of(tmp_path / "cut", resume=True, **often))
    resumed = train(config_of(tmp_path / "cut", resume=True, **often))
    assert numbers(resumed) == numbers(whole)
    assert_equal(pairs(tmp_path / "cut"), pairs(tmp_path / "whole"))
    ids = {safe_load(path)["run_id"] for path in (tmp_path / "cut").glob("*coder-*.pkl")}
    assert len(ids) == 1


def test_a_run_keeps_the_order_it_began_with_whatever_memory_is_free(
    config_of, tmp_path, monkeypatch
):
    hard = {"dropout": 0.4, "views": 2, "checkpoint_every": 2}
    monkeypatch.setattr(reading, "free_memory", lambda: 1.0)
    whole = train(config_of(tmp_path / "whole", **hard))
    with power_cut(9):  # the 4th step of epoch 2: the checkpoint is of step 2
        train(config_of(tmp_path / "cut", **hard))
    monkeypatch.setattr(reading, "free_memory", lambda: 1e12)
    resumed = train(config_of(tmp_path / "cut", resume=True, **hard))
    assert numbers(resumed) == numbers(whole)
    assert_equal(pairs(tmp_path / "cut"), pairs(tmp_path / "whole"))
    assert numbers(train(config_of(tmp_path / "random", **hard))) != numbers(whole)


def test_a_fine_tuning_run_resumes_bit_for_bit(config_of, tmp_path):
    tuned = {"fine_tune_from": "layer4", "fine_tune_lr": 1e-3, "views": 2, "num_workers": 1}
    tuned |= {"dropout": 0.3, "num_epochs": 1}
    whole = train(config_of(tmp_path / "whole", **tuned))
    with power_cut(4):
        train(config_of(tmp_path / "cut", checkpoint_every=1, **tuned))
    resumed = train(config_of(tmp_path / "cut", resume=True, **tuned | {"num_workers": 0}))
    assert numbers(resumed) == numbers(whole)
    assert_equal(pairs(tmp_path / "cut"), pairs(tmp_path / "whole"))


def test_a_finished_run_may_be_made_longer(config_of, tmp_path):
    whole = train(config_of(tmp_path / "whole", num_epochs=3))
    train(config_of(tmp_path / "two", num_epochs=2))
    longer = train(config_of(tmp_path / "two", num_epochs=3, resume=True))
    assert numbers(longer) == numbers(whole)
    assert_equal(pairs(tmp_path / "two"), pairs(tmp_path / "whole"))


def test_a_checkpoint_that_is_older_than_an_option_resumes(config_of, tmp_path):
    train(config_of(tmp_path, num_epochs=1))
    path = tmp_path / "checkpoint.pkl"
    content = torch.load(path, weights_only=True)
    del content["config"]["jpeg_decoder"]
    torch.save(content, path)
    history = train(config_of(tmp_path, num_epochs=2, resume=True))
    assert [row["epoch"] for row in history] == [1, 2]
    content["config"]["unknown"] = 1
    torch.save(content, path)
    with pytest.raises(ValueError, match="not a checkpoint of this version"):
        train(config_of(tmp_path, num_epochs=2, resume=True))


def test_resuming_with_other_options_is_refused(config_of, tmp_path):
    train(config_of(tmp_path, num_epochs=1))
    for changed in ({"hidden_size": 20}, {"seed": 3}, {"optimizer": "sgd"}, {"lr": 1.0}):
        [(name, value)] = changed.items()
        with pytest.raises(ValueError, match=rf"was made with {name}=.*, not {value}"):
            train(config_of(tmp_path, resume=True, **changed))


def test_nothing_to_resume_and_a_broken_checkpoint_get_different_sentences(config_of, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint\.pkl is missing: nothing to resume"):
        train(config_of(tmp_path, resume=True))
    for content in ({}, {"config": 7, "progress": {}}, {"config": {}, "progress": 7}, [1]):
        torch.save(content, tmp_path / "checkpoint.pkl")
        with pytest.raises(ValueError, match=r"checkpoint\.pkl"):
            train(config_of(tmp_path, resume=True))


def test_a_checkpoint_of_other_words_or_another_backbone_is_refused(config_of, tmp_path):
    train(config_of(tmp_path, num_epochs=1))
    good = safe_load(tmp_path / "checkpoint.pkl")
    for changed, why in (
        ({"words": [*good["words"][:-1], "zebra"]}, "other words"),
        ({"fingerprint": "0" * 16}, "other backbone weights"),
        ({"weights": good["weights"][1:]}, "another structure"),
        ({"ema": {"steps": 0}}, "another structure"),
        ({"optimizer": good["optimizer"] | {"param_groups": []}}, "other parameters"),
    ):
        torch.save(good | changed, tmp_path / "checkpoint.pkl")
        with pytest.raises(ValueError, match=rf"checkpoint\.pkl does not fit this run \(.*{why}"):
            train(config_of(tmp_path, num_epochs=2, resume=True))


def test_the_same_folder_may_be_written_in_another_way(config_of, data, tmp_path, monkeypatch):
    train(config_of(tmp_path, num_epochs=1))
    monkeypatch.chdir(data)
    assert len(train(config_of(tmp_path, data=".", num_epochs=2, resume=True))) == 2
