"""Self-critical fine-tuning: the score itself is what training maximizes.

    fine_tune_on_cider(folder, num_epochs)     adds epochs to a finished run
    model_soup(folder, epochs)                 adds the mean of the weights of several epochs
    complete_run(folder, num_epochs, rounds)   what a finished run still lacks of both

Cross-entropy teaches the next word after true words; captions are judged whole, after the model's
own words. Here the model draws a few captions of each photo, CIDEr scores them, and captions that
score above the mean of their siblings become more probable:

    loss = -(reward - mean reward of the photo's other samples) * log p(caption)

Several processes share the photos of each batch, and draw the captions that one would have drawn.

Rennie et al. 2017, "Self-critical Sequence Training", arXiv:1612.00563, compare with the greedy
caption; the mean of the other samples is a baseline of lower variance (Luo 2020, arXiv:2003.09971).
"""

import dataclasses
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from captioning import distributed
from captioning.device import get_device
from captioning.inference.serialization import copy_best, load_pair, load_part, save_pair
from captioning.models.config import DecoderConfig
from captioning.models.decoder import Decoder
from captioning.training.checkpoint import load_checkpoint
from captioning.training.config import TrainConfig
from captioning.training.loaders import CachedLoader, Loader, photos_of_epoch
from captioning.training.losses import CiderReward, SelfCriticalLoss
from captioning.training.monitoring import (
    Row,
    TrainingLog,
    best_epoch,
    read_history,
    require_finite,
    validate,
    write_history,
)
from captioning.training.optim import WeightEMA, autocast, trainable_parameters
from captioning.training.preparation import prepare_data, prepare_split
from model import Encoder, build_decoder
from vocabulary import Vocabulary

GRAD_CLIP = 0.5  # maximum norm of the gradient, which is mostly 0.2
WARM_UP = 50  # steps until the full learning rate
LUCK_MARGIN = 1.0  # of CIDEr times 100: on a thousand photos a smaller difference is chance


def photo_batches(loader: CachedLoader, size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return (rows, views) of each batch: each photo of an epoch, in one of its views."""
    generator = torch.Generator().manual_seed(seed)
    rows = photos_of_epoch(loader.captions, loader.packed)
    rows = rows[torch.randperm(len(rows), generator=generator)]
    views = torch.randint(loader.features.views, (len(rows),), generator=generator)
    return list(zip(rows.split(size), views.split(size), strict=True))


def lr_factor(step: int, steps: int) -> float:
    """Return the factor of the learning rate: it rises, stays, and falls in the second half.

    Adam's first steps are as long as the rate allows, whatever the gradient: begin with short ones.
    """
    return min((step + 1) / WARM_UP, 1.0, 2 * (1 - step / steps))


def without_dropout(decoder: Decoder) -> Decoder:
    """Return the same decoder without dropout: the network that draws is the one that learns."""
    options = vars(decoder.config) | {"dropout": 0.0}
    same = build_decoder(DecoderConfig(**options))
    same.load_state_dict(decoder.state_dict())
    return same


class FinishedRun:
    """A run of train.py, to which epochs are added; FileNotFoundError where there is none."""

    def __init__(self, folder: Path):
        distributed.all_gather("written")  # process 0 may still be writing what all read here
        checkpoint = load_checkpoint(folder) if (folder / "checkpoint.pkl").is_file() else None
        if checkpoint is None:
            raise FileNotFoundError(
                f"{folder} is not a finished run: checkpoint.pkl is missing. Run train.py with "
                f"--out {folder} first."
            )
        options = checkpoint["config"] | {"out": str(folder), "resume": True}
        self.config = TrainConfig(**options)
        self.folder, self.device = folder, get_device(self.config.device)
        self.cross_entropy: list[Row] = checkpoint["progress"]["history"]  # before fine-tuning
        self.history = read_history(folder / "history.csv")  # with the epochs of earlier calls
        self.saved = load_part(folder / "best" / "encoder.pkl", "encoder")
        self.log = TrainingLog(self.config)

    @property
    def last(self) -> int:
        return self.history[-1]["epoch"]

    def start_of_rounds(self) -> int:
        """Return the epoch of cross-entropy that every round begins with.

        The last one, whose learning rate has come down, unless it is more than `LUCK_MARGIN` below
        the best by CIDEr, or has no files: there, and in a run that chooses by loss, the best one.
        """
        best = best_epoch(self.cross_entropy, self.config.best_metric)
        last = self.cross_entropy[-1]["epoch"]
        cider = {row["epoch"]: row.get("CIDEr", 0.0) for row in self.cross_entropy}
        is_saved = (self.folder / f"decoder-{last}.pkl").is_file()
        if self.config.best_metric != "CIDEr" or not is_saved:
            return best
        return last if cider[last] >= cider[best] - LUCK_MARGIN else best

    def pair(self, epoch: int | None) -> tuple[Encoder, Decoder, Vocabulary]:
        """Return the captioner of that epoch, or (None) the one in best/, without dropout."""
        name = "best/{}.pkl" if epoch is None else f"{{}}-{epoch}.pkl"
        encoder_file, decoder_file = (
            self.folder / name.format(part) for part in ("encoder", "decoder")
        )
        weights = self.config.weights
        encoder, decoder, vocab = load_pair(encoder_file, decoder_file, weights, self.device)
        return encoder, without_dropout(decoder).to(self.device), vocab

    def add_epoch(
        self, row: Row, val: Loader, encoder: Encoder, decoder: Decoder, vocab: Vocabulary
    ) -> None:
        """Add one more epoch: its scores, its pair on disk, and in best/ if it is the best."""
        with autocast(self.config, self.device):
            scores, _ = validate(val, decoder, vocab, self.config.val_beam_size)
        require_finite("validation loss", scores["val_loss"])
        epoch = self.last + 1
        self.history.append({"epoch": epoch} | row | scores)
        if distributed.rank() == 0:
            run_id, fingerprint = self.saved["run_id"], self.saved["fingerprint"]
            save_pair(self.folder, epoch, encoder, decoder, vocab, run_id, fingerprint)
            if best_epoch(self.history, "CIDEr") == epoch:
                copy_best(self.folder, epoch)
            write_history(self.folder / "history.csv", self.history)
        self.log.epoch(self.history[-1], examples={})


def fine_tune_on_cider(
    folder: Path,
    num_epochs: int,
    lr: float = 6e-5,
    batch_size: int = 50,
    samples_per_image: int = 5,
    start: int | None = None,
) -> list[Row]:
    """Add `num_epochs` to the run in `folder`; return its history with them.

    batch_size  photos per step
    start       the epoch whose pair is fine-tuned; None: the best one

    Raises ValueError where a number is too small, or the run has no cached features.
    """
    if min(num_epochs, batch_size) < 1:
        raise ValueError("num_epochs and batch_size must be 1 or more.")
    if samples_per_image < 2:
        raise ValueError(
            "samples_per_image must be 2 or more: each caption is compared with its siblings."
        )
    run = FinishedRun(folder)
    config = dataclasses.replace(run.config, self_critical_epochs=num_epochs)
    encoder, decoder, vocab = run.pair(start)
    loaders, _ = prepare_data(config, encoder)
    loader = loaders["train"]
    if not isinstance(loader, CachedLoader):
        raise ValueError(
            "Fine-tuning on CIDEr needs cached features: train with a frozen backbone."
        )
    reward = CiderReward(loader.captions.references(), vocab)
    objective = distributed.data_parallel(SelfCriticalLoss(loader, decoder, reward))
    parameters = trainable_parameters(encoder, decoder)
    optimizer = torch.optim.Adam(parameters, lr)
    steps = num_epochs * len(photo_batches(loader, batch_size, seed=0))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, steps))
    ema = WeightEMA(parameters, config.ema_decay)
    first = run.last + 1
    torch.manual_seed(config.seed + first)
    for epoch in range(first, first + num_epochs):
        began, total = time.monotonic(), 0.0
        decoder.train()
        batches = photo_batches(loader, batch_size, config.seed + epoch)
        for step, (rows, views) in enumerate(batches, 1):
            shape = len(rows), samples_per_image, decoder.config.max_words
            noise = torch.rand(shape, device=run.device)  # of all processes: draws as in one
            mine = [distributed.shard(part) for part in (rows, views, noise)]
            with autocast(config, run.device):
                loss, counts = objective(*mine)
            words, rewards = distributed.all_reduce(counts)
            optimizer.zero_grad()
            distributed.backward(loss / words)
            nn.utils.clip_grad_norm_(parameters, GRAD_CLIP)
            optimizer.step()
            schedule.step()
            ema.update()
            total += rewards.item() / (len(rows) * samples_per_image)
            if step % config.print_every == 0:
                mean = 100 * total / step
                run.log(f"epoch {epoch} step {step}/{len(batches)}  CIDEr of samples {mean:.1f}")
        row = {"loss": -total / len(batches), "seconds": time.monotonic() - began}
        with ema.applied():
            run.add_epoch(row, loaders["val"], encoder, decoder, vocab)
    return run.history


def model_soup(folder: Path, epochs: list[int]) -> list[Row]:
    """Add the mean of the weights of these epochs as one more epoch; return the history.

    It goes into best/ unless it is more than `LUCK_MARGIN` below the best epoch: the best of many
    is partly lucky with the validation photos, and a mean that nobody chose is not.

    Fine-tuned from the same weights on other samples, they make different mistakes, but stay close
    enough together that their mean is as good a network: Wortsman et al. 2022, "Model soups",
    arXiv:2203.05482. An ensemble would run them all; this is a single network.
    """
    run = FinishedRun(folder)
    pairs = [run.pair(epoch) for epoch in epochs]
    parameters = [trainable_parameters(encoder, decoder) for encoder, decoder, _ in pairs]
    with torch.no_grad():
        for weights in zip(*parameters, strict=True):
            weights[0].copy_(torch.stack(weights).mean(dim=0))
    encoder, decoder, vocab = pairs[0]
    val, _ = prepare_split(run.config, encoder, "val", vocab)
    run.log(f"epoch {run.last + 1} is the mean of the weights of epochs {epochs}")
    run.add_epoch({}, val, encoder, decoder, vocab)
    *others, soup = (row.get("CIDEr", 0.0) for row in run.history)
    if distributed.rank() == 0 and soup >= max(others) - LUCK_MARGIN:
        copy_best(folder, run.last)
    return run.history


def complete_run(folder: Path, num_epochs: int, rounds: int = 1) -> None:
    """Add what the finished run in `folder` lacks of `rounds` x `num_epochs`, and their soup.

    Every round begins with the same pair of cross-entropy (`start_of_rounds`) and draws its own
    samples. The soup is made of the rounds' last epochs, not their best: that gave more
    (benchmarks/results.md).
    """
    run = FinishedRun(folder)
    history, before = run.history, run.cross_entropy[-1]["epoch"]
    last_epochs = [before + number * num_epochs for number in range(1, rounds + 1)]
    for last in last_epochs:
        of_round = [row for row in history if last - num_epochs < row["epoch"] <= last]
        if missing := num_epochs - len(of_round):
            start = run.start_of_rounds()
            if of_round:  # it was interrupted
                start = best_epoch(of_round, "CIDEr")
            history = fine_tune_on_cider(folder, missing, start=start)
    if rounds > 1 and history[-1]["epoch"] == last_epochs[-1]:
        model_soup(folder, last_epochs)
