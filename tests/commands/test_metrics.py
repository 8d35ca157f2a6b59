"""The command: results in, a table out, or one sentence."""

import json
import subprocess
import sys

import pytest

import metrics
from captioning.evaluation.scores import tokens
from tests.helpers import ROOT


@pytest.fixture
def annotations(tmp_path):
    names = {11: "p11.jpg", 12: "p12.jpg", 13: "p13.jpg"}
    content = {
        "images": [{"id": i, "file_name": name} for i, name in names.items()],
        "annotations": [
            {"id": 10 * i + k, "image_id": i, "caption": f"A {thing} on the {place}."}
            for i, thing in zip(names, ("dog", "cat", "man"), strict=True)
            for k, place in enumerate(("beach", "road"))
        ],
    }
    path = tmp_path / "captions_val.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def score(tmp_path, annotations, monkeypatch, capsys):
    """Runs the command line on some results: exit status, standard output, standard error."""

    def run(results, *flags) -> tuple[int, str, str]:
        path = tmp_path / "results.json"
        text = results if isinstance(results, str) else json.dumps(results)
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["metrics.py", str(path), str(annotations), *flags])
        refused = ""
        try:
            metrics.main()
        except SystemExit as stop:  # Python prints its text and exits with 1
            refused = str(stop.code)
        out, err = capsys.readouterr()
        return int(bool(refused)), out, err + refused

    return run


GOOD = [
    {"image_id": 11, "caption": "a dog on the beach"},
    {"image_id": "p12", "caption": "a cat on the road"},
    {"image_id": "whatever", "file_name": "p13.jpg", "caption": "a man on the road"},
]


def test_command_matches_by_id_stem_and_file_name(tmp_path, annotations, score):
    out = tmp_path / "scores.json"
    flags = ("--training", str(annotations), "--out", str(out))
    status, said, err = score(GOOD, *flags)
    assert status == 0, err
    assert "3 images, 6 references" in said
    assert "BLEU-4       100.0" in said
    scores = json.loads(out.read_text(encoding="utf-8"))
    assert scores["captions"]["BLEU-4"] == pytest.approx(100)
    assert scores["human"]["CIDEr"] < scores["captions"]["CIDEr"]
    assert scores["diversity"]["copied from training, %"] == pytest.approx(100)


def test_the_columns_have_room_for_the_highest_cider():
    scores = {"BLEU-4": 5.0, "CIDEr": 1000.0}
    intervals = {"BLEU-4": (1.0, 9.0), "CIDEr": (1000.0, 1000.0)}
    lines = metrics.table({"captions": scores, "human": scores}, intervals).splitlines()
    assert len({len(line) for line in lines}) == 1, "right-aligned"
    assert lines[2].split() == ["CIDEr", "1000.0", "1000.0", "to", "1000.0", "1000.0"]


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ("[{", "is not JSON"),
        ({"image_id": 11}, "holds a JSON dict, not a list"),
        ([], "has no captions"),
        ([{"image_id": 99, "caption": "a dog"}], "its first image is 99"),
        ([*GOOD, {"image_id": 99, "caption": "a"}], "1 caption is of photos not in the annotat"),
        (GOOD[:2], "1 caption is missing, the first of image 13"),
        ([*GOOD, {"image_id": "p11", "caption": "a"}], "two captions of image 11"),
        ([{"image_id": 11}], "entry 1 has no valid `caption`"),
        ([{"image_id": 11, "caption": ["a", "dog"]}], "entry 1 has no valid `caption`"),
        ([{"image_id": [11], "caption": "a"}], "entry 1 has no valid `image_id`"),
        ([{"image_id": True, "caption": "a"}], "entry 1 has no valid `image_id`"),
        (["a dog"], "entry 1 has no valid `image_id`"),
    ],
)
def test_command_refuses_in_one_sentence(score, results, sentence):
    status, _, err = score(results)
    assert status == 1
    assert err.startswith("error: ")
    assert "\n" not in err
    assert sentence in err
    assert "results.json" in err


def test_command_scores_what_is_there_with_partial(score):
    status, said, err = score([*GOOD[:2], {"image_id": 99, "caption": "a"}], "--partial")
    assert status == 0, err
    assert "2 images, 4 references" in said


def test_command_notes_that_cider_needs_more_than_one_image(score):
    status, said, err = score(GOOD[:1], "--partial")
    assert status == 0, err
    assert said.splitlines()[-1].split() == ["CIDEr", "0.0", "0.0", "to", "0.0"]
    assert err.startswith("note: CIDEr is 0 whatever the captions: it needs images whose refer")


def test_command_scores_empty_and_non_latin_captions(score):
    empty, other = dict(GOOD[0], caption=" ... "), dict(GOOD[1], caption="一只猫 на дороге \ud83d")
    status, _, err = score([empty, other, GOOD[2]])
    assert status == 0, err
    assert "1 caption has no words, the first of image 11" in err
    assert tokens("Кошка на дороге.") == ("кошка", "на", "дороге"), "any script has words"


def test_it_runs_as_a_command(annotations):
    command = [sys.executable, "metrics.py", str(annotations), str(annotations)]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    assert run.returncode == 1
    assert run.stderr == f"error: {annotations} holds a JSON dict, not a list.\n"
