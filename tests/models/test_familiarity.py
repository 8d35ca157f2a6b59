"""Familiarity: a captioner that says when a photo is unlike those it learned from."""

import math

import pytest
import torch
from PIL import Image
from torch import nn

from captioning.data.album import find
from captioning.inference.captioner import Caption, Captioner
from captioning.inference.serialization import load_pair, save_pair
from captioning.models.config import EncoderConfig
from captioning.models.familiarity import Familiarity, Judgment, familiarity, fit, restore
from captioning.safe_load import safe_load
from model import EncoderCNN, make_decoder
from train import train
from vocabulary import Vocabulary

NAME = "efficientnet_lite2"
CONFIG = EncoderConfig(8, NAME, "package", grid=True)


def test_familiarity_is_the_negative_cross_entropy_against_the_prior():
    prior = torch.tensor([0.5, 0.25, 0.25])
    probability = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    expected = [math.log(0.5), math.log(0.25), (math.log(0.5) + 2 * math.log(0.25)) / 3]
    torch.testing.assert_close(familiarity(probability, prior), torch.tensor(expected))


def test_a_class_that_no_training_photo_shows_is_unfamiliar():
    classifier = nn.Linear(2, 1000, bias=False)
    with torch.no_grad():
        classifier.weight.zero_()[:2] = 20 * torch.eye(2)
    prior = torch.zeros(1000)
    prior[0] = 1
    usual, other = Familiarity(classifier, prior, -3.0).judge(torch.eye(2)[:, None])
    assert usual.is_familiar
    assert not other.is_familiar
    assert usual.familiarity == pytest.approx(0, abs=1e-3)
    assert str(usual).startswith("like the photos it learned from; the image network sees: tench")
    assert "unlike the photos" in str(other)
    assert "sees: goldfish" in str(other)
    assert other.labels[0][1] == pytest.approx(1, abs=1e-3)


def test_five_of_a_hundred_validation_photos_are_called_unlike():
    torch.manual_seed(0)
    training, validation = torch.rand(50, 81, 1280), torch.rand(100, 81, 1280)
    known = fit(CONFIG, training.split(20), validation.split(30))
    judged = known.judge(validation)
    assert sum(not judgment.is_familiar for judgment in judged) == 5
    assert known.prior.sum().item() == pytest.approx(1, abs=0.01)
    without = fit(CONFIG, training.split(20), [])
    assert without.threshold != known.threshold


@pytest.mark.parametrize(
    "changed", [{"pca": 64}, {"fine_tune_from": "stage7"}, {"weights": None}, {"weights": "a.pth"}]
)
def test_networks_whose_classes_are_unknown_have_none(changed):
    config = EncoderConfig(**(vars(CONFIG) | changed))
    assert fit(config, [], []) is None
    assert restore(config, {"prior": torch.zeros(1000), "threshold": 0.0}) is None


@pytest.fixture
def pair(tmp_path):
    """A saved pair that has learned from cats: its prior is that of the album's cat."""
    torch.manual_seed(0)
    encoder = EncoderCNN(8, NAME, grid=True)
    decoder = make_decoder("attention", embed_size=8, hidden_size=8, vocab_size=6).eval()
    vocab = Vocabulary(["<start>", "<end>", "<unk>", "<pad>", "a", "cat"])
    captioner = Captioner(encoder, decoder, vocab)
    cat = captioner.grid([Image.open(find("chelsea").path)])
    encoder.familiarity = fit(encoder.config, [cat], [])
    encoder.familiarity.threshold -= 0.1  # nats, for rounding
    files = save_pair(tmp_path, 1, encoder, decoder, vocab, "run", encoder.backbone.fingerprint())
    return files


def test_it_travels_with_the_pair_in_a_few_kilobytes(pair):
    content = safe_load(pair[0])
    prior = content["familiarity"]["prior"]
    assert prior.numel() * prior.element_size() == 2_000
    captioner = Captioner.load(*pair, device="cpu")
    [[cat], [cup]] = captioner.caption([find("chelsea").path, find("coffee").path], max_words=3)
    assert cat.judgment.is_familiar
    assert cat.judgment.labels[0][0] == "Egyptian cat"
    assert not cup.judgment.is_familiar
    assert cup.judgment.labels[0][0] == "espresso"
    record = cup.as_dict()["judgment"]
    assert record["is_familiar"] is False
    assert record["labels"][0][0] == "espresso"
    [drawn] = captioner.caption([find("coffee").path], max_words=3, temperature=1.0, n_best=2)
    assert drawn[0].judgment == drawn[1].judgment
    assert drawn[0].judgment.familiarity == pytest.approx(cup.judgment.familiarity, abs=1e-3)


def test_pairs_without_it_stay_as_they_were(run, weights):
    files = (run / "best/encoder.pkl", run / "best/decoder.pkl")
    captioner = Captioner.load(*files, str(weights), "cpu")
    [[caption]] = captioner.caption([Image.new("RGB", (64, 64))])
    assert caption.judgment is None
    assert "judgment" not in caption.as_dict()


@pytest.mark.parametrize(
    "changed",
    [
        {"prior": torch.zeros(3)},
        {"prior": torch.full((1000,), float("nan"))},
        {"prior": "usual"},
        {"threshold": float("nan")},
        {"threshold": "high"},
        {"more": 1},
    ],
)
def test_a_familiarity_that_does_not_fit_is_refused(pair, changed):
    content = safe_load(pair[0])
    content["familiarity"] |= changed
    torch.save(content, pair[0])
    with pytest.raises(ValueError, match="do not make a captioner"):
        load_pair(*pair)


def test_training_finds_it_from_cached_features(config_of, tmp_path):
    config = config_of(tmp_path, weights="package", backbone=NAME, num_epochs=1, num_samples=6)
    train(config)
    saved = safe_load(tmp_path / "encoder-1.pkl")["familiarity"]
    assert saved["prior"].float().sum().item() == pytest.approx(1, abs=0.02)
    captioner = Captioner.load(tmp_path / "encoder-1.pkl", tmp_path / "decoder-1.pkl", device="cpu")
    [[cat]] = captioner.caption([find("chelsea").path])
    assert not cat.judgment.is_familiar  # it has learned from colored balls and boxes


def test_a_caption_that_names_what_the_image_network_sees_is_trusted_more():
    labels = (("Egyptian cat", 0.5), ("tiger cat", 0.2), ("bath towel", 0.1))
    judgment = Judgment(-8.0, False, labels)
    named = {"two cats asleep": 0.7, "a dog on a towel": 0.1, "a catalog": 0.0, "": 0.0}
    for text, probability in named.items():
        assert judgment.named_in(text) == pytest.approx(probability)
    right, wrong = (Caption(text, -1.0, -3.0, (), judgment) for text in ("a cat", "a boy"))
    assert right.trust - wrong.trust == pytest.approx(math.log(0.71 / 0.01))
