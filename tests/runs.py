"""Training runs that are prepared, cut, and compared bit for bit.

prepared(config)     the loaders, the vocabulary and the encoder of a run
power_cut(in_step)   stops the training inside the block
numbers(history)     the history without the seconds
pairs(out)           the content of all saved pairs
assert_equal         bit for bit, through dictionaries and lists
losses_in(text)      the losses in a log
"""

import contextlib
import itertools
import math
import re

import pytest
import torch

from captioning.safe_load import safe_load
from captioning.training import losses
from captioning.training.config import TrainConfig
from captioning.training.loaders import Loader
from captioning.training.losses import caption_loss
from captioning.training.preparation import prepare_data
from model import Encoder, build_encoder
from vocabulary import Vocabulary


def prepared(config: TrainConfig) -> tuple[dict[str, Loader], Vocabulary, Encoder]:
    """Return the loaders, the vocabulary and the encoder of a run, as train.py prepares them."""
    torch.manual_seed(0)
    encoder = build_encoder(config.encoder_config())
    return *prepare_data(config, encoder), encoder


class PowerCut(Exception):
    """Ends a run in the middle of a step, as a power cut would."""


@contextlib.contextmanager
def power_cut(in_step: int):
    """Stop the training inside the block in its step number `in_step`."""
    steps = itertools.count(1)

    def loss(*args, **kwargs):
        answer = caption_loss(*args, **kwargs)
        if torch.is_grad_enabled() and next(steps) == in_step:  # validation does not count
            raise PowerCut
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "caption_loss", loss)
        with pytest.raises(PowerCut):
            yield


def pairs(out) -> dict[str, dict]:
    """Return the content of all encoder and decoder files, without the run's id."""
    files = {path.name: safe_load(path) for path in sorted(out.glob("*coder-*.pkl"))}
    for content in files.values():
        del content["run_id"]
    return files


def assert_equal(one, other) -> None:
    """Assert that both are the same bit for bit, through dictionaries and lists."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def numbers(history: list[dict]) -> list[dict]:
    """Return the history without the seconds, which differ from run to run."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def losses_in(text: str) -> list[float]:
    """Return the loss of each line; each line's perplexity must be its exponential."""
    found = re.findall(r"loss (\S+)  perplexity (\S+)", text)
    for loss, perplexity in found:
        assert float(perplexity) == pytest.approx(math.exp(float(loss)), rel=1e-2)
    return [float(loss) for loss, _ in found]
