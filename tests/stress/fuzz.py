"""Broken and hostile files by the thousand: each is used, or refused in one sentence.

    python -m tests.stress.fuzz --data data/toy --weights models/resnet50_toy.pth --inputs 10000
    python -m tests.stress.fuzz ... --only 1234      one input again, with its traceback

An input is a real file (annotations, photo, pair, backbone, checkpoint, CSV, results, vocabulary,
cached features), altered at random: bytes flipped, cut, repeated; values of JSON and of saved
weights replaced by values that nobody expects. It goes to the entry point that would read it. It
may succeed, or be refused by an `OSError` or `ValueError` of one line that names a file; anything
else is a fault: another exception, a crash, more than 20 seconds, more than 2 GiB. Every twentieth
input is not altered at all and must succeed. Exit status 1 where there was a fault. Needs fork:
Linux or macOS.
"""

import argparse
import copy
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import metrics
import prepare
from captioning.data.coco import find_split, read_captions
from captioning.features.extraction import extract_features
from captioning.files import read_json
from captioning.inference.captioner import Captioner
from captioning.models.backbone import Backbone
from captioning.safe_load import safe_load
from captioning.training.checkpoint import TrainState, load_checkpoint, restore_checkpoint
from captioning.training.config import TrainConfig
from captioning.training.optim import (
    WeightEMA,
    make_optimizer,
    make_schedule,
    trainable_parameters,
)
from data_loader import PackedCaptions
from model import EncoderCNN, build_decoder, build_encoder
from train import train
from vocabulary import Vocabulary

HANGS = 20  # seconds of computing
ASLEEP = 600  # seconds without any answer
MEMORY = 2 * 2**30  # bytes
CONTROL = 20  # every 20th input is left as it is
PHOTOS = 6  # of each split
FORK = multiprocessing.get_context("fork")
SMALL = {"embed_size": 8, "hidden_size": 8, "vocab_threshold": 1, "batch_size": 8}
ODD = [None, True, -1, 0, 1, 7, 10**6, 10**9, 2**70, 0.5, 1e308, float("nan"), float("inf")]
ODD += ["", "\0", "../../x", "C:\\x", "\ud800", "a" * 100_000, [], {}, [[]], {"id": []}, [1, "2"]]
ODD_TENSORS = [
    torch.zeros(0),
    torch.tensor(float("nan")),
    torch.ones(3, 5),
    torch.zeros(1).expand(10**10),  # 4 bytes on disk, 40 GB if anybody touches it
    torch.full((8, 8), float("inf")),
    torch.ones(4, dtype=torch.int64),
    torch.eye(3).to_sparse(),
]


# --- altering ---------------------------------------------------------------------------------


def alter_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut off, cut out, repeat, insert, blank, or write a large number: one to four times."""
    altered = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(altered) + 1)
        length = rng.choice([1, 2, 4, 16, 256, max(1, len(altered) // 3)])
        kind = rng.randrange(7)
        if kind == 0:
            for place in range(at, min(at + length, len(altered))):
                altered[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del altered[at:]
        elif kind == 2:
            del altered[at : at + length]
        elif kind == 3:
            altered[at:at] = altered[at : at + length]
        elif kind == 4:
            altered[at:at] = rng.randbytes(min(length, 1024))
        elif kind == 5:
            altered[at : at + length] = bytes(len(altered[at : at + length]))
        else:
            altered[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"]
            )
    return bytes(altered)


def places(value: object) -> Iterator[tuple[dict | list, object]]:
    """Yield (container, key) of everything inside a value made of dictionaries and lists."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def alter_value(value: object, rng: random.Random, odd: list) -> object:
    """Return a copy in which one or two of the values inside are odd, missing or doubled."""
    altered = copy.deepcopy(value)
    for _ in range(rng.randint(1, 2)):
        found = list(places(altered))
        if not found or rng.random() < 0.03:
            return copy.deepcopy(rng.choice(odd))
        container, key = rng.choice(found)
        kind = rng.random()
        if kind < 0.15:
            del container[key]
        elif kind < 0.25 and isinstance(container, list):
            container.append(container[key])
        else:
            container[key] = copy.deepcopy(rng.choice(odd))
    return altered


def alter_json(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.02:
        return b"[" * 100_000
    altered = alter_value(json.loads(content), rng, ODD)
    return json.dumps(altered).encode("utf-8", "surrogatepass")


def alter_weights(path: Path, rng: random.Random) -> None:
    torch.save(alter_value(safe_load(path), rng, ODD + ODD_TENSORS), path)


def alter(path: Path, rng: random.Random) -> None:
    """Alter the file at `path`, in a way that its kind invites."""
    if path.suffix in (".pkl", ".pth") and rng.random() < 0.6:
        alter_weights(path, rng)
    elif path.suffix == ".json" and rng.random() < 0.7:
        path.write_bytes(alter_json(path.read_bytes(), rng))
    else:
        path.write_bytes(alter_bytes(path.read_bytes(), rng))


# --- the files, and who reads them -----------------------------------------------------------


class Course:
    """A tiny data set, a tiny trained captioner, and the entry point that reads each file."""

    def __init__(self, data: Path, weights: Path, folder: Path):
        self.folder, self.data, self.out = folder, folder / "data", folder / "run"
        self.weights = Path(shutil.copy(weights, folder / "backbone.pth"))
        for split in ("train", "val"):
            self.copy_split(data, split)
        self.config = TrainConfig(
            data=str(self.data), weights=str(self.weights), out=str(self.out), num_epochs=1,
            device="cpu", **SMALL,
        )  # fmt: skip
        train(self.config)
        self.pair = [self.out / f"{part}-1.pkl" for part in ("encoder", "decoder")]
        self.encoder = EncoderCNN(8, weights=str(self.weights))
        self.captioner = Captioner.load(*self.pair, str(self.weights), "cpu")
        self.photo = read_captions(self.data, "val").photos[0].path
        self.write_other_files()
        annotations = self.data / "annotations/captions_val.json"
        features = sorted((self.data / "features").glob("*/*.*"))
        self.entry_points: list[tuple[Path, Callable[[], object]]] = [
            (self.data / "annotations/captions_train.json", self.read_data),
            (annotations, self.score),
            (annotations, lambda: self.run(prepare.main, "check", self.data)),
            (self.photo, self.caption),
            (self.photo, self.caption),
            (self.pair[0], self.load_pair),
            (self.pair[1], self.load_pair),
            (self.weights, lambda: Backbone("resnet50", str(self.weights))),
            (self.out / "checkpoint.pkl", self.resume),
            (folder / "captions.csv", self.own_folder),
            (folder / "captions.csv", self.own_folder),
            (folder / "results.json", self.score),
            (folder / "vocab.json", lambda: Vocabulary.load(folder / "vocab.json")),
            *((path, self.reuse_features) for path in features[:2]),
        ]
        self.unaltered = {path: path.read_bytes() for path, _ in self.entry_points}

    def copy_split(self, data: Path, split: str) -> None:
        """Copy the first photos of a split of `data`, and their captions."""
        source = read_captions(data, split).head(PHOTOS)
        (self.data / "annotations").mkdir(parents=True, exist_ok=True)
        (self.data / "images" / split).mkdir(parents=True)
        named = {image["id"]: image for image in read_json(find_split(data, split)[0])["images"]}
        images, captions = [named[photo.id] for photo in source.photos], []
        for photo in source.photos:
            shutil.copy(photo.path, self.data / "images" / split)
        for number, (text, row) in enumerate(zip(source.captions, source.photo_index, strict=True)):
            captions.append({"id": number, "image_id": source.photos[row].id, "caption": text})
        content = json.dumps({"images": images, "annotations": captions})
        (self.data / f"annotations/captions_{split}.json").write_text(content, encoding="utf-8")

    def write_other_files(self) -> None:
        val = read_captions(self.data, "val")
        rows = [{"image_id": photo.id, "caption": "a dog on the grass"} for photo in val.photos]
        (self.folder / "results.json").write_text(json.dumps(rows), encoding="utf-8")
        lines = [
            f'{val.photos[row].path.name},"{text}",{("train", "val")[row % 2]}'
            for text, row in zip(val.captions, val.photo_index, strict=True)
        ]
        lines = "\n".join(["image,caption,split", *lines])
        (self.folder / "captions.csv").write_text(lines, encoding="utf-8")
        self.captioner.vocab.save(self.folder / "vocab.json")

    def run(self, main: Callable, *arguments: object) -> None:
        """Run a command line in this process; a sentence on exit is raised as ValueError."""
        sys.argv = ["command", *map(str, arguments)]
        try:
            main()
        except SystemExit as ended:
            if isinstance(ended.code, str):
                raise ValueError(ended.code) from None

    def read_data(self) -> None:
        captions = read_captions(self.data, "train")
        words = [text.split() for text in captions.captions]
        packed = PackedCaptions(words, captions.photo_index, Vocabulary.build(words, 1))
        packed.batch(torch.arange(len(packed)))

    def score(self) -> None:
        annotations = self.data / "annotations/captions_val.json"
        self.run(metrics.main, self.folder / "results.json", annotations)

    def caption(self) -> None:
        [(_, captions)] = self.captioner.caption_stream([self.photo], max_words=5)
        if isinstance(captions, str):
            raise ValueError(captions)

    def load_pair(self) -> None:
        captioner = Captioner.load(*self.pair, str(self.weights), "cpu")
        captioner.caption([self.photo], max_words=5)

    def resume(self) -> None:
        """Do what `train.setup_run` does with a checkpoint, and one step."""
        saved = load_checkpoint(self.out, self.config)
        encoder = build_encoder(self.config.encoder_config())
        decoder = build_decoder(self.config.decoder_config(len(self.captioner.vocab)))
        parameters = trainable_parameters(encoder, decoder)
        optimizer = make_optimizer(self.config, encoder, decoder)
        schedule, ema = make_schedule(self.config, optimizer, 10), WeightEMA(parameters, 0.0)
        words, fingerprint = self.captioner.vocab.words, encoder.backbone.fingerprint()
        state = TrainState(parameters, optimizer, schedule, ema, words, fingerprint)
        progress = restore_checkpoint(saved, state)
        sum(p.sum() for p in parameters).backward()
        optimizer.step()
        schedule.step()
        progress.loss += 1

    def own_folder(self) -> None:
        table, out = self.folder / "captions.csv", self.folder / "own"
        source = self.data / "images/val"
        self.run(prepare.main, "folder", "--from", source, "--csv", table, "--out", out)

    def reuse_features(self) -> None:
        for split in ("train", "val"):
            captions = read_captions(self.data, split)
            extract_features(self.encoder, captions, self.data / "features", device="cpu")


# --- the trial -------------------------------------------------------------------------------


def try_one(course: Course, number: int, seed: int) -> tuple[str, str]:
    """Return what became of input `number`: ("used" or "refused", the sentence)."""
    rng = random.Random(f"{seed}-{number}")
    path, read = rng.choice(course.entry_points)
    control = number % CONTROL == 0
    if not control:
        alter(path, rng)
    try:
        read()
        return "used", ""
    except (OSError, ValueError) as error:
        sentence = str(error)
        names = {path.name, path.parent.name, "checkpoint.pkl", *(p.name for p in course.pair)}
        names.add("its weights are broken")  # values so large that only their product shows it
        names |= {p.name for p in (course.data / "images/val").iterdir()}
        if control or "\n" in sentence or not any(name in sentence for name in names):
            raise RuntimeError(
                f"{path.name}: no sentence that names the file: {error!r}"
            ) from error
        return "refused", sentence
    finally:
        path.write_bytes(course.unaltered[path])
        shutil.rmtree(course.folder / "own", ignore_errors=True)


def try_many(course: Course, numbers: list[int], seed: int, pipe) -> None:
    """Try these inputs, in a process of its own; a fault ends it with a traceback on stderr."""
    torch.set_num_threads(1)  # a fork breaks the thread pool: rebuild it before it is needed
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    for path, content in course.unaltered.items():  # the previous process may have been killed
        path.write_bytes(content)
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, HANGS)  # of computing, however busy the machine is
        pipe.send(("begins", number, 0))
        outcome, _ = try_one(course, number, seed)
        scale = 1 if sys.platform == "darwin" else 1024
        pipe.send((outcome, number, scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def fuzz(course: Course, inputs: int, seed: int) -> tuple[Counter, list[str]]:
    """Return {outcome: how many}, and the faults; each of them costs one process."""
    counts: Counter = Counter()
    faults: list[str] = []
    first = 0
    while first < inputs:
        here, there = FORK.Pipe(duplex=False)
        numbers = list(range(first, min(first + 500, inputs)))
        worker = FORK.Process(target=try_many, args=(course, numbers, seed, there))
        worker.start()
        there.close()
        why = "crashed"
        try:
            while True:
                if not here.poll(ASLEEP):
                    why = "never ends"
                    break
                outcome, number, memory = here.recv()
                if outcome == "begins":
                    continue
                kind = "controls" if number % CONTROL == 0 else outcome
                counts[kind] += 1
                first = number + 1
                if memory > MEMORY:
                    why = f"took {memory / 2**30:.1f} GiB"
                    first -= 1  # counted as a fault, below
                    counts[kind] -= 1
                    break
        except EOFError:  # the worker has ended
            pass
        worker.kill()
        worker.join()
        if worker.exitcode == -signal.SIGPROF:
            why = f"took more than {HANGS} seconds"
        if first <= numbers[-1]:
            faults.append(f"input {first} {why}")
            first += 1
        print(f"{first} inputs, {len(faults)} faults", flush=True)
    return counts, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/toy"), help="%(default)s")
    backbone = Path("models/resnet50_toy.pth")
    parser.add_argument("--weights", type=Path, default=backbone, help="%(default)s")
    parser.add_argument("--inputs", type=int, default=10_000, help="how many files (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--only", type=int, help="try only this input, in this process")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a forked process could not use the threads of its parent
    with tempfile.TemporaryDirectory() as scratch:
        course = Course(args.data, args.weights, Path(scratch))
        if args.only is not None:
            sys.exit(": ".join(try_one(course, args.only, args.seed)))
        counts, faults = fuzz(course, args.inputs, args.seed)
    print(
        f"{args.inputs} inputs: {counts['used']} used, {counts['refused']} refused in a sentence,"
    )
    print(f"{counts['controls']} unaltered controls in between succeeded, {len(faults)} faults")
    if faults:
        sys.exit("\n".join(faults[:20]))


if __name__ == "__main__":
    main()
