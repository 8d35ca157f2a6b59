"""Learning a few captions by heart: the check that comes before training."""

import pytest

import train as train_module
from captioning.training import overfit
from tests.runs import losses_in


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_overfitting_one_batch_drives_the_loss_down(
    config_of, tmp_path, monkeypatch, capsys, decoder
):
    monkeypatch.setattr(overfit, "CHECK_EVERY", 1)
    config = config_of(tmp_path, decoder=decoder, lr=3e-3, dropout=0.4, hidden_size=32)
    assert overfit.learn_batch_by_heart(config)
    printed = capsys.readouterr().out
    losses = losses_in(printed)
    assert losses[0] > 1.5
    assert losses[-1] < 0.6  # and every word of the 12 captions is right
    assert "learned 12 captions by heart" in printed


def test_a_run_that_does_not_learn_by_heart_exits_with_1(cli, data, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(overfit, "STEPS", 25)
    flags = ["--data", data, "--weights", weights, "--out", tmp_path / "out", "--device", "cpu"]
    assert cli(train_module.main, *flags, "--overfit-batch", "--lr", 1e-9) == 1
    assert not (tmp_path / "out").exists()
