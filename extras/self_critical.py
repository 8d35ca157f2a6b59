"""Self-critical fine-tuning: the score itself as the teacher.

    python -m extras.self_critical --run models/flickr8k --num-epochs 3

Cross-entropy teaches the next word after true words; captions are judged whole, after the model's
own words. Here the model draws a few captions of each photo, CIDEr scores them, and what scored
above the average of its siblings becomes more probable:

    loss = -(reward - mean reward of the other draws) * log p(caption)

Rennie et al. 2017, "Self-critical Sequence Training", arXiv:1612.00563, who compare with the
greedy caption; the mean of the other draws is a steadier baseline (Luo 2020, arXiv:2003.09971).
Document frequencies are those of the training captions, fixed, so a reward means the same always.
Starts from `best/` of a finished run and adds epochs to it.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batches import CachedBatches, prepare_data
from contract import Decoder
from learning import AverageOfWeights, autocast
from metrics import CiderD
from model import make_decoder
from saving import keep_best, load_checkpoint, load_pair, load_part, save_pair
from search import sample
from settings import Settings
from speed import pick_device
from train import Log, best_epoch, read_history, validate, write_history
from vocabulary import Vocabulary, cli_errors

CLIP = 0.5  # largest norm of the gradient, which is mostly half as large
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


def self_critical(
    run: Path, num_epochs: int, lr: float = 6e-5, batch_size: int = 50, draws: int = 5
) -> list[dict]:
    """Goes on from run/best for `num_epochs`; returns the history with the new epochs."""
    checkpoint = load_checkpoint(run, {})
    settings = Settings(**checkpoint["settings"] | {"out": str(run), "resume": True})
    best = run / "best"
    history = read_history(run / "history.csv")  # with the epochs of earlier calls
    about = load_part(best / "encoder.pkl", "encoder")
    device = pick_device(settings.device)
    encoder, decoder, vocab = load_pair(
        best / "encoder.pkl", best / "decoder.pkl", settings.weights, device
    )
    decoder = without_dropout(decoder).to(device)
    sources, _ = prepare_data(settings, encoder)
    train_set = sources["train"]
    reward = Reward(train_set.captions.references(), vocab)
    learning = [p for p in (*encoder.parameters(), *decoder.parameters()) if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr)
    total_steps = num_epochs * len(photo_batches(train_set, batch_size, seed=0))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate(s, total_steps))
    average = AverageOfWeights(learning, settings.average)
    log, first = Log(settings), history[-1]["epoch"] + 1
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
            nn.utils.clip_grad_norm_(learning, CLIP)
            optimizer.step()
            schedule.step()
            average.update()
            total += rewards.mean().item()
            if step % settings.print_every == 0:
                mean = 100 * total / step
                log(f"epoch {epoch} step {step}/{len(batches)}  CIDEr of draws {mean:.1f}")
        row = {"epoch": epoch, "loss": -total / len(batches), "seconds": time.monotonic() - began}
        with average.in_place():
            with autocast(settings, device):
                scores, _ = validate(sources["val"], decoder, vocab)
            history.append(row | scores)
            save_pair(run, epoch, encoder, decoder, vocab, about["run_id"], about["fingerprint"])
            if best_epoch(history, "CIDEr") == epoch:
                keep_best(run, epoch)
        write_history(run / "history.csv", history)
        log.epoch(history[-1], examples={})
    return history


def complete(run: Path, num_epochs: int) -> None:
    """As many epochs as the finished run in that folder lacks of `num_epochs` of this stage."""
    before = load_checkpoint(run, {})["run"]["history"]
    left = num_epochs - (read_history(run / "history.csv")[-1]["epoch"] - before[-1]["epoch"])
    if left > 0:  # none where a finished run is resumed
        self_critical(run, left)


def main() -> None:
    parser = argparse.ArgumentParser(description="Self-critical fine-tuning on CIDEr.")
    parser.add_argument("--run", required=True, help="folder of a finished training run")
    parser.add_argument("--num-epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=6e-5)
    parser.add_argument("--batch-size", type=int, default=50, help="photos a step")
    parser.add_argument("--draws", type=int, default=5, help="captions drawn for each photo")
    args = parser.parse_args()
    with cli_errors():
        if args.draws < 2:
            raise ValueError("draws must be 2 or more: each caption is compared with its siblings.")
        self_critical(Path(args.run), args.num_epochs, args.lr, args.batch_size, args.draws)


if __name__ == "__main__":
    main()
