"""Training: the settings are in settings.py, the batches in batches.py, the loop is here.

    python train.py --data data/toy --weights models/resnet50_toy.pth --num-epochs 8 --out models/my

    caption_loss(...)   cross-entropy of each next word, without padding or <start>
    validate(...)       loss under teacher forcing, scores of free-running captions
    train(settings)     the loop; returns the history, a dictionary for each epoch

After epoch i: encoder-i.pkl and decoder-i.pkl; also best/, history.csv, training.log and
checkpoint.pkl, from which `--resume` goes on. With several processes: see distributed.py.
"""

import csv
import dataclasses
import itertools
import math
import time
import uuid
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import distributed
import metrics
from batches import WHOLE, CachedBatches, PhotoBatches, Share, prepare_data
from contract import Decoder
from learning import AverageOfWeights, autocast, balance, make_optimizer, make_schedule
from model import EncoderCNN, make_decoder
from saving import checkpoint, keep_best, load_checkpoint, restore, save_pair, sweep, told
from search import greedy
from settings import Settings, read_settings
from speed import pick_device
from vocabulary import Vocabulary, cli_errors, write_atomically

EXAMPLES = 3  # photos whose captions are shown after each epoch
EPOCH_BEGINS = {"step": 0, "loss": 0.0, "seconds": 0.0}  # what is counted up during an epoch


def caption_loss(
    decoder: Decoder,
    features: Tensor,
    captions: Tensor,
    label_smoothing: float = 0.0,
    attention_penalty: float = 0.0,
    scheduled_sampling: float = 0.0,
    share: Share = WHOLE,
) -> tuple[Tensor, int]:
    """Mean cross-entropy of each next word, and the number of words it is the mean of.

    features (B, P, E), captions (B, T). The word after <start> is the first target, <end> the last;
    padding is neither projected to the vocabulary nor counted.

    share  of a batch that these captions are: the losses of all its shares add up to its loss
    """
    if not len(captions):  # the last batch may be too small for all processes
        return features.sum() * 0.0, 0
    inputs, targets = captions[:, :-1], captions[:, 1:]
    is_word = targets != Vocabulary.pad
    if scheduled_sampling:  # in parallel: Mihaylova & Martins 2019, arXiv:1906.07651
        with torch.no_grad():
            guesses = decoder(features, inputs).argmax(dim=-1)
        own = torch.rand(guesses.shape, device=guesses.device) < scheduled_sampling
        guesses = torch.where(own & is_word, guesses, targets)[:, :-1]
        inputs = torch.cat([inputs[:, :1], guesses], dim=1)
    hidden, attention = decoder.hidden_states(features, inputs)  # (B, T - 1, H), (B, T - 1, P)
    logits = decoder.output(hidden[is_word]).float()  # (words, V)
    loss = F.cross_entropy(logits, targets[is_word], label_smoothing=label_smoothing)
    loss = loss * share.words
    if attention is not None and attention_penalty:  # "doubly stochastic": every place in turn
        looked = (attention * is_word[..., None]).sum(dim=1)  # (B, P)
        loss = loss + attention_penalty * (1 - looked).square().mean() * share.captions
    return loss, len(logits)


@torch.no_grad()
def validate(
    source: CachedBatches | PhotoBatches, decoder: Decoder, vocab: Vocabulary
) -> tuple[dict[str, float], dict]:
    """Loss where each word follows the true ones, scores where it follows the model's own.

    Returns the numbers, and {photo id: greedy caption} of every photo; the same in all processes.
    """
    decoder.eval()
    total, words = 0.0, 0
    for inputs, captions, _ in source.epoch(0):
        loss, count = caption_loss(decoder, source.encode(inputs), captions)
        total, words = total + loss.item() * count, words + count
    said = {}
    for ids, inputs in source.photos(distributed.rank(), distributed.world()):
        for photo_id, ids_of_words in zip(
            ids, greedy(decoder, source.encode(inputs)).tolist(), strict=True
        ):
            said[photo_id] = vocab.decode(ids_of_words)
    shares = distributed.gather((total, words, said))
    total, words = (sum(share[i] for share in shares) for i in (0, 1))
    said = {photo_id: text for share in shares for photo_id, text in share[2].items()}
    references = {i: refs for i, refs in source.captions.references().items() if refs}
    scores = metrics.evaluate(references, {i: said[i] for i in references})
    return distributed.from_first({"val_loss": total / words, **scores}), said


def train(settings: Settings) -> list[dict]:
    """Trains one captioner (of `settings.members()`); returns the numbers of each epoch."""
    out, device = Path(settings.out), pick_device(settings.device)
    writes = distributed.rank() == 0  # one process for all
    saved = load_checkpoint(out, dataclasses.asdict(settings)) if settings.resume else None
    distributed.agree(saved and position(saved["run"]), "checkpoint")
    if writes:
        sweep(out)
    earlier = (out / "checkpoint.pkl").exists()
    log = Log(settings)
    log(f"going on with {position(saved['run'])}" if saved else "beginning")
    if earlier and not saved:
        log(f"note: {out} held another run; of its pairs those of later epochs stay")

    # 1. the encoder, the data, the decoder
    torch.manual_seed(settings.seed)
    encoder = EncoderCNN(**settings.encoder_config())
    fingerprint = encoder.backbone.fingerprint()
    sources, vocab = prepare_data(settings, encoder)
    torch.manual_seed(settings.seed)  # the same weights whether features were cached or not
    decoder = make_decoder(settings.decoder, **settings.decoder_config(len(vocab)))
    encoder, decoder = encoder.to(device), decoder.to(device)
    _, some_photos = next(sources["train"].photos())
    balance(encoder.embed, sources["train"].see(some_photos), bool(settings.pca))
    if not writes:
        torch.manual_seed(settings.seed + distributed.rank())  # dropout of its own

    # 2. what learns, and how
    learning = [p for p in (*encoder.parameters(), *decoder.parameters()) if p.requires_grad]
    steps = 1 if settings.overfit else sources["train"].steps()
    optimizer = make_optimizer(settings, encoder, decoder)
    schedule = make_schedule(settings, optimizer, steps * settings.num_epochs)
    average = AverageOfWeights(learning, settings.average)
    state = {"learning": learning, "optimizer": optimizer, "schedule": schedule, "average": average}
    run = {"run_id": uuid.uuid4().hex[:12], "history": [], "epoch": 1} | EPOCH_BEGINS
    if saved:
        run = restore(saved, state)

    # 3. the loop
    for epoch in range(run["epoch"], settings.num_epochs + 1):
        waited = epoch - 1 - best_epoch(run["history"], settings.best_by)
        if settings.patience and waited >= settings.patience:
            log(f"stopped: no better {settings.best_by} for {waited} epochs")
            break
        encoder.train()
        decoder.train()
        began, first = time.monotonic() - run["seconds"], run["step"]
        batches = sources["train"].epoch(1 if settings.overfit else epoch, first)
        batches = itertools.islice(batches, steps - first)
        for step, (inputs, captions, share) in enumerate(batches, first + 1):
            with autocast(settings, device):
                loss, _ = caption_loss(
                    decoder,
                    sources["train"].encode(inputs),
                    captions,
                    settings.label_smoothing,
                    settings.attention_penalty,
                    settings.scheduled_sampling,
                    share,
                )
            optimizer.zero_grad()
            loss.backward()
            loss = distributed.sum_gradients(learning, loss.detach())
            if settings.clip:
                nn.utils.clip_grad_norm_(learning, settings.clip)
            optimizer.step()
            if settings.schedule != "plateau":
                schedule.step()
            average.update()
            run["loss"] += loss  # a tensor: reading it would wait for the GPU
            if step % settings.print_every == 0:
                log(f"epoch {epoch} step {step}/{steps}  {loss_and_perplexity(loss.item())}")
            if settings.checkpoint_every and step % settings.checkpoint_every == 0:
                run |= {"epoch": epoch, "step": step, "seconds": time.monotonic() - began}
                checkpoint(settings, run, state)

        # 4. after the epoch: scores, the pair of weights, the checkpoint
        row = {"epoch": epoch, "loss": float(run["loss"]) / steps}
        row["seconds"] = time.monotonic() - began
        examples: dict[str, str] = {}
        log(f"epoch {epoch} done      {loss_and_perplexity(row['loss'])}")
        with average.in_place():
            if "val" in sources and validate_now(settings, epoch):
                with autocast(settings, device):
                    scores, said = validate(sources["val"], decoder, vocab)
                row |= scores
                for photo in sources["val"].captions.photos[:EXAMPLES]:
                    examples[photo.path.name] = said.get(photo.id, "(unreadable)")
            run["history"].append(row)
            best = best_epoch(run["history"], settings.best_by)
            keep = epoch in (best, settings.num_epochs) or epoch % settings.save_every == 0
            if writes and keep:
                save_pair(out, epoch, encoder, decoder, vocab, run["run_id"], fingerprint)
            if writes and epoch == best:
                keep_best(out, epoch)
        if settings.schedule == "plateau":
            schedule.step(row.get("val_loss", row["loss"]))
        run |= {"epoch": epoch + 1} | EPOCH_BEGINS
        if writes:
            write_history(out / "history.csv", run["history"])
        checkpoint(settings, run, state)  # last: until it is there, the above is done again
        log.epoch(row, examples)
    return run["history"]


def validate_now(settings: Settings, epoch: int) -> bool:
    every = settings.validate_every
    return every > 0 and (epoch % every == 0 or epoch == settings.num_epochs)


def loss_and_perplexity(loss: float) -> str:
    """Perplexity, the exponential of the loss: among how many words the model still hesitates."""
    return f"loss {loss:.4f}  perplexity {math.exp(min(loss, 50)):.2f}"


def best_epoch(history: list[dict], best_by: str) -> int:
    """The epoch with the highest CIDEr or the lowest loss; the last where none was validated."""
    sign, name = (1, "CIDEr") if best_by == "CIDEr" else (-1, "val_loss")
    validated = [row for row in history if name in row]
    candidates = validated or history[-1:] or [{"epoch": 0}]
    return max(candidates, key=lambda row: sign * row.get(name, 0))["epoch"]


def position(run: dict) -> str:
    return f"epoch {run['epoch']} after step {run['step']} of run {run['run_id']}"


def write_history(path: Path, history: list[dict]) -> None:
    with told(path), write_atomically(path, "w") as file:
        columns = max(history, key=len)  # an epoch without validation has fewer
        table = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n")
        table.writeheader()
        table.writerows(history)


def read_history(path: Path) -> list[dict]:
    """The rows that `write_history` wrote; what was not measured is left out."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return [row | {"epoch": int(row["epoch"])} for row in rows]


class Log:
    """Lines for the screen and the log file; numbers and captions for TensorBoard, if wanted.

    Of several processes only the first speaks.
    """

    def __init__(self, settings: Settings):
        self.path, self.board = Path(settings.out, settings.log_file), None
        self.speaks = distributed.rank() == 0
        if self.speaks and not settings.resume:
            with told(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text("", encoding="utf-8")
        if self.speaks and settings.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError("--tensorboard needs `pip install tensorboard`.") from None
            self.board = SummaryWriter(settings.out)

    def __call__(self, line: str) -> None:
        if self.speaks:
            print(line, flush=True)
            with told(self.path), open(self.path, "a", encoding="utf-8") as file:
                print(line, file=file)

    def epoch(self, row: dict, examples: dict[str, str]) -> None:
        """The numbers of an epoch, and the captions of a few photos that stay the same."""
        for name, text in examples.items():
            self(f"    {name}: {text}")
        self("  ".join(f"{name} {round(value, 4):.4g}" for name, value in row.items()))
        if self.board:
            for name, value in row.items():
                self.board.add_scalar(name, value, row["epoch"])
            for name, text in examples.items():
                self.board.add_text(name, text, row["epoch"])
            self.board.flush()


def main() -> None:
    with cli_errors():
        settings = read_settings(__doc__.splitlines()[0])
        with distributed.joined(settings.device):
            for one in settings.members():
                train(one)
            first = distributed.rank() == 0
        if first and settings.self_critical_epochs:
            from extras.self_critical import complete  # it starts from this module

            for one in settings.members():
                complete(Path(one.out), one.self_critical_epochs, one.self_critical_rounds)


if __name__ == "__main__":
    main()
