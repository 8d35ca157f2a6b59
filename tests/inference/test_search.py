"""The search against an oracle that tries every caption there is and scores it by teacher forcing.

With 9 words in the vocabulary, of which 5 are none of the four special ones, and at most 3 words
there are 1 + 5 + 25 captions that end by `<end>` and 125 that the limit cuts off.
"""

import itertools
import math

import pytest
import torch
from tests.helpers import KINDS, VOCAB, make, random_features

from captioning.inference.search import Hypothesis, attention_weights, beam_search, greedy
from captioning.inference.sampling import sample

END, UNK, PAD = 1, 2, 3
WORDS, MAX_WORDS = tuple(range(4, VOCAB)), 3
EVERYTHING = sum(len(WORDS) ** n for n in range(MAX_WORDS + 1))  # 156 captions

every_decoder = pytest.mark.parametrize("name", KINDS)


@torch.no_grad()
def logprob_of(decoder, image, words, finished) -> float:
    """log p(words, and <end> where finished | image) by teacher forcing."""
    said = [*words, END] if finished else list(words)
    inputs = torch.tensor([[0, *said[:-1]]])
    logprobs = decoder(image, inputs).double().log_softmax(dim=-1)[0]
    return sum(logprobs[t, word].item() for t, word in enumerate(said))


def every_caption(decoder, image, alpha, words=WORDS, allowed=lambda caption: True) -> list:
    """All captions of at most MAX_WORDS words, the best score first."""
    found = []
    for n in range(MAX_WORDS + 1):
        for caption in itertools.product(words, repeat=n):
            finished = n < MAX_WORDS
            if allowed(caption):
                logprob = logprob_of(decoder, image, caption, finished)
                length = n + finished
                score = logprob / ((5 + length) / 6) ** alpha
                found.append(Hypothesis(caption, logprob, score, finished))
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-4)
    assert [h.logprob for h in found] == pytest.approx([h.logprob for h in expected], abs=1e-4)
    assert {(h.words, h.finished) for h in found} == {(h.words, h.finished) for h in expected}
    assert found[0].words == expected[0].words


# --- beams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@every_decoder
def test_a_wide_beam_is_exhaustive_search(name, alpha):
    decoder, features = make(name, loud=3.0), random_features(2)
    found = beam_search(decoder, features, EVERYTHING, alpha, MAX_WORDS, n_best=EVERYTHING)
    for i in range(2):
        assert_same(found[i], every_caption(decoder, features[i : i + 1], alpha))


def test_exhaustive_search_with_unknown_words_and_without_repeats():
    decoder, features = make("lstm", loud=3.0), random_features(1)
    found = beam_search(decoder, features, 300, 0.7, MAX_WORDS, 300, suppress_unk=False)
    assert_same(found[0], every_caption(decoder, features, 0.7, words=(UNK, *WORDS)))
    for n in (1, 2):

        def no_repeats(caption, n=n):
            runs = [caption[i : i + n] for i in range(len(caption) - n + 1)]
            return len(set(runs)) == len(runs)

        found = beam_search(decoder, features, 300, 0.7, MAX_WORDS, 300, no_repeat_ngram_size=n)
        assert_same(found[0], every_caption(decoder, features, 0.7, allowed=no_repeats))


def test_finished_and_unfinished_captions_compete():
    """Both kinds come first somewhere among the images, or the oracle would not test much."""
    decoder = make("lstm", loud=3.0)
    with torch.no_grad():
        decoder.output.bias[END] -= 2
    best = [h[0] for h in beam_search(decoder, random_features(40), 200, 0.7, MAX_WORDS)]
    assert {h.finished for h in best} == {True, False}
    shorter = [h[0] for h in beam_search(decoder, random_features(40), 200, 0.0, MAX_WORDS)]
    assert sum(len(h.words) for h in shorter) < sum(len(h.words) for h in best)


@every_decoder
def test_n_best_come_in_order_with_their_true_logprobs(name):
    decoder, features = make(name), random_features(3)
    for i, hypotheses in enumerate(beam_search(decoder, features, 6, 0.7, 7, n_best=6)):
        assert len({h.words for h in hypotheses}) == len(hypotheses) == 6
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
        for h in hypotheses:
            expected = logprob_of(decoder, features[i : i + 1], h.words, h.finished)
            assert h.logprob == pytest.approx(expected, abs=1e-4)
            assert h.finished == (len(h.words) < 7)
            length = len(h.words) + h.finished
            assert h.score == pytest.approx(h.logprob / ((5 + length) / 6) ** 0.7, abs=1e-4)


@every_decoder
def test_a_beam_of_one_is_greedy(name):
    decoder, features = make(name), random_features(8)
    words = greedy(decoder, features, max_words=9)
    for i, [best] in enumerate(beam_search(decoder, features, 1, max_words=9)):
        expected = [w for w in words[i].tolist() if w not in (END, PAD)]
        assert list(best.words) == expected


@every_decoder
def test_greedy_takes_the_likeliest_word(name):
    decoder, features = make(name), random_features(4)
    words = greedy(decoder, features, max_words=6)
    inputs = torch.cat([torch.zeros(4, 1, dtype=torch.long), words[:, :-1]], dim=1)
    with torch.no_grad():
        logits = decoder(features, inputs)
    logits[..., [0, UNK, PAD]] = -torch.inf
    for row, likeliest in zip(words.tolist(), logits.argmax(dim=-1).tolist(), strict=True):
        end = row.index(END) + 1 if END in row else len(row)
        assert row[:end] == likeliest[:end]
        assert set(row[end:]) <= {PAD}


@every_decoder
def test_an_image_does_not_hear_the_others(name):
    decoder, features = make(name), random_features(5)
    together = beam_search(decoder, features, 3, max_words=8, n_best=3)
    words = greedy(decoder, features, max_words=8)
    for i in range(5):
        alone = beam_search(decoder, features[i : i + 1], 3, max_words=8, n_best=3)[0]
        assert [h.words for h in alone] == [h.words for h in together[i]]
        scores = [h.score for h in together[i]]
        assert [h.score for h in alone] == pytest.approx(scores, abs=1e-4)
        one = greedy(decoder, features[i : i + 1], max_words=8)[0].tolist()
        assert one == words[i, : len(one)].tolist()


def test_a_wider_beam_finds_better_captions():
    decoder, features = make("transformer", loud=3.0), random_features(60)
    means = [
        sum(h[0].score for h in beam_search(decoder, features, k, max_words=6)) for k in (1, 3, 30)
    ]
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("n", [1, 2])
def test_repeats_and_unknown_words_are_blocked(n):
    decoder, features = make("rnn"), random_features(12)
    with torch.no_grad():
        decoder.output.bias[UNK] += 50
        decoder.output.bias[END] -= 50
    assert (greedy(decoder, features, 10, suppress_unk=False) == UNK).all()
    plain = [tuple(w) for w in greedy(decoder, features, 10).tolist()]
    assert not any(UNK in words for words in plain)

    def repeats(words):
        runs = [words[i : i + n] for i in range(len(words) - n + 1)]
        return len(set(runs)) < len(runs)

    assert any(map(repeats, plain))
    said = [tuple(w) for w in greedy(decoder, features, 10, no_repeat_ngram_size=n).tolist()]
    said += [tuple(w) for w in sample(decoder, features, 0, no_repeat_ngram_size=n).tolist()]
    said = [tuple(w for w in words if w not in (END, PAD)) for words in said]
    said += [h[0].words for h in beam_search(decoder, features, 3, max_words=10, no_repeat_ngram_size=n)]
    assert not any(map(repeats, said))
    assert not any(UNK in words for words in said)


def test_max_words_cuts():
    decoder, features = make("gru"), random_features(3)
    with torch.no_grad():
        decoder.output.bias[END] -= 50  # never ends by itself
    for limit in (1, 4):
        assert greedy(decoder, features, limit).shape == (3, limit)
        assert sample(decoder, features, 0, max_words=limit).shape == (3, limit)
        for [best] in beam_search(decoder, features, 2, max_words=limit):
            assert len(best.words) == limit
            assert not best.finished


def test_a_search_stops_where_all_have_ended():
    decoder, features = make("gru"), random_features(3)
    with torch.no_grad():
        decoder.output.bias[END] += 50
    assert greedy(decoder, features, 20).tolist() == [[END]] * 3
    assert [h.words for [h] in beam_search(decoder, features, 1)] == [()] * 3


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"beam_size": 0}, "beam_size"),
        ({"n_best": 0}, "n_best"),
        ({"max_words": 0}, "max_words"),
        ({"alpha": -0.1}, "alpha -0.1 would reward short captions twice"),
        ({"alpha": math.nan}, "alpha"),
    ],
)
def test_a_beam_that_cannot_be_is_explained(options, why):
    with pytest.raises(ValueError, match=why):
        beam_search(make("rnn"), random_features(1), **options)


def test_broken_weights_are_noticed():
    decoder = make("lstm")
    with torch.no_grad():
        decoder.output.weight[5] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        beam_search(decoder, random_features(2))


# --- sampling --------------------------------------------------------------------------------


def shares(decoder, image, samples_per_image=20_000, **options) -> torch.Tensor:
    """How often each word was the first one."""
    torch.manual_seed(0)
    words = sample(decoder, image.expand(samples_per_image, -1, -1), max_words=1, **options)
    return torch.bincount(words[:, 0], minlength=VOCAB) / draws


@torch.no_grad()
def first_word(decoder, image, temperature=1.0) -> torch.Tensor:
    logits = decoder(image, torch.zeros(1, 1, dtype=torch.long))[0, 0] / temperature
    logits[[0, UNK, PAD]] = -torch.inf
    return logits.softmax(dim=0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_words_are_drawn_by_their_probability(temperature):
    decoder, image = make("lstm"), random_features(1)
    expected = first_word(decoder, image, temperature)
    found = shares(decoder, image, temperature=temperature)
    likely = expected > 0
    assert (found[~likely] == 0).all()
    chi_square = 20_000 * ((found - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_square < 20.5  # 5 degrees of freedom: one seed in a thousand would be above


def test_top_k_and_top_p_draw_from_the_likeliest_only():
    decoder, image = make("lstm"), random_features(1)
    expected = first_word(decoder, image)
    order = expected.argsort(descending=True)
    for k in (1, 2, 4):
        kept = torch.zeros(VOCAB).index_fill(0, order[:k], 1) * expected
        found = shares(decoder, image, top_k=k)
        assert (found - kept / kept.sum()).abs().max() < 0.02
        p = (expected[order[:k]].sum() - 1e-4).item()  # the k likeliest are just enough
        assert torch.equal(shares(decoder, image, top_p=p), found)


@every_decoder
def test_the_likeliest_word_only_is_greedy(name):
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
def test_a_draw_that_cannot_be_is_explained(options):
    with pytest.raises(ValueError, match="temperature must be above 0, top_p in"):
        sample(make("rnn"), random_features(1), **options)


def test_draws_of_an_image_stand_side_by_side():
    decoder, features = make("lstm"), random_features(3)
    words = sample(decoder, features, seed=5, samples_per_image=2)  # the same stream of chance for all
    one = sample(decoder, features, seed=5)
    assert torch.equal(words[::2], one)
    assert torch.equal(words[1::2], one)


# --- attention -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["attention", "transformer, 2 layers"])
def test_attention_of_a_caption_is_what_its_steps_saw(name):
    decoder, features = make(name), random_features(1)
    words = [5, 4, 7]
    looks = attention_weights(decoder, features, words)
    assert looks.shape == (3, features.shape[1])
    state = decoder.start(features)
    for before, look in zip([0, 5, 4], looks, strict=True):
        with torch.no_grad():
            _, state, attention = decoder.step(torch.tensor([before]), state)
        torch.testing.assert_close(look, attention[0])
    assert attention_weights(make("lstm"), features, words) is None
