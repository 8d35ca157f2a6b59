"""Broken and hostile files by the thousand: each is used, or refused in one sentence.

    python benchmarks/fuzz.py --data data/toy --weights models/resnet50_toy.pth --inputs 10000
    python benchmarks/fuzz.py ... --only 1234      one input again, with its traceback

An input is a real file (annotations, photo, pair, backbone, checkpoint, CSV, results, vocabulary,
cached features), bent at random: bytes flipped, cut, repeated; values of JSON and of saved weights
replaced by what nobody expects. It goes to the entry point that would meet it. Right is a success,
or an `OSError` or `ValueError` of one line that names a file; wrong is anything else: another
exception, a crash, more than 20 seconds, more than 2 GiB. Every twentieth input is not bent at all
and must succeed. Exit status 1 where anything went wrong. Needs fork: Linux or macOS.
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

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

import metrics
import prepare
from captioning.models.backbone import Backbone
from captioning.safe_load import safe_load
from captioning.inference.captioner import Captioner
from data_loader import PackedCaptions
from captioning.data.coco import find_split, read_captions
from captioning.features.cache import extract_features
from captioning.training.optim import WeightEMA, make_optimizer, make_schedule
from model import EncoderCNN, make_decoder
from captioning.training.checkpoint import load_checkpoint, restore_checkpoint
from captioning.training.config import TrainConfig
from train import train
from vocabulary import Vocabulary
from captioning.files import read_json

HANGS = 20  # seconds of computing
ASLEEP = 600  # seconds without any answer
MEMORY = 2 * 2**30  # bytes
CONTROL = 20  # one input in so many is left as it is
PHOTOS = 6  # of each split
FORK = multiprocessing.get_context("fork")
BLEU_EPS_DEN = {"embed_size": 8, "hidden_size": 8, "vocab_threshold": 1, "batch_size": 8}
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


# --- bending ---------------------------------------------------------------------------------


def bend_bytes(content: bytes, chance: random.Random) -> bytes:
    """One to four times: flip, cut off, cut out, repeat, insert, blank, or a large number."""
    bent = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(bent) + 1)
        length = chance.choice([1, 2, 4, 16, 256, max(1, len(bent) // 3)])
        kind = chance.randrange(7)
        if kind == 0:
            for place in range(at, min(at + length, len(bent))):
                bent[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del bent[at:]
        elif kind == 2:
            del bent[at : at + length]
        elif kind == 3:
            bent[at:at] = bent[at : at + length]
        elif kind == 4:
            bent[at:at] = chance.randbytes(min(length, 1024))
        elif kind == 5:
            bent[at : at + length] = bytes(len(bent[at : at + length]))
        else:
            bent[at : at + 4] = chance.choice(
                [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"]
            )
    return bytes(bent)


def places(value: object) -> Iterator[tuple[dict | list, object]]:
    """(container, key) of everything inside a value made of dictionaries and lists."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def bend_value(value: object, chance: random.Random, odd: list) -> object:
    """A copy in which one or two of the values inside are odd, missing, or twice there."""
    bent = copy.deepcopy(value)
    for _ in range(chance.randint(1, 2)):
        found = list(places(bent))
        if not found or chance.random() < 0.03:
            return copy.deepcopy(chance.choice(odd))
        container, key = chance.choice(found)
        kind = chance.random()
        if kind < 0.15:
            del container[key]
        elif kind < 0.25 and isinstance(container, list):
            container.append(container[key])
        else:
            container[key] = copy.deepcopy(chance.choice(odd))
    return bent


def bend_json(content: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.02:
        return b"[" * 100_000
    bent = bend_value(json.loads(content), chance, ODD)
    return json.dumps(bent).encode("utf-8", "surrogatepass")


def bend_weights(path: Path, chance: random.Random) -> None:
    torch.save(bend_value(safe_load(path), chance, ODD + ODD_TENSORS), path)


def bend(path: Path, chance: random.Random) -> None:
    """Bends the file at `path` as its kind invites."""
    if path.suffix in (".pkl", ".pth") and chance.random() < 0.6:
        bend_weights(path, chance)
    elif path.suffix == ".json" and chance.random() < 0.7:
        path.write_bytes(bend_json(path.read_bytes(), chance))
    else:
        path.write_bytes(bend_bytes(path.read_bytes(), chance))


# --- the files, and who reads them -----------------------------------------------------------


class Course:
    """A tiny data set, a tiny trained captioner, and the entry point that reads each file."""

    def __init__(self, data: Path, weights: Path, folder: Path):
        self.folder, self.data, self.out = folder, folder / "data", folder / "run"
        self.weights = Path(shutil.copy(weights, folder / "backbone.pth"))
        for split in ("train", "val"):
            self.copy_split(data, split)
        self.settings = TrainConfig(
            data=str(self.data), weights=str(self.weights), out=str(self.out), num_epochs=1,
            device="cpu", **BLEU_EPS_DEN,
        )  # fmt: skip
        train(self.settings)
        self.pair = [self.out / f"{part}-1.pkl" for part in ("encoder", "decoder")]
        self.encoder = EncoderCNN(8, weights=str(self.weights))
        self.captioner = Captioner.load(*self.pair, str(self.weights), "cpu")
        self.photo = read_captions(self.data, "val").photos[0].path
        self.write_more()
        annotations = self.data / "annotations/captions_val.json"
        features = sorted((self.data / "features").glob("*/*.*"))
        self.asks: list[tuple[Path, Callable[[], object]]] = [
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
        self.unharmed = {path: path.read_bytes() for path, _ in self.asks}

    def copy_split(self, data: Path, split: str) -> None:
        """The first photos of a split of `data`, and their captions."""
        source = read_captions(data, split).first(PHOTOS)
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

    def write_more(self) -> None:
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
        """A command line, in this process; how it ends becomes what an entry point does."""
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
        saved = load_checkpoint(self.out, vars(self.settings))
        decoder = make_decoder("lstm", **self.settings.decoder_config(len(self.captioner.vocab)))
        encoder = EncoderCNN(8, weights=str(self.weights))
        learning = [p for p in (*encoder.parameters(), *decoder.parameters()) if p.requires_grad]
        optimizer = make_optimizer(self.settings, encoder, decoder)
        state = {"learning": learning, "optimizer": optimizer}
        state["schedule"] = make_schedule(self.settings, optimizer, 10)
        state["average"] = WeightEMA(learning, 0.0)
        run = restore_checkpoint(saved, state)
        sum(p.sum() for p in learning).backward()
        optimizer.step()
        state["schedule"].step()
        run["loss"] += 1

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
    """What became of input `number`: ("used" or "refused", the sentence)."""
    chance = random.Random(f"{seed}-{number}")
    path, ask = chance.choice(course.asks)
    control = number % CONTROL == 0
    if not control:
        bend(path, chance)
    try:
        ask()
        return "used", ""
    except (OSError, ValueError) as error:
        sentence = str(error)
        names = {path.name, path.parent.name, "checkpoint.pkl", *(p.name for p in course.pair)}
        names.add("its weights are broken")  # numbers so large that only their product shows it
        names |= {p.name for p in (course.data / "images/val").iterdir()}
        if control or "\n" in sentence or not any(name in sentence for name in names):
            raise RuntimeError(
                f"{path.name}: no sentence that names the file: {error!r}"
            ) from error
        return "refused", sentence
    finally:
        path.write_bytes(course.unharmed[path])
        shutil.rmtree(course.folder / "own", ignore_errors=True)


def try_many(course: Course, numbers: list[int], seed: int, pipe) -> None:
    """In a process of its own: what is wrong ends it, with a traceback on standard error."""
    torch.set_num_threads(1)  # a fork breaks the pool: make it anew before two threads ask for it
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    for path, content in course.unharmed.items():  # the process before may have been ended
        path.write_bytes(content)
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, HANGS)  # of computing, however busy the machine is
        pipe.send(("begins", number, 0))
        outcome, _ = try_one(course, number, seed)
        scale = 1 if sys.platform == "darwin" else 1024
        pipe.send((outcome, number, scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def fuzz(course: Course, inputs: int, seed: int) -> tuple[Counter, list[str]]:
    """{outcome: how many}, and what went wrong; each wrong input costs one process."""
    counts: Counter = Counter()
    wrong: list[str] = []
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
                    why = "waits for ever"
                    break
                outcome, number, memory = here.recv()
                if outcome == "begins":
                    continue
                kind = "controls" if number % CONTROL == 0 else outcome
                counts[kind] += 1
                first = number + 1
                if memory > MEMORY:
                    why = f"took {memory / 2**30:.1f} GiB"
                    first -= 1  # counted as wrong, below
                    counts[kind] -= 1
                    break
        except EOFError:  # the worker has ended
            pass
        worker.kill()
        worker.join()
        if worker.exitcode == -signal.SIGPROF:
            why = f"took more than {HANGS} seconds"
        if first <= numbers[-1]:
            wrong.append(f"input {first} {why}")
            first += 1
        print(f"{first} inputs, {len(wrong)} went wrong", flush=True)
    return counts, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/toy"))
    parser.add_argument("--weights", type=Path, default=Path("models/resnet50_toy.pth"))
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this input alone, in this process")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a forked process could not use the threads of its parent
    with tempfile.TemporaryDirectory() as scratch:
        course = Course(args.data, args.weights, Path(scratch))
        if args.only is not None:
            sys.exit(": ".join(try_one(course, args.only, args.seed)))
        counts, wrong = fuzz(course, args.inputs, args.seed)
    print(
        f"{args.inputs} inputs: {counts['used']} used, {counts['refused']} refused in a sentence,"
    )
    print(f"{counts['controls']} unharmed controls in between succeeded, {len(wrong)} went wrong")
    if wrong:
        sys.exit("\n".join(wrong[:20]))


if __name__ == "__main__":
    main()
