"""Draw the curves of one or several training runs: `python -m recipes.plot_history models/my`

Loss (training and validation) on the left, CIDEr of the validation captions on the right, from the
history.csv that train.py writes after each epoch.
"""

import argparse
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from captioning.files import cli_errors, readable_write_errors
from captioning.inference.attention_maps import STYLE
from captioning.training.monitoring import Row, read_history


def draw_history(histories: dict[str, list[Row]]) -> Figure:
    """Return the curves of {name of a run: its history}."""
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for number, (name, history) in enumerate(histories.items()):
            validated = [row for row in history if "val_loss" in row]
            color = f"C{number}"
            draw_column(left, history, "loss", color, "--", f"{name}, training")
            draw_column(left, validated, "val_loss", color, "-", f"{name}, validation")
            draw_column(right, validated, "CIDEr", color, "-", name)
        left.set(title="Loss", xlabel="epoch", ylabel="nats per word")
        right.set(title="Validation captions", xlabel="epoch", ylabel="CIDEr (times 100)")
        for panel in (left, right):
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.legend(fontsize=8, handlelength=3)
    return figure


def draw_column(panel, rows: list[Row], column: str, color: str, style: str, label: str) -> None:
    """Draw one column of a history; self-critical epochs have no cross-entropy to draw."""
    points = [(row["epoch"], row[column]) for row in rows if row[column] >= 0]
    if points:
        panel.plot(*zip(*points, strict=True), style, marker=".", color=color, label=label)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the loss and CIDEr of training runs.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of training runs")
    parser.add_argument("--out", default="curves.png", help="figure to write (%(default)s)")
    args = parser.parse_args()
    with cli_errors():
        histories = {}
        for run in args.runs:
            path = run / "history.csv"
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing: {run} is not the folder of a run.")
            histories[run.name] = read_history(path)
        if Path(args.out).suffix.lower() not in (".png", ".jpg", ".pdf", ".svg"):
            raise ValueError(f"--out {args.out} must end in .png, .jpg, .pdf or .svg.")
        with readable_write_errors(args.out):
            draw_history(histories).savefig(args.out)
        print(args.out)


if __name__ == "__main__":
    main()
