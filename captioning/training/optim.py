"""From a loss to better weights.

    make_optimizer(config, ...)       Adam, AdamW, SGD or RMSprop
    make_schedule(config, ...)        the learning rate over the steps of a run
    WeightEMA(...)                    an exponential moving average of the weights
    data_dependent_init(embed, grid)  image features on the scale of word embeddings from the start
    autocast(config, device)          bfloat16 where the hardware is fast at it

Adam: Kingma & Ba 2015, arXiv:1412.6980. AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from captioning.device import compute_dtype
from captioning.models.decoder import Decoder
from captioning.training.config import TrainConfig
from model import Encoder, StandardizedLinear


def trainable_parameters(encoder: Encoder, decoder: Decoder) -> list[nn.Parameter]:
    """Return the parameters that training changes."""
    return [p for p in (*encoder.parameters(), *decoder.parameters()) if p.requires_grad]


def make_optimizer(
    config: TrainConfig, encoder: Encoder, decoder: Decoder
) -> torch.optim.Optimizer:
    """Return the optimizer; fine-tuned backbone layers have a learning rate of their own."""
    backbone = [p for part in encoder.parts for p in part.backbone.parameters() if p.requires_grad]
    embed = [p for part in encoder.parts for p in part.embed.parameters()]
    groups: list[dict[str, Any]] = [
        {"params": [*embed, *decoder.parameters()], "lr": config.lr},
        {"params": backbone, "lr": config.fine_tune_lr},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            groups, momentum=config.momentum, weight_decay=config.weight_decay
        )
    adam = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    fused = config.device != "mps"  # one kernel for all weights
    return adam(groups, weight_decay=config.weight_decay, fused=fused)


def make_schedule(
    config: TrainConfig, optimizer: torch.optim.Optimizer, steps: int
) -> LRScheduler | ReduceLROnPlateau:
    """Return the learning rate schedule over the `steps` of the run, stepped after every batch.

    "plateau" is stepped after every epoch instead, with the validation loss.
    """
    if config.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    if config.schedule == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rates, total_steps=steps + 1, pct_start=0.1
        )
    if config.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    if config.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    raise ValueError(f"make_schedule does not build the schedule {config.schedule!r} yet.")


@torch.no_grad()
def data_dependent_init(embed: StandardizedLinear, grid: Tensor, is_pca: bool = False) -> None:
    """Give `embed` the mean and std of grid (B, P, D), and its output mean 0 and std 1 (LSUV).

    Word embeddings have std 1; without this, image features are far smaller in scale than they
    are, and the decoder ignores the image at first. Mishkin & Matas 2016, arXiv:1511.06422. A
    channel that hardly varies is not amplified, and nothing is where all places are the same.

    Raises ValueError where the features are all zero or not finite.
    """
    places = grid.flatten(0, 1).float()  # (B * P, D)
    if not places.any():
        raise ValueError(
            "The features of the backbone are all zero, or too small for half precision: random "
            "weights of this network do not work. Name pretrained ones with --weights."
        )
    if not places.isfinite().all():
        raise ValueError(
            "The features of the backbone are not finite: its weights do not suit it. Name others "
            "with --weights, delete the folder of cached features, or use --precision float32."
        )
    std = places.std(dim=0, correction=0)
    embed.mean.copy_(places.mean(dim=0))
    embed.std.copy_(std + 0.05 * std.mean())
    if is_pca:  # components are ordered by how much they vary: one scale for all
        embed.std.fill_(std.square().mean().sqrt())
    if not embed.std.any():  # a single photo, or photos that are all the same
        embed.std.fill_(1.0)
    spread = embed(places).std(dim=0, correction=0)
    embed.weight /= torch.where(spread > 0, spread, 1.0)[:, None]
    embed.bias.zero_()


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Return a context that computes in bfloat16 where that is fast; elsewhere it does nothing."""
    dtype = compute_dtype(device)
    enabled = config.precision == "auto" and dtype == torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


class WeightEMA:
    """An exponential moving average of the weights; it often captions better than the weights do.

    Polyak & Juditsky 1992, for a mean over all steps; decay 0 keeps the weights themselves.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float):
        self.parameters, self.decay, self.steps = parameters, decay, 0
        self.average = [p.detach().clone() for p in parameters] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights, after a step of the optimizer."""
        if self.decay:
            self.steps += 1
            decay = min(self.decay, (1 + self.steps) / (10 + self.steps))  # for short runs
            torch._foreach_lerp_(self.average, list(self.parameters), 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the average inside the block; afterwards it has its own weights again."""
        own = [parameter.detach().clone() for parameter in self.parameters]
        if self.decay:
            copy_values(self.parameters, self.average)
        try:
            yield
        finally:
            copy_values(self.parameters, own)


@torch.no_grad()
def copy_values(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy each of `values` into its parameter."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
