"""The five decoders on the embedded dataset, several seeds each: one table, one figure.

    python benchmarks/decoders.py                        all of it; more than an hour on 2 cores
    python benchmarks/decoders.py --decoders lstm gru --seeds 2 --epochs 3

Writes benchmarks/numbers/decoders.json, benchmarks/decoders.md and images/decoders.png. It may be
stopped: finished runs stay in --runs, and the next call continues from there.

Scores are of the validation pictures' greedy captions, with the weights of the best epoch. The last
three columns are checked against ground truth: of the objects that captions name, those that are
present; of the colors, those that are right; of the counts, where two or more are present or named,
those that are correct.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run from anywhere

import matplotlib.pyplot as plt
import torch

from benchmarks.common import machine
from captioning.data.coco import find_split, read_captions
from captioning.evaluation.scores import evaluate
from captioning.features.extraction import extract_features
from captioning.files import atomic_write, cli_errors, read_json
from captioning.inference.search import greedy
from captioning.inference.serialization import load_pair
from captioning.toy.grading import grade
from captioning.training.config import TrainConfig
from captioning.training.monitoring import best_epoch
from captioning.training.optim import trainable_parameters
from model import DECODERS
from train import train

ROOT = Path(__file__).parent.parent
RECIPES = {  # options that suit each kind; all others are the same
    "rnn": {"lr": 1e-3},
    "gru": {"lr": 4e-3},
    "lstm": {"lr": 4e-3},
    "attention": {"lr": 4e-3},
    "transformer": {"lr": 1e-3, "num_layers": 2, "dropout": 0.1},
}
COLUMNS = {  # name in the table: (name in a result, digits)
    "parameters (M)": ("parameters", 2),
    "captions/s": ("captions/s", 0),
    "validation loss": ("val_loss", 3),
    "CIDEr": ("CIDEr", 1),
    "named objects present (%)": ("things", 1),
    "colors right (%)": ("colors", 1),
    "correct counts (%)": ("numbers of two or more", 1),
}
PANELS = list(COLUMNS)[1:]  # of the figure


def run(kind: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """Train one decoder with one seed, unless that was done, and return what is measured."""
    out = Path(args.runs) / f"{kind}-{args.epochs}-{seed}"
    config = TrainConfig(
        data=args.data,
        weights=args.weights,
        decoder=kind,
        num_epochs=args.epochs,
        hidden_size=256,
        schedule="onecycle",
        seed=seed,
        out=str(out),
        save_every=args.epochs,
        resume=(out / "checkpoint.pkl").exists(),
        **{"dropout": 0.2} | RECIPES[kind],
    )
    history = train(config)
    captions = len(read_captions(args.data, "train").captions)
    seconds = statistics.median(row["seconds"] for row in history)
    return {
        "captions/s": captions / seconds,
        "val_loss": min(row["val_loss"] for row in history),
        **score(config, out / "best"),
        "epoch": best_epoch(history, config.best_metric),
    }


def score(config: TrainConfig, folder: Path) -> dict[str, float]:
    """Return CIDEr and accuracy on the validation pictures, and the number of trained weights."""
    encoder, decoder, vocab = load_pair(
        folder / "encoder.pkl", folder / "decoder.pkl", config.weights
    )
    pictures = read_captions(config.data, "val")
    features = Path(config.data, "features")
    cache = extract_features(
        encoder, pictures, features, grid=config.grid, precision=config.precision
    )
    texts = {}
    for rows in torch.arange(len(cache)).split(100):
        grid = torch.from_numpy(cache.array[rows.numpy(), 0]).float()  # (B, P, D)
        words = greedy(decoder, encoder.embed(grid)).tolist()
        ids = [pictures.photos[row].id for row in rows.tolist()]
        texts |= {i: vocab.decode(caption) for i, caption in zip(ids, words, strict=True)}
    trained = trainable_parameters(encoder, decoder)
    grades = grade(texts, scenes_of(config.data))
    return {
        "parameters": sum(parameter.numel() for parameter in trained) / 1e6,
        "CIDEr": evaluate(pictures.references(), texts)["CIDEr"],
        **{question: grades[question]["right"] or 0.0 for question in ("things", "colors")},
        "numbers of two or more": grades["numbers of two or more"]["right"] or 0.0,
    }


def scenes_of(data: str) -> dict:
    """Return the ground truth of the validation pictures."""
    captions, _ = find_split(data, "val")
    scenes = captions.with_name(captions.name.replace("captions_", "scenes_"))
    if not scenes.exists():
        raise FileNotFoundError(
            f"{scenes} is missing: this comparison checks captions against the ground truth of "
            "drawn pictures. Draw them with `python toy_coco.py --out data/toy`."
        )
    return read_json(scenes)


def spread(results: list[dict], name: str) -> tuple[float, float]:
    """Return mean and standard deviation over the seeds; the latter is 0 for a single one."""
    values = [result[name] for result in results]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def as_markdown(numbers: dict) -> str:
    """Return the table, a row for each decoder.

    numbers   "epochs" and "seeds" of the runs, and their "results": {decoder: [of each seed]}
    """
    head = ["decoder", *COLUMNS]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for kind, of_seeds in numbers["results"].items():
        cells = []
        for name, digits in COLUMNS.values():
            mean, deviation = spread(of_seeds, name)
            error = f" ± {deviation:.{digits}f}" if deviation and name != "parameters" else ""
            cells.append(f"{mean:.{digits}f}{error}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    epochs, seeds = numbers["epochs"], f"{numbers['seeds']} seed{'s' * (numbers['seeds'] > 1)}"
    about = f"{epochs} epochs, {seeds}: mean ± standard deviation. Validation pictures, greedy."
    return "\n".join([*lines, "", about, "Made by `python benchmarks/decoders.py`.", ""])


def draw(results: dict[str, list[dict]], path: Path) -> None:
    """Draw a panel for each column: points for means, bars for the spread, dots for the seeds."""
    plt.style.use(ROOT / "images" / "course.mplstyle")
    figure, axes = plt.subplots(2, 3, figsize=(9, 5))
    for ax, column in zip(axes.flat, PANELS, strict=True):
        name, _ = COLUMNS[column]
        for place, of_seeds in enumerate(results.values()):
            mean, deviation = spread(of_seeds, name)
            ax.errorbar(place, mean, deviation, fmt="o", capsize=4, color=f"C{place}")
            values = [result[name] for result in of_seeds]
            ax.plot([place + 0.2] * len(values), values, ".", color=f"C{place}", alpha=0.5)
        ax.set_title(column)
        ax.set_ylabel(column)
        ax.set_xticks(range(len(results)), results, rotation=25)
        ax.set_xlim(-0.5, len(results) - 0.5)
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/toy", help="the drawn dataset (%(default)s)")
    parser.add_argument(
        "--weights", default="models/resnet50_toy.pth", help="of the backbone (%(default)s)"
    )
    parser.add_argument("--decoders", nargs="+", default=list(RECIPES), choices=list(DECODERS))
    parser.add_argument(
        "--seeds", type=int, default=3, help="number of runs of each decoder (%(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=6, help="epochs of each run (%(default)s)")
    parser.add_argument(
        "--runs", default="runs/decoders", help="folder for the weights (%(default)s)"
    )
    parser.add_argument("--out", default=str(ROOT), help="folder with benchmarks/ and images/")
    args = parser.parse_args()
    with cli_errors():
        if min(args.seeds, args.epochs) < 1:
            raise ValueError("--seeds and --epochs must be 1 or more.")
        scenes_of(args.data)
        began, results = time.monotonic(), {kind: [] for kind in args.decoders}
        for seed in range(args.seeds):
            for kind in args.decoders:
                results[kind].append(run(kind, seed, args))
        out = Path(args.out)
        command = shlex.join(["python", "benchmarks/decoders.py", *sys.argv[1:]])
        numbers = {"epochs": args.epochs, "seeds": args.seeds, "results": results}
        record = {
            "commands": {command: round(time.monotonic() - began, 1)},
            "date": str(date.today()),
            "machine": machine(),
            "numbers": numbers,
        }
        with atomic_write(out / "benchmarks" / "numbers" / "decoders.json", "w") as file:
            json.dump(record, file, indent=1)
            file.write("\n")
        table = as_markdown(numbers)
        with atomic_write(out / "benchmarks" / "decoders.md", "w") as file:
            file.write(table)
        draw(results, out / "images" / "decoders.png")
        print(table)


if __name__ == "__main__":
    main()
