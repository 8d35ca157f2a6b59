"""Three kills at random moments; `python benchmarks/kills.py` makes fifty."""

import multiprocessing
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_run_killed_at_random_moments_ends_as_if_nobody_had(data, weights):
    command = ["benchmarks/kills.py", "--data", data, "--weights", weights, "--kills", "3"]
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("the same outcome") == 3
    assert "3 kills" in ended.stdout
