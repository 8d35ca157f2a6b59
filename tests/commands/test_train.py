"""A run of train.py: what it leaves behind, what it trains, its command line."""

import csv
import dataclasses
import math
import re

import pytest
import torch

import train as train_module
from captioning.safe_load import safe_load
from captioning.training.monitoring import best_epoch
from tests.helpers import write_data
from tests.runs import assert_equal, losses_in, numbers, pairs
from train import train

# --- what a run leaves -----------------------------------------------------------------------


def test_a_run_leaves_pairs_a_log_a_history_and_a_checkpoint(config_of, tmp_path, capsys):
    history = train(config_of(tmp_path, num_epochs=3, save_every=2, best_metric="loss"))
    assert [row["epoch"] for row in history] == [1, 2, 3]
    scores = {"val_loss", "BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr"}
    assert {"epoch", "loss", "seconds"} | scores <= history[0].keys()
    assert history[2]["loss"] < history[0]["loss"]
    with open(tmp_path / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in history]
    best = best_epoch(history, "loss")
    epochs = {f"{part}-{e}.pkl" for part in ("encoder", "decoder") for e in {2, 3, best}}
    assert epochs <= {path.name for path in tmp_path.glob("*.pkl")} - {"checkpoint.pkl"}
    for part in ("encoder", "decoder"):
        kept = (tmp_path / "best" / f"{part}.pkl").read_bytes()
        assert kept == (tmp_path / f"{part}-{best}.pkl").read_bytes()
    log = (tmp_path / "training.log").read_text(encoding="utf-8")
    assert "epoch 1 step 2/5  loss " in log
    assert len(losses_in("\n".join(x for x in log.splitlines() if " step " in x))) == 15
    printed = capsys.readouterr().out.splitlines()
    assert len([line for line in printed if " step " in line]) == 6  # every second one
    assert "photo_100.jpg: " in log
    assert not list(tmp_path.glob("**/.*.tmp"))  # no file is half written


def test_the_same_seed_gives_the_same_run_and_another_seed_another(config_of, tmp_path):
    runs = [
        numbers(train(config_of(tmp_path / str(i), num_epochs=1, seed=seed, dropout=0.4)))
        for i, seed in enumerate((1, 1, 2))
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert_equal(pairs(tmp_path / "0"), pairs(tmp_path / "1"))


def test_a_photo_that_cannot_be_read_is_left_out(config_of, tmp_path, capsys):
    data = write_data(tmp_path / "data")
    for split, number in (("train2014", "004"), ("val2014", "102")):
        (data / f"images/{split}/photo_{number}.jpg").write_bytes(b"no photo")
    for fine_tune_from in (None, "layer4"):
        out = tmp_path / f"out {fine_tune_from}"
        config = config_of(out, data=str(data), num_epochs=1, fine_tune_from=fine_tune_from)
        history = train(config)
        assert math.isfinite(history[0]["val_loss"])
        printed = capsys.readouterr().out
        assert "photo_004.jpg is not a photo" in printed
        assert "photo_102.jpg is not a photo" in printed


def test_data_without_val_trains_and_keeps_the_last_pair(config_of, tmp_path):
    data = write_data(tmp_path / "data")
    (data / "annotations/captions_val2014.json").unlink()
    history = train(config_of(tmp_path / "out", data=str(data)))
    assert "val_loss" not in history[0]
    kept = (tmp_path / "out/best/decoder.pkl").read_bytes()
    assert kept == (tmp_path / "out/decoder-2.pkl").read_bytes()


def test_it_stops_early_where_no_epoch_is_better(config_of, tmp_path):
    config = config_of(
        tmp_path, num_epochs=6, patience=2, best_metric="loss", lr=1e-30, optimizer="sgd"
    )
    history = train(config)
    assert len(history) == 3
    assert "stopped: no better loss" in (tmp_path / "training.log").read_text(encoding="utf-8")


def test_validation_photos_on_which_cider_is_always_0_are_noted_and_loss_decides(
    config_of, tmp_path
):
    config = config_of(tmp_path, val_samples=1, num_epochs=3)
    history = train(config)
    assert [row["CIDEr"] for row in history] == [0, 0, 0]
    best = min(history, key=lambda row: row["val_loss"])["epoch"]
    assert safe_load(tmp_path / "best/decoder.pkl")["epoch"] == best
    log = (tmp_path / "training.log").read_text(encoding="utf-8")
    assert log.count("note: CIDEr is 0 whatever the captions") == 1
    train(dataclasses.replace(config, resume=True, num_epochs=2))
    log = (tmp_path / "training.log").read_text(encoding="utf-8")
    assert log.splitlines()[-1] == "this run is finished after 3 epochs"


@pytest.mark.parametrize(
    "changed",
    [
        {"decoder": "attention", "scheduled_sampling": 0.3, "attention_penalty": 0.5},
        {"decoder": "transformer", "optimizer": "adamw", "schedule": "cosine", "num_layers": 2},
        {"decoder": "gru", "optimizer": "sgd", "schedule": "plateau", "views": 2},
        {"decoder": "rnn", "schedule": "onecycle", "ema_decay": 0.9, "label_smoothing": 0.1},
        {"tie_weights": True, "embed_size": 24, "precision": "auto"},
    ],
)
def test_every_option_trains(config_of, tmp_path, changed):
    history = train(config_of(tmp_path, **changed))
    assert history[1]["loss"] < history[0]["loss"]


def test_fine_tuning_changes_layer4_only(config_of, tmp_path, weights):
    tuned = {"fine_tune_from": "layer4", "fine_tune_lr": 1e-3, "num_epochs": 1}
    train(config_of(tmp_path, **tuned))
    before = safe_load(weights)["state_dict"]
    after = safe_load(tmp_path / "encoder-1.pkl")["state_dict"]
    learned = {k.removeprefix("backbone.network."): v for k, v in after.items()}
    assert {name.split(".")[0] for name in learned} == {"embed", "layer4"}
    changed = {n for n in learned if n in before and not torch.equal(learned[n], before[n])}
    assert {n.rsplit(".", 1)[0] for n in changed} >= {"layer4.0.conv1", "layer4.2.conv3"}
    assert not any("running" in name for name in learned)  # BatchNorm's statistics stay


# --- the command line ------------------------------------------------------------------------


def test_the_command_line_trains(config_of, cli, tmp_path, data, weights, capsys):
    status = cli(
        train_module.main, "--data", data, "--weights", weights, "--num-epochs", 1, "--out",
        tmp_path / "out", "--vocab-threshold", 1, "--embed-size", 8, "--hidden-size", 8,
        "--tie-weights", "--decoder", "gru", "--device", "cpu",
    )  # fmt: skip
    assert status == 0
    assert "val_loss" in capsys.readouterr().out
    assert safe_load(tmp_path / "out/decoder-1.pkl")["config"]["tie_weights"] is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], r"^error: nowhere is not a data folder\. Draw"),
        (
            ["--weights", "nowhere.pth"],
            r"^error: The weights of the backbone, nowhere\.pth, are mis",
        ),
        (["--backbone", "resnet51"], r"^error: There is no backbone named 'resnet51'"),
        (["--batch-size", "0"], r"^error: batch_size must be 1 or more"),
        (["--decoder", "transformer", "--hidden-size", "20"], r"^error: hidden_size 20 cannot be"),
        (["--decoder", "attention", "--num-layers", "2"], r"^error: AttentionDecoder has one"),
        (["--device", "tpu"], r"^error: There is no device 'tpu'"),
        (["--resume"], r"^error: .*checkpoint\.pkl is missing: nothing to resume"),
    ],
)
def test_the_command_line_answers_mistakes_in_a_sentence(
    cli, tmp_path, data, weights, arguments, sentence
):
    common = ["--data", data, "--weights", weights, "--out", tmp_path, "--device", "cpu"]
    status = cli(train_module.main, *common, *arguments)
    assert isinstance(status, str)
    assert "\n" not in status
    assert re.match(sentence, status)


def test_half_precision_changes_the_losses_by_rounding_only(config_of, tmp_path):
    losses = [
        train(config_of(tmp_path / p, precision=p, dropout=0.0))[-1]["val_loss"]
        for p in ("float32", "auto")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
