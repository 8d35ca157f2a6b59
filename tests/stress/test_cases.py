"""The runner of small cases: what it shows of a command, in which order, in which checkout."""

import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT

CASES = {
    "fails": "cat $CASES/fails/input; rm $CASES/fails/input; echo 'a | b'; exit 3",
    "hangs": "echo waiting; sleep 60",
    "a-reader": "cat; $PY -c pass --data $OUT/made && cat $OUT/made/note",
    "maker": "$PY -c pass --out $OUT/made; mkdir $OUT/made; basename $PWD >$OUT/made/note; pwd",
}


def run(cases: Path, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "tests/stress/cases.py", "--cases", cases, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def test_each_case_is_a_row_and_two_checkouts_stand_side_by_side(tmp_path):
    for name, command in CASES.items():
        folder = tmp_path / "cases" / name
        folder.mkdir(parents=True)
        (folder / "cmd").write_text(command, encoding="utf-8")
    (tmp_path / "cases/fails/input").write_text("the input\n", encoding="utf-8")
    courses = [tmp_path / "old", tmp_path / "new"]
    flags = ["--limit", 2, "--rename=waiting=renamed", "--out", tmp_path / "table.md"]
    for course in courses:
        course.mkdir()
        flags += ["--course", course]
    ended = run(tmp_path / "cases", *flags, "--logs", tmp_path / "logs")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == ended.stdout
    rows = [line.strip("| ").split(" | ") for line in ended.stdout.splitlines()]
    assert rows[0][1:3] == ["old: status", "old: last line"]
    assert rows[2][:3] == ["fails", "3", "a \\| b"]
    assert rows[3][:3] + rows[3][4:6] == ["hangs", "no end", "waiting", "no end", "renamed"]
    assert rows[4][:3] + rows[4][5:6] == ["maker", "0", str(courses[0]), str(courses[1])]
    assert rows[5][:3] + rows[5][4:6] == ["a-reader", "0", "old", "0", "new"]
    log = (tmp_path / "logs/new-fails.txt").read_text(encoding="utf-8")
    assert "\nthe input\na | b\n" in log
    assert (tmp_path / "cases/fails/input").exists()  # the commands see a copy


def test_a_folder_without_cases_is_refused_in_a_sentence(tmp_path):
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == f"error: {tmp_path} holds no folder with a file cmd.\n"
