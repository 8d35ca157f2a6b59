"""Train a captioner: the loop is here, its options in captioning/training/config.py.

    python train.py --data data/toy --weights models/resnet50_toy.pth --num-epochs 8 --out models/my

    train(config)        the whole run; returns the history, a dictionary for each epoch
    setup_run(config)    encoder, data, decoder, optimizer: all that the loop needs
    train_epoch(run)     the loop itself
    finish_epoch(run)    validation, the pair of weights, the checkpoint

After epoch i: encoder-i.pkl and decoder-i.pkl; also best/, history.csv, training.log and
checkpoint.pkl, from which `--resume` continues. Several processes: captioning/distributed.py.
"""

import contextlib
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from captioning import distributed
from captioning.device import get_device, prefetch
from captioning.evaluation.scores import note_on_cider
from captioning.files import (
    cli_errors,
    exclusive,
    readable_write_errors,
    remove_partial_files,
)
from captioning.inference.serialization import Saved, copy_best, fingerprint_of, save_pair
from captioning.models.decoder import Decoder, init_weights
from captioning.text import plural
from captioning.training.checkpoint import (
    Progress,
    TrainState,
    load_checkpoint,
    restore_checkpoint,
    save_checkpoint,
)
from captioning.training.config import TrainConfig, parse_config
from captioning.training.loaders import Loader
from captioning.training.losses import CaptionLoss, caption_loss
from captioning.training.monitoring import (
    Row,
    TrainingLog,
    best_epoch,
    loss_and_perplexity,
    references_of,
    require_finite,
    should_validate,
    validate,
    write_history,
)
from captioning.training.optim import (
    WeightEMA,
    autocast,
    data_dependent_init,
    make_optimizer,
    make_schedule,
    trainable_parameters,
)
from captioning.training.overfit import learn_batch_by_heart
from captioning.training.preparation import Tokenizer, fit_familiarity, prepare_data
from captioning.training.self_critical import complete_run
from data_loader import Transform
from model import Encoder, build_decoder, build_encoder, split_grid
from vocabulary import Vocabulary, tokenize

__all__ = ["caption_loss", "prepare_data", "validate"]

EXAMPLES = 3  # photos whose captions are shown after each epoch


@dataclass
class Run:
    """All that the loop needs; made by `setup_run`."""

    config: TrainConfig
    device: torch.device
    encoder: Encoder
    decoder: Decoder
    vocab: Vocabulary
    loaders: dict[str, Loader]
    objective: nn.Module  # batch -> loss
    steps: int  # in an epoch
    state: TrainState
    progress: Progress
    log: TrainingLog


def train(
    config: TrainConfig, transform: Transform | None = None, tokenizer: Tokenizer = tokenize
) -> list[Row]:
    """Train one captioner (of `config.split_by_decoder()`); return the numbers of each epoch.

    transform  your own function, PIL image -> (3, H, W), for training photos; they are then read
               in every epoch
    tokenizer  your own function, text -> list of words

    Raises ValueError or OSError, one sentence, where options, data or files do not fit.
    """
    with only_run_in(Path(config.out)):
        return _train(setup_run(config, transform, tokenizer))


def _train(run: Run) -> list[Row]:
    config = run.config
    if run.progress.epoch > config.num_epochs:
        run.log(f"this run is finished after {plural(run.progress.epoch - 1, 'epoch')}")
    while run.progress.epoch <= config.num_epochs:
        waited = run.progress.epoch - 1 - best_epoch(run.progress.history, config.best_metric)
        if config.patience and waited >= config.patience:
            run.log(f"stopped: no better {config.best_metric} for {plural(waited, 'epoch')}")
            break
        train_epoch(run)
        finish_epoch(run)
    return run.progress.history


@contextlib.contextmanager
def only_run_in(out: Path) -> Iterator[None]:
    """Keep other runs out of this folder; ValueError where one is there already."""
    if distributed.rank():
        yield
        return
    with contextlib.ExitStack() as stack:
        refusal = f"another run is writing to {out}: choose another folder with --out."
        with readable_write_errors(out):
            stack.enter_context(exclusive(out / ".lock", refusal=refusal))
        yield


def setup_run(
    config: TrainConfig, transform: Transform | None = None, tokenizer: Tokenizer = tokenize
) -> Run:
    """Build or restore everything that a run needs."""
    out, device = Path(config.out), get_device(config.device)
    saved = load_checkpoint(out, config) if config.resume else None
    distributed.check_in_sync(saved and str(Progress(**saved["progress"])), "checkpoint")
    log = open_log(config, saved)

    # 1. the encoder, the data, the decoder
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.encoder_config()).to(device)
    fingerprint = fingerprint_of(encoder)
    loaders, vocab = prepare_data(config, encoder, transform, tokenizer)
    torch.manual_seed(config.seed)  # the same weights whether features were cached or not
    packed = loaders["train"].packed
    decoder_config = config.decoder_config(len(vocab))
    longest = int(packed.lengths.max()) - 1  # words and <end>
    decoder_config.max_words = config.max_caption_words or max(decoder_config.max_words, longest)
    decoder = build_decoder(decoder_config)
    counts = packed.word_counts(len(vocab)) if config.frequency_bias else None
    inits = (config.init_embedding, config.init_recurrent, config.init_output)
    init_weights(decoder, *inits, counts)
    decoder = decoder.to(device)
    fit_familiarity(encoder, loaders)
    _, inputs = next(loaders["train"].photos())
    for part, grid in zip(encoder.parts, split_grid(loaders["train"].to_grid(inputs)), strict=True):
        data_dependent_init(part.embed, grid, bool(config.pca))
    if distributed.rank():
        torch.manual_seed(config.seed + distributed.rank())  # its own dropout

    # 2. what is trained, and how
    objective = distributed.data_parallel(CaptionLoss(loaders["train"], decoder, config))
    parameters = trainable_parameters(encoder, decoder)
    steps = loaders["train"].steps()
    optimizer = make_optimizer(config, encoder, decoder)
    schedule = make_schedule(config, optimizer, steps * config.num_epochs)
    ema = WeightEMA(parameters, config.ema_decay)
    state = TrainState(parameters, optimizer, schedule, ema, vocab.words, fingerprint)
    progress = restore_checkpoint(saved, state) if saved else Progress(uuid.uuid4().hex[:12])
    models = (encoder, decoder, vocab)
    return Run(config, device, *models, loaders, objective, steps, state, progress, log)


def open_log(config: TrainConfig, saved: Saved | None) -> TrainingLog:
    """Begin the log of a run; say what its folder held before."""
    out = Path(config.out)
    if distributed.rank() == 0:
        remove_partial_files(out)
    held_another_run = (out / "checkpoint.pkl").exists() and not saved
    log = TrainingLog(config)
    log(f"continuing with {Progress(**saved['progress'])}" if saved else "starting")
    if held_another_run:
        log(f"note: {out} held another run; its pairs of later epochs stay")
    return log


def train_epoch(run: Run) -> None:
    """Run the steps of an epoch, or those that remain of it."""
    config, state, progress = run.config, run.state, run.progress
    run.encoder.train()
    run.decoder.train()
    began, first = time.monotonic() - progress.seconds, progress.step
    batches = run.loaders["train"].epoch(progress.epoch, first)
    if run.device.type == "cuda":
        batches = prefetch(batches)
    for step, (inputs, captions, share) in enumerate(batches, first + 1):
        with autocast(config, run.device):
            loss = run.objective(inputs, captions, share)
        state.optimizer.zero_grad()
        distributed.backward(loss)
        loss = distributed.all_reduce(loss.detach())
        if config.grad_clip:
            nn.utils.clip_grad_norm_(state.parameters, config.grad_clip)
        state.optimizer.step()
        if config.schedule != "plateau":
            state.schedule.step()
        state.ema.update()
        progress.loss += loss  # a tensor: reading its value would wait for the GPU
        run.log.step(progress.epoch, step, run.steps, loss)
        if config.checkpoint_every and step % config.checkpoint_every == 0:
            progress.step, progress.seconds = step, time.monotonic() - began
            save_checkpoint(config, progress, state)
    progress.seconds = time.monotonic() - began


def finish_epoch(run: Run) -> None:
    """Validate, save the pair of weights and the checkpoint, report."""
    config, progress, out = run.config, run.progress, Path(run.config.out)
    epoch, is_writer = progress.epoch, distributed.rank() == 0
    row: Row = {"epoch": epoch, "loss": float(progress.loss) / run.steps}
    row["seconds"] = progress.seconds
    examples: dict[str, str] = {}
    require_finite("training loss", row["loss"])
    run.log(f"epoch {epoch} done      {loss_and_perplexity(row['loss'])}")
    with run.state.ema.applied():
        if "val" in run.loaders and should_validate(config, epoch):
            with autocast(config, run.device):
                scores, texts = validate(
                    run.loaders["val"], run.decoder, run.vocab, config.val_beam_size
                )
            require_finite("validation loss", scores["val_loss"])
            is_first = not any("CIDEr" in old for old in progress.history)
            if is_first and (note := note_on_cider(references_of(run.loaders["val"]), scores)):
                run.log(f"{note}; the best epoch is the one with the lowest loss")
            row |= scores
            for photo in run.loaders["val"].captions.photos[:EXAMPLES]:
                examples[photo.path.name] = texts.get(photo.id, "(unreadable)")
        progress.history.append(row)
        best = best_epoch(progress.history, config.best_metric)
        keep = epoch in (best, config.num_epochs) or epoch % config.save_every == 0
        if is_writer and keep:
            pair = (run.encoder, run.decoder, run.vocab)
            save_pair(out, epoch, *pair, progress.run_id, run.state.fingerprint)
        if is_writer and epoch == best:
            copy_best(out, epoch)
    if config.schedule == "plateau":
        run.state.schedule.step(row.get("val_loss", row["loss"]))
    progress.next_epoch()
    if is_writer:
        write_history(out / "history.csv", progress.history)
    save_checkpoint(config, progress, run.state)  # last: until then a resumed run repeats the above
    run.log.epoch(row, examples)


def main() -> None:
    with cli_errors():
        config = parse_config("Train a captioner.")
        if config.overfit_batch:
            sys.exit(not all(map(learn_batch_by_heart, config.split_by_decoder())))
        configs = config.split_by_decoder()
        with distributed.init_distributed(config.device):
            for one in configs:
                train(one)
            for one in configs if config.self_critical_epochs else ():
                complete_run(Path(one.out), one.self_critical_epochs, one.self_critical_rounds)


if __name__ == "__main__":
    main()
