"""What the documents point to exists: links, files, and the flags of the commands they show."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "models", "models/photos", "benchmarks")
    for path in (ROOT / folder).glob("*.md")
)
CURRENT = [name for name in DOCUMENTS if name != "CHANGELOG.md"]  # it names what is gone
COMMAND = re.compile(r"(?:python|torchrun .*?(?= \w+\.py))\s+(-m )?([\w./]+)(.*)")
CONFIG = "".join(  # the fields from which the flags of train.py are made
    (ROOT / f"captioning/{stage}/config.py").read_text(encoding="utf-8")
    for stage in ("models", "training")
)


def code(text: str) -> Iterator[str]:
    """Yield each line of a document's fenced blocks, and each inline span of code."""
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        yield from re.sub(r"\\\n", " ", block).splitlines()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for span in re.findall(r"`([^`]+)`", prose):
        yield " ".join(span.split())


def commands(text: str) -> Iterator[tuple[Path, list[str]]]:
    """Yield file and flags of each of the course's commands that a document shows."""
    for line in code(text):
        for part in re.split(r"&&|;", line.partition(" #")[0]):
            found = COMMAND.search(part)
            if not found:
                continue
            is_module, name, rest = found.groups()
            path = ROOT / (f"{name.replace('.', '/')}.py" if is_module else name)
            if path.suffix != ".py" or (is_module and not path.parent.is_dir()):
                continue  # `python -m venv`, `python -m pip`
            if is_module and "." not in name:
                continue
            if path.stem != "NAME":  # python -m recipes.NAME
                yield path, re.findall(r"(?<=\s)--(?!help\b)[a-z][\w-]*", rest)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)\)|<img src=\"([^\"]+)\"", text)
    for target in filter(None, (link or image for link, image in targets)):
        if "://" not in target:
            assert (ROOT / name).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("name", CURRENT)
def test_named_files_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"build", "data"}
    for span in code(text):
        for path in re.findall(r"(?<![\w./-])([\w-]+/[\w/.-]+\.(?:py|md|ipynb|css|png))\b", span):
            if path.split("/")[0] in folders:
                assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", CURRENT)
def test_commands_and_their_flags_exist(name):
    for path, flags in commands((ROOT / name).read_text(encoding="utf-8")):
        assert path.is_file(), path
        source = path.read_text(encoding="utf-8")
        if path.name == "train.py":
            source += CONFIG
        for flag in flags:
            field = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
            is_field = re.search(rf"^    {field}: ", source, re.MULTILINE)
            is_file = flag.endswith("-file") and '}-file"' in source  # f"--{part}-file"
            is_made = f'"{field}"' in source  # from a table, as the figures of caption.py
            assert f'"{flag}"' in source or is_field or is_file or is_made, f"{path.name} {flag}"


def test_the_documents_show_commands():
    assert len(list(commands((ROOT / "README.md").read_text(encoding="utf-8")))) > 15
