"""What the numbers in the documents are measured with: stages, each a file in benchmarks/numbers.

A stage is a few commands of the course and a function that reads their numbers. To add one, write
it into STAGES; `python -m tools.write_numbers NAME` runs it, and tools/number_blocks.py turns its
numbers into text.
"""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from captioning.files import read_json

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "benchmarks" / "numbers"
TOY_TEST = "data/toy/images/test2014", "data/toy/annotations/captions_test2014.json"
TOY_VAL = "data/toy/images/val2014", "data/toy/annotations/captions_val2014.json"
FLICKR8K_VAL = "$data/flickr8k/images/val", "$data/flickr8k/annotations/captions_val.json"
COCO_TEST = "$data/coco_few/images/test", "$data/coco_few/annotations/captions_test.json"

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """Commands, run in order, and the function that reads their numbers.

    commands  with $scratch, a folder for what they write; $data, the folder that holds prepared
              photographs; $weights, of the network that ImageNet trained
    read      takes the folder and what the commands printed; None where the last command writes
              the file of the stage itself
    needs     paths without which the stage is skipped
    """

    commands: tuple[str, ...]
    read: Callable[[Path, list[str]], Numbers] | None
    needs: tuple[str, ...] = ()


def load(name: str) -> Numbers:
    """Return what the file of a stage holds: commands with their seconds, date, machine, numbers.

    Raises FileNotFoundError where the stage was not run yet.
    """
    return read_json(NUMBERS / f"{name}.json")


def scored(pair: str, split: tuple[str, str], name: str, beam_size: int = 3) -> tuple[str, ...]:
    """Return the commands that caption a split with a saved pair, and score it as scores-NAME."""
    (images, annotations), captions = split, f"$scratch/captions/{name}.json"
    files = f"--encoder-file {pair}/encoder.pkl --decoder-file {pair}/decoder.pkl"
    return (
        f"python caption.py {images} {files} --beam-size {beam_size} --out {captions}",
        f"python metrics.py {captions} {annotations} --out $scratch/scores-{name}.json",
    )


def graded(pair: str, split: tuple[str, str], name: str, beam_size: int = 3) -> tuple[str, ...]:
    """Return the commands of `scored`, and one that checks captions of drawings as grades-NAME."""
    captions, split_name = f"$scratch/captions/{name}.json", Path(split[0]).name
    grade = f"python -m recipes.grade_toy {captions} --split {split_name}"
    return (*scored(pair, split, name, beam_size), f"{grade} --out $scratch/grades-{name}.json")


def toy_pair(folder: str) -> Stage:
    """Return the stage of a shipped pair: test pictures, greedy and with the default beam."""
    commands = (graded(folder, TOY_TEST, f"beam-{size}", size) for size in (1, 3))
    return Stage(sum(commands, ()), json_files, (folder, TOY_TEST[0]))


def flickr8k(options: str, beam_size: int = 3) -> Stage:
    """Return the stage of a training run on Flickr8k, scored on its development photos."""
    train = f"python train.py --data $data/flickr8k --weights $weights {options} --out $scratch/run"
    score = scored("$scratch/run/best", FLICKR8K_VAL, "val", beam_size)
    return Stage((train, *score), json_files, ("$data/flickr8k",))


def photos(split: tuple[str, str], name: str, training: str) -> tuple[str, ...]:
    """Return the commands that caption a split with the defaults and score it beside baselines."""
    (images, annotations), captions = split, f"$scratch/captions/{name}.json"
    return (
        f"python caption.py {images} --out {captions}",
        f"python metrics.py {captions} {annotations} --training {training} --java "
        f"--out $scratch/scores-{name}.json",
    )


def json_files(folder: Path, printed: list[str]) -> Numbers:
    """Return the JSON files that the commands wrote directly in the folder."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}


def with_history(folder: Path, printed: list[str]) -> Numbers:
    """Return the same, and the scores of each epoch of the captioner of photographs."""
    with open(ROOT / "models" / "photos" / "history.csv", encoding="utf-8") as file:
        history = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return json_files(folder, printed) | {"history": history}


def tables(folder: Path, printed: list[str]) -> Numbers:
    """Return the rows of the Markdown tables that the commands printed."""
    lines = [
        [cell.strip() for cell in line[1:-1].split("|")]
        for line in "\n".join(printed).splitlines()
        if re.fullmatch(r"\|.*\|", line)
    ]
    head, rule, *rows = lines
    return {"rows": [dict(zip(head, row, strict=True)) for row in rows if row not in (head, rule)]}


def course(folder: Path, printed: list[str]) -> Numbers:
    """Return the seconds of each notebook, and the scores of the captioner that they train."""
    text = "\n".join(printed)
    seconds = re.findall(r"^([\w ]+): (\d+) s$", text, re.MULTILINE)
    scores = re.findall(r"([A-Z][\w-]+) ([\d.]+)", text.rpartition("scores on all of them")[2])
    return {
        "seconds": {name: int(value) for name, value in seconds},
        "scores": {name: float(value) for name, value in scores[:6]},
    }


# What the notebooks' prose states about their own outputs: a notebook, the lowest and the highest
# value, and what it prints; of several matches the last one counts.
CLAIMS = {
    "CIDEr": ("2_Training", 170, 200, r"^epoch \d+  .* CIDEr ([\d.]+)$"),
    "things": ("2_Training", 83, 92, r"^last epoch, %: .*'things': (\d+)"),
    "colors": ("2_Training", 48, 60, r"^last epoch, %: .*'colors': (\d+)"),
    "settings": ("2_Training", 58, 80, r"^last epoch, %: .*'settings': (\d+)"),
    "numbers claimed": ("3_Inference", 65, 80, r"^numbers of two or more .*? of +(\d+)"),
}


def printed_by(path: Path) -> str:
    """Return what the cells of a notebook printed when its outputs were saved."""
    outputs = (
        output
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
    )
    return "\n".join(output.text for output in outputs if output.output_type == "stream")


def claims(folder: Path, printed: list[str]) -> Numbers:
    """Return the claims of the notebooks, each with the value in the outputs in git."""
    found: Numbers = {}
    for claim, (name, low, high, pattern) in CLAIMS.items():
        values = re.findall(pattern, printed_by(ROOT / f"{name}.ipynb"), re.MULTILINE)
        if not values:
            raise ValueError(f"{name}.ipynb does not print {claim!r}: change CLAIMS or run it.")
        found[claim] = {"notebook": name, "low": low, "high": high, "value": float(values[-1])}
    return found


NOTEBOOK_2 = (  # the run of notebook 2 as a command
    "python train.py --data data/toy --weights models/resnet50_toy.pth --num-epochs 8 "
    "--hidden-size 256 --lr 4e-3 --schedule onecycle"
)
SEEDS = range(3)
LSTM = (
    "--decoder lstm --num-epochs 8 --schedule onecycle --lr 2e-3 --optimizer adamw "
    "--weight-decay 0.05 --ema-decay 0.999 --dropout 0.4 --views 4"
)

STAGES = {
    "notebooks": Stage((), claims),
    "toy-lstm": toy_pair("models/toy-lstm"),
    "toy-attention": toy_pair("models/toy-attention"),
    "scaling": Stage(
        (  # rates of results.md: ResNet-50, and an LSTM with 3,000 words in batches of 128
            "python benchmarks/scaling.py --photos-per-second 119 --captions-per-second 1744",
        ),
        tables,
    ),
    "course": Stage(("python -m tools.run_notebooks",), course, ("data/toy",)),
    "notebook-2": Stage(
        sum(
            (
                (
                    f"{NOTEBOOK_2} --seed {seed} --out $scratch/runs/{seed}",
                    *graded(f"$scratch/runs/{seed}/best", TOY_VAL, f"seed-{seed}", 1),
                )
                for seed in SEEDS
            ),
            (),
        ),
        json_files,
        ("data/toy",),
    ),
    "extraction": Stage(("python benchmarks/extraction.py",), tables),
    "decoders": Stage(("python benchmarks/decoders.py --runs $scratch/runs",), None, ("data/toy",)),
    "pipeline": Stage(
        ("python benchmarks/pipeline.py --data $data/flickr8k --weights $weights",),
        tables,
        ("$data/flickr8k",),
    ),
    "pipeline-lite": Stage(
        (
            "python benchmarks/pipeline.py --data $data/flickr8k --weights $weights "
            "--backbone resnet50 efficientnet_lite0 --no-check",
        ),
        tables,
        ("$data/flickr8k",),
    ),
    "photographs": Stage(
        (
            "python -m recipes.photo_statistics $data/flickr8k $data/coco "
            "--out $scratch/statistics.json",
        ),
        json_files,
        ("$data/flickr8k", "$data/coco"),
    ),
    "photos": Stage(
        (
            *photos(FLICKR8K_VAL, "flickr8k", "$data/flickr8k/annotations/captions_train.json"),
            *photos(COCO_TEST, "coco", "$data/coco_few/annotations/captions_train.json"),
            "python benchmarks/judged.py --coco $data/coco_few --known $data/flickr8k "
            "--out $scratch/judged.json",
        ),
        with_history,
        ("models/photos/encoder.pkl", FLICKR8K_VAL[0], COCO_TEST[0]),
    ),
    "flickr8k-lstm": flickr8k(LSTM, beam_size=1),
    "flickr8k-one-round": flickr8k("--recipe best --self-critical-rounds 1"),
    "flickr8k-best": flickr8k("--recipe best"),
}
