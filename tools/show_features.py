"""Run the commands of docs/FEATURES.md on a tiny dataset, and print which features they show.

    python -m tools.show_features            every row; under 10 minutes on two cores
    python -m tools.show_features D4 I5      these rows only

    read_document()          the setup and the rows, as they stand in the document
    Variables.programs(...)  a command line -> the programs it runs, without a shell
    show(rows, setup, ...)   runs them, a process for each program, and prints the outcome

The document is the only source. Its block of bash is the setup: variables, then commands. A row of
its tables is `| id | feature | command and notes |`, the command the first code in its cell. The
exit status is 1 where a command fails, takes too long, or skips all its tests. The output of each
command is in build/features/logs.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from captioning.files import cli_errors

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "FEATURES.md"
SCRATCH = Path("build", "features")  # in the folder of the course
TIMEOUT = 300  # seconds of a command
JOBS = 2  # rows that run at once, each on one core
PROGRAMS = {
    "python": [sys.executable],
    "torchrun": [sys.executable, "-m", "torch.distributed.run"],
}
ROW = re.compile(r"\| ([A-Z]\d+) \| (.+?) \| `(.+?)`[^|]*\|")
ASSIGNMENT = re.compile(r"[A-Z]+=")
VARIABLE = re.compile(r"\$([A-Z]+)")


@dataclass(frozen=True)
class Row:
    id: str
    feature: str
    command: str


def read_document(path: Path = DOCUMENT) -> tuple[list[str], list[Row]]:
    """Return the lines of the setup, and the rows of all tables."""
    text = path.read_text(encoding="utf-8")
    (block,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    rows = [Row(*found.groups()) for found in map(ROW.fullmatch, text.splitlines()) if found]
    return block.splitlines(), rows


class Variables:
    """The variables of the setup. A value is a list of words, as bash splits it."""

    def __init__(self, scratch: Path):
        self.scratch, self.values = scratch.as_posix(), {}

    def assign(self, line: str) -> bool:
        """Take over a line of assignments; return False where it is something else."""
        if not ASSIGNMENT.match(line):
            return False
        for part in shlex.split(line):
            name, _, value = part.partition("=")
            scratch = name == "SCRATCH"
            self.values[name] = [self.scratch] if scratch else self.expand(value.split())
        return True

    def expand(self, words: Iterable[str]) -> list[str]:
        """Replace each $NAME: by words of its own where it stands alone, else within its word."""
        expanded: list[str] = []
        for word in words:
            if found := VARIABLE.fullmatch(word):
                expanded += self.value(found[1])
            else:
                expanded.append(VARIABLE.sub(lambda match: " ".join(self.value(match[1])), word))
        return expanded

    def value(self, name: str) -> list[str]:
        if name not in self.values:
            raise ValueError(f"{DOCUMENT.name} uses ${name}, which its setup does not define.")
        return self.values[name]

    def programs(self, command: str) -> list[list[str]]:
        """Return the arguments of each program of a command, which `&&` separates.

        Raises ValueError for a variable that the setup does not define, and for a program other
        than python and torchrun.
        """
        programs: list[list[str]] = [[]]
        for word in shlex.split(command):
            if word == "&&":
                programs.append([])
            else:
                programs[-1].append(word)
        expanded = [self.expand(words) for words in programs]
        for words in expanded:
            if not words or words[0] not in PROGRAMS:
                names = " or ".join(PROGRAMS)
                raise ValueError(
                    f"{DOCUMENT.name}: a command begins with {names}, not {words[:1]}."
                )
        return [[*PROGRAMS[words[0]], *words[1:]] for words in expanded]


def run_command(programs: list[list[str]], log_file: Path, timeout: float = TIMEOUT) -> str | None:
    """Run the programs in order; return why they failed, or None where all of them succeeded."""
    end = time.monotonic() + timeout
    environment = os.environ | {
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",  # several rows run at once
        "PYTHONIOENCODING": "utf-8",
    }
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with open(log_file, "wb") as log:
        for arguments in programs:
            files = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            left = max(end - time.monotonic(), 0)
            try:
                done = subprocess.run(arguments, cwd=ROOT, env=environment, timeout=left, **files)
            except subprocess.TimeoutExpired:
                return f"stopped after {timeout:.0f} s"
            if done.returncode:
                return last_line(log_file) or f"exit status {done.returncode}"
    last = last_line(log_file)
    if re.search(r"\d+ skipped", last) and "passed" not in last:
        return last  # pytest's status is 0, but nothing was shown
    return None


def last_line(log_file: Path) -> str:
    """Return the last line of a log that is not blank."""
    lines = log_file.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def show(rows: list[Row], setup: list[str], scratch: Path, jobs: int = JOBS) -> list[str]:
    """Run the setup, then the rows, `jobs` at once; return the ids of those that failed.

    Prints a line for each as it ends. Where the setup fails, so do all rows.
    """
    logs, variables = ROOT / scratch / "logs", Variables(scratch)
    commands = [line for line in setup if line.strip() and not variables.assign(line)]

    def run(name: str, command: str) -> tuple[str, float, str | None]:
        start = time.monotonic()
        reason = run_command(variables.programs(command), logs / f"{name}.txt")
        return name, time.monotonic() - start, reason

    def report(name: str, seconds: float, reason: str | None) -> bool:
        outcome = "ok" if reason is None else f"FAILED: {reason}"
        print(f"{name:6}{seconds:6.1f} s  {outcome}", flush=True)
        return reason is None

    if not report(*run("setup", " && ".join(commands))):
        return [row.id for row in rows]
    pool = ThreadPoolExecutor(jobs)
    try:  # the last rows first: the notebooks take longest
        started = [pool.submit(run, row.id, row.command) for row in reversed(rows)]
        works = {done.result()[0]: report(*done.result()) for done in as_completed(started)}
    finally:
        pool.shutdown(cancel_futures=True)
    return [row.id for row in rows if not works[row.id]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the commands of docs/FEATURES.md.")
    parser.add_argument("ids", nargs="*", metavar="ID", help="rows such as D1; by default all")
    args = parser.parse_args()
    with cli_errors():
        setup, rows = read_document()
        if unknown := set(args.ids) - {row.id for row in rows}:
            raise ValueError(f"{DOCUMENT.name} has no row {', '.join(sorted(unknown))}.")
        chosen = [row for row in rows if row.id in args.ids or not args.ids]
        shutil.rmtree(ROOT / SCRATCH, ignore_errors=True)
        start = time.monotonic()
        failed = show(chosen, setup, SCRATCH)
        seconds = time.monotonic() - start
        print(f"{len(chosen) - len(failed)} of {len(chosen)} rows work, {seconds:.0f} s")
        sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
