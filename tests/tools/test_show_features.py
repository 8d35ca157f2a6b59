"""docs/FEATURES.md has all rows, its commands name what exists, and the tool runs them.

That the flags of its commands exist is tested in tests/test_documents.py, but for those of $TRAIN.
"""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest

from captioning.training.config import make_parser
from tests.helpers import ROOT
from tools.show_features import (
    PROGRAMS,
    SCRATCH,
    Row,
    Variables,
    main,
    read_document,
    run_command,
    show,
)

NUMBER_OF_ROWS = {"P": 5, "D": 12, "V": 3, "E": 8, "C": 7, "T": 10, "I": 7, "M": 6, "U": 4, "K": 6}
IDS = [f"{part}{i}" for part, count in NUMBER_OF_ROWS.items() for i in range(1, count + 1)]
QUICK = ["D9", "V3", "I1", "M5"]
SETUP, ROWS = read_document()
COMMANDS = {row.id: row.command for row in ROWS}


@pytest.fixture(scope="module")
def variables() -> Variables:
    variables = Variables(SCRATCH)
    for line in SETUP:
        variables.assign(line)
    return variables


def test_every_feature_has_a_row():
    assert len(IDS) == 68
    assert [row.id for row in ROWS] == IDS
    text = (ROOT / "docs" / "FEATURES.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| [A-Z]\d+ ", text, re.MULTILINE)) == len(ROWS), "a row is malformed"


def test_the_scratch_folder_of_the_page_is_that_of_the_tool():
    variables = Variables(Path("elsewhere"))
    assert f"SCRATCH={SCRATCH.as_posix()}" in SETUP
    assert all(variables.assign(line) for line in SETUP if "=" in line)
    assert variables.values["DATA"] == ["elsewhere/data"]


@pytest.mark.parametrize("name", IDS)
def test_a_command_names_what_exists(name, variables):
    command = COMMANDS[name]
    assert not set(command) & set("`!|"), "bash or the table would read these otherwise"
    for _, *arguments in variables.programs(command):
        if arguments[0] == "-c":
            ast.parse(arguments[1])
        elif arguments[:2] == ["-m", "pytest"]:
            for node in arguments[3:]:
                assert_is_test(node)
        elif arguments[0] == "train.py":
            if "--help" not in arguments:
                make_parser("").parse_args(arguments[1:])
        else:
            names = [f"{word.replace('.', '/')}.py" for word in arguments if "." in word]
            assert any((ROOT / name).is_file() for name in [*arguments, *names]), arguments


def assert_is_test(node: str) -> None:
    """Assert that the file of a pytest node exists and defines its class and function."""
    file, *names = node.split("::")
    source = (ROOT / file).read_text(encoding="utf-8")
    for name in names:
        assert re.search(rf"^ *(def|class) {name}\b", source, re.MULTILINE), node


def test_variables_are_replaced_as_bash_does():
    variables = Variables(Path("a folder"))
    assert variables.assign("SCRATCH=build/features")
    assert variables.assign('DATA=$SCRATCH/data FLAGS="--data $DATA --seed 1"')
    words = variables.programs("python x.py $FLAGS '$DATA/y' && torchrun \"$DATA\"")
    assert words[0][1:] == ["x.py", "--data", "a folder/data", "--seed", "1", "a folder/data/y"]
    assert words[1] == [*PROGRAMS["torchrun"], "a folder/data"]
    assert not variables.assign("python x.py --flag=1")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("rm -r x", "begins with python or torchrun"),
        ("python x.py &&", "begins with python or torchrun"),
        ("python $OTHER", r"uses \$OTHER, which its setup does not define"),
    ],
)
def test_what_the_tool_cannot_run_is_refused(command, why):
    with pytest.raises(ValueError, match=why):
        Variables(SCRATCH).programs(command)


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        (["print('fine')", "print('fine')"], None),
        (["print('first')", "import sys; sys.exit('the reason')"], "the reason"),
        (["import sys; sys.exit(3)"], "exit status 3"),
        (["import time; time.sleep(60)"], "stopped after 2 s"),
        (["print('2 skipped in 0.1s')"], "2 skipped in 0.1s"),
        (["print('1 passed, 2 skipped in 0.1s')"], None),
    ],
)
def test_a_command_fails_with_its_reason(codes, reason, tmp_path):
    programs = [[sys.executable, "-c", code] for code in codes]
    timeout = 2 if "sleep" in codes[0] else 60
    assert run_command(programs, tmp_path / "log.txt", timeout) == reason


def test_a_setup_that_fails_stops_everything(tmp_path, capsys):
    rows = [Row("A1", "a feature", "python -c pass"), Row("A2", "another", "python -c pass")]
    setup = [f"OUT={shlex.quote(str(tmp_path))}", 'python -c "import nothing_of_this_name"']
    assert show(rows, setup, tmp_path) == ["A1", "A2"]
    assert "ModuleNotFoundError" in capsys.readouterr().out


def test_an_unknown_row_is_refused(cli):
    assert cli(main, "D5", "Z9") == "error: FEATURES.md has no row Z9."


@pytest.mark.slow
def test_rows_of_the_page_work(tmp_path):
    rows = [row for row in ROWS if row.id in QUICK]
    assert len(rows) == len(QUICK)
    assert show(rows, SETUP, tmp_path) == []
