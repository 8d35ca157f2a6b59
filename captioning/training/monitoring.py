"""What a run reports: validation scores, the log, the history, the best epoch.

validate(loader, decoder, vocab)   loss under teacher forcing, scores of free-running captions
TrainingLog(config)                lines on screen and in the log file; TensorBoard
write_history, read_history        history.csv, a row for each epoch
best_epoch(history, metric)        the epoch whose pair is kept in best/
"""

import csv
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioning import distributed
from captioning.data.coco import ImageId
from captioning.evaluation.scores import Scores, evaluate
from captioning.files import atomic_write, readable_write_errors
from captioning.inference.search import beam_search, greedy
from captioning.models.decoder import Decoder
from captioning.training.config import TrainConfig
from captioning.training.loaders import Loader
from captioning.training.losses import caption_loss
from vocabulary import Vocabulary

Row = dict[str, Any]  # the numbers of an epoch: epoch, loss, seconds, val_loss, scores


@torch.no_grad()
def validate(
    loader: Loader, decoder: Decoder, vocab: Vocabulary, beam_size: int = 1
) -> tuple[Scores, dict[ImageId, str]]:
    """Return the loss under teacher forcing with the scores of free-running captions, and these.

    beam_size  of the search; 1 is greedy

    The captions are {photo id: text}, of every photo; both results are the same in all processes.
    """
    decoder.eval()
    total, words = 0.0, 0
    for inputs, captions, _ in loader.epoch(0):
        loss, count = caption_loss(decoder, loader.encode(inputs), captions)
        total, words = total + loss.item() * count, words + count
    texts: dict[ImageId, str] = {}
    for ids, inputs in loader.photos(distributed.rank(), distributed.world_size()):
        found = most_likely(decoder, loader.encode(inputs), beam_size)
        texts |= {photo: vocab.decode(caption) for photo, caption in zip(ids, found, strict=True)}
    shards = distributed.all_gather((total, words, texts))
    total, words = sum(shard[0] for shard in shards), sum(shard[1] for shard in shards)
    texts = {photo: text for shard in shards for photo, text in shard[2].items()}
    references = references_of(loader)
    scores = evaluate(references, {photo: texts[photo] for photo in references})
    return distributed.broadcast({"val_loss": total / words, **scores}), texts


def references_of(loader: Loader) -> dict[ImageId, list[str]]:
    """Return photo id -> its captions, for the photos that have any."""
    return {photo: refs for photo, refs in loader.captions.references().items() if refs}


def most_likely(decoder: Decoder, features: Tensor, beam_size: int) -> list[list[int]]:
    """features (B, P, E) -> the ids of each image's most likely caption, by beam search"""
    max_words = decoder.config.max_words
    if beam_size == 1:
        return greedy(decoder, features, max_words).tolist()
    found = beam_search(decoder, features, beam_size, max_words=max_words)
    return [list(hypotheses[0].words) for hypotheses in found]


def require_finite(name: str, value: float) -> None:
    """Raise ValueError where a loss is not finite: nothing learned from it is worth keeping."""
    if not math.isfinite(value):
        raise ValueError(
            f"the {name} is {value}: training has diverged, and nothing of this epoch is kept. Try "
            "a lower --lr, --grad-clip 1, or --precision float32; --resume continues from the last "
            "checkpoint."
        )


def should_validate(config: TrainConfig, epoch: int) -> bool:
    """Return whether `epoch` ends with a validation; the last one always does, unless none do."""
    every = config.validate_every
    return every > 0 and (epoch % every == 0 or epoch == config.num_epochs)


def loss_and_perplexity(loss: float) -> str:
    """Return both as text; perplexity is the exponential of the loss."""
    return f"loss {loss:.4f}  perplexity {math.exp(min(loss, 50)):.2f}"


def best_epoch(history: list[Row], metric: str) -> int:
    """Return the epoch with the highest CIDEr or the lowest loss; the last if none was validated.

    metric  "CIDEr" or "loss", as TrainConfig.best_metric; of equal scores the lower loss wins, as
            where a handful of validation captions gives CIDEr 0 in every epoch
    """
    name = "CIDEr" if metric == "CIDEr" else "val_loss"
    validated = [row for row in history if name in row]
    candidates = validated or history[-1:] or [{"epoch": 0}]

    def goodness(row: Row) -> tuple[float, float]:
        score = row.get("CIDEr", 0.0) if metric == "CIDEr" else 0.0
        return score, -row.get("val_loss", 0.0)

    return max(candidates, key=goodness)["epoch"]


def write_history(path: Path, history: list[Row]) -> None:
    """Write a table with a row for each epoch."""
    with readable_write_errors(path), atomic_write(path, "w") as file:
        columns = max(history, key=len)  # an epoch without validation has fewer
        table = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n")
        table.writeheader()
        table.writerows(history)


def read_history(path: Path) -> list[Row]:
    """Return the rows that `write_history` wrote, without the numbers that were not measured."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return [row | {"epoch": int(row["epoch"])} for row in rows]


class TrainingLog:
    """Lines for the screen and the log file; numbers and captions for TensorBoard, if wanted.

    Of several processes only the first one writes.
    """

    def __init__(self, config: TrainConfig):
        self.path = Path(config.out, config.log_file)
        self.board: Any = None
        self.print_every = config.print_every
        self.losses: list[Tensor] = []  # of the steps since the last line on the screen
        self.is_writer = distributed.rank() == 0
        if self.is_writer and not config.resume:
            with readable_write_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text("", encoding="utf-8")
        if self.is_writer and config.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError("--tensorboard needs `pip install tensorboard`.") from None
            self.board = SummaryWriter(config.out)

    def __call__(self, line: str) -> None:
        """Print a line, and append it to the log file."""
        if self.is_writer:
            print(line, flush=True)
        self._write([line])

    def step(self, epoch: int, step: int, steps: int, loss: Tensor) -> None:
        """Record the loss of a step: in the log file each one, on the screen every N-th.

        The values are read together: reading one would wait for the GPU. Raises ValueError where
        one of them is not finite.
        """
        self.losses.append(loss)
        if step % self.print_every and step != steps:
            return
        values = torch.stack(self.losses).tolist()
        lines = [
            f"epoch {epoch} step {number}/{steps}  {loss_and_perplexity(value)}"
            for number, value in enumerate(values, step - len(values) + 1)
        ]
        self.losses = []
        self._write(lines)
        if self.is_writer and step % self.print_every == 0:
            print(lines[-1], flush=True)
        require_finite("training loss", sum(values))

    def _write(self, lines: list[str]) -> None:
        """Append lines to the log file."""
        if self.is_writer:
            with readable_write_errors(self.path), open(self.path, "a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)

    def epoch(self, row: Row, examples: dict[str, str]) -> None:
        """Report the numbers of an epoch, and the captions of a few photos, always the same."""
        for name, text in examples.items():
            self(f"    {name}: {text}")
        self("  ".join(f"{name} {round(value, 4):.4g}" for name, value in row.items()))
        if self.board:
            for name, value in row.items():
                self.board.add_scalar(name, value, row["epoch"])
            for name, text in examples.items():
                self.board.add_text(name, text, row["epoch"])
            self.board.flush()
