"""Self-critical fine-tuning: what the reward pays for, what the loss pulls, what a run leaves."""

import dataclasses
import itertools

import pytest
import torch
from tests.helpers import EMBED, make, random_captions, random_features

import train as train_module
from captioning.training.losses import CiderReward, self_critical_loss
from captioning.training.self_critical import complete, main, photo_batches, lr_factor, self_critical, model_soup, without_dropout
from model import NEEDS_GRID
from captioning.inference.serialization import load_pair, load_part
from captioning.inference.sampling import sample
from captioning.training.config import TrainConfig
from captioning.training.monitoring import best_epoch, read_history
from train import train
from vocabulary import Vocabulary


@pytest.fixture
def vocab() -> Vocabulary:
    return Vocabulary(["<start>", "<end>", "<unk>", "<pad>", "a", "red", "blue", "ball", "box"])


def test_the_reward_prefers_the_true_caption_and_a_clean_end(vocab):
    reward = CiderReward({1: ["a red ball", "red ball"], 2: ["a blue box", "blue box"]}, vocab)
    true, cut, wrong = [4, 5, 7, 1], [4, 5, 7, 3], [4, 6, 8, 1]  # `cut` never says <end>
    rewards = reward([1], torch.tensor([true, cut, wrong]), samples_per_image=3)
    assert rewards.shape == (1, 3)
    assert rewards[0, 0] > rewards[0, 1] > rewards[0, 2]


def test_draws_side_by_side_are_judged_by_their_own_photo(vocab):
    reward = CiderReward({1: ["a red ball"], 2: ["a blue box"]}, vocab)
    words = torch.tensor([[4, 5, 7, 1], [4, 6, 8, 1]] * 2)
    rewards = reward([1, 2], words, samples_per_image=2)
    assert rewards[0, 0] > rewards[0, 1]
    assert rewards[1, 1] > rewards[1, 0]


def test_equal_rewards_teach_nothing():
    decoder = make("lstm")
    features, words = torch.randn(2, 1, EMBED), torch.randint(4, 9, (4, 5))
    loss = self_critical_loss(decoder, features, words, torch.full((2, 2), 0.7))
    loss.backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e-7 for p in decoder.parameters())


def test_a_step_makes_the_better_draw_likelier_and_the_worse_one_rarer():
    decoder = make("lstm")
    features = torch.randn(1, 1, EMBED)
    words = torch.tensor([[4, 5, 7, 1], [4, 6, 8, 1]])

    def log_p() -> torch.Tensor:
        captions = torch.cat([torch.zeros(2, 1, dtype=torch.long), words], dim=1)
        logprobs = decoder(features, captions[:, :-1]).log_softmax(dim=-1)
        return logprobs.gather(-1, words[..., None]).sum(dim=(1, 2)).detach()

    before = log_p()
    optimizer = torch.optim.SGD(decoder.parameters(), lr=0.01)
    self_critical_loss(decoder, features, words, torch.tensor([[1.0, 0.0]])).backward()
    optimizer.step()
    change = log_p() - before
    assert change[0] > 0 > change[1]


def test_padding_after_the_end_changes_nothing():
    decoder = make("lstm")
    features, words = torch.randn(1, 1, EMBED), torch.tensor([[4, 5, 7, 1], [4, 6, 8, 1]])
    rewards = torch.tensor([[1.0, 0.0]])
    padded = torch.nn.functional.pad(words, (0, 3), value=Vocabulary.pad)
    short, long = (self_critical_loss(decoder, features, w, rewards) for w in (words, padded))
    torch.testing.assert_close(short, long)


@pytest.mark.parametrize(("kind", "tta"), [("lstm", False), ("transformer", True)])
def test_a_run_goes_on_from_its_best_pair(settings_of, tmp_path, kind, tta):
    options = {"average": 0.9, "num_layers": 1, "views": 2, "tta": tta}
    train(settings_of(tmp_path, decoder=kind, num_epochs=2, **options))
    history = self_critical(tmp_path, num_epochs=1, batch_size=4, samples_per_image=3)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert 0 <= -history[-1]["loss"] <= 10  # minus the mean reward, which CIDEr-D keeps in here
    encoder, decoder, vocab = load_pair(
        tmp_path / "encoder-3.pkl", tmp_path / "decoder-3.pkl", settings_of(tmp_path).weights
    )
    features = torch.randn(2, 9 if kind in NEEDS_GRID else 1, encoder.embed.out_features)
    assert sample(decoder, features, seed=0).max() < len(vocab)


def test_one_command_runs_both_stages_and_resume_adds_what_is_missing(
    data, weights, tmp_path, monkeypatch
):
    options = "--embed-size 16 --hidden-size 24 --batch-size 8 --vocab-threshold 1 --lr 0.01"
    options += " --num-epochs 2 --device cpu --precision float32 --self-critical-epochs"
    paths = ["--data", str(data), "--weights", str(weights), "--out", str(tmp_path)]

    def epochs(wanted: int, *more: str) -> list[int]:
        monkeypatch.setattr("sys.argv", ["train.py", *options.split(), f"{wanted}", *paths, *more])
        train_module.main()
        return [row["epoch"] for row in train_module.read_history(tmp_path / "history.csv")]

    assert epochs(1) == [1, 2, 3]
    written = (tmp_path / "decoder-3.pkl").stat().st_mtime_ns
    assert epochs(1, "--resume") == [1, 2, 3]
    assert (tmp_path / "decoder-3.pkl").stat().st_mtime_ns == written
    assert epochs(0) == [1, 2]  # begun anew


def test_what_is_never_drawn_gains_nothing():
    decoder, features = make("lstm"), random_features(2)
    words = torch.tensor([[4, 5, 7, 1], [4, 6, 8, 1]] * 2)
    rewards = torch.tensor([[0.0, 1.0], [0.5, 0.2]])
    self_critical_loss(decoder, features, words, rewards).backward()
    gradient = decoder.output.bias.grad
    assert (gradient[[Vocabulary.start, Vocabulary.pad]] == 0).all()
    assert gradient[5].abs() > 0


@pytest.mark.parametrize("kind", ["lstm, 2 layers", "attention", "transformer, 2 layers"])
def test_the_network_that_draws_is_the_one_that_changes(kind):
    decoder, features = make(kind, dropout=0.5), random_features(3)
    captions = random_captions(3, 5)
    expected = decoder(features, captions)
    assert not torch.allclose(decoder.train()(features, captions), expected)
    same = without_dropout(decoder).train()
    torch.testing.assert_close(same(features, captions), expected)


def test_the_rate_rises_stays_and_falls():
    rates = [lr_factor(step, 400) for step in range(400)]
    assert rates[0] == pytest.approx(1 / 50)
    assert rates[49:201] == [1.0] * 152
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[200:]))
    assert rates[-1] < 0.01


def test_every_photo_with_captions_comes_once_an_epoch(settings_of, tmp_path):
    from captioning.training.loaders import prepare_data
    from model import EncoderCNN

    settings = settings_of(tmp_path, views=3)
    sources, _ = prepare_data(settings, EncoderCNN(16, weights=settings.weights))
    batches = photo_batches(sources["train"], size=5, seed=1)
    rows = torch.cat([rows for rows, _ in batches])
    assert sorted(rows.tolist()) == list(range(12))
    assert {view for _, views in batches for view in views.tolist()} <= {0, 1, 2}


def test_a_soup_is_the_mean_of_the_weights_and_one_more_epoch(settings_of, tmp_path):
    train(settings_of(tmp_path, num_epochs=2, tie_weights=False))
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


@pytest.fixture
def stages(monkeypatch) -> list[tuple[int, int]]:
    """(epochs, start) of every call of `self_critical` by `complete`, which then runs quickly."""
    called = []

    def quick(folder, num_epochs, start):
        called.append((num_epochs, start))
        return self_critical(folder, num_epochs, batch_size=6, samples_per_image=2, start=start)

    monkeypatch.setattr("extras.self_critical.self_critical", quick)
    return called


def test_rounds_begin_alike_and_end_in_their_soup(settings_of, tmp_path, stages):
    train(settings_of(tmp_path, num_epochs=2))
    best = best_epoch(read_history(tmp_path / "history.csv"), "CIDEr")
    complete(tmp_path, num_epochs=1, rounds=2)
    assert stages == [(1, best), (1, best)]
    rows = read_history(tmp_path / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert ["seconds" in row for row in rows] == [True] * 4 + [False]  # the soup was not trained
    kept = load_part(tmp_path / "best" / "decoder.pkl", "decoder")
    assert kept["epoch"] == best_epoch(rows, "CIDEr")
    complete(tmp_path, num_epochs=1, rounds=2)  # nothing is missing
    assert len(stages) == 2
    assert read_history(tmp_path / "history.csv") == rows


def test_a_round_that_broke_off_goes_on_from_its_own_best(settings_of, tmp_path, stages):
    train(settings_of(tmp_path, num_epochs=2))
    self_critical(tmp_path, 1, batch_size=6, samples_per_image=2)
    complete(tmp_path, num_epochs=2)
    assert stages == [(1, 3)]
    assert [row["epoch"] for row in read_history(tmp_path / "history.csv")] == [1, 2, 3, 4]


def test_a_round_begins_with_the_best_by_what_the_run_chose(settings_of, tmp_path, stages):
    train(settings_of(tmp_path, num_epochs=2, best_metric="loss"))
    checkpoint = torch.load(tmp_path / "checkpoint.pkl")
    first = checkpoint["run"]["history"][0]
    first |= {"CIDEr": first["CIDEr"] + 1000, "val_loss": first["val_loss"] + 10}
    torch.save(checkpoint, tmp_path / "checkpoint.pkl")
    complete(tmp_path, num_epochs=1)
    assert stages == [(1, 2)]  # of the other, the best by CIDEr, the files may not be there


def test_without_photos_to_validate_on_it_says_so_before_it_trains(settings_of, tmp_path):
    blind = settings_of(tmp_path, num_epochs=1, validate_every=0)
    with pytest.raises(ValueError, match="photos of a split val"):
        train(dataclasses.replace(blind, self_critical_epochs=1))
    train(blind)
    with pytest.raises(ValueError, match="photos of a split val"):
        self_critical(tmp_path, 1)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--num-epochs", "0"], "1 or more"),
        (["--batch-size", "0"], "1 or more"),
        (["--draws", "1"], "draws must be 2"),
        ([], "is no finished run: checkpoint.pkl is missing. Run train.py"),
    ],
)
def test_what_cannot_be_is_one_sentence(flags, why, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["self_critical", "--run", str(tmp_path), *flags])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert why in stopped.value.code  # text: printed, with exit status 1
    assert len(stopped.value.code.splitlines()) == 1


def test_no_fewer_than_no_epochs():
    with pytest.raises(ValueError, match="self_critical_epochs must be 0 or more, not -1"):
        TrainConfig(self_critical_epochs=-1)
