"""All that the next step depends on, in one file: a run that broke off continues exactly.

    save_checkpoint(config, progress, state)   writes checkpoint.pkl
    load_checkpoint(folder, config)            reads it, checked against the config
    restore_checkpoint(saved, state)           puts its values in place; returns the progress

A checkpoint holds the config, how far the run is, the weights, the state of optimizer and schedule,
the moving average and the random number generators of every process.
"""

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from captioning import distributed
from captioning.files import PathLike, short_message
from captioning.inference.serialization import Saved, save
from captioning.safe_load import LOAD_ERRORS, safe_load, same_structure
from captioning.training.config import TrainConfig
from captioning.training.optim import WeightEMA, copy_values

PLAIN = str | int | float | bool | tuple | None  # types of the values of a config
OPTIMIZER_STATE = (  # names of what Adam, SGD, RMSprop remember of each weight
    {"step", "exp_avg", "exp_avg_sq"},
    {"momentum_buffer"},
    {"step", "square_avg"},
    {"step", "square_avg", "momentum_buffer"},
)
FREE_TO_CHANGE = {  # what a resumed run may set otherwise; weights have a fingerprint of their own
    "resume", "patience", "print_every", "save_every", "checkpoint_every", "num_workers", "out",
    "tensorboard", "log_file", "device", "weights", "cache_dir",
}  # fmt: skip


@dataclass
class Progress:
    """How far a run is: its history, and step, summed loss and seconds in the present epoch."""

    run_id: str
    history: list[dict[str, Any]] = field(default_factory=list)
    epoch: int = 1
    step: int = 0
    loss: float | Tensor = 0.0
    seconds: float = 0.0

    def next_epoch(self) -> None:
        """Begin the epoch after the present one."""
        self.epoch, self.step, self.loss, self.seconds = self.epoch + 1, 0, 0.0, 0.0

    def __str__(self) -> str:
        return f"epoch {self.epoch} after step {self.step} of run {self.run_id}"


@dataclass
class TrainState:
    """What a step of training changes, and what it must find as it was."""

    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler | ReduceLROnPlateau
    ema: WeightEMA
    words: list[str]  # of the vocabulary: their ids are rows of the weights
    fingerprint: str  # of the backbone before any fine-tuning


def save_checkpoint(config: TrainConfig, progress: Progress, state: TrainState) -> None:
    """Write checkpoint.pkl into the run's folder; of several processes the first one writes it."""
    generators = {"cpu": torch.get_rng_state()}  # the next dropout mask follows from it
    if torch.cuda.is_available():
        generators["cuda"] = torch.cuda.get_rng_state()
    content = {
        "config": dataclasses.asdict(config),
        "progress": vars(progress),
        "words": state.words,
        "fingerprint": state.fingerprint,
        "weights": [parameter.detach() for parameter in state.parameters],
        "ema": {"steps": state.ema.steps, "weights": state.ema.average},
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "generators": distributed.all_gather(generators),
    }
    if distributed.rank() == 0:
        save(Path(config.out) / "checkpoint.pkl", content)


def load_checkpoint(folder: PathLike, config: TrainConfig | None = None) -> Saved | None:
    """Return the content of checkpoint.pkl; None where a run broke off before its first one.

    config  the options of the run that is to continue; None: whatever the checkpoint says

    Raises FileNotFoundError where no run began, ValueError where it had other options.
    """
    path, wanted = Path(folder) / "checkpoint.pkl", vars(config) if config else {}
    if not path.is_file():
        if config and Path(folder, config.log_file).is_file():
            return None
        raise FileNotFoundError(f"{path} is missing: nothing to resume. Leave out --resume.")
    content = safe_load(path)
    if not _is_progress(content.get("progress")) or not _is_config(content.get("config")):
        raise ValueError(
            f"{path} is not a checkpoint of this version of the course; train.py writes them."
        )
    # an option that is newer than the checkpoint had no effect on its run, as by default
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    content["config"] = defaults | content["config"]
    if config and config.feature_order == "auto":  # as the run began
        config.feature_order = content["config"]["feature_order"]
    free = set(FREE_TO_CHANGE)
    if wanted.get("schedule") in ("constant", "plateau"):  # other schedules depend on the length
        free.add("num_epochs")
    for name, value in content["config"].items():
        if name not in free and _canonical(name, wanted.get(name, value)) != _canonical(
            name, value
        ):
            raise ValueError(
                f"{path} was made with {name}={value!s:.80}, not {wanted[name]}; use the same "
                "options to resume, or another folder to start again."
            )
    return content


def _canonical(name: str, value: Any) -> Any:
    """Return the value in a form in which the same folder, however written, is equal."""
    if name != "data":
        return value
    folders = (value,) if isinstance(value, str) else value
    return tuple(os.path.realpath(folder) for folder in folders)


def _is_progress(value: object) -> bool:
    wanted = vars(Progress(""))
    if not isinstance(value, dict) or value.keys() != wanted.keys():
        return False
    return same_structure([wanted["epoch"], wanted["step"]], [value["epoch"], value["step"]])


def _is_config(value: object) -> bool:
    names = {f.name for f in dataclasses.fields(TrainConfig)}
    if not isinstance(value, dict) or not value or not value.keys() <= names:
        return False
    return all(isinstance(part, PLAIN) for part in value.values())


def restore_checkpoint(saved: Saved, state: TrainState) -> Progress:
    """Put a checkpoint's values in place; return how far the run was.

    Everything is checked before anything changes. Raises ValueError where it does not fit.
    """
    try:
        progress = Progress(**saved["progress"])
        _check_checkpoint(saved, progress, state)
        _apply_checkpoint(saved, state)
    except LOAD_ERRORS as error:
        raise ValueError(
            f"checkpoint.pkl does not fit this run ({short_message(error)}). Resume with the code "
            "and the options that wrote it, or start again without --resume."
        ) from None
    progress.loss = torch.tensor(float(progress.loss), device=state.parameters[0].device)
    return progress


def _check_checkpoint(saved: Saved, progress: Progress, state: TrainState) -> None:
    """Raise ValueError where the checkpoint's values do not fit the models of this run."""
    if saved["words"] != state.words:
        raise ValueError("its vocabulary has other words: the captions have changed since")
    if saved["fingerprint"] != state.fingerprint:
        raise ValueError("it was made with other backbone weights")
    if [row["epoch"] for row in progress.history] != list(range(1, progress.epoch)):
        raise ValueError("its history does not lead to its epoch")
    expected = {
        "weights": state.parameters,
        "ema": {"steps": 0, "weights": state.ema.average},
        "schedule": state.schedule.state_dict(),
    }
    if not same_structure(expected, {name: saved[name] for name in expected}):
        raise ValueError("its weights or its schedule have another structure")
    groups = state.optimizer.state_dict()["param_groups"]
    if not same_structure(groups, saved["optimizer"]["param_groups"]):
        raise ValueError("its optimizer has other parameters")
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    for number, memory in saved["optimizer"]["state"].items():  # numbered in its own order
        fits = memory.keys() in OPTIMIZER_STATE and all(
            is_valid_optimizer_state(name, value, parameters[number])
            for name, value in memory.items()
        )
        if not fits:
            raise ValueError("its optimizer state does not belong to these weights")


def is_valid_optimizer_state(name: str, value: object, parameter: Tensor) -> bool:
    """Return whether an optimizer may use `value`: fused kernels check nothing themselves."""
    if not isinstance(value, Tensor):
        return False
    like = torch.zeros(()) if name == "step" else parameter
    return value.shape == like.shape and value.dtype == like.dtype and value.is_contiguous()


def _apply_checkpoint(saved: Saved, state: TrainState) -> None:
    state.optimizer.load_state_dict(saved["optimizer"])
    copy_values(state.parameters, saved["weights"])
    copy_values(state.ema.average, saved["ema"]["weights"])
    state.ema.steps = saved["ema"]["steps"]
    state.schedule.load_state_dict(saved["schedule"])
    if distributed.rank() < len(saved["generators"]):  # else: more processes than before
        generators = saved["generators"][distributed.rank()]
        torch.set_rng_state(generators["cpu"])
        if "cuda" in generators and torch.cuda.is_available():
            torch.cuda.set_rng_state(generators["cuda"])
