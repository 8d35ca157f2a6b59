"""The five decoders on the embedded dataset, several seeds each: one table, one figure.

    python benchmarks/decoders.py                        all of it; more than an hour on 2 cores
    python benchmarks/decoders.py --decoders lstm gru --seeds 2 --epochs 3

Writes benchmarks/decoders.json, benchmarks/decoders.md and images/decoders.png. Stop it when you
like: what is trained stays in --runs, and the next call goes on from there.

Scores are of the validation pictures' greedy captions, with the weights of the best epoch. "Right"
is the share of what captions say that is so; numbers count where two or more are there.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run from anywhere

import matplotlib.pyplot as plt
import torch

import metrics
from captioning.data.coco import find_split, read_captions
from captioning.features.cache import extract_features
from captioning.files import atomic_write, cli_errors, read_json
from captioning.inference.search import greedy
from captioning.inference.serialization import load_pair
from captioning.toy.grading import grade
from captioning.training.config import TrainConfig
from model import DECODERS
from train import train

ROOT = Path(__file__).parent.parent
RECIPES = {  # what each kind needs to do well; the rest is the same for all
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
    "things right (%)": ("things", 1),
    "colors right (%)": ("colors", 1),
    "numbers right (%)": ("numbers of two or more", 1),
}
DRAWN = list(COLUMNS)[1:]  # the panels of the figure


def run(kind: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """Trains one decoder with one seed, unless that was done, and measures it."""
    out = Path(args.runs) / f"{kind}-{args.epochs}-{seed}"
    settings = TrainConfig(
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
    history = train(settings)
    best = max(history, key=lambda row: row["CIDEr"])
    pictures = len(read_captions(args.data, "train").captions)
    seconds = statistics.median(row["seconds"] for row in history)
    return {
        "captions/s": pictures / seconds,
        "val_loss": min(row["val_loss"] for row in history),
        **score(settings, out / "best"),
        "epoch": best["epoch"],
    }


def score(settings: TrainConfig, folder: Path) -> dict[str, float]:
    """CIDEr and what is right, of the validation pictures; and the size of what was trained."""
    encoder, decoder, vocab = load_pair(
        folder / "encoder.pkl", folder / "decoder.pkl", settings.weights
    )
    pictures = read_captions(settings.data, "val")
    features = Path(settings.data, "features")
    store = extract_features(
        encoder, pictures, features, grid=settings.grid, precision=settings.precision
    )
    said = {}
    for rows in torch.arange(len(store)).split(100):
        grid = torch.from_numpy(store.array[rows.numpy(), 0]).float()  # (B, P, D)
        words = greedy(decoder, encoder.embed(grid)).tolist()
        ids = [pictures.photos[row].id for row in rows.tolist()]
        said |= {i: vocab.decode(caption) for i, caption in zip(ids, words, strict=True)}
    learned = [*encoder.embed.parameters(), *decoder.parameters()]
    marks = grade(said, scenes_of(settings.data))
    return {
        "parameters": sum(parameter.numel() for parameter in learned) / 1e6,
        "CIDEr": metrics.evaluate(pictures.references(), said)["CIDEr"],
        **{question: marks[question]["right"] or 0.0 for question in ("things", "colors")},
        "numbers of two or more": marks["numbers of two or more"]["right"] or 0.0,
    }


def scenes_of(data: str) -> dict:
    captions, _ = find_split(data, "val")
    scenes = captions.with_name(captions.name.replace("captions_", "scenes_"))
    if not scenes.exists():
        raise FileNotFoundError(
            f"{scenes} is missing: this comparison marks captions by the truth about drawn "
            "pictures. Draw them with `python toy_coco.py --out data/toy`."
        )
    return read_json(scenes)


def spread(results: list[dict], name: str) -> tuple[float, float]:
    """Mean and standard deviation over the seeds; the latter is 0 for a single one."""
    values = [result[name] for result in results]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def as_markdown(results: dict[str, list[dict]], args: argparse.Namespace) -> str:
    head = ["decoder", *COLUMNS]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for kind, of_seeds in results.items():
        cells = []
        for name, digits in COLUMNS.values():
            mean, deviation = spread(of_seeds, name)
            error = f" ± {deviation:.{digits}f}" if deviation and name != "parameters" else ""
            cells.append(f"{mean:.{digits}f}{error}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    seeds = f"{args.seeds} seed{'s' if args.seeds > 1 else ''}"
    about = (
        f"{args.epochs} epochs, {seeds}: mean ± standard deviation. Validation pictures, greedy."
    )
    return "\n".join([*lines, "", about, "Made by `python benchmarks/decoders.py`.", ""])


def draw(results: dict[str, list[dict]], path: Path) -> None:
    """One panel for each column; a point for the mean, a bar for the spread, dots for the seeds."""
    plt.style.use(ROOT / "images" / "course.mplstyle")
    figure, axes = plt.subplots(2, 3, figsize=(9, 5))
    for ax, column in zip(axes.flat, DRAWN, strict=True):
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
    parser.add_argument("--weights", default="models/resnet50_toy.pth", help="of the backbone")
    parser.add_argument("--decoders", nargs="+", default=list(RECIPES), choices=list(DECODERS))
    parser.add_argument("--seeds", type=int, default=3, help="runs of each decoder (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="of each run (%(default)s)")
    parser.add_argument("--runs", default="runs/decoders", help="where weights are kept")
    parser.add_argument("--out", default=str(ROOT), help="folder with benchmarks/ and images/")
    args = parser.parse_args()
    with cli_errors():
        if min(args.seeds, args.epochs) < 1:
            raise ValueError("--seeds and --epochs must be 1 or more.")
        scenes_of(args.data)
        results: dict[str, list[dict]] = {kind: [] for kind in args.decoders}
        for seed in range(args.seeds):
            for kind in args.decoders:
                results[kind].append(run(kind, seed, args))
        out = Path(args.out)
        about = {"epochs": args.epochs, "seeds": args.seeds, "results": results}
        with atomic_write(out / "benchmarks" / "decoders.json", "w") as file:
            json.dump(about, file, indent=1)
        table = as_markdown(results, args)
        with atomic_write(out / "benchmarks" / "decoders.md", "w") as file:
            file.write(table)
        draw(results, out / "images" / "decoders.png")
        print(table)


if __name__ == "__main__":
    main()
