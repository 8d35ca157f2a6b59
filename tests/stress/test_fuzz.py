"""Five hundred altered files (`python -m tests.stress.fuzz` tries ten thousand), and any JSON."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from captioning.data.coco import read_captions, read_references
from captioning.data.results import read_results
from tests.helpers import ROOT, write_data
from vocabulary import Vocabulary

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["images", "annotations", "id", "image_id", "file_name", "caption", "words"]
            )
            | st.text(max_size=4),
            inside,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_five_hundred_altered_files_end_in_success_or_a_sentence(data, weights):
    command = ["-m", "tests.stress.fuzz", "--data", data, "--weights", weights, "--inputs", "500"]
    ended = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert "500 inputs: " in ended.stdout
    assert "25 unaltered controls in between succeeded, 0 faults" in ended.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("any json"))


@examples(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=VALUES)
def test_any_json_is_read_or_refused_in_a_sentence_that_names_the_file(folder, value):
    path = folder / "annotations/captions_test.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    good = folder / "annotations/captions_val2014.json"
    references, names = read_references(good)
    for read in (
        lambda: read_captions(folder, "test"),
        lambda: read_references(path),
        lambda: read_results(path, references, names),
        lambda: Vocabulary.load(path),
    ):
        sentence = path.name
        try:
            read()
        except (OSError, ValueError) as refused:
            sentence = str(refused)
        assert path.name in sentence
        assert "\n" not in sentence
