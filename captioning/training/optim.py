"""What turns a loss into better weights.

    make_optimizer(settings, ...)   Adam, AdamW or SGD with momentum
    make_schedule(settings, ...)    the learning rate over the steps of a run
    AverageOfWeights(...)           a running average of the weights
    balance(embed, grid)            the image as loud as the words, from the first step on
    autocast(settings, device)      bfloat16 products where the hardware is fast at them

Adam: Kingma & Ba 2015, arXiv:1412.6980. AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from contract import Decoder
from model import EncoderCNN, StandardisedLinear
from settings import Settings
from speed import fast_dtype


def make_optimizer(
    settings: Settings, encoder: EncoderCNN, decoder: Decoder
) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD; fine-tuned layers of the backbone have their own learning rate."""
    groups = [
        {"params": [*encoder.embed.parameters(), *decoder.parameters()], "lr": settings.lr},
        {
            "params": [p for p in encoder.backbone.parameters() if p.requires_grad],
            "lr": settings.fine_tune_lr,
        },
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=settings.weight_decay)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    fused = settings.device != "mps"  # one kernel for all weights
    return kind(groups, weight_decay=settings.weight_decay, fused=fused)


def make_schedule(
    settings: Settings, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """How the learning rate moves over the `steps` of the run; stepped after every batch.

    "plateau" is stepped after every epoch instead, with the validation loss.
    """
    if settings.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    if settings.schedule == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rates, total_steps=steps + 1, pct_start=0.1
        )
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


@torch.no_grad()
def balance(embed: StandardisedLinear, grid: Tensor, principal: bool = False) -> None:
    """Gives `embed` the statistics of grid (B, P, D), and its output mean 0 and deviation 1.

    Word embeddings have deviation 1: without this the decoder hardly hears the image at first.
    Mishkin & Matas 2016, arXiv:1511.06422. A channel that hardly varies is not blown up.
    """
    seen = grid.flatten(0, 1).float()
    deviation = seen.std(dim=0)
    embed.mean.copy_(seen.mean(dim=0))
    embed.deviation.copy_(deviation + 0.05 * deviation.mean())
    if principal:  # components are ordered by how much they vary: one measure for all
        embed.deviation.fill_(deviation.square().mean().sqrt())
    embed.weight /= embed(seen).std(dim=0)[:, None]
    embed.bias.zero_()


def autocast(settings: Settings, device: torch.device) -> contextlib.AbstractContextManager:
    """bfloat16 products where the hardware is fast at them; a no-op elsewhere."""
    dtype = fast_dtype(device)
    enabled = settings.precision == "auto" and dtype == torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


class AverageOfWeights:
    """A running average of the weights; it often captions better than the last weights do.

    Polyak & Juditsky 1992; decay 0 keeps the weights themselves.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float):
        self.parameters, self.decay, self.steps = parameters, decay, 0
        self.average = [p.detach().clone() for p in parameters] if decay else []

    @torch.no_grad()
    def update(self) -> None:
        if self.decay:
            self.steps += 1
            decay = min(self.decay, (1 + self.steps) / (10 + self.steps))  # short runs, too
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the model has the average; afterwards its own weights again."""
        own = [parameter.detach().clone() for parameter in self.parameters]
        if self.decay:
            self.copy(self.parameters, self.average)
        yield
        self.copy(self.parameters, own)

    @staticmethod
    @torch.no_grad()
    def copy(parameters: list[Tensor], values: list[Tensor]) -> None:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
