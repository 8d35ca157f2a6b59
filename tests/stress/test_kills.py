"""Killed, or out of disk: nothing is lost. `python -m tests.stress.kills` kills fifty times."""

import contextlib
import multiprocessing
import subprocess
import sys

import pytest
import torch

from tests.helpers import ROOT, write_data
from tests.runs import numbers, power_cut
from train import train


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(data, weights):
    command = ["-m", "tests.stress.kills", "--data", data, "--weights", weights, "--kills", "3"]
    ended = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("the same outcome") == 3
    assert "3 kills" in ended.stdout


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [("adam", "onecycle"), ("adamw", "cosine"), ("sgd", "plateau"), ("sgd", "constant")],
)
def test_every_optimizer_and_schedule_resumes_bit_for_bit(config_of, tmp_path, optimizer, schedule):
    hard = {"optimizer": optimizer, "schedule": schedule, "dropout": 0.3, "checkpoint_every": 1}
    whole = train(config_of(tmp_path / "whole", **hard))
    with power_cut(8):
        train(config_of(tmp_path / "cut", **hard))
    resumed = train(config_of(tmp_path / "cut", resume=True, **hard))
    assert numbers(resumed) == numbers(whole)


@contextlib.contextmanager
def full_disk(most: int):
    """Let no file grow beyond `most` bytes: writing fails as on a full disk, even for root."""
    resource = pytest.importorskip("resource")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_full_disk_ends_the_run_in_a_sentence_and_resume_continues(config_of, tmp_path):
    data = write_data(tmp_path / "data")
    whole = train(config_of(tmp_path / "whole", num_epochs=2))
    config = config_of(tmp_path / "out", data=str(data), num_epochs=1)
    with full_disk(2000), pytest.raises(OSError, match=r"features.* could not be written"):
        train(config)
    train(config)
    before = (tmp_path / "out/checkpoint.pkl").read_bytes()
    config = config_of(tmp_path / "out", data=str(data), num_epochs=2, resume=True)
    with (
        full_disk(20_000),
        pytest.raises(OSError, match=r"could not be written .*unharmed") as error,
    ):
        train(config)
    assert "\n" not in str(error.value)
    assert (tmp_path / "out/checkpoint.pkl").read_bytes() == before
    assert not list(tmp_path.rglob(".*.tmp"))
    assert [row["loss"] for row in train(config)] == [row["loss"] for row in whole]


def test_a_folder_that_cannot_be_written_to_is_named(config_of, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"file could not be written"):
        train(config_of(tmp_path / "file"))


@pytest.mark.parametrize(
    "altered",
    [torch.tensor(0.5), torch.zeros(3), "text"],
    ids=["one number", "another shape", "no tensor"],
)
def test_an_optimizer_state_that_does_not_fit_is_refused(config_of, tmp_path, altered):
    train(config_of(tmp_path, num_epochs=1))
    content = torch.load(tmp_path / "checkpoint.pkl", weights_only=True)
    content["optimizer"]["state"][0]["exp_avg"] = altered  # the kernel would write past its end
    torch.save(content, tmp_path / "checkpoint.pkl")
    with pytest.raises(ValueError, match=r"checkpoint\.pkl"):
        train(config_of(tmp_path, num_epochs=2, resume=True))


def test_a_new_run_in_the_same_folder_loses_no_weights_and_says_so(config_of, tmp_path, capsys):
    train(config_of(tmp_path, num_epochs=2))
    kept = (tmp_path / "decoder-2.pkl").read_bytes()
    train(config_of(tmp_path, num_epochs=1))
    assert "held another run" in capsys.readouterr().out
    assert (tmp_path / "decoder-2.pkl").read_bytes() == kept
