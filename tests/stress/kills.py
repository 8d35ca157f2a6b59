"""Is anything ever lost? Kills a short run at random moments, resumes it, compares every bit.

    python -m tests.stress.kills --data data/toy --weights models/resnet50_toy.pth --kills 50

A run extracts features and trains with dropout, views, a schedule, averaged weights and
checkpoints inside the epochs. Each trial is killed by SIGKILL (which no program can catch) and
continues with `resume=True`. Then the features, the history and the weights must be those of a run
that was not killed; and right after the kill every file must be whole. Needs fork: Linux or macOS.
Exit status 1 where anything differs.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from captioning.features import extraction
from captioning.features.cache import FeatureCache
from captioning.features.checksums import LIST
from captioning.models.classifiers import resolve_weights
from captioning.safe_load import safe_load
from captioning.training.config import TrainConfig
from captioning.training.preparation import read_split
from train import train

LONGEST = 3000  # seconds that a run may take before it counts as hanging
FORK = multiprocessing.get_context("fork")


def config_of(root: Path, out: Path, weights: str, photos: int) -> TrainConfig:
    return TrainConfig(
        data=str(root),
        weights=weights,
        out=str(out),
        num_samples=photos,
        views=2,
        embed_size=32,
        hidden_size=48,
        batch_size=16,
        vocab_threshold=1,
        dropout=0.4,
        ema_decay=0.9,
        schedule="onecycle",
        num_epochs=2,
        checkpoint_every=3,
        device="cpu",
    )


def quietly(config: TrainConfig) -> None:
    """Train, in a process of its own, without printing."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    extraction.SAVE_EVERY = 1  # many moments at which a record can be cut off
    train(config)


def start(config: TrainConfig) -> multiprocessing.Process:
    process = FORK.Process(target=quietly, args=(config,))
    process.start()
    return process


def finish(process: multiprocessing.Process) -> int:
    process.join(LONGEST)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"a run did not end within {LONGEST} seconds")
    return process.exitcode


def linked(data: Path, root: Path) -> Path:
    """Return a folder with the same data, but without features."""
    root.mkdir(parents=True)
    for part in ("annotations", "images"):
        (root / part).symlink_to((data / part).resolve(), target_is_directory=True)
    return root


def outcome(config: TrainConfig) -> dict[str, object]:
    """Return everything that must not depend on interruptions."""
    root, out = Path(config.data), Path(config.out)
    found: dict[str, object] = {}
    for path in sorted((root / "features").rglob("*.*")):
        if path.name != LIST:  # it has the paths and times of the photos
            found[path.name + path.parent.name] = path.read_bytes()
    for path in sorted(out.rglob("*coder*.pkl")):
        content = safe_load(path)
        flat = {name: tensor.numpy().tobytes() for name, tensor in content["state_dict"].items()}
        found[str(path.relative_to(out))] = flat
    history = safe_load(out / "checkpoint.pkl")["progress"]["history"]
    found["history"] = [{k: v for k, v in row.items() if k != "seconds"} for row in history]
    return found


def one_kill(config: TrainConfig, after: float) -> str | None:
    """Kill a run `after` seconds; return where it was, or None if it had ended before.

    Raises ValueError where a file was left that cannot be read.
    """
    process = start(config)
    time.sleep(after)
    process.kill()
    if finish(process) != -signal.SIGKILL:
        return None
    out, root = Path(config.out), Path(config.data)
    for path in out.rglob("*coder*.pkl"):
        safe_load(path)
    if (out / "checkpoint.pkl").exists():
        safe_load(out / "checkpoint.pkl")
        return "training"
    if not (out / config.log_file).exists():
        return "before the first line"
    folders = [index.parent for index in (root / "features").glob("*/index.json")]
    caches = [FeatureCache(folder) for folder in folders]
    whole = len(caches) == 2 and all(cache.done == len(cache) for cache in caches)
    return "between features and checkpoint" if whole else "extraction"


def kills(data: Path, weights: str, count: int, photos: int, seed: int) -> dict[str, int]:
    """Return {where the kill fell: how many}; ValueError where a resumed run ended differently."""
    rng = random.Random(seed)
    where: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        weights = str(shutil.copy(resolve_weights(weights), folder / "weights.pth"))
        config = config_of(linked(data, folder / "whole"), folder / "whole-out", weights, photos)
        read_split(config, "train")  # a wrong folder is refused here, in a sentence
        began = time.monotonic()
        if finish(start(config)) != 0:
            raise ValueError("the run that is not killed failed, see above")
        seconds, expected = time.monotonic() - began, outcome(config)
        print(f"a run takes {seconds:.1f} s", flush=True)
        trial = 0
        while sum(where.values()) < count:
            trial += 1
            root = linked(data, folder / f"data-{trial}")
            config = config_of(root, folder / f"out-{trial}", weights, photos)
            place = one_kill(config, rng.uniform(0.0, seconds))
            if place is None:
                continue
            config.resume = place != "before the first line"
            if finish(start(config)) != 0:
                raise ValueError(f"the run killed in {place} could not continue, see above")
            found = outcome(config)
            if other := [n for n in expected | found if found.get(n) != expected.get(n)]:
                raise ValueError(f"a kill in {place} changed {', '.join(other)}")
            where[place] = where.get(place, 0) + 1
            print(f"kill {sum(where.values())} in {place}: the same outcome", flush=True)
    return where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/toy"), help="%(default)s")
    parser.add_argument("--weights", default="resnet50_toy.pth", help="%(default)s")
    parser.add_argument("--kills", type=int, default=50, help="%(default)s")
    parser.add_argument("--photos", type=int, default=64, help="of each split (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a forked process could not use the threads of its parent
    try:
        where = kills(args.data, args.weights, args.kills, args.photos, args.seed)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    counts = ", ".join(f"{number} in {place}" for place, number in sorted(where.items()))
    print(f"{sum(where.values())} kills ({counts}): no file lost or half written, every outcome")
    print("equal to that of the run that was not killed, bit for bit")


if __name__ == "__main__":
    main()
