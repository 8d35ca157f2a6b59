"""Sampling draws each word by its probability, repeats with a seed, and knows its limits."""

import math

import pytest
import torch

from captioning.inference.sampling import sample
from captioning.inference.search import END, PAD, UNK, greedy
from tests.helpers import VOCAB, every_decoder, make, random_features


def frequencies(decoder, image, draws=20_000, **options) -> torch.Tensor:
    """Return how often each word was the first one, as fractions of the draws."""
    torch.manual_seed(0)
    words = sample(decoder, image.expand(draws, -1, -1), max_words=1, **options)
    return torch.bincount(words[:, 0], minlength=VOCAB) / draws


@torch.no_grad()
def first_word(decoder, image, temperature=1.0) -> torch.Tensor:
    """Return the probability of each word to be the first one."""
    logits = decoder(image, torch.zeros(1, 1, dtype=torch.long))[0, 0] / temperature
    logits[[0, UNK, PAD]] = -torch.inf
    return logits.softmax(dim=0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_words_are_drawn_by_their_probability(temperature):
    decoder, image = make("lstm"), random_features(1)
    expected = first_word(decoder, image, temperature)
    found = frequencies(decoder, image, temperature=temperature)
    likely = expected > 0
    assert (found[~likely] == 0).all()
    chi_square = 20_000 * ((found - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_square < 20.5  # 5 degrees of freedom: one seed in a thousand would be above


def test_top_k_and_top_p_draw_from_the_most_likely_words_only():
    decoder, image = make("lstm"), random_features(1)
    expected = first_word(decoder, image)
    order = expected.argsort(descending=True)
    for k in (1, 2, 4):
        kept = torch.zeros(VOCAB).index_fill(0, order[:k], 1) * expected
        found = frequencies(decoder, image, top_k=k)
        assert (found - kept / kept.sum()).abs().max() < 0.02
        p = (expected[order[:k]].sum() - 1e-4).item()  # the k most likely words are just enough
        assert torch.equal(frequencies(decoder, image, top_p=p), found)


@every_decoder
def test_drawing_only_the_most_likely_word_is_greedy(name):
    decoder, features = make(name), random_features(4)
    words = greedy(decoder, features, 8)
    assert torch.equal(sample(decoder, features, 3, top_k=1, max_words=8), words)
    assert torch.equal(sample(decoder, features, 3, top_p=1e-6, max_words=8), words)
    assert torch.equal(sample(decoder, features, 3, temperature=1e-4, max_words=8), words)


@every_decoder
def test_a_seed_repeats_the_draw_whatever_the_batch(name):
    decoder, features = make(name), random_features(4)
    words = sample(decoder, features, seed=5)
    assert torch.equal(sample(decoder, features, seed=5), words)
    for i in range(4):
        alone = sample(decoder, features[i : i + 1], seed=5)[0].tolist()
        assert alone == words[i, : len(alone)].tolist()
        assert set(words[i, len(alone) :].tolist()) <= {PAD}
    assert len({str(sample(decoder, features, seed=s).tolist()) for s in range(6)}) > 3


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.0}, {"temperature": math.nan}, {"top_p": 0.0}, {"top_p": 2}, {"top_k": -1}],
)
def test_impossible_sampling_options_are_explained(options):
    with pytest.raises(ValueError, match="temperature must be above 0, top_p in"):
        sample(make("rnn"), random_features(1), **options)


def test_samples_of_an_image_follow_each_other():
    decoder, features = make("lstm"), random_features(3)
    words = sample(decoder, features, seed=5, samples_per_image=2)  # the same random numbers
    one = sample(decoder, features, seed=5)
    assert torch.equal(words[::2], one)
    assert torch.equal(words[1::2], one)


@every_decoder
def test_with_given_noise_the_draws_of_a_batch_are_those_of_its_parts(name):
    decoder, features, noise = make(name), random_features(4), torch.rand(8, 6)
    whole = sample(decoder, features, noise=noise)
    assert len(whole) == 8
    assert whole.shape[1] <= 6
    for first in (0, 2):
        part = sample(decoder, features[first : first + 2], noise=noise[2 * first : 2 * first + 4])
        expected = whole[2 * first : 2 * first + 4, : part.shape[1]]
        assert torch.equal(part, expected)


@every_decoder
def test_captions_that_go_on_are_the_same_after_those_that_ended_are_left_out(name):
    decoder, features, noise = make(name), random_features(40), torch.rand(200, 12)
    decoder.output.bias.data[END] += 3  # captions end early
    rows, step = [], decoder.step
    decoder.step = lambda word, state: rows.append(len(word)) or step(word, state)
    whole = sample(decoder, features, noise=noise)
    assert 200 in rows
    assert min(rows) < 100
    assert all(number == 200 or number % 32 == 0 for number in rows)
    for first in range(0, 200, 40):  # too few to leave any out
        part = sample(decoder, features[first // 5 : first // 5 + 8], noise=noise[first:][:40])
        assert torch.equal(part, whole[first : first + 40, : part.shape[1]])
