"""What docs/COMING_FROM.md tells users of other courses to write works here, row by row.

Flags become a TrainConfig, and from it a decoder and an encoder; commands are parsed by their own
parser; Python calls run on a tiny dataset; files exist, here or in the folder of a finished run.
"""

import argparse
import dataclasses
import functools
import importlib
import inspect
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torchvision import models

from captioning.training.config import TrainConfig, parse_config
from model import EncoderCNN, build_decoder
from tests.helpers import write_data, write_split

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "COMING_FROM.md").read_text(encoding="utf-8")
COURSES = (
    "iamirmasoud/image_captioning",
    "reppertj/image-captioning",
    "vvduc1803/Image-Captioning",
    "stingram/CV_Image_Captioning",
    "HiepThanh0510/image-captioning-bottom-up",
)
NOT_HERE = "not here"
FILE = re.compile(r"([\w./-]+\.(?:ipynb|py|pkl|csv|log|md)|Dockerfile)(?:#(\w+))?")
PROGRAMS = ("python", "torchrun", "make", "pip", "jupyter", "docker")


class Row(NamedTuple):
    there: str
    here: str
    note: str


def rows_of(course: str) -> list[Row]:
    """Return the table of a course, without its head."""
    section = TEXT.partition(f"\n## {course}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[:2] == [["there", "here", "note"], ["---"] * 3]
    return [Row(*row) for row in cells[2:]]


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def kind_of(span: str) -> str:
    if span.startswith("--"):
        return "flags"
    if span.split()[0] in PROGRAMS:
        return "command"
    return "file" if FILE.fullmatch(span) else "call"


ROWS = [row for course in COURSES for row in rows_of(course)]
HERE = [span for row in ROWS for span in spans(row.here)]
NOTES = [span for row in ROWS for span in spans(row.note)]


def of_kind(kind: str, texts: list[str]) -> list[str]:
    return [span for span in dict.fromkeys(texts) if kind_of(span) == kind]


@pytest.mark.parametrize("course", COURSES)
def test_a_row_is_theirs_ours_and_a_note(course):
    rows = rows_of(course)
    assert len(rows) > 30
    for row in rows:
        between = re.sub(r"`[^`]+`", "", row.here).replace(",", " ").split()
        assert row.there, row
        assert row.here == NOT_HERE or (spans(row.here) and {*between} <= {"or", "with"}), row
        assert row.here != NOT_HERE or row.note, f"{row}: a note says what to do instead"


class Captured(BaseException):
    """Carries a parser out of a command."""


@functools.cache
def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the parser that a command makes, before it parses anything."""

    def capture(parser, *_, **__):
        raise Captured(parser)

    module = importlib.import_module(command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", capture)
        with pytest.raises(Captured) as captured:
            module.main()
    return captured.value.args[0]


def check_command(line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "make":
        assert f"\n{arguments[0]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    if program == "pip":
        assert {"-e", "."} <= {*arguments} or (ROOT / arguments[-1]).is_file()
    if program not in ("python", "torchrun"):
        return
    first = next(i for i, part in enumerate(arguments) if part == "-m" or part.endswith(".py"))
    arguments = arguments[first + (arguments[first] == "-m") :]
    command = arguments[0].removesuffix(".py")
    if command == "gradio_main":
        pytest.importorskip("gradio")
    if "--help" not in arguments:
        parser_of(command).parse_args(arguments[1:])


@pytest.mark.parametrize("line", of_kind("command", HERE + NOTES))
def test_commands_are_understood(line):
    try:
        check_command(line)
    except SystemExit:
        pytest.fail(f"{line} is not understood")


@pytest.mark.parametrize("line", of_kind("flags", HERE))
def test_flags_make_a_decoder_and_an_encoder(line):
    config = parse_config("", shlex.split(line))
    for one in config.split_by_decoder():
        build_decoder(one.decoder_config(vocab_size=9))
    assert config.backbone in models.list_models(module=models)
    default, changed = TrainConfig().encoder_config(), config.encoder_config()
    changed = dataclasses.replace(changed, embed_size=default.embed_size, grid=default.grid)
    if changed != default:
        with torch.device("meta"):  # shapes only: no weights are drawn
            EncoderCNN.from_config(dataclasses.replace(changed, weights=None))


def test_flags_in_notes_exist():
    known = {
        flag
        for command in ("train", "caption")
        for action in parser_of(command)._actions
        for flag in action.option_strings
    }
    for line in of_kind("flags", NOTES):
        assert {part for part in line.split() if part.startswith("--")} <= known, line


@pytest.mark.parametrize("span", of_kind("file", HERE + NOTES))
def test_files_exist(span, run):
    name, anchor = FILE.fullmatch(span).groups()
    assert (ROOT / name).is_file() or (run / name).is_file()
    if anchor:
        assert f'<a id=\\"{anchor}\\">' in (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names(tmp_path_factory, config_of, run, weights) -> dict[str, Any]:
    """The names that the calls use, after the lines at the top of the document, on tiny data."""
    folder = tmp_path_factory.mktemp("course")
    data = write_data(folder / "data" / "coco")
    write_split(data, "test2014", 3, first=200)
    shutil.copytree(run, folder / "models" / "my")
    shutil.copy(weights, folder)
    shutil.copy(next((data / "images").rglob("*.jpg")), folder / "photo.jpg")

    @functools.wraps(EncoderCNN)
    def untrained(*args, **options):
        inspect.signature(EncoderCNN).bind(*args, **options)
        with torch.device("meta"):
            return EncoderCNN(*args, **options | {"weights": None})

    before = os.getcwd()
    os.chdir(folder)
    found: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1], found)
    tokenized = [["a", "dog"], ["a", "cat"], ["a", "dog"]]
    transform = found["PhotoTransform"](resize=56, crop=48, train=True)
    found |= {"transform": transform, "tokenizer": str.split, "EncoderCNN": untrained}
    found |= {"words": ["a", "dog"], "tokenized": tokenized, "ids": [4, 5]}
    yield found | {"config": config_of(folder / "out", data=str(data), num_epochs=1)}
    os.chdir(before)


@pytest.mark.parametrize("call", of_kind("call", HERE))
def test_calls_run(call, names):
    eval(call, names)


def test_a_decoder_is_not_bidirectional(names):
    with pytest.raises(ValueError, match="would read the words"):
        eval(
            'make_decoder("lstm", embed_size=8, hidden_size=8, vocab_size=9, bidirectional=True)',
            names,
        )
