"""Small inputs that once went wrong: run the command of each, and show how it ends.

    python tests/stress/cases.py --cases FOLDER [--course CHECKOUT] [--out TABLE] [--logs FOLDER]

Each folder in FOLDER has inputs and `cmd`, a line for bash, in which CASES is FOLDER, OUT an empty
folder, COURSE the checkout (and the working directory) and PY its Python. Printed is a table: exit
status, last line and seconds of each case. With `--course` twice, two states of the course stand
side by side; `--rename` then translates the commands for the last of them.

The commands get copies of FOLDER and share OUT, so that a case may use what another one made.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = 160  # characters shown of the last line


@dataclass
class Ending:
    """How a command ended; status is None where it ran out of time."""

    status: int | None
    output: str
    seconds: float

    def cells(self) -> list[str]:
        lines = [line for line in self.output.splitlines() if line.strip()] or [""]
        last = lines[-1].replace("|", "\\|")[:LINE]
        status = "no end" if self.status is None else str(self.status)
        return [status, last, f"{self.seconds:.0f}"]


def find_cases(folder: Path) -> dict[str, str]:
    """Return {case: command}; a case that reads what another one makes comes after it."""
    commands = {path.parent.name: path.read_text("utf-8") for path in folder.glob("*/cmd")}
    if not commands:
        raise FileNotFoundError(f"{folder} holds no folder with a file cmd.")

    def reads_of_others(command: str) -> bool:
        made = set(re.findall(r"--out \$OUT/([\w-]+)", command))
        return not made.issuperset(re.findall(r"--data \$OUT/([\w-]+)", command))

    ordered = sorted(commands, key=lambda name: (reads_of_others(commands[name]), name))
    return {name: commands[name] for name in ordered}


def run_case(command: str, course: Path, cases: Path, out: Path, limit: float) -> Ending:
    """Run one command in bash, with all that it starts, for at most `limit` seconds."""
    names = {"CASES": cases, "OUT": out, "COURSE": course, "PY": sys.executable}
    began = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=course,
        env=os.environ | {name: str(value) for name, value in names.items()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="backslashreplace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, status = process.communicate()[0], None
    return Ending(status, output, time.monotonic() - began)


def run_all(
    commands: dict[str, str], course: Path, folder: Path, limit: float, logs: Path | None
) -> dict[str, Ending]:
    """Run every command in the checkout `course`; return how each ended."""
    endings = {}
    with tempfile.TemporaryDirectory() as scratch:
        cases, out = Path(scratch, "cases"), Path(scratch, "out")
        shutil.copytree(folder, cases)
        for path in [cases, *cases.rglob("*")]:  # the folder itself may be read-only
            path.chmod(path.stat().st_mode | 0o200)
        out.mkdir()
        for name, command in commands.items():
            endings[name] = run_case(command, course, cases, out, limit)
            print(f"{course.name}: {name}: {'  '.join(endings[name].cells())}", file=sys.stderr)
            if logs:
                logs.mkdir(parents=True, exist_ok=True)
                log = logs / f"{course.name}-{name}.txt"
                log.write_text(f"{command}\n{endings[name].output}", encoding="utf-8")
    return endings


def table(results: list[tuple[str, dict[str, Ending]]]) -> str:
    """Return a Markdown table: a row for each case, three columns for each checkout."""
    head = ["case"]
    for name, _ in results:
        mark = f"{name}: " if len(results) > 1 else ""
        head += [f"{mark}status", f"{mark}last line", "seconds"]
    rows = [head, ["---"] * len(head)]
    for case in results[0][1]:
        rows.append([case, *(cell for _, endings in results for cell in endings[case].cells())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, required=True, help="folder of cases")
    parser.add_argument(
        "--course", type=Path, action="append", help="checkout to run them in (default: this one)"
    )
    parser.add_argument(
        "--rename", action="append", default=[], metavar="OLD=NEW",
        help="replace OLD in the commands for the last checkout",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", help="names of the cases to run; by default all")
    parser.add_argument(
        "--limit", type=float, default=600, help="seconds of a case before it is ended"
    )
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--logs", type=Path, help="keep the whole output of each case here")
    args = parser.parse_args()
    try:
        commands = find_cases(args.cases)
    except OSError as error:
        sys.exit(f"error: {error}")
    if unknown := set(args.only or ()) - commands.keys():
        sys.exit(f"error: {args.cases} has no case {', '.join(sorted(unknown))}.")
    commands = {name: line for name, line in commands.items() if name in (args.only or commands)}
    courses = [path.resolve() for path in args.course or [ROOT]]
    results = []
    for number, course in enumerate(courses, 1):
        own = dict(commands)
        for old, _, new in (rename.partition("=") for rename in args.rename):
            if number == len(courses):
                own = {name: command.replace(old, new) for name, command in own.items()}
        results.append((course.name, run_all(own, course, args.cases, args.limit, args.logs)))
    text = table(results)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
