"""What a run reports: validation scores, the history, the best epoch, the log."""

import math

import pytest
import torch

from captioning.evaluation.scores import evaluate
from captioning.inference.search import beam_search, greedy
from captioning.training.config import TrainConfig
from captioning.training.losses import caption_loss
from captioning.training.monitoring import (
    TrainingLog,
    best_epoch,
    most_likely,
    read_history,
    require_finite,
    should_validate,
    validate,
    write_history,
)
from model import build_decoder
from tests.runs import prepared


@pytest.fixture
def parts(config_of, tmp_path):
    """Return the loader of val, an untrained decoder and the vocabulary."""
    config = config_of(tmp_path)
    loaders, vocab, _ = prepared(config)
    return loaders["val"], build_decoder(config.decoder_config(len(vocab))).eval(), vocab


def test_validation_is_the_loss_and_the_scores_of_greedy_captions(parts):
    loader, decoder, vocab = parts
    scores, texts = validate(loader, decoder, vocab)
    with torch.no_grad():
        [(ids, grid)] = loader.photos()
        features = loader.encode(grid)
        found = greedy(decoder, features, decoder.config.max_words).tolist()
        assert texts == {i: vocab.decode(words) for i, words in zip(ids, found, strict=True)}
        rows = torch.arange(len(loader.packed))
        of_captions = features[loader.packed.photo_index]
        loss, _ = caption_loss(decoder, of_captions, loader.packed.batch(rows))
    assert scores.pop("val_loss") == pytest.approx(loss.item(), abs=1e-5)
    assert scores == evaluate(loader.captions.references(), texts)


def test_validation_may_use_a_beam(parts):
    _, decoder, _ = parts
    features = torch.randn(3, 1, 16)
    length = decoder.config.max_words
    assert most_likely(decoder, features, 1) == greedy(decoder, features, length).tolist()
    expected = [list(h[0].words) for h in beam_search(decoder, features, 4, max_words=length)]
    assert most_likely(decoder, features, 4) == expected


@pytest.mark.parametrize(
    ("every", "validated"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5]), (0, [])]
)
def test_the_last_epoch_is_validated_unless_none_is(every, validated):
    config = TrainConfig(num_epochs=5, validate_every=every)
    assert [epoch for epoch in range(1, 6) if should_validate(config, epoch)] == validated


def test_the_best_epoch_is_chosen_by_its_metric():
    history = [
        {"epoch": 1, "CIDEr": 20.0, "val_loss": 2.0},
        {"epoch": 2, "CIDEr": 30.0, "val_loss": 2.5},
        {"epoch": 3, "loss": 0.1},  # not validated
    ]
    assert best_epoch(history, "CIDEr") == 2
    assert best_epoch(history, "loss") == 1
    assert best_epoch(history[2:], "CIDEr") == 3
    assert best_epoch([], "CIDEr") == 0
    equal = [{"epoch": e, "CIDEr": 0.0, "val_loss": loss} for e, loss in ((1, 3.0), (2, 2.0))]
    assert best_epoch(equal, "CIDEr") == 2


def test_the_history_is_read_as_it_was_written(tmp_path):
    history = [
        {"epoch": 1, "loss": 1 / 3, "seconds": 2.5},
        {"epoch": 2, "loss": 0.25, "seconds": 2.0, "val_loss": 0.125, "CIDEr": 60.0},
    ]
    write_history(tmp_path / "history.csv", history)
    assert read_history(tmp_path / "history.csv") == history


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_with_advice(value):
    require_finite("training loss", 1.0)
    with pytest.raises(ValueError, match=rf"the training loss is {value}: .*--lr.*--resume"):
        require_finite("training loss", value)


def test_the_log_file_has_every_step_and_the_screen_every_second_one(config_of, tmp_path, capsys):
    log = TrainingLog(config_of(tmp_path, print_every=2))
    for step in range(1, 6):
        log.step(1, step, 5, torch.tensor(1.0 / step))
    lines = (tmp_path / "training.log").read_text(encoding="utf-8").splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"epoch 1 step {i}/5" for i in range(1, 6)]
    assert capsys.readouterr().out.splitlines() == [lines[1], lines[3]]
    with pytest.raises(ValueError, match="diverged"):
        log.step(2, 5, 5, torch.tensor(math.nan))


def test_a_resumed_run_adds_to_the_log(config_of, tmp_path):
    TrainingLog(config_of(tmp_path))("first")
    TrainingLog(config_of(tmp_path, resume=True))("second")
    assert (tmp_path / "training.log").read_text(encoding="utf-8") == "first\nsecond\n"
    TrainingLog(config_of(tmp_path))("third")
    assert (tmp_path / "training.log").read_text(encoding="utf-8") == "third\n"
