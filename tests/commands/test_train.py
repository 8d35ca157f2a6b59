"""The loop: what the loss counts, what a run leaves behind, and that it can be cut anywhere."""

import contextlib
import csv
import itertools
import math
import re

import pytest
import torch
import torch.nn.functional as F

import train as train_module
from captioning.models.decoder import Decoder
from captioning.safe_load import safe_load
from captioning.training import overfit
from captioning.training.config import TrainConfig
from captioning.training.losses import caption_loss
from captioning.training.monitoring import best_epoch
from captioning.training.optim import WeightEMA, make_optimizer, make_schedule
from model import EncoderCNN
from tests.helpers import KINDS, make, random_captions, random_features, write_data
from train import train


class PowerCut(Exception):
    pass


@contextlib.contextmanager
def power_cut(in_step: int):
    """The training inside the block stops in its step number `in_step`."""
    steps = itertools.count(1)

    def loss(*args, **kwargs):
        answer = caption_loss(*args, **kwargs)
        if torch.is_grad_enabled() and next(steps) == in_step:  # validation does not count
            raise PowerCut
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "caption_loss", loss)
        with pytest.raises(PowerCut):
            yield


def pairs(out) -> dict[str, dict]:
    """The content of all encoder and decoder files, without the run's id."""
    files = {path.name: safe_load(path) for path in sorted(out.glob("*coder-*.pkl"))}
    for content in files.values():
        del content["run_id"]
    return files


def assert_equal(one, other) -> None:
    """Bit for bit, through dictionaries and lists."""
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
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


# --- the loss --------------------------------------------------------------------------------


def loss_by_hand(decoder, features, captions, smoothing=0.0) -> tuple[float, int]:
    """Every caption alone, without its padding, word by word."""
    total, words = 0.0, 0
    for i, caption in enumerate(captions.tolist()):
        caption = caption[: caption.index(1) + 1]
        logits = decoder(features[i : i + 1], torch.tensor([caption[:-1]]))[0]
        for row, target in zip(logits.log_softmax(dim=-1), caption[1:], strict=True):
            total -= (1 - smoothing) * row[target].item() + smoothing * row.mean().item()
            words += 1
    return total / words, words


def some_captions() -> torch.Tensor:
    captions = random_captions(3, 7)
    for i, end in enumerate((3, 6, 4)):
        captions[i, end] = 1
        captions[i, end + 1 :] = 3
    return captions


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_the_loss_counts_words_and_end_but_neither_padding_nor_start(name, smoothing):
    decoder, features, captions = make(name), random_features(3), some_captions()
    loss, words = caption_loss(decoder, features, captions, smoothing)
    expected, counted = loss_by_hand(decoder, features, captions, smoothing)
    assert (loss.item(), words) == (pytest.approx(expected, abs=1e-4), counted)
    wider = torch.cat([captions, torch.full((3, 4), 3)], dim=1)
    assert caption_loss(decoder, features, wider, smoothing)[0].item() == pytest.approx(
        loss.item(), abs=1e-5
    )


def test_padding_has_no_gradient():
    decoder = make("lstm")
    caption_loss(decoder, random_features(3), some_captions())[0].backward()
    assert (decoder.word_embedding.weight.grad[3] == 0).all()  # <pad> is never read
    assert decoder.word_embedding.weight.grad[0].abs().sum() > 0  # <start> is


@torch.no_grad()
def test_the_attention_penalty_by_hand():
    decoder, features, captions = make("attention"), random_features(3), some_captions()
    plain, _ = caption_loss(decoder, features, captions)
    penalized, _ = caption_loss(decoder, features, captions, attention_penalty=2.0)
    _, attention = decoder.hidden_states(features, captions[:, :-1])
    lengths = [3, 6, 4]
    squares = [(1 - attention[i, :n].sum(dim=0)).square().mean() for i, n in enumerate(lengths)]
    torch.testing.assert_close(penalized, plain + 2.0 * sum(squares) / 3)


class Parrot(Decoder):
    """Always says word 5, and remembers what it was given to read."""

    def __init__(self):
        super().__init__(9, 9, 9, False)
        self.read = []

    def hidden_states(self, features, captions):
        self.read.append(captions)
        says = torch.zeros(*captions.shape, 9)
        says[..., 5] = 9.0
        return says, None


@torch.no_grad()
def test_scheduled_sampling_gives_the_model_its_own_words_to_read():
    torch.manual_seed(0)
    decoder = Parrot()
    decoder.output.weight.copy_(torch.eye(9))
    captions = torch.tensor([[0, 4, 6, 7, 8, 4, 1, 3]] * 200)
    caption_loss(decoder, torch.zeros(200, 1, 9), captions, scheduled_sampling=0.3)
    read = decoder.read[-1]
    assert (read[:, 0] == 0).all()
    own = read[:, 1:6] == 5
    assert 0.25 < own.float().mean() < 0.35
    assert torch.equal(read[:, 1:6][~own], captions[:, 1:6][~own])
    assert not (read[:, 7:] == 5).any()


# --- what a run leaves -----------------------------------------------------------------------


def test_a_run_leaves_pairs_a_log_a_history_and_a_checkpoint(config_of, tmp_path, capsys):
    history = train(config_of(tmp_path, num_epochs=3, save_every=2, best_metric="loss"))
    assert [row["epoch"] for row in history] == [1, 2, 3]
    scores = {"val_loss", "BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr"}
    assert {"epoch", "loss", "seconds"} | scores <= history[0].keys()
    assert history[2]["loss"] < history[0]["loss"]
    with open(tmp_path / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in history]
    best = best_epoch(history, "loss")
    epochs = {f"{part}-{e}.pkl" for part in ("encoder", "decoder") for e in {2, 3, best}}
    assert epochs <= {path.name for path in tmp_path.glob("*.pkl")} - {"checkpoint.pkl"}
    for part in ("encoder", "decoder"):
        kept = (tmp_path / "best" / f"{part}.pkl").read_bytes()
        assert kept == (tmp_path / f"{part}-{best}.pkl").read_bytes()
    log = (tmp_path / "training.log").read_text(encoding="utf-8")
    assert "epoch 1 step 2/5  loss " in log
    assert len(losses_in("\n".join(x for x in log.splitlines() if " step " in x))) == 15
    printed = capsys.readouterr().out.splitlines()
    assert len([line for line in printed if " step " in line]) == 6  # every second one
    assert "photo_100.jpg: " in log
    assert not list(tmp_path.glob("**/.*"))  # nothing half written


def test_the_same_seed_gives_the_same_run_and_another_seed_another(config_of, tmp_path):
    runs = [
        numbers(train(config_of(tmp_path / str(i), num_epochs=1, seed=seed, dropout=0.4)))
        for i, seed in enumerate((1, 1, 2))
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert_equal(pairs(tmp_path / "0"), pairs(tmp_path / "1"))


def losses_in(text: str) -> list[float]:
    """Return the loss of each line; each line's perplexity must be its exponential."""
    found = re.findall(r"loss (\S+)  perplexity (\S+)", text)
    for loss, perplexity in found:
        assert float(perplexity) == pytest.approx(math.exp(float(loss)), rel=1e-2)
    return [float(loss) for loss, _ in found]


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_overfitting_one_batch_drives_the_loss_down(
    config_of, tmp_path, monkeypatch, capsys, decoder
):
    monkeypatch.setattr(overfit, "CHECK_EVERY", 1)
    config = config_of(tmp_path, decoder=decoder, lr=3e-3, dropout=0.4, hidden_size=32)
    assert overfit.learn_batch_by_heart(config)
    printed = capsys.readouterr().out
    losses = losses_in(printed)
    assert losses[0] > 1.5
    assert losses[-1] < 0.6  # and every word of the 12 captions is right
    assert "learned all 12 captions by heart" in printed


def test_what_cannot_be_learned_by_heart_exits_with_1(cli, data, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(overfit, "STEPS", 25)
    flags = ["--data", data, "--weights", weights, "--out", tmp_path / "out", "--device", "cpu"]
    assert cli(train_module.main, *flags, "--overfit-batch", "--lr", 1e-9) == 1
    assert not (tmp_path / "out").exists()


def test_a_photo_that_cannot_be_read_is_left_out(config_of, tmp_path, capsys):
    data = write_data(tmp_path / "data")
    for split, number in (("train2014", "004"), ("val2014", "102")):
        (data / f"images/{split}/photo_{number}.jpg").write_bytes(b"no photo")
    for fine_tune_from in (None, "layer4"):
        out = tmp_path / f"out {fine_tune_from}"
        config = config_of(out, data=str(data), num_epochs=1, fine_tune_from=fine_tune_from)
        history = train(config)
        assert math.isfinite(history[0]["val_loss"])
        said = capsys.readouterr().out
        assert "photo_004.jpg is not a photo" in said
        assert "photo_102.jpg is not a photo" in said


def test_data_without_val_trains_and_keeps_the_last_pair(config_of, tmp_path):
    data = write_data(tmp_path / "data")
    (data / "annotations/captions_val2014.json").unlink()
    history = train(config_of(tmp_path / "out", data=str(data)))
    assert "val_loss" not in history[0]
    kept = (tmp_path / "out/best/decoder.pkl").read_bytes()
    assert kept == (tmp_path / "out/decoder-2.pkl").read_bytes()


def test_it_stops_early_where_nothing_gets_better(config_of, tmp_path):
    config = config_of(
        tmp_path, num_epochs=6, patience=2, best_metric="loss", lr=1e-30, optimizer="sgd"
    )
    history = train(config)
    assert len(history) == 3
    assert "stopped: no better loss" in (tmp_path / "training.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "changed",
    [
        {"decoder": "attention", "scheduled_sampling": 0.3, "attention_penalty": 0.5},
        {"decoder": "transformer", "optimizer": "adamw", "schedule": "cosine", "num_layers": 2},
        {"decoder": "gru", "optimizer": "sgd", "schedule": "plateau", "views": 2},
        {"decoder": "rnn", "schedule": "onecycle", "ema_decay": 0.9, "label_smoothing": 0.1},
        {"tie_weights": True, "embed_size": 24, "precision": "auto"},
    ],
)
def test_every_option_trains(config_of, tmp_path, changed):
    history = train(config_of(tmp_path, **changed))
    assert history[1]["loss"] < history[0]["loss"]


# --- resuming --------------------------------------------------------------------------------

HARD = {"dropout": 0.4, "views": 3, "ema_decay": 0.9, "schedule": "onecycle", "num_epochs": 3}


def test_a_run_cut_anywhere_resumes_bit_for_bit(config_of, tmp_path):
    """Cut in the middle of an epoch, again right after an epoch, once before any checkpoint."""
    whole = train(config_of(tmp_path / "whole", **HARD))
    often = {"checkpoint_every": 2} | HARD
    with power_cut(9):  # the 4th step of epoch 2: the checkpoint is of step 2
        train(config_of(tmp_path / "cut", **often))
    with power_cut(4):  # steps 3, 4 and 5 of epoch 2, then the first of epoch 3
        train(config_of(tmp_path / "cut", resume=True, **often))
    with power_cut(1):
        train(config_of(tmp_path / "cut", resume=True, **often))
    resumed = train(config_of(tmp_path / "cut", resume=True, **often))
    assert numbers(resumed) == numbers(whole)
    assert_equal(pairs(tmp_path / "cut"), pairs(tmp_path / "whole"))
    ids = {safe_load(path)["run_id"] for path in (tmp_path / "cut").glob("*coder-*.pkl")}
    assert len(ids) == 1


def test_a_fine_tuning_run_resumes_bit_for_bit(config_of, tmp_path):
    tuned = {"fine_tune_from": "layer4", "fine_tune_lr": 1e-3, "views": 2, "num_workers": 1}
    tuned |= {"dropout": 0.3, "num_epochs": 1}
    whole = train(config_of(tmp_path / "whole", **tuned))
    with power_cut(4):
        train(config_of(tmp_path / "cut", checkpoint_every=1, **tuned))
    resumed = train(config_of(tmp_path / "cut", resume=True, **tuned | {"num_workers": 0}))
    assert numbers(resumed) == numbers(whole)
    assert_equal(pairs(tmp_path / "cut"), pairs(tmp_path / "whole"))


def test_a_finished_run_may_be_made_longer(config_of, tmp_path):
    whole = train(config_of(tmp_path / "whole", num_epochs=3))
    train(config_of(tmp_path / "two", num_epochs=2))
    longer = train(config_of(tmp_path / "two", num_epochs=3, resume=True))
    assert numbers(longer) == numbers(whole)
    assert_equal(pairs(tmp_path / "two"), pairs(tmp_path / "whole"))


def test_resuming_with_other_options_is_refused(config_of, tmp_path):
    train(config_of(tmp_path, num_epochs=1))
    for changed in ({"hidden_size": 20}, {"seed": 3}, {"optimizer": "sgd"}, {"lr": 1.0}):
        [(name, value)] = changed.items()
        with pytest.raises(ValueError, match=rf"was made with {name}=.*, not {value}"):
            train(config_of(tmp_path, resume=True, **changed))


def test_nothing_to_resume_and_a_broken_checkpoint_get_different_sentences(config_of, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint\.pkl is missing: nothing to resume"):
        train(config_of(tmp_path, resume=True))
    for content in ({}, {"config": 7, "progress": {}}, {"config": {}, "progress": 7}, [1]):
        torch.save(content, tmp_path / "checkpoint.pkl")
        with pytest.raises(ValueError, match=r"checkpoint\.pkl"):
            train(config_of(tmp_path, resume=True))


# --- what learns -----------------------------------------------------------------------------


def test_fine_tuning_changes_layer4_only(config_of, tmp_path, weights):
    tuned = {"fine_tune_from": "layer4", "fine_tune_lr": 1e-3, "num_epochs": 1}
    train(config_of(tmp_path, **tuned))
    before = safe_load(weights)["state_dict"]
    after = safe_load(tmp_path / "encoder-1.pkl")["state_dict"]
    learned = {k.removeprefix("backbone.network."): v for k, v in after.items()}
    assert {name.split(".")[0] for name in learned} == {"embed", "layer4"}
    changed = {n for n in learned if n in before and not torch.equal(learned[n], before[n])}
    assert {n.rsplit(".", 1)[0] for n in changed} >= {"layer4.0.conv1", "layer4.2.conv3"}
    assert not any("running" in name for name in learned)  # BatchNorm's statistics stay


def test_two_learning_rates(config_of, tmp_path, weights):
    config = config_of(tmp_path, fine_tune_from="layer4", lr=0.1, fine_tune_lr=0.001)
    encoder = EncoderCNN(12, weights=str(weights), fine_tune_from="layer4")
    groups = make_optimizer(config, encoder, make("lstm")).param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.001]
    assert sum(len(group["params"]) for group in groups) == len(
        [p for m in (encoder, make("lstm")) for p in m.parameters() if p.requires_grad]
    )


@pytest.mark.parametrize(
    ("schedule", "first", "peak", "last"),
    [("constant", 1, 1, 1), ("cosine", 1, 1, 0), ("onecycle", 0.04, 1, 0)],
)
def test_schedules(config_of, tmp_path, encoder, schedule, first, peak, last):
    config = config_of(tmp_path, schedule=schedule, lr=1.0)
    optimizer = make_optimizer(config, encoder, make("lstm"))
    schedule, rates = make_schedule(config, optimizer, 50), []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    rates.append(optimizer.param_groups[0]["lr"])
    assert [rates[0], max(rates), rates[-1]] == pytest.approx([first, peak, last], abs=1e-3)


def test_the_average_of_weights_by_hand():
    weight = torch.nn.Parameter(torch.zeros(2))
    average = WeightEMA([weight], decay=0.9)
    expected = torch.zeros(2)
    for step in range(1, 200):
        with torch.no_grad():
            weight.add_(torch.tensor([1.0, -step]))
        average.update()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    own = weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(weight, own)
    off = WeightEMA([weight], decay=0.0)
    off.update()
    with off.applied():
        assert torch.equal(weight, own)


# --- options and the command line ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"decoder": "bert"}, "decoder must be one of lstm"),
        ({"optimizer": "lion"}, "optimizer must be one of adam"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"num_epochs": 0}, "num_epochs must be 1 or more"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_impossible_options_are_refused(changed, why):
    with pytest.raises(ValueError, match=why):
        TrainConfig(**changed)


def test_the_command_line_trains(config_of, cli, tmp_path, data, weights, capsys):
    status = cli(
        train_module.main, "--data", data, "--weights", weights, "--num-epochs", 1, "--out",
        tmp_path / "out", "--vocab-threshold", 1, "--embed-size", 8, "--hidden-size", 8,
        "--tie-weights", "--decoder", "gru", "--device", "cpu",
    )  # fmt: skip
    assert status == 0
    assert "val_loss" in capsys.readouterr().out
    assert safe_load(tmp_path / "out/decoder-1.pkl")["config"]["tie_weights"] is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], r"^error: nowhere is not a data folder\. Draw"),
        (["--weights", "nowhere.pth"], r"^error: The weights of the backbone, nowhere\.pth, are mis"),
        (["--backbone", "resnet51"], r"^error: torchvision has no classifier named 'resnet51'"),
        (["--batch-size", "0"], r"^error: batch_size must be 1 or more"),
        (["--decoder", "transformer", "--hidden-size", "20"], r"^error: hidden_size 20 cannot be"),
        (["--decoder", "attention", "--num-layers", "2"], r"^error: AttentionDecoder has one"),
        (["--device", "tpu"], r"^error: There is no device 'tpu'"),
        (["--resume"], r"^error: .*checkpoint\.pkl is missing: nothing to resume"),
    ],
)
def test_the_command_line_answers_mistakes_in_a_sentence(
    cli, tmp_path, data, weights, arguments, sentence
):
    common = ["--data", data, "--weights", weights, "--out", tmp_path, "--device", "cpu"]
    status = cli(train_module.main, *common, *arguments)
    assert isinstance(status, str)
    assert "\n" not in status
    assert re.match(sentence, status)


def test_half_precision_changes_the_losses_by_rounding_only(config_of, tmp_path):
    losses = [
        train(config_of(tmp_path / p, precision=p, dropout=0.0))[-1]["val_loss"]
        for p in ("float32", "auto")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_cross_entropy_of_an_untrained_model_is_that_of_guessing():
    decoder = make("lstm", vocab_size=200, scale=0.1)
    loss, _ = caption_loss(decoder, random_features(3), some_captions())
    assert loss.item() == pytest.approx(math.log(200), rel=0.02)
    assert F.cross_entropy(torch.zeros(1, 200), torch.tensor([7])) == pytest.approx(math.log(200))
