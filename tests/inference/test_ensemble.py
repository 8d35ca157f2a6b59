"""Ensembles: the mean of probabilities, from training to the caption."""

import json

import pytest
import torch

import caption as caption_module
from captioning.data.photos import read_photo
from captioning.inference.captioner import Captioner
from captioning.inference.ensemble import DecoderEnsemble, load_ensemble
from captioning.inference.search import beam_search, greedy
from captioning.inference.serialization import load_pair
from tests.helpers import make, random_captions, random_features
from train import main, train


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "attention", "transformer, 2 layers"])
def test_an_ensemble_of_equals_is_their_search(name):
    decoder, features = make(name), random_features(3)
    both = DecoderEnsemble([decoder, decoder])
    assert torch.equal(greedy(both, [features, features]), greedy(decoder, features))
    ensembled = beam_search(both, [features, features], 3, n_best=2)
    for found, expected in zip(ensembled, beam_search(decoder, features, 3, n_best=2), strict=True):
        assert [h.words for h in found] == [h.words for h in expected]
        assert found[0].logprob == pytest.approx(expected[0].logprob, abs=1e-4)


def test_an_ensemble_is_the_mean_of_probabilities():
    decoders = [make("lstm", seed=1), make("attention", seed=2), make("transformer", seed=3)]
    features = [random_features(2, seed) for seed in (1, 2, 3)]
    captions = random_captions(2, 4)
    ensemble = DecoderEnsemble(decoders)
    with torch.no_grad():
        each = [d(f, captions).softmax(dim=-1) for d, f in zip(decoders, features, strict=True)]
        state = ensemble.start(features)
        for t in range(4):
            logits, state, _ = ensemble.step(captions[:, t], state)
            expected = torch.stack([probability[:, t] for probability in each]).mean(dim=0)
            torch.testing.assert_close(logits.softmax(dim=-1), expected, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def three(data, weights, tmp_path_factory):
    """The folder of a run of three captioners by the command line: two kinds, the LSTM twice."""
    out = tmp_path_factory.mktemp("three")
    with pytest.MonkeyPatch.context() as patch:
        options = "--decoder lstm attention lstm --embed-size 16 --hidden-size 24 --batch-size 8"
        options += " --vocab-threshold 1 --num-epochs 2 --lr 0.01 --device cpu --precision float32"
        paths = ["--data", str(data), "--weights", str(weights), "--out", str(out)]
        patch.setattr("sys.argv", ["train.py", *options.split(), *paths])
        main()
    return out


NAMES = ("lstm", "attention", "lstm-2")
PARTS = ("encoder", "decoder")


def files(three, names=NAMES):
    """Return the encoder files and the decoder files of these captioners."""
    return [[three / name / "best" / f"{part}.pkl" for name in names] for part in PARTS]


def test_one_run_trains_several_captioners(three, config_of, weights, tmp_path):
    assert sorted(path.name for path in three.iterdir()) == sorted(NAMES)
    alone = train(config_of(tmp_path, decoder="attention", seed=1, lr=0.01, print_every=100))
    with open(three / "attention" / "history.csv") as file:
        losses = [float(line.split(",")[1]) for line in file.readlines()[1:]]
    assert losses == [row["loss"] for row in alone]  # a captioner does not depend on its place
    _, first, _ = load_pair(*(part[0] for part in files(three)), weights=str(weights))
    _, third, _ = load_pair(*(part[2] for part in files(three)), weights=str(weights))
    assert not torch.equal(first.output.weight, third.output.weight)


def test_members_vote_on_photos(three, data, weights, cli, tmp_path):
    photos = sorted((data / "images" / "val2014").iterdir())
    captioner = Captioner.load(*files(three), str(weights), "cpu")
    together = captioner.caption(photos, beam_size=2)
    opened = [read_photo(photo) for photo in photos]
    logits = []
    for encoder_file, decoder_file in zip(*files(three), strict=True):
        one = Captioner.load(encoder_file, decoder_file, str(weights), "cpu")
        words = torch.tensor([[0, *c[0].words] for c in together[:1]])
        with torch.inference_mode():
            logits.append(one.decoder(one.features(opened)[:1], words).softmax(dim=-1))
    mean = torch.stack(logits).mean(dim=0)[0]  # (T, V), each member on its own features
    words_and_end = [*together[0][0].words, 1]
    expected = sum(mean[t, word].log() for t, word in enumerate(words_and_end)).item()
    assert together[0][0].logprob == pytest.approx(expected, abs=1e-3)

    flags = [f for pair in zip(*files(three), strict=True) for f in pair]
    flags = [
        x
        for pair in zip(["--encoder-file", "--decoder-file"] * 3, flags, strict=True)
        for x in pair
    ]
    out = tmp_path / "results.json"
    flags += ["--weights", weights, "--beam-size", 2, "--out", out]
    assert cli(caption_module.main, *flags, *photos) == 0
    results = [row["caption"] for row in json.loads(out.read_text(encoding="utf-8"))]
    assert results == [found[0].text for found in together]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda e, d: (e, d[:2]), "3 and 2"),
        (lambda e, d: (e * 2, d * 2), "1 to 5 members"),
        (lambda e, d: (e[:2], [d[1], d[0]]), "different training runs"),
    ],
)
def test_members_that_do_not_fit_are_refused(three, weights, broken, why):
    with pytest.raises(ValueError, match=why):
        load_ensemble(*broken(*files(three)), str(weights))


def test_members_with_other_words_are_refused(three, config_of, weights, tmp_path):
    train(config_of(tmp_path / "few", max_vocab_size=8))
    few = [tmp_path / "few" / "best" / f"{part}.pkl" for part in PARTS]
    encoders, decoders = files(three, ["lstm"])
    with pytest.raises(ValueError, match="different vocabularies"):
        load_ensemble([*encoders, few[0]], [*decoders, few[1]], str(weights))


def test_attention_of_several_is_refused_before_anything_is_captioned(three, data, cli):
    photo = next((data / "images" / "val2014").iterdir())
    flags = ["--encoder-file", three / "lstm", "--decoder-file", three / "lstm"] * 2
    assert "draws the attention of one captioner" in cli(
        caption_module.main, photo, *flags, "--attention", "a.png"
    )


OTHERS = {
    "other": {"decoder": "attention"},
    "larger": {"decoder": "lstm", "tta": True},
    "two": {"decoder": "transformer", "backbone": ("resnet50", "resnet50")},
}


def test_members_may_have_other_backbones(three, config_of, both, data, tmp_path):
    weights = [both[0], both[0], both[1], both[0], both]
    for (name, options), path in zip(OTHERS.items(), weights[2:], strict=True):
        train(config_of(tmp_path / name, weights=path, num_epochs=1, **options))
    members = [three / "lstm", three / "attention", *(tmp_path / name for name in OTHERS)]
    pairs = [[folder / "best" / f"{part}.pkl" for folder in members] for part in PARTS]
    ensemble = Captioner.load(*pairs, weights, "cpu", memory=data)
    photos = [read_photo(photo) for photo in sorted((data / "images/val2014").iterdir())]
    assert len(ensemble.backbones) == 3  # both, and the first with larger views
    features = ensemble.features(photos)
    for encoder_file, decoder_file, path, found in zip(*pairs, weights, features, strict=True):
        alone = Captioner.load(encoder_file, decoder_file, path, "cpu")
        torch.testing.assert_close(found, alone.features(photos), atol=0.02, rtol=0.02)
    assert all(caption.agreement is not None for [caption] in ensemble.caption(photos))
