"""Self-critical fine-tuning: its batches and rounds, the soup, what it adds to a run."""

import dataclasses
import itertools

import pytest
import torch

import train as train_module
from captioning.inference.sampling import sample
from captioning.inference.serialization import copy_best, load_pair, load_part
from captioning.training import self_critical
from captioning.training.losses import CiderReward, SelfCriticalLoss
from captioning.training.monitoring import best_epoch, read_history, write_history
from captioning.training.optim import trainable_parameters
from captioning.training.self_critical import (
    FinishedRun,
    complete_run,
    fine_tune_on_cider,
    lr_factor,
    model_soup,
    photo_batches,
    without_dropout,
)
from model import NEEDS_GRID
from recipes.self_critical import main
from tests.helpers import make, random_captions, random_features
from tests.runs import prepared
from train import train


@pytest.mark.parametrize(("kind", "tta"), [("lstm", False), ("transformer", True)])
def test_fine_tuning_continues_from_the_best_pair(config_of, tmp_path, kind, tta):
    options = {"ema_decay": 0.9, "num_layers": 1, "views": 2, "tta": tta}
    train(config_of(tmp_path, decoder=kind, num_epochs=2, **options))
    history = fine_tune_on_cider(tmp_path, num_epochs=1, batch_size=4, samples_per_image=3)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert 0 <= -history[-1]["loss"] <= 10  # minus the mean reward, which is at most 10
    encoder, decoder, vocab = load_pair(
        tmp_path / "encoder-3.pkl", tmp_path / "decoder-3.pkl", config_of(tmp_path).weights
    )
    features = torch.randn(2, 9 if kind in NEEDS_GRID else 1, encoder.embed.out_features)
    assert sample(decoder, features, seed=0).max() < len(vocab)


def test_one_command_runs_both_stages_and_resume_adds_missing_epochs(
    data, weights, tmp_path, monkeypatch
):
    options = "--embed-size 16 --hidden-size 24 --batch-size 8 --vocab-threshold 1 --lr 0.01"
    options += " --num-epochs 2 --device cpu --precision float32 --self-critical-epochs"
    paths = ["--data", str(data), "--weights", str(weights), "--out", str(tmp_path)]

    def epochs(wanted: int, *more: str) -> list[int]:
        monkeypatch.setattr("sys.argv", ["train.py", *options.split(), f"{wanted}", *paths, *more])
        train_module.main()
        return [row["epoch"] for row in read_history(tmp_path / "history.csv")]

    assert epochs(1) == [1, 2, 3]
    written = (tmp_path / "decoder-3.pkl").stat().st_mtime_ns
    assert epochs(1, "--resume") == [1, 2, 3]
    assert (tmp_path / "decoder-3.pkl").stat().st_mtime_ns == written
    assert epochs(0) == [1, 2]  # started again


@pytest.mark.parametrize("kind", ["lstm, 2 layers", "attention", "transformer, 2 layers"])
def test_the_network_that_draws_has_no_dropout_and_the_same_weights(kind):
    decoder, features = make(kind, dropout=0.5), random_features(3)
    captions = random_captions(3, 5)
    expected = decoder(features, captions)
    assert not torch.allclose(decoder.train()(features, captions), expected)
    same = without_dropout(decoder).train()
    torch.testing.assert_close(same(features, captions), expected)


def test_the_learning_rate_rises_stays_and_falls():
    rates = [lr_factor(step, 400) for step in range(400)]
    assert rates[0] == pytest.approx(1 / 50)
    assert rates[49:201] == [1.0] * 152
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[200:]))
    assert rates[-1] < 0.01


def test_every_photo_with_captions_comes_once_an_epoch(config_of, tmp_path):
    config = config_of(tmp_path, views=3)
    loaders, _, _ = prepared(config)
    batches = photo_batches(loaders["train"], size=5, seed=1)
    rows = torch.cat([rows for rows, _ in batches])
    assert sorted(rows.tolist()) == list(range(12))
    assert {view for _, views in batches for view in views.tolist()} <= {0, 1, 2}


@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
def test_draws_losses_and_gradients_of_shares_add_up_to_those_of_the_batch(
    config_of, tmp_path, kind
):
    loaders, vocab, encoder = prepared(config_of(tmp_path, decoder=kind))
    loader, embed_size = loaders["train"], encoder.embed.out_features
    decoder = make(kind, vocab_size=len(vocab), embed_size=embed_size)
    reward = CiderReward(loader.captions.references(), vocab)
    objective = SelfCriticalLoss(loader, decoder, reward)
    [(rows, views)], noise = photo_batches(loader, 12, seed=1), torch.rand(12, 3, 9)

    def results(share: slice) -> list[torch.Tensor]:
        loss, counts = objective(rows[share], views[share], noise[share])
        return [loss, *counts, *torch.autograd.grad(loss, trainable_parameters(encoder, decoder))]

    shares = [slice(rank, 12, 5) for rank in range(5)]
    shares.append(slice(12, 12))  # a process without a photo: all its gradients are 0
    whole, parts = results(slice(0, 12)), zip(*map(results, shares), strict=True)
    for total, of_shares in zip(whole, parts, strict=True):
        torch.testing.assert_close(sum(of_shares), total, atol=1e-5, rtol=1e-4)


def test_a_soup_is_the_mean_of_the_weights_and_one_more_epoch(config_of, tmp_path):
    train(config_of(tmp_path, num_epochs=2, tie_weights=False))
    history = model_soup(tmp_path, [1, 2])
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history == read_history(tmp_path / "history.csv")
    for part in ("encoder", "decoder"):
        first, second, mean = (
            load_part(tmp_path / f"{part}-{epoch}.pkl", part)["state_dict"] for epoch in (1, 2, 3)
        )
        assert mean.keys() == first.keys()
        assert any(not torch.equal(first[name], second[name]) for name in mean)
        for name, weights in mean.items():
            torch.testing.assert_close(weights, (first[name] + second[name]) / 2)


@pytest.mark.parametrize(("cider", "best"), [(31.0, 4), (29.0, 4), (28.9, 1)])
def test_a_soup_is_the_best_pair_unless_it_is_a_point_below_the_best(
    config_of, tmp_path, monkeypatch, cider, best
):
    train(config_of(tmp_path, num_epochs=3))
    history = read_history(tmp_path / "history.csv")
    for row, score in zip(history, (30.0, 8.0, 10.0), strict=True):  # the first one was lucky
        row["CIDEr"] = score
    write_history(tmp_path / "history.csv", history)
    copy_best(tmp_path, 1)
    scores = {"val_loss": 1.0, "CIDEr": cider}
    monkeypatch.setattr(self_critical, "validate", lambda *_: (scores, {}))
    model_soup(tmp_path, [2, 3])
    for part in ("encoder", "decoder"):
        assert load_part(tmp_path / "best" / f"{part}.pkl", part)["epoch"] == best


@pytest.fixture
def stages(monkeypatch) -> list[tuple[int, int]]:
    """Make fine-tuning quick; return a list of the (epochs, start) that `complete_run` asks for."""
    called = []

    def quick(folder, num_epochs, start):
        called.append((num_epochs, start))
        return fine_tune_on_cider(
            folder, num_epochs, batch_size=6, samples_per_image=2, start=start
        )

    monkeypatch.setattr(self_critical, "fine_tune_on_cider", quick)
    return called


def test_rounds_begin_with_the_same_weights_and_end_in_their_soup(config_of, tmp_path, stages):
    train(config_of(tmp_path, num_epochs=2))
    start = FinishedRun(tmp_path).start_of_rounds()
    complete_run(tmp_path, num_epochs=1, rounds=2)
    assert stages == [(1, start), (1, start)]
    rows = read_history(tmp_path / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert ["seconds" in row for row in rows] == [True] * 4 + [False]  # the soup was not trained
    kept = load_part(tmp_path / "best" / "decoder.pkl", "decoder")
    *others, soup = (row["CIDEr"] for row in rows)
    assert kept["epoch"] == (5 if soup >= max(others) - 1 else best_epoch(rows, "CIDEr"))
    complete_run(tmp_path, num_epochs=1, rounds=2)  # nothing is missing
    assert len(stages) == 2
    assert read_history(tmp_path / "history.csv") == rows


def test_an_interrupted_round_continues_from_its_own_best(config_of, tmp_path, stages):
    train(config_of(tmp_path, num_epochs=2))
    fine_tune_on_cider(tmp_path, 1, batch_size=6, samples_per_image=2)
    complete_run(tmp_path, num_epochs=2)
    assert stages == [(1, 3)]
    assert [row["epoch"] for row in read_history(tmp_path / "history.csv")] == [1, 2, 3, 4]


def test_a_round_begins_with_the_best_epoch_by_the_metric_of_the_run(config_of, tmp_path, stages):
    train(config_of(tmp_path, num_epochs=2, best_metric="loss"))
    checkpoint = torch.load(tmp_path / "checkpoint.pkl")
    first = checkpoint["progress"]["history"][0]
    first |= {"CIDEr": first["CIDEr"] + 1000, "val_loss": first["val_loss"] + 10}
    torch.save(checkpoint, tmp_path / "checkpoint.pkl")
    complete_run(tmp_path, num_epochs=1)
    assert stages == [(1, 2)]  # the files of the best by CIDEr may not exist


@pytest.mark.parametrize(
    ("ciders", "lost", "start"),
    [
        ((48.0, 30.0, 47.0), False, 3),  # one point less is chance
        ((48.1, 30.0, 47.0), False, 1),
        ((48.0, 30.0, 47.0), True, 1),  # as after --patience with --save-every 5
        ((48.0, 30.0, None), False, 1),  # not validated
    ],
)
def test_a_round_begins_with_the_last_epoch_unless_another_is_clearly_better(
    config_of, tmp_path, ciders, lost, start
):
    train(config_of(tmp_path, num_epochs=1))
    run = FinishedRun(tmp_path)
    run.cross_entropy = [
        {"epoch": epoch, "val_loss": 3.0} | ({} if cider is None else {"CIDEr": cider})
        for epoch, cider in enumerate(ciders, 1)
    ]
    if not lost:
        (tmp_path / "decoder-3.pkl").touch()
    assert run.start_of_rounds() == start


def test_epochs_are_validated_as_those_of_the_run_and_must_be_finite(
    config_of, tmp_path, monkeypatch
):
    train(config_of(tmp_path, num_epochs=1, val_beam_size=3))
    beams, validate = [], self_critical.validate

    def diverged(loader, decoder, vocab, beam_size):
        beams.append(beam_size)
        scores, texts = validate(loader, decoder, vocab, beam_size)
        return scores | {"val_loss": float("nan")}, texts

    monkeypatch.setattr(self_critical, "validate", diverged)
    with pytest.raises(ValueError, match="the validation loss is nan: training has diverged"):
        fine_tune_on_cider(tmp_path, num_epochs=1)
    assert beams == [3]
    assert not (tmp_path / "decoder-2.pkl").exists()


def test_fine_tuning_without_validation_photos_is_refused_before_training(config_of, tmp_path):
    blind = config_of(tmp_path, num_epochs=1, validate_every=0)
    with pytest.raises(ValueError, match="photos of a split val"):
        train(dataclasses.replace(blind, self_critical_epochs=1))
    train(blind)
    with pytest.raises(ValueError, match="photos of a split val"):
        fine_tune_on_cider(tmp_path, 1)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--num-epochs", "0"], "1 or more"),
        (["--batch-size", "0"], "1 or more"),
        (["--samples-per-image", "1"], "samples_per_image must be 2"),
        ([], "is not a finished run: checkpoint.pkl is missing. Run train.py"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(flags, why, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["self_critical", "--run", str(tmp_path), *flags])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert why in stopped.value.code  # text: printed, with exit status 1
    assert len(stopped.value.code.splitlines()) == 1
