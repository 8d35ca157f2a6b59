"""Several processes train as one does: the same losses and features; a lost process ends the run.

The processes are started as a user starts them, by torchrun, and run RUN below.
"""

import dataclasses
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from captioning import distributed
from captioning.safe_load import safe_load
from captioning.training import self_critical
from captioning.training.monitoring import read_history
from tests.helpers import ROOT
from train import train

RUN = """
import functools, glob, itertools, json, os, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
import train
from captioning import distributed
from captioning.files import cli_errors
from captioning.training import losses, self_critical
from captioning.training.config import TrainConfig

options = json.loads(sys.argv[2])
steps = itertools.count(1)

def deadly(loss):
    def dies(*args, **kwargs):
        if distributed.rank() == 1 and torch.is_grad_enabled():  # validation does not count
            if next(steps) == options["dies_in_step"]:
                os.kill(os.getpid(), signal.SIGKILL)
        return loss(*args, **kwargs)
    return dies

losses.caption_loss = deadly(losses.caption_loss)
losses.self_critical_loss = deadly(losses.self_critical_loss)
fine_tune = functools.partial(self_critical.fine_tune_on_cider, **options["fine_tuning"])
self_critical.fine_tune_on_cider = fine_tune
try:
    with cli_errors():
        config = TrainConfig(**options["config"])
        with distributed.init_distributed(config.device):
            history, rank = train.train(config), distributed.rank()
            if config.self_critical_epochs:
                out = train.Path(config.out)
                train.complete_run(out, config.self_critical_epochs, config.self_critical_rounds)
    with open(f"{config.out}/rank-{rank}.json", "w", encoding="utf-8") as file:
        json.dump(history, file)
finally:  # a thread that outlives the interpreter may abort it
    threads = [open(path).read() for path in glob.glob("/proc/self/task/*/comm")]
    if any("gloo" in name for name in threads):
        print("error: left behind", threads, file=sys.stderr)
"""
# the last batch has a single photo, so that not every process has one
FINE_TUNING = {"batch_size": 11, "samples_per_image": 3, "lr": 0.5}
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs"),
    ),
]


@pytest.fixture
def start(data, tmp_path, config_of, monkeypatch):
    """`start(name, processes, ...)` trains in tmp_path/name, on its own copy of the data."""
    script = tmp_path / "run.py"
    script.write_text(RUN, encoding="utf-8")

    def start(
        name: str, processes: int, dies_in_step=None, **changed
    ) -> subprocess.CompletedProcess:
        out = tmp_path / name
        copy = out / "data"
        if not copy.exists():
            shutil.copytree(data, copy, ignore=shutil.ignore_patterns("features"))
        config = config_of(out, data=str(copy), **changed)
        if processes == 1:
            train(config)
            fine_tune = functools.partial(self_critical.fine_tune_on_cider, **FINE_TUNING)
            with monkeypatch.context() as patch:
                patch.setattr(self_critical, "fine_tune_on_cider", fine_tune)
                if config.self_critical_epochs:
                    self_critical.complete_run(out, config.self_critical_epochs)
            return None
        options = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        options = {"config": options, "dies_in_step": dies_in_step, "fine_tuning": FINE_TUNING}
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        return subprocess.run(
            [*torchrun, "--nproc-per-node", str(processes), script, str(ROOT), json.dumps(options)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=500,
        )

    return start


def losses(out: Path) -> list[float]:
    """Return the loss of every step, from the log."""
    log = (out / "training.log").read_text(encoding="utf-8")
    return [float(found) for found in re.findall(r"step \d+/\d+  loss (\S+)", log)]


def weights(out: Path, epoch: int) -> dict[str, torch.Tensor]:
    """Return the saved weights of encoder and decoder."""
    parts = [safe_load(out / f"{part}-{epoch}.pkl") for part in ("encoder", "decoder")]
    return parts[0]["state_dict"] | parts[1]["state_dict"]


def features(out: Path) -> dict[tuple, np.ndarray]:
    """Return {shape: features}: here each split has another number of photos."""
    arrays = [np.load(path) for path in (out / "data/features").glob("*/features-*.npy")]
    return {array.shape: array for array in arrays}


# How far weights may differ. The gradients of several processes add up to those of one, but for
# rounding (1e-7). The steps of SGD are proportional to them; Adam divides them by their own size,
# so where a gradient is nearly zero, as for some backbone weights, rounding decides the step.
TOLERANCE = {"adam": 2e-4, "sgd": 2e-5}


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("processes", "changed"),
    [
        # 36 captions: the last batch has 1, of which the second process has none
        (
            2,
            {"batch_size": 7, "views": 2, "label_smoothing": 0.1, "schedule": "cosine"}
            | {"self_critical_epochs": 2},
        ),
        (
            4,
            {"batch_size": 10, "decoder": "attention", "attention_penalty": 3.0}
            | {"self_critical_epochs": 2, "feature_order": "shards"},
        ),
        (
            2,
            {"batch_size": 7, "fine_tune_from": "layer4", "num_workers": 1}
            | {"optimizer": "sgd", "lr": 0.05, "fine_tune_lr": 0.01},
        ),
    ],
)
def test_several_processes_give_the_losses_of_one(start, tmp_path, device, processes, changed):
    same = {"dropout": 0.0, "optimizer": "adam", "device": device} | changed
    tolerance = TOLERANCE[same["optimizer"]]
    start("one", 1, **same)
    ended = start("many", processes, **same)
    assert ended.returncode == 0, ended.stderr
    assert "error: " not in ended.stderr
    one, many = tmp_path / "one", tmp_path / "many"
    assert losses(many) == pytest.approx(losses(one), abs=2e-3)
    assert len(losses(one)) == 2 * -(-36 // same["batch_size"])
    before, after, of_many = weights(one, 1), weights(one, 2), weights(many, 2)
    assert max((after[name] - before[name]).abs().max() for name in after) > 5 * tolerance
    for name, weight in after.items():
        torch.testing.assert_close(of_many[name], weight, atol=tolerance, rtol=0)

    # the same numbers in every process, and one writer
    histories = [(many / f"rank-{rank}.json").read_text() for rank in range(processes)]
    numbers = [re.sub(r'"seconds": [^,}]+', "", history) for history in histories]
    assert len(set(numbers)) == 1
    history = json.loads(histories[0])
    assert [row["epoch"] for row in history] == [1, 2]
    assert "CIDEr" in history[0]
    for path in (one, many):
        assert not list(path.glob("**/.*.tmp"))
    assert (many / "training.log").read_text().count("epoch 1 done") == 1

    # the CIDEr stage draws the same captions, and learns the same from them
    rows, of_one = (read_history(path / "history.csv")[2:] for path in (many, one))
    assert len(rows) == changed.get("self_critical_epochs", 0)
    for row, expected in zip(rows, of_one, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert row["val_loss"] == pytest.approx(expected["val_loss"], abs=2e-3)
    if rows:  # and learns something
        assert abs(rows[-1]["val_loss"] - history[1]["val_loss"]) > 2e-2

    # the same features, byte for byte
    if "fine_tune_from" not in changed:
        assert features(one).keys() == features(many).keys()
        for shape, array in features(one).items():
            assert np.array_equal(features(many)[shape], array)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_a_process_that_dies_ends_the_run_in_a_sentence_and_resume_continues(
    start, tmp_path, device
):
    hard = {"dropout": 0.4, "ema_decay": 0.9, "schedule": "onecycle", "device": device}
    hard |= {"checkpoint_every": 2}
    whole = start("whole", 2, **hard)
    died = start("cut", 2, dies_in_step=9, **hard)
    resumed = start("cut", 2, resume=True, **hard)
    assert (whole.returncode, resumed.returncode) == (0, 0), whole.stderr + resumed.stderr
    assert died.returncode != 0
    sentences = [line for line in died.stderr.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1, died.stderr
    assert "died" in sentences[0]
    assert "--resume" in sentences[0]
    log = (tmp_path / "cut/training.log").read_text(encoding="utf-8")
    assert "continuing with epoch 2 after step 2" in log
    for name, weight in weights(tmp_path / "whole", 2).items():
        assert torch.equal(weights(tmp_path / "cut", 2)[name], weight)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_resume_adds_the_epochs_on_cider_that_a_lost_process_cost(start, tmp_path, device):
    options = {"num_epochs": 1, "self_critical_epochs": 2, "device": device}
    died = start("run", 2, dies_in_step=7, **options)  # 5 steps, then its 1 of 2 an epoch
    assert died.returncode != 0
    sentences = [line for line in died.stderr.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1, died.stderr
    assert [row["epoch"] for row in read_history(tmp_path / "run/history.csv")] == [1, 2]
    resumed = start("run", 2, resume=True, **options)
    assert resumed.returncode == 0, resumed.stderr
    assert [row["epoch"] for row in read_history(tmp_path / "run/history.csv")] == [1, 2, 3]


def test_without_torchrun_every_call_is_local():
    with distributed.init_distributed("cpu"):
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
        assert distributed.all_gather("me") == ["me"]
        assert distributed.broadcast("me") == "me"
        assert torch.equal(distributed.shard(torch.arange(5)), torch.arange(5))
        module, loss = torch.nn.Linear(1, 1), torch.tensor(2.0)
        assert distributed.data_parallel(module) is module
        assert distributed.all_reduce(loss) is loss
        distributed.check_in_sync(3, "number")
