"""Self-critical fine-tuning: the score itself as the teacher.

    python -m extras.self_critical --run models/flickr8k --num-epochs 3

Cross-entropy teaches the next word after true words; captions are judged whole, after the model's
own words. Here the model draws a few captions of each photo, CIDEr scores them, and what scored
above the average of its siblings becomes more probable:

    loss = -(reward - mean reward of the other draws) * log p(caption)

Rennie et al. 2017, "Self-critical Sequence Training", arXiv:1612.00563, who compare with the
greedy caption; the mean of the other draws is a steadier baseline (Luo 2020, arXiv:2003.09971).
Document frequencies are those of the training captions, fixed, so a reward means the same always.
Starts from `best/` of a finished run and adds epochs to it. `train.py --self-critical-rounds 2`
does so twice from the same weights, and adds the mean of both: see `soup`.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batches import CachedBatches, prepare_data, prepare_split
from contract import Decoder
from learning import AverageOfWeights, autocast
from metrics import CiderD
from model import EncoderCNN, make_decoder
from saving import keep_best, load_checkpoint, load_pair, load_part, save_pair
from search import sample
from settings import Settings
from speed import pick_device
from train import Log, best_epoch, read_history, validate, write_history
from vocabulary import Vocabulary, cli_errors

CLIP = 0.5  # largest norm of the gradient, which is mostly 0.2
WARM_UP = 50  # steps until the learning rate is reached
ENDED = " endofcaption"  # a word that ends every finished caption: stopping well is scored as well


class Reward:
    """CIDEr-D of drawn captions against the photo's own, frequencies fixed from training."""

    def __init__(self, references: dict, vocab: Vocabulary):
        ended = {photo: [text + ENDED for text in texts] for photo, texts in references.items()}
        self.cider, self.vocab = CiderD(ended), vocab

    def __call__(self, ids: list, words: Tensor, draws: int) -> Tensor:
        """words (B * draws, T), the draws of a photo side by side -> rewards (B, draws)"""
        rewards = []
        for row, numbers in enumerate(words.tolist()):
            finished = ENDED if self.vocab.end in numbers else ""
            rewards.append(
                self.cider.score(ids[row // draws], self.vocab.decode(numbers) + finished)
            )
        return torch.tensor(rewards).view(-1, draws)


def self_critical_loss(
    decoder: Decoder, features: Tensor, words: Tensor, rewards: Tensor
) -> Tensor:
    """The loss above, a mean over words: features (B, P, E), words (B * draws, T).

    `<start>` and `<pad>` are never drawn, so they must have no probability here either. Where all
    draws do badly, all that was drawn becomes rarer, and what is never drawn would take its place
    unpunished: after some 400 steps `<pad>` had most of it, and the captions fell apart.
    """
    draws = rewards.shape[1]
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (draws - 1)
    advantage = (rewards - others).view(-1, 1).to(features.device)  # (B * draws, 1)
    start = torch.full_like(words[:, :1], Vocabulary.start)
    captions = torch.cat([start, words], dim=1)
    hidden, _ = decoder.hidden_states(features, captions[:, :-1])  # (B * draws, T, H)
    spoken = words != Vocabulary.pad
    logits = decoder.output(hidden[spoken]).float()  # (words spoken, V)
    logits[:, [Vocabulary.start, Vocabulary.pad]] = -torch.inf  # as in the draw, see above
    losses = F.cross_entropy(logits, words[spoken], reduction="none")  # -log p of each
    return (advantage.expand_as(words)[spoken] * losses).mean()


def photo_batches(source: CachedBatches, size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """(rows, views) of each batch: every photo with captions once, each by one of its views."""
    chance = torch.Generator().manual_seed(seed)
    rows = source.packed.photo_of.unique()
    rows = rows[torch.randperm(len(rows), generator=chance)]
    views = torch.randint(source.views, (len(rows),), generator=chance)
    return list(zip(rows.split(size), views.split(size), strict=True))


def rate(step: int, steps: int) -> float:
    """The share of the learning rate at `step`: rises, stays, and falls in the second half.

    Adam's first steps are as long as the rate allows, whatever the gradient: begin with short ones.
    """
    return min((step + 1) / WARM_UP, 1.0, 2 * (1 - step / steps))


def without_dropout(decoder: Decoder) -> Decoder:
    """The same decoder, for which training draws by the very probabilities that it changes.

    With dropout the network that draws and the one that learns would be two.
    """
    same = make_decoder(**decoder.config | {"dropout": 0.0})
    same.load_state_dict(decoder.state_dict())
    return same


class FinishedRun:
    """A run of train.py, or of this stage, to which epochs are added."""

    def __init__(self, folder: Path):
        if not (folder / "checkpoint.pkl").is_file():
            raise FileNotFoundError(
                f"{folder} is no finished run: checkpoint.pkl is missing. Run train.py with --out "
                f"{folder} first."
            )
        checkpoint = load_checkpoint(folder, {})
        self.settings = Settings(**checkpoint["settings"] | {"out": str(folder), "resume": True})
        self.folder, self.device = folder, pick_device(self.settings.device)
        self.cross_entropy = checkpoint["run"]["history"]  # the rows before this stage
        self.history = read_history(folder / "history.csv")  # with the epochs of earlier calls
        self.about = load_part(folder / "best" / "encoder.pkl", "encoder")
        self.log = Log(self.settings)

    @property
    def last(self) -> int:
        return self.history[-1]["epoch"]

    def pair(self, epoch: int | None) -> tuple[EncoderCNN, Decoder, Vocabulary]:
        """The captioner of that epoch, of None the one in best/; without dropout."""
        name = "best/{}.pkl" if epoch is None else f"{{}}-{epoch}.pkl"
        files = [self.folder / name.format(part) for part in ("encoder", "decoder")]
        encoder, decoder, vocab = load_pair(*files, self.settings.weights, self.device)
        return encoder, without_dropout(decoder).to(self.device), vocab

    def add(
        self,
        row: dict,
        val: CachedBatches,
        encoder: EncoderCNN,
        decoder: Decoder,
        vocab: Vocabulary,
    ) -> None:
        """One more epoch: its scores, its pair on disk, and in best/ if it is the best."""
        with autocast(self.settings, self.device):
            scores, _ = validate(val, decoder, vocab)
        epoch, about = self.last + 1, self.about
        self.history.append({"epoch": epoch} | row | scores)
        names = (about["run_id"], about["fingerprint"])
        save_pair(self.folder, epoch, encoder, decoder, vocab, *names)
        if best_epoch(self.history, "CIDEr") == epoch:
            keep_best(self.folder, epoch)
        write_history(self.folder / "history.csv", self.history)
        self.log.epoch(self.history[-1], examples={})


def learning(encoder: EncoderCNN, decoder: Decoder) -> list[nn.Parameter]:
    return [p for p in (*encoder.parameters(), *decoder.parameters()) if p.requires_grad]


def self_critical(
    folder: Path,
    num_epochs: int,
    lr: float = 6e-5,
    batch_size: int = 50,
    draws: int = 5,
    start: int | None = None,
) -> list[dict]:
    """Adds `num_epochs` to the run in `folder`; returns its history with them.

    start  the epoch whose pair is fine-tuned; None: the best one
    """
    run = FinishedRun(folder)
    settings = dataclasses.replace(run.settings, self_critical_epochs=num_epochs)
    device = run.device
    encoder, decoder, vocab = run.pair(start)
    sources, _ = prepare_data(settings, encoder)
    train_set = sources["train"]
    reward = Reward(train_set.captions.references(), vocab)
    parameters = learning(encoder, decoder)
    optimizer = torch.optim.Adam(parameters, lr)
    total_steps = num_epochs * len(photo_batches(train_set, batch_size, seed=0))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate(s, total_steps))
    average = AverageOfWeights(parameters, settings.average)
    first = run.last + 1
    torch.manual_seed(settings.seed + first)
    for epoch in range(first, first + num_epochs):
        began, total = time.monotonic(), 0.0
        decoder.train()
        batches = photo_batches(train_set, batch_size, settings.seed + epoch)
        for step, (rows, views) in enumerate(batches, 1):
            ids = [train_set.captions.photos[row].id for row in rows.tolist()]
            grid = train_set.grid(rows, views)
            with autocast(settings, device):
                features = train_set.encode(grid)
                words = sample(decoder, features.detach(), block_unk=False, draws=draws).clone()
                rewards = reward(ids, words, draws)
                loss = self_critical_loss(decoder, features, words, rewards)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            schedule.step()
            average.update()
            total += rewards.mean().item()
            if step % settings.print_every == 0:
                mean = 100 * total / step
                run.log(f"epoch {epoch} step {step}/{len(batches)}  CIDEr of draws {mean:.1f}")
        row = {"loss": -total / len(batches), "seconds": time.monotonic() - began}
        with average.in_place():
            run.add(row, sources["val"], encoder, decoder, vocab)
    return run.history


def soup(folder: Path, epochs: list[int]) -> list[dict]:
    """Adds the mean of the weights of these epochs as one more; returns the history.

    Fine-tuned from the same weights on other draws, they are wrong in different ways but close
    enough together that their mean is as good a network: Wortsman et al. 2022, "Model soups",
    arXiv:2203.05482. An ensemble would run them all, this is one.
    """
    run = FinishedRun(folder)
    pairs = [run.pair(epoch) for epoch in epochs]
    with torch.no_grad():
        for weights in zip(*(learning(*pair[:2]) for pair in pairs), strict=True):
            weights[0].copy_(torch.stack(weights).mean(dim=0))
    encoder, decoder, vocab = pairs[0]
    val, _ = prepare_split(run.settings, encoder, "val", vocab)
    run.log(f"epoch {run.last + 1} is the mean of the weights of epochs {epochs}")
    run.add({}, val, encoder, decoder, vocab)
    return run.history


def complete(folder: Path, num_epochs: int, rounds: int = 1) -> None:
    """What the finished run in `folder` lacks of this stage: `rounds` of `num_epochs`, their soup.

    Every round begins with the best pair of cross-entropy and draws anew. The soup is made of their
    last epochs, not their best: that gave more (benchmarks/results.md).
    """
    run = FinishedRun(folder)
    history, before = run.history, run.cross_entropy[-1]["epoch"]
    lasts = [before + number * num_epochs for number in range(1, rounds + 1)]
    for last in lasts:
        of_round = [row for row in history if last - num_epochs < row["epoch"] <= last]
        if left := num_epochs - len(of_round):
            start = best_epoch(run.cross_entropy, run.settings.best_by)
            if of_round:  # it broke off
                start = best_epoch(of_round, "CIDEr")
            history = self_critical(folder, left, start=start)
    if rounds > 1 and history[-1]["epoch"] == lasts[-1]:
        soup(folder, lasts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Self-critical fine-tuning on CIDEr.")
    parser.add_argument("--run", required=True, help="folder of a finished training run")
    parser.add_argument("--num-epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=6e-5)
    parser.add_argument("--batch-size", type=int, default=50, help="photos a step")
    parser.add_argument("--draws", type=int, default=5, help="captions drawn for each photo")
    args = parser.parse_args()
    with cli_errors():
        if min(args.num_epochs, args.batch_size) < 1:
            raise ValueError("num_epochs and batch_size must be 1 or more.")
        if args.draws < 2:
            raise ValueError("draws must be 2 or more: each caption is compared with its siblings.")
        self_critical(Path(args.run), args.num_epochs, args.lr, args.batch_size, args.draws)


if __name__ == "__main__":
    main()
