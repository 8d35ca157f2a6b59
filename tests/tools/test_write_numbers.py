"""The numbers in the documents are those of the JSON files, which the stages write."""

import json
import re
from string import Template

import pytest

from tools import number_stages, write_numbers
from tools.number_blocks import BLOCKS, minutes, run_time, seed_value
from tools.number_stages import CLAIMS, SEEDS, STAGES, Stage, course, load, tables
from tools.write_numbers import BLOCK, DEFAULTS, NUMBERS, ROOT, SCRATCH, chosen_stages, fill, main

DOCUMENTS = {path.relative_to(ROOT).as_posix(): text for path, text in write_numbers.documents()}
RECORDS = sorted(path.stem for path in NUMBERS.glob("*.json"))
RERUN = "run `python -m tools.write_numbers --write`"
SCORE = re.compile(r"(BLEU-\d|CIDEr)( of)? (\d|[*]{2}\d)")  # a measured score in a sentence


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_has_the_numbers_of_the_files(name):
    assert (ROOT / name).read_text(encoding="utf-8") == DOCUMENTS[name], RERUN


def test_every_block_is_in_a_document_and_every_mark_is_closed():
    texts = [text for name, text in DOCUMENTS.items() if name != "benchmarks/decoders.md"]
    assert {match[2] for text in texts for match in BLOCK.finditer(text)} == BLOCKS.keys()
    for text in texts:
        whole = len(BLOCK.findall(text))
        assert text.count("<!-- numbers:") == text.count("<!-- end of numbers -->") == whole


@pytest.mark.parametrize("name", ["README.md", "models/README.md", "docs/SCALING.md"])
def test_scores_stand_between_marks_only(name):
    text = BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
    assert not SCORE.search(text)
    assert SCORE.search("reaches **CIDEr 57.1** greedy")


def test_a_mark_must_name_a_block_that_exists():
    with pytest.raises(ValueError, match="no block 'nothing'"):
        fill("<!-- numbers: nothing --><!-- end of numbers -->")


@pytest.mark.parametrize("name", RECORDS)
def test_a_file_was_made_by_the_commands_of_its_stage(name):
    record, stage = load(name), STAGES[name]
    values = DEFAULTS | {"scratch": (SCRATCH / name).as_posix()}
    assert list(record["commands"]) == [Template(c).substitute(values) for c in stage.commands], (
        f"the stage was changed: run `python -m tools.write_numbers {name}`"
    )
    assert record["numbers"]
    assert not stage.commands or {"date", "machine"} <= record.keys()


def test_the_notebooks_claims_are_those_of_the_outputs_in_git():
    claims = STAGES["notebooks"].read(ROOT, [])
    assert claims == load("notebooks")["numbers"], RERUN
    for claim, found in claims.items():
        assert found["low"] <= found["value"] <= found["high"], claim


@pytest.mark.parametrize("claim", ["CIDEr", "things", "colors", "settings"])
def test_three_seeds_are_within_the_bounds_of_notebook_2(claim):
    _, low, high, _ = CLAIMS[claim]
    for seed in SEEDS:
        assert low <= seed_value(load("notebook-2")["numbers"], seed, claim) <= high


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """A stage of two commands in an empty folder, which stands for the repository."""
    code = "import json; print(json.load(open('$scratch/ok')))"
    note = "open('runs', 'a').write('1')"
    commands = (f'python -c "{note}"', f'python -c "{code}"')
    for module in (write_numbers, number_stages):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "NUMBERS", tmp_path / "numbers")
    monkeypatch.setattr(write_numbers, "documents", lambda: iter(()))
    read = {"first": Stage(commands, lambda folder, printed: {"value": json.loads(printed[1])})}
    read["photos"] = Stage(("python -c pass",), lambda *_: {"value": 1}, ("$data/photos",))
    for module in (write_numbers, number_stages):
        monkeypatch.setattr(module, "STAGES", read)
    return tmp_path


def test_a_stage_continues_after_a_failure_and_runs_once(stages, cli, capsys):
    assert "first/logs/1.txt" in cli(main)  # the second command needs a file
    assert not (stages / "numbers").exists()
    (stages / "build/numbers/first/ok").write_text("7")
    assert cli(main) == 0
    assert (stages / "runs").read_text() == "1", "the first command had finished"
    record = json.loads((stages / "numbers/first.json").read_text())
    assert record["numbers"] == {"value": 7}
    assert not (stages / "build/numbers/first").exists()
    assert "photos: skipped, because data/photos is missing" in capsys.readouterr().out
    assert cli(main) == 0
    assert json.loads((stages / "numbers/first.json").read_text()) == record
    assert cli(main, "--write") == 0
    assert "first/logs/1.txt" in cli(main, "first"), "a named stage runs again"
    assert (stages / "runs").read_text() == "11"
    assert json.loads((stages / "numbers/first.json").read_text()) == record


def test_photographs_may_lie_elsewhere_and_the_file_does_not_name_the_place(stages, cli):
    (stages / "elsewhere/photos").mkdir(parents=True)
    assert cli(main, "photos", "--data", str(stages / "elsewhere")) == 0
    assert str(stages) not in (stages / "numbers/photos.json").read_text()


def test_an_unknown_stage_is_refused(cli):
    assert "there is no stage nothing; there are notebooks, toy-lstm" in cli(main, "nothing")
    assert chosen_stages([], only_write=True) == ["notebooks"]
    assert chosen_stages(["course"], only_write=False) == ["notebooks", "course"]


def test_readers():
    rows = tables(ROOT, ["x\n| a | b |\n| --- | --- |\n| one | 2 |\n", "| three | 4 |\n"])
    assert rows == {"rows": [{"a": "one", "b": "2"}, {"a": "three", "b": "4"}]}
    printed = "1_A: 10 s\nall four: 12 s\n\nscores on all of them, times 100:\n  BLEU-4 44.3\n"
    assert course(ROOT, [printed]) == {
        "seconds": {"1_A": 10, "all four": 12},
        "scores": {"BLEU-4": 44.3},
    }


def test_times_in_words(monkeypatch):
    assert [minutes(s) for s in (59.6, 200, 3960)] == ["60 s", "3 min 20 s", "66 min"]
    for seconds, text in ((26, "under a minute"), (61, "about a minute"), (116, "about 2 minutes")):
        numbers = {"numbers": {"seconds": {"a": seconds}}}
        monkeypatch.setattr("tools.number_blocks.load", lambda name, numbers=numbers: numbers)
        assert run_time("a") == text
