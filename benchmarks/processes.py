"""Seconds of an epoch with one process on all cores, and with several that share them.

    python benchmarks/processes.py --data data/toy --weights models/resnet50_toy.pth

Both train the same: one epoch of cross-entropy, one of self-critical fine-tuning on CIDEr. They run
in turn, each on the same number of threads in all, and the medians are compared; their start and
the validation do not count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.common import report
from captioning.training.monitoring import read_history

TRAIN = Path(__file__).parent.parent / "train.py"
STAGES = ("cross-entropy", "CIDEr")


def epochs(command: list[str], processes: int, threads: int) -> list[float]:
    """Return the seconds of the epoch of each stage."""
    python = [sys.executable]
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone"]
        python += ["--nproc-per-node", str(processes)]
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [*python, str(TRAIN), *command, "--out", out],
            env=os.environ | {"OMP_NUM_THREADS": str(threads // processes)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return [row["seconds"] for row in read_history(Path(out, "history.csv"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/toy", help="prepared folder (%(default)s)")
    parser.add_argument("--weights", default="models/resnet50_toy.pth", help="of the backbone")
    parser.add_argument("--decoders", nargs="+", default=["lstm", "transformer"])
    parser.add_argument(
        "--processes", type=int, default=2, help="number of processes (%(default)s)"
    )
    parser.add_argument("--num-samples", type=int, default=1000, help="photos (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (%(default)s)")
    args = parser.parse_args()
    threads, rows = os.cpu_count() or args.processes, []
    with tempfile.TemporaryDirectory() as features:
        for decoder in args.decoders:
            command = ["--data", args.data, "--weights", args.weights, "--decoder", decoder]
            command += ["--num-epochs", "1", "--self-critical-epochs", "1", "--val-samples", "8"]
            command += ["--num-samples", str(args.num_samples), "--device", "cpu"]
            command += ["--cache-dir", features]
            epochs(command, 1, threads)  # extracts the features
            seconds: dict[int, list[list[float]]] = {1: [], args.processes: []}
            for _ in range(args.runs):
                for processes, of_runs in seconds.items():
                    of_runs.append(epochs(command, processes, threads))
            for stage, *of_stage in zip(STAGES, *map(medians, seconds.values()), strict=True):
                row = {"decoder": decoder, "stage": stage}
                for processes, median in zip(seconds, of_stage, strict=True):
                    name = "1 process, s" if processes == 1 else f"{processes} processes, s"
                    row[name] = f"{median:.2f}"
                rows.append(row | {"times as fast": f"{of_stage[0] / of_stage[1]:.2f}"})
    title = f"Several processes: an epoch of {args.num_samples:,} photos on {threads} cores"
    report(title, rows, f"{args.runs} runs of each, in turn.")


def medians(runs: list[list[float]]) -> list[float]:
    """Return the median of each stage."""
    return [statistics.median(of_stage) for of_stage in zip(*runs, strict=True)]


if __name__ == "__main__":
    main()
