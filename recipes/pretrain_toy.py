"""Pretrains the drawn dataset's small ResNet-50 on labels, never on captions.

    python -m extras.pretrain_toy            about 15 minutes on two cores, one on a GPU

ImageNet taught the real ResNet-50 what is in a photograph before any captioner saw it. The same
happens here in small: thousands of scenes that are not in the dataset, with questions about the
whole picture (which kinds, in which colours, how many, which setting, how they lie) and about each
place of the grid (which thing is there, in which colour). Then the questions are thrown away; what
stays is a network whose grid of features knows things, colours and places.

    example(...)     one scene as arrays: picture, map of things, labels
    Targets          the right answers for a batch, made from labels and map
    Pupil            the network, and the questions on top of it
    pretrain(...)    the loop

Pairs of kind and colour in `toy.kinds.HELD_OUT` are in no picture here, and no question asks for
them. Half of each batch has its colour channels exchanged (and is not asked about colours), so that
kinds are known in colours never seen on them.
"""

import argparse
import dataclasses
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import narrow_resnet50
from settings import setting
from speed import fast_dtype, pick_device
from toy.captions import PHRASES
from toy.drawing import PALETTE
from toy.kinds import HELD_OUT, KINDS
from toy.scenes import scene
from toy.settings import SETTINGS
from vocabulary import cli_errors, write_atomically

KIND, COLOUR, PLACE, RELATION = list(KINDS), list(PALETTE), list(SETTINGS), list(PHRASES)
PAIRS = [(kind, colour) for kind in KIND for colour in KINDS[kind].colours]
PAIR_NUMBER = [[PAIRS.index((k, c)) if (k, c) in PAIRS else 0 for c in COLOUR] for k in KIND]
MOST = 4  # things in a scene
STRIDE = 16  # pixels of the picture for one place of the grid
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
EXCHANGES = [
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
    [1, 1, 1],
]  # of red, green, blue


@dataclass
class Lesson:
    out: str = setting("models/resnet50_toy.pth", "file for the weights")
    scenes: int = setting(16_000, "scenes to draw and learn from")
    seed: int = setting(1000, "of those scenes; the dataset has another")
    width: int = setting(16, "channels where ResNet-50 has 64")
    resize: int = setting(120, "pixels; pictures are squashed to a square")
    crop: int = setting(112, "pixels of the window that the network sees")
    epochs: int = setting(14, "times that every scene is seen")
    batch_size: int = setting(64, "scenes a step")
    lr: float = setting(4e-3, "highest learning rate, of a one-cycle schedule")
    weight_decay: float = setting(0.05, "pull of every weight towards zero")
    device: str = setting("auto", "auto, cpu or cuda")


def example(task: tuple[int, str, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(seed, split, index, side) -> picture (side, side, 3), ids (side, side), labels (L,).

    Labels: setting, kind of the largest thing, kind and colour of MOST things (-1 where there is
    none), and for each relation whether it is there.
    """
    seed, split, index, side = task
    image, record, ids = scene(seed, split, index)
    things = [(KIND.index(t["kind"]), COLOUR.index(t["colour"])) for t in record["things"]]
    largest = next(t["kind"] for t in record["things"] if t["id"] == record["largest"])
    things += [(-1, -1)] * (MOST - len(things))
    there = {relation["relation"] for relation in record["relations"]}
    labels = [PLACE.index(record["setting"]), KIND.index(largest), *np.ravel(things)]
    labels += [relation in there for relation in RELATION]
    image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    ids = cv2.resize(ids, (side, side), interpolation=cv2.INTER_NEAREST)
    return image, ids, np.array(labels, np.int16)


def examples(seed: int, split: str, count: int, side: int) -> list[Tensor]:
    """images (N, side, side, 3) uint8, ids (N, side, side) uint8, labels (N, L) int16."""
    tasks = [(seed, split, index, side) for index in range(count)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(example, tasks, chunksize=50)
        return [torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)]


class Targets:
    """The right answers for a batch: from labels (B, L) and ids (B, H, W) as the picture has them.

    setting, largest (B,); counts (B, K) of each kind; pairs (B, len(PAIRS)) and relations (B, R),
    0 or 1; kind_map, colour_map (B, h, w), 0 where nothing is and 1 + number where something is.
    """

    def __init__(self, labels: Tensor, ids: Tensor):
        labels = labels.long()
        things = labels[:, 2 : 2 + 2 * MOST].view(-1, MOST, 2)
        there = things[:, :, :1] >= 0  # (B, MOST, 1)
        kind, colour = things.clamp(min=0).unbind(2)  # (B, MOST) each
        pair = torch.tensor(PAIR_NUMBER, device=labels.device)[kind, colour]
        self.setting, self.largest = labels[:, 0], labels[:, 1]
        self.counts = (F.one_hot(kind, len(KIND)) * there).sum(1)
        self.pairs = (F.one_hot(pair, len(PAIRS)) * there).amax(1).float()
        self.relations = labels[:, 2 + 2 * MOST :].float()
        share = torch.stack([(ids == number + 1).float() for number in range(MOST)], 1)
        share, most = F.avg_pool2d(share, STRIDE).max(1)  # (B, h, w): which thing fills most of it
        filled, most = share > 0.15, most.flatten(1)
        self.kind_map = (kind.gather(1, most).view(filled.shape) + 1) * filled
        self.colour_map = (colour.gather(1, most).view(filled.shape) + 1) * filled


class Pupil(nn.Module):
    """The trunk that is kept, and the questions that are thrown away."""

    def __init__(self, width: int):
        super().__init__()
        self.trunk = narrow_resnet50(width)
        for module in self.trunk.modules():
            if hasattr(module, "bn3"):
                nn.init.zeros_(module.bn3.weight)  # each block begins as the identity
        self.sizes = [len(PLACE), len(KIND), 3 * len(KIND), len(PAIRS), len(RELATION)]
        self.about_all = nn.Linear(32 * width, sum(self.sizes))
        self.about_places = nn.Conv2d(32 * width, len(KIND) + 1 + len(COLOUR) + 1, 1)
        seen = torch.tensor([pair not in HELD_OUT for pair in PAIRS], dtype=torch.float32)
        self.register_buffer("seen", seen)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, H, W) -> 5 answers on the whole (B, n), 2 on places (B, n, h, w)."""
        maps = self.trunk(images)
        about_all = self.about_all(maps.mean((2, 3))).float().split(self.sizes, 1)
        about_places = self.about_places(maps).float().split([len(KIND) + 1, len(COLOUR) + 1], 1)
        return [*about_all, *about_places]

    def loss(self, answers: list[Tensor], truth: Targets, true_colours: Tensor) -> Tensor:
        """`true_colours` (B,) is 0 where channels were exchanged: nothing about colour is asked."""
        setting, largest, counts, pairs, relations, kind_map, colour_map = answers
        share = true_colours / true_colours.mean()
        at_least = torch.stack([(truth.counts > n).float() for n in range(3)], 2).flatten(1)
        rare = torch.tensor(3.0, device=pairs.device)  # a yes is worth three noes
        pair_loss = F.binary_cross_entropy_with_logits(
            pairs, truth.pairs, self.seen, pos_weight=rare, reduction="none"
        )
        filled = truth.colour_map > 0
        nothing = torch.ones(len(KIND) + 1, device=pairs.device)
        nothing[0] = 0.3  # most places are empty
        colour_loss = F.cross_entropy(colour_map, truth.colour_map, reduction="none") * filled
        return (
            0.5 * F.cross_entropy(setting, truth.setting)
            + 0.5 * F.cross_entropy(largest, truth.largest)
            + 6.0 * F.binary_cross_entropy_with_logits(counts, at_least, pos_weight=rare)
            + 20.0 * (pair_loss.mean(1) * share).mean()
            + F.binary_cross_entropy_with_logits(relations, truth.relations)
            + F.cross_entropy(kind_map, truth.kind_map, nothing)
            + (colour_loss.sum((1, 2)) * share).sum() / filled.sum()
        )


def normalise(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W), stored channels last."""
    mean, std = (torch.tensor(part, device=images.device) for part in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def varied(images: Tensor, ids: Tensor, crop: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random window of the batch; mirrored, brightened, channels exchanged in the first half.

    Returns images (B, 3, crop, crop), ids (B, crop, crop), true_colours (B,).
    """
    room = images.shape[1] - crop
    top, left = random.randint(0, room), random.randint(0, room)
    images = normalise(images[:, top : top + crop, left : left + crop])
    ids = ids[:, top : top + crop, left : left + crop]
    count, device = len(images), images.device
    mirrored = torch.rand(count, 1, 1, device=device) < 0.5
    images = torch.where(mirrored[..., None], images.flip(3), images)
    ids = torch.where(mirrored, ids.flip(2), ids)
    half = count // 2
    order = torch.tensor(EXCHANGES, device=device)[torch.randint(len(EXCHANGES), (half,))]
    index = order[:, :, None, None].expand(-1, -1, crop, crop)
    images = torch.cat([images[:half].gather(1, index), images[half:]])
    images = images * (1 + 0.08 * torch.randn(count, 1, 1, 1, device=device))
    true_colours = (torch.arange(count, device=device) >= half).float()
    return images.contiguous(memory_format=torch.channels_last), ids, true_colours


def f1(guess: Tensor, truth: Tensor) -> float:
    return float(2 * (guess & truth).sum() / (guess.sum() + truth.sum()).clamp(min=1))


@torch.no_grad()
def examine(pupil: Pupil, data: list[Tensor], dtype: torch.dtype) -> dict[str, float]:
    """What the pupil knows of pictures it did not learn from, in percent."""
    pupil.eval()
    images, ids, labels = data
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        parts = [pupil(normalise(part)) for part in images.split(50)]
    setting, largest, counts, pairs, _, kind_map, colour_map = map(
        torch.cat, zip(*parts, strict=True)
    )
    truth = Targets(labels, ids)
    pupil.train()
    filled = truth.kind_map > 0
    kind_right = kind_map.argmax(1) == truth.kind_map
    colour_right = colour_map.argmax(1) == truth.colour_map
    shares = {
        "kinds F1": f1(counts[:, ::3] > 0.4, truth.counts > 0),
        "kind and colour F1": f1(pairs > 0.8, truth.pairs > 0),
        "two or more F1": f1(counts[:, 1::3] > 0.4, truth.counts > 1),
        "settings": float((setting.argmax(1) == truth.setting).float().mean()),
        "largest": float((largest.argmax(1) == truth.largest).float().mean()),
        "kind of a place": float(kind_right[filled].float().mean()),
        "colour of a place": float(colour_right[filled].float().mean()),
    }
    return {name: 100 * value for name, value in shares.items()}


def pretrain(lesson: Lesson) -> dict[str, float]:
    """Draw, learn, save; returns what `examine` says at the end."""
    torch.manual_seed(lesson.seed)
    random.seed(lesson.seed)
    device, start = pick_device(lesson.device), time.monotonic()
    dtype = fast_dtype(device)
    data = examples(lesson.seed, "pretrain", lesson.scenes, lesson.resize)
    unknown = [part.to(device) for part in examples(0, "val2014", 300, lesson.crop)]
    print(f"{lesson.scenes:,} scenes drawn in {time.monotonic() - start:.0f} s", flush=True)
    pupil = Pupil(lesson.width).to(device, memory_format=torch.channels_last)
    steps = lesson.epochs * (lesson.scenes // lesson.batch_size)
    optimizer = torch.optim.AdamW(pupil.parameters(), lesson.lr, weight_decay=lesson.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lesson.lr, total_steps=steps)
    known: dict[str, float] = {}
    for epoch in range(1, lesson.epochs + 1):
        total = torch.zeros((), device=device)
        whole = lesson.scenes // lesson.batch_size
        for rows in torch.randperm(lesson.scenes).split(lesson.batch_size)[:whole]:
            images, ids, labels = (part[rows].to(device) for part in data)
            images, ids, true_colours = varied(images, ids, lesson.crop)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                answers = pupil(images)
            loss = pupil.loss(answers, Targets(labels, ids), true_colours)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        known = examine(pupil, unknown, dtype)
        said = ", ".join(f"{name} {value:.1f}" for name, value in known.items())
        minutes = (time.monotonic() - start) / 60
        print(
            f"epoch {epoch} ({minutes:.1f} min): loss {total / whole:.3f}, {said}",
            flush=True,
        )
    save(pupil, lesson)
    return known


def save(pupil: Pupil, lesson: Lesson) -> None:
    """The trunk as plain data, in half precision."""
    state = pupil.trunk.state_dict()
    saved = {
        "arch": "narrow_resnet50",
        "config": {"width": lesson.width, "last_stride": 1},
        "transform": {"resize": lesson.resize, "crop": lesson.crop, "mean": MEAN, "std": STD},
        "state_dict": {
            k: (v.half() if v.is_floating_point() else v).cpu() for k, v in state.items()
        },
        "trained_on": f"labels of {lesson.scenes:,} drawn scenes (python -m extras.pretrain_toy)",
    }
    with write_atomically(lesson.out) as file:
        torch.save(saved, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for field in dataclasses.fields(Lesson):
        flag, about = (
            f"--{field.name}".replace("_", "-"),
            field.metadata["about"] + " (%(default)s)",
        )
        parser.add_argument(flag, type=field.type, default=field.default, help=about)
    with cli_errors():
        pretrain(Lesson(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
