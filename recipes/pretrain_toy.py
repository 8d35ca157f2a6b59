"""Pretrain the small ResNet-50 of the drawn dataset on labels, never on captions.

    python -m recipes.pretrain_toy           about 15 minutes on two cores, one on a GPU

A captioner of photographs starts from a ResNet-50 that ImageNet's labels have trained. This is the
same on a small scale: thousands of scenes that are not in the dataset, with classification tasks
for the whole picture (kinds, their colors, counts and relations, the setting) and for each place of
the grid (which thing, in which color). Then the heads of these tasks are removed; the network that
remains encodes things, colors and positions in its grid of features.

    example(...)     one scene as arrays: picture, map of things, labels
    Targets          the targets of a batch, from its labels and maps
    MultiTaskNet     the network with a head for each task
    pretrain(...)    the training loop

No picture shows a pair of kind and color from `kinds.HELD_OUT`, and no loss covers one. Half of
each batch has its color channels permuted, without a loss on colors, so that the network recognizes
kinds in colors that it never saw them in.
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
from torchvision.models.resnet import Bottleneck

from captioning.device import compute_dtype, get_device
from captioning.files import atomic_write, cli_errors
from captioning.models.classifiers import narrow_resnet50
from captioning.models.config import check_options, option
from captioning.toy.canvas import PALETTE
from captioning.toy.captions import PHRASES
from captioning.toy.kinds import HELD_OUT, KINDS
from captioning.toy.places import SETTINGS
from captioning.toy.scenes import scene

# a label is the position of a name in one of these lists
KIND, COLOR, SETTING, RELATION = list(KINDS), list(PALETTE), list(SETTINGS), list(PHRASES)
PAIRS = [(kind, color) for kind in KIND for color in KINDS[kind].colors]
PAIR_INDEX = [[PAIRS.index((k, c)) if (k, c) in PAIRS else 0 for c in COLOR] for k in KIND]
MAX_THINGS = 4  # in a scene
STRIDE = 16  # pixels of the picture for one place of the grid
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
# of red, green and blue; the last one makes the picture gray
CHANNEL_PERMUTATIONS = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 1, 1]]


@dataclass
class PretrainConfig:
    out: str = option("models/resnet50_toy.pth", "file for the weights")
    scenes: int = option(16_000, "number of scenes to draw and train on", ge=1)
    seed: int = option(1000, "random seed; the dataset has another")
    width: int = option(16, "channels of the first stage, where ResNet-50 has 64", ge=1)
    resize: int = option(120, "side in pixels of the square that pictures are squashed to", ge=1)
    crop: int = option(112, "side in pixels of the random crop that the network sees", ge=1)
    epochs: int = option(14, "number of epochs", ge=1)
    batch_size: int = option(64, "scenes per step", ge=1)
    lr: float = option(4e-3, "peak learning rate of the one-cycle schedule", gt=0)
    weight_decay: float = option(0.05, "weight decay of AdamW", ge=0)
    device: str = option("auto", "auto, cpu or cuda")


def example(task: tuple[int, str, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(seed, split, index, side) -> picture (side, side, 3), ids (side, side), labels (L,)

    Labels: the setting, the kind of the largest thing, kind and color of MAX_THINGS things (-1 for
    a missing one), and for each relation whether it occurs.
    """
    seed, split, index, side = task
    image, record, ids = scene(seed, split, index)
    things = [(KIND.index(t["kind"]), COLOR.index(t["color"])) for t in record["things"]]
    largest = next(t["kind"] for t in record["things"] if t["id"] == record["largest"])
    things += [(-1, -1)] * (MAX_THINGS - len(things))
    occurring = {relation["relation"] for relation in record["relations"]}
    labels = [SETTING.index(record["setting"]), KIND.index(largest), *np.ravel(things)]
    labels += [relation in occurring for relation in RELATION]
    image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    ids = cv2.resize(ids, (side, side), interpolation=cv2.INTER_NEAREST)
    return image, ids, np.array(labels, np.int16)


def examples(seed: int, split: str, count: int, side: int) -> list[Tensor]:
    """Return images (N, side, side, 3) uint8, ids (N, side, side) uint8, labels (N, L) int16."""
    tasks = [(seed, split, index, side) for index in range(count)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(example, tasks, chunksize=50)
        return [torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)]


class Targets:
    """The targets of a batch, from labels (B, L) and ids (B, H, W).

    setting, largest     (B,)
    counts               (B, K), the number of things of each kind
    pairs, relations     (B, len(PAIRS)) and (B, R), 0 or 1
    kind_map, color_map  (B, h, w), 0 for an empty place, otherwise 1 + label
    """

    def __init__(self, labels: Tensor, ids: Tensor):
        labels = labels.long()
        things = labels[:, 2 : 2 + 2 * MAX_THINGS].view(-1, MAX_THINGS, 2)
        exists = things[:, :, :1] >= 0  # (B, MAX_THINGS, 1)
        kind, color = things.clamp(min=0).unbind(2)  # (B, MAX_THINGS) each
        pair = torch.tensor(PAIR_INDEX, device=labels.device)[kind, color]
        self.setting, self.largest = labels[:, 0], labels[:, 1]
        self.counts = (F.one_hot(kind, len(KIND)) * exists).sum(1)
        self.pairs = (F.one_hot(pair, len(PAIRS)) * exists).amax(1).float()
        self.relations = labels[:, 2 + 2 * MAX_THINGS :].float()
        masks = torch.stack([(ids == number + 1).float() for number in range(MAX_THINGS)], 1)
        coverage, thing = F.avg_pool2d(masks, STRIDE).max(1)  # (B, h, w): of the main thing
        filled, thing = coverage > 0.15, thing.flatten(1)
        self.kind_map = (kind.gather(1, thing).view(filled.shape) + 1) * filled
        self.color_map = (color.gather(1, thing).view(filled.shape) + 1) * filled


class MultiTaskNet(nn.Module):
    """The backbone, which is kept, and a head for each task, which are removed in the end."""

    seen: Tensor  # (len(PAIRS),), 0 for pairs that are held out

    def __init__(self, width: int):
        super().__init__()
        self.backbone = narrow_resnet50(width)
        for module in self.backbone.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)  # each block begins as the identity
        self.sizes = [len(SETTING), len(KIND), 3 * len(KIND), len(PAIRS), len(RELATION)]
        self.picture_heads = nn.Linear(32 * width, sum(self.sizes))
        self.place_heads = nn.Conv2d(32 * width, len(KIND) + 1 + len(COLOR) + 1, 1)
        seen = torch.tensor([pair not in HELD_OUT for pair in PAIRS], dtype=torch.float32)
        self.register_buffer("seen", seen)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, H, W) -> logits: 5 of the picture (B, n), 2 of places (B, n, h, w)"""
        maps = self.backbone(images)
        of_picture = self.picture_heads(maps.mean((2, 3))).float().split(self.sizes, 1)
        of_places = self.place_heads(maps).float().split([len(KIND) + 1, len(COLOR) + 1], 1)
        return [*of_picture, *of_places]

    def loss(self, logits: list[Tensor], targets: Targets, true_colors: Tensor) -> Tensor:
        """Return the weighted sum of the losses of all tasks.

        true_colors   (B,), 0 where the color channels were permuted: no loss on colors
        """
        setting, largest, counts, pairs, relations, kind_map, color_map = logits
        color_weight = true_colors / true_colors.mean()
        at_least = torch.stack([(targets.counts > n).float() for n in range(3)], 2).flatten(1)
        pos_weight = torch.tensor(3.0, device=pairs.device)  # positives are rare
        pair_loss = F.binary_cross_entropy_with_logits(
            pairs, targets.pairs, self.seen, pos_weight=pos_weight, reduction="none"
        )
        filled = targets.color_map > 0
        kind_weight = torch.ones(len(KIND) + 1, device=pairs.device)
        kind_weight[0] = 0.3  # most places are empty
        color_loss = F.cross_entropy(color_map, targets.color_map, reduction="none") * filled
        return (
            0.5 * F.cross_entropy(setting, targets.setting)
            + 0.5 * F.cross_entropy(largest, targets.largest)
            + 6.0 * F.binary_cross_entropy_with_logits(counts, at_least, pos_weight=pos_weight)
            + 20.0 * (pair_loss.mean(1) * color_weight).mean()
            + F.binary_cross_entropy_with_logits(relations, targets.relations)
            + F.cross_entropy(kind_map, targets.kind_map, kind_weight)
            + (color_loss.sum((1, 2)) * color_weight).sum() / filled.sum()
        )


def normalize(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W), stored channels last"""
    mean, std = (torch.tensor(part, device=images.device) for part in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def augment(images: Tensor, ids: Tensor, crop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Crop the batch at random, mirror and brighten pictures, permute channels in its first half.

    Returns images (B, 3, crop, crop), ids (B, crop, crop), true_colors (B,): 0 where permuted.
    """
    margin = images.shape[1] - crop
    top, left = random.randint(0, margin), random.randint(0, margin)
    images = normalize(images[:, top : top + crop, left : left + crop])
    ids = ids[:, top : top + crop, left : left + crop]
    count, device = len(images), images.device
    mirrored = torch.rand(count, 1, 1, device=device) < 0.5
    images = torch.where(mirrored[..., None], images.flip(3), images)
    ids = torch.where(mirrored, ids.flip(2), ids)
    half = count // 2
    permutations = torch.tensor(CHANNEL_PERMUTATIONS, device=device)
    order = permutations[torch.randint(len(permutations), (half,))]
    index = order[:, :, None, None].expand(-1, -1, crop, crop)
    images = torch.cat([images[:half].gather(1, index), images[half:]])
    images = images * (1 + 0.08 * torch.randn(count, 1, 1, 1, device=device))
    true_colors = (torch.arange(count, device=device) >= half).float()
    return images.contiguous(memory_format=torch.channels_last), ids, true_colors


def f1(predicted: Tensor, actual: Tensor) -> float:
    return float(2 * (predicted & actual).sum() / (predicted.sum() + actual.sum()).clamp(min=1))


@torch.no_grad()
def evaluate(net: MultiTaskNet, data: list[Tensor], dtype: torch.dtype) -> dict[str, float]:
    """Return F1 scores and accuracies on validation scenes, in percent."""
    net.eval()
    images, ids, labels = data
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        parts = [net(normalize(part)) for part in images.split(50)]
    logits = [torch.cat(part) for part in zip(*parts, strict=True)]
    setting, largest, counts, pairs, _, kind_map, color_map = logits
    targets = Targets(labels, ids)
    net.train()
    filled = targets.kind_map > 0
    kind_right = kind_map.argmax(1) == targets.kind_map
    color_right = color_map.argmax(1) == targets.color_map
    scores = {
        "kinds F1": f1(counts[:, ::3] > 0.4, targets.counts > 0),
        "kind and color F1": f1(pairs > 0.8, targets.pairs > 0),
        "two or more F1": f1(counts[:, 1::3] > 0.4, targets.counts > 1),
        "settings": float((setting.argmax(1) == targets.setting).float().mean()),
        "largest": float((largest.argmax(1) == targets.largest).float().mean()),
        "kind of a place": float(kind_right[filled].float().mean()),
        "color of a place": float(color_right[filled].float().mean()),
    }
    return {name: 100 * value for name, value in scores.items()}


def pretrain(config: PretrainConfig) -> dict[str, float]:
    """Draw the scenes, train, save the backbone; return the last scores of `evaluate`."""
    check_options(config)
    torch.manual_seed(config.seed)
    random.seed(config.seed)
    device, start = get_device(config.device), time.monotonic()
    dtype = compute_dtype(device)
    data = examples(config.seed, "pretrain", config.scenes, config.resize)
    validation = [part.to(device) for part in examples(0, "val2014", 300, config.crop)]
    print(f"{config.scenes:,} scenes drawn in {time.monotonic() - start:.0f} s", flush=True)
    net = MultiTaskNet(config.width).to(device).to(memory_format=torch.channels_last)
    steps_per_epoch = config.scenes // config.batch_size
    optimizer = torch.optim.AdamW(net.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.lr, total_steps=config.epochs * steps_per_epoch
    )
    scores: dict[str, float] = {}
    for epoch in range(1, config.epochs + 1):
        total = torch.zeros((), device=device)
        for rows in torch.randperm(config.scenes).split(config.batch_size)[:steps_per_epoch]:
            images, ids, labels = (part[rows].to(device) for part in data)
            images, ids, true_colors = augment(images, ids, config.crop)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = net(images)
            loss = net.loss(logits, Targets(labels, ids), true_colors)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        scores = evaluate(net, validation, dtype)
        listing = ", ".join(f"{name} {value:.1f}" for name, value in scores.items())
        minutes, mean_loss = (time.monotonic() - start) / 60, total / steps_per_epoch
        print(f"epoch {epoch} ({minutes:.1f} min): loss {mean_loss:.3f}, {listing}", flush=True)
    save(net, config)
    return scores


def save(net: MultiTaskNet, config: PretrainConfig) -> None:
    """Save the backbone as plain data, in half precision."""
    saved = {
        "arch": "narrow_resnet50",
        "config": {"width": config.width, "last_stride": 1},
        "transform": {"resize": config.resize, "crop": config.crop, "mean": MEAN, "std": STD},
        "state_dict": {
            name: (value.half() if value.is_floating_point() else value).cpu()
            for name, value in net.backbone.state_dict().items()
        },
        "trained_on": f"labels of {config.scenes:,} drawn scenes (python -m recipes.pretrain_toy)",
    }
    with atomic_write(config.out) as file:
        torch.save(saved, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for field in dataclasses.fields(PretrainConfig):
        flag, text = f"--{field.name}".replace("_", "-"), field.metadata["help"] + " (%(default)s)"
        parser.add_argument(flag, type=field.type, default=field.default, help=text)
    with cli_errors():
        pretrain(PretrainConfig(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
