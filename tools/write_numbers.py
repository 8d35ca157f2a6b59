"""Measure the numbers in the documents, and write them there.

    python -m tools.write_numbers            stages without a file in benchmarks/numbers, then
                                             the documents
    python -m tools.write_numbers NAME ...   these stages again, then the documents
    python -m tools.write_numbers --write    the documents only

It may be stopped: commands that have finished are not repeated by the next call. What they print
is in build/numbers/NAME. The stages are in tools/number_stages.py, the texts in
tools/number_blocks.py.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from string import Template

from benchmarks.common import machine
from benchmarks.decoders import as_markdown
from captioning.files import atomic_write, cli_errors, read_json
from tools.number_blocks import BLOCKS
from tools.number_stages import NUMBERS, ROOT, STAGES, Numbers, Stage, load

SCRATCH = Path("build", "numbers")  # in the folder of the course
DECODERS = ROOT / "benchmarks" / "decoders.md"  # made from a file of numbers as a whole
BLOCK = re.compile(
    r"(<!-- numbers: ([\w-]+)(?: ([\w-]+))? -->)(.*?)(<!-- end of numbers -->)", re.S
)
DEFAULTS = {"data": "data", "weights": "IMAGENET1K_V1"}


def fill(text: str) -> str:
    """Return a Markdown text with the numbers of today between its marks.

    Raises ValueError for a mark that names no block, FileNotFoundError for one without numbers.
    """

    def block(match: re.Match) -> str:
        start, name, argument, _, end = match.groups()
        if name not in BLOCKS:
            raise ValueError(f"there is no block {name!r} in tools/number_blocks.py")
        content = BLOCKS[name](argument) if argument else BLOCKS[name]()
        alone = "\n" in match[4]  # marks on lines of their own, or within a sentence
        return f"{start}\n{content}\n{end}" if alone else f"{start}{content}{end}"

    return BLOCK.sub(block, text)


def fill_notebook(text: str) -> str:
    """Return the JSON of a notebook with the numbers of today in its Markdown cells."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and BLOCK.search(source):
            cell["source"] = fill(source).splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def documents() -> Iterator[tuple[Path, str]]:
    """Yield each document that has numbers, and the text that it should have."""
    yield DECODERS, as_markdown(load("decoders")["numbers"])
    for pattern in ("*.md", "docs/*.md", "models/**/*.md", "*.ipynb", "docs/*.ipynb"):
        for path in sorted(ROOT.glob(pattern)):
            text = path.read_text(encoding="utf-8")
            if BLOCK.search(text):
                yield path, fill_notebook(text) if path.suffix == ".ipynb" else fill(text)


def write_documents() -> None:
    """Rewrite the documents whose numbers have changed; print their names."""
    for path, text in documents():
        if path.read_text(encoding="utf-8") != text:
            with atomic_write(path, "w") as file:
                file.write(text)
            print(f"{path.relative_to(ROOT)}: rewritten")


def run_command(command: str, values: Mapping[str, str], log_file: Path) -> float:
    """Run a command in the folder of the course; return its seconds.

    Raises ValueError where it fails.
    """
    program, *arguments = (Template(word).substitute(values) for word in shlex.split(command))
    assert program == "python", command
    print(f"  {shlex.join([program, *arguments])}", flush=True)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    began = time.monotonic()
    with open(log_file, "wb") as log:
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=log, env=environment)
    if done.returncode:
        raise ValueError(
            f"a command failed; what it printed is in {log_file.relative_to(ROOT)}. The next call "
            "continues with it."
        )
    return round(time.monotonic() - began, 1)


def measure(name: str, stage: Stage, values: Mapping[str, str]) -> None:
    """Run the commands of a stage that have not finished yet, then write its file.

    The file has the commands with the default values, so that it names no folder of this machine.
    """
    scratch = ROOT / SCRATCH / name
    values = {**values, "scratch": (SCRATCH / name).as_posix()}
    seconds, printed, repeated = {}, [], True
    for number, command in enumerate(stage.commands):
        log_file, note = scratch / "logs" / f"{number}.txt", scratch / "logs" / f"{number}.json"
        exact = Template(command).substitute(values)
        repeated = repeated and note.exists() and read_json(note)["command"] == exact
        if not repeated:
            note.unlink(missing_ok=True)
            took = run_command(command, values, log_file)
            with atomic_write(note, "w") as file:
                json.dump({"command": exact, "seconds": took}, file)
        shown = Template(command).substitute(values | DEFAULTS)
        seconds[shown] = read_json(note)["seconds"]
        printed.append(log_file.read_text(encoding="utf-8", errors="replace"))
    if stage.read:
        save(name, stage.read(scratch, printed), seconds)
    shutil.rmtree(scratch, ignore_errors=True)


def save(name: str, numbers: Numbers, seconds: Mapping[str, float]) -> None:
    """Write the file of a stage; without commands it has no date, for it changes with the files."""
    about = {"date": str(date.today()), "machine": machine()} if seconds else {}
    with atomic_write(NUMBERS / f"{name}.json", "w") as file:
        json.dump({"commands": seconds, **about, "numbers": numbers}, file, indent=1)
        file.write("\n")


def chosen_stages(names: list[str], only_write: bool) -> list[str]:
    """Return the stages to run: those without commands, and the named ones or the missing ones."""
    if unknown := set(names) - STAGES.keys():
        raise ValueError(
            f"there is no stage {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}."
        )
    missing = [name for name in STAGES if not (NUMBERS / f"{name}.json").exists()]
    wanted = [] if only_write else names or missing
    return [name for name, stage in STAGES.items() if name in wanted or not stage.commands]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the numbers in the documents.")
    parser.add_argument("stages", nargs="*", metavar="NAME", help=f"{', '.join(STAGES)}")
    parser.add_argument("--write", action="store_true", help="run nothing, write the documents")
    parser.add_argument(
        "--data", default=DEFAULTS["data"], help="folder that holds flickr8k (%(default)s)"
    )
    parser.add_argument(
        "--weights", default=DEFAULTS["weights"], help="of ImageNet's ResNet-50 (%(default)s)"
    )
    args = parser.parse_args()
    values = {"data": args.data, "weights": args.weights}
    with cli_errors():
        for name in chosen_stages(args.stages, args.write):
            stage = STAGES[name]
            paths = [Template(path).substitute(values) for path in stage.needs]
            if absent := [path for path in paths if not (ROOT / path).exists()]:
                print(f"{name}: skipped, because {absent[0]} is missing")
                continue
            print(name, flush=True)
            measure(name, stage, values)
        write_documents()


if __name__ == "__main__":
    main()
