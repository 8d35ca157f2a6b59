"""Training runs that are prepared, cut, and compared bit for bit.

prepared(config)     the loaders, the vocabulary and the encoder of a run
power_cut(in_step)   stops the training inside the block
numbers(history)     the history without the seconds
pairs(out)           the content of all saved pairs
assert_equal         bit for bit, through dictionaries and lists
losses_in(text)      the losses in a log
assert_captions_as_in_validation(config, epoch)   for the pair that a run saved
"""

import contextlib
import itertools
import math
import re
from pathlib import Path

import pytest
import torch

from captioning.data.photos import read_photo
from captioning.inference.captioner import Captioner
from captioning.inference.search import greedy
from captioning.safe_load import safe_load
from captioning.training import losses
from captioning.training.config import TrainConfig
from captioning.training.loaders import Loader
from captioning.training.losses import caption_loss
from captioning.training.preparation import prepare_data
from model import Encoder, build_encoder, join_grids, split_grid
from tests.helpers import assert_close
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


def assert_captions_as_in_validation(config: TrainConfig, epoch: int) -> None:
    """The saved pair sees in a photo what training cached, and says of that what the log says.

    The config needs the precision "auto": a captioner has the fast one wherever training may. It
    still computes one photo's grid a little differently, and a decoder this young may say another
    word for that, so the captions are those of the cached grid.
    """
    files = [f"{config.out}/{part}-{epoch}.pkl" for part in ("encoder", "decoder")]
    captioner = Captioner.load(*files, config.weights, "cpu")
    loader = prepared(config)[0]["val"]
    [(_, cached)] = loader.photos()
    paths = [photo.path for photo in loader.captions.photos]
    seen = split_grid(captioner.grid([read_photo(path, captioner.min_side) for path in paths]))
    expected = split_grid(loader.to_grid(cached))
    for grid, stored in zip(seen, expected, strict=True):
        assert_close(grid, stored, within=0.01)
    words = greedy(captioner.decoder, captioner.encoder.embed(join_grids(expected)))
    log = Path(config.out, "training.log").read_text(encoding="utf-8")
    last = log[log.index(f"epoch {epoch} done") :]
    for path, ids in zip(paths[:3], words.tolist(), strict=False):
        assert f"{path.name}: {captioner.vocab.decode(ids)}\n" in last


def losses_in(text: str) -> list[float]:
    """Return the loss of each line; each line's perplexity must be its exponential."""
    found = re.findall(r"loss (\S+)  perplexity (\S+)", text)
    for loss, perplexity in found:
        assert float(perplexity) == pytest.approx(math.exp(float(loss)), rel=1e-2)
    return [float(loss) for loss, _ in found]
