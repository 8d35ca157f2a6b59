"""The search against an oracle that scores every possible caption by teacher forcing.

With 9 words in the vocabulary, of which 4 are special, and at most 3 words there are 1 + 5 + 25
captions that end by `<end>` and 125 that the limit cuts off.
"""

import itertools
import math

import pytest
import torch

from captioning.inference.sampling import sample
from captioning.inference.search import Hypothesis, attention_weights, beam_search, greedy
from tests.helpers import VOCAB, every_decoder, make, random_features, with_attention

END, UNK, PAD = 1, 2, 3


WORDS, MAX_WORDS = tuple(range(4, VOCAB)), 3


EVERYTHING = sum(len(WORDS) ** n for n in range(MAX_WORDS + 1))  # 156 captions


@torch.no_grad()
def logprob_of(decoder, image, words, finished) -> float:
    """log p(words, and <end> where finished | image) by teacher forcing."""
    targets = [*words, END] if finished else list(words)
    inputs = torch.tensor([[0, *targets[:-1]]])
    logprobs = decoder(image, inputs).double().log_softmax(dim=-1)[0]
    return sum(logprobs[t, word].item() for t, word in enumerate(targets))


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
    decoder, features = make(name, scale=3.0), random_features(2)
    found = beam_search(decoder, features, EVERYTHING, alpha, MAX_WORDS, n_best=EVERYTHING)
    for i in range(2):
        assert_same(found[i], every_caption(decoder, features[i : i + 1], alpha))


def test_exhaustive_search_with_unknown_words_and_without_repeats():
    decoder, features = make("lstm", scale=3.0), random_features(1)
    found = beam_search(decoder, features, 300, 0.7, MAX_WORDS, 300, suppress_unk=False)
    assert_same(found[0], every_caption(decoder, features, 0.7, words=(UNK, *WORDS)))
    for n in (1, 2):

        def no_repeats(caption, n=n):
            ngrams = [caption[i : i + n] for i in range(len(caption) - n + 1)]
            return len(set(ngrams)) == len(ngrams)

        found = beam_search(decoder, features, 300, 0.7, MAX_WORDS, 300, no_repeat_ngram_size=n)
        assert_same(found[0], every_caption(decoder, features, 0.7, allowed=no_repeats))


def test_finished_and_unfinished_captions_compete():
    """Both kinds come first somewhere among the images, or the oracle would not test much."""
    decoder = make("lstm", scale=3.0)
    with torch.no_grad():
        decoder.output.bias[END] -= 2
    best = [h[0] for h in beam_search(decoder, random_features(40), 200, 0.7, MAX_WORDS)]
    assert {h.finished for h in best} == {True, False}
    shorter = [h[0] for h in beam_search(decoder, random_features(40), 200, 0.0, MAX_WORDS)]
    assert sum(len(h.words) for h in shorter) < sum(len(h.words) for h in best)


@with_attention
def test_what_belongs_to_the_image_is_copied_once_a_search_and_not_once_a_word(name):
    """Keys and values of the places are most of the state; the captions stay the same."""
    decoder, features = make(name), random_features(3)
    found = beam_search(decoder, features, 5, max_words=7, n_best=5)
    seen: list[tuple[torch.Tensor, ...]] = []

    class Spy:
        start = staticmethod(decoder.start)

        def step(self, word, state):
            seen.append(state)
            return decoder.step(word, state)

    class Copying(Spy):  # what it returns does not show it
        def step(self, word, state):
            logits, state, attention = decoder.step(word, state)
            return logits, tuple(part.clone() for part in state), attention

    assert beam_search(Spy(), features, 5, max_words=7, n_best=5) == found
    kept = [all(state[i] is seen[0][i] for state in seen) for i in range(len(seen[0]))]
    assert len(seen) == 7
    assert 0 < sum(kept) < len(kept)
    assert beam_search(Copying(), features, 5, max_words=7, n_best=5) == found


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
def test_greedy_takes_the_most_likely_word(name):
    decoder, features = make(name), random_features(4)
    words = greedy(decoder, features, max_words=6)
    inputs = torch.cat([torch.zeros(4, 1, dtype=torch.long), words[:, :-1]], dim=1)
    with torch.no_grad():
        logits = decoder(features, inputs)
    logits[..., [0, UNK, PAD]] = -torch.inf
    for row, expected in zip(words.tolist(), logits.argmax(dim=-1).tolist(), strict=True):
        end = row.index(END) + 1 if END in row else len(row)
        assert row[:end] == expected[:end]
        assert set(row[end:]) <= {PAD}


@every_decoder
def test_an_images_captions_do_not_depend_on_its_batch(name):
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
    decoder, features = make("transformer", scale=3.0), random_features(60)
    means = [
        sum(h[0].score for h in beam_search(decoder, features, k, max_words=6)) for k in (1, 3, 30)
    ]
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("n", [1, 2])
def test_repeats_and_unknown_words_are_suppressed(n):
    decoder, features = make("rnn"), random_features(12)
    with torch.no_grad():
        decoder.output.bias[UNK] += 50
        decoder.output.bias[END] -= 50
    assert (greedy(decoder, features, 10, suppress_unk=False) == UNK).all()
    plain = [tuple(w) for w in greedy(decoder, features, 10).tolist()]
    assert not any(UNK in words for words in plain)

    def repeats(words):
        ngrams = [words[i : i + n] for i in range(len(words) - n + 1)]
        return len(set(ngrams)) < len(ngrams)

    assert any(map(repeats, plain))
    found = [tuple(w) for w in greedy(decoder, features, 10, no_repeat_ngram_size=n).tolist()]
    found += [tuple(w) for w in sample(decoder, features, 0, no_repeat_ngram_size=n).tolist()]
    found = [tuple(w for w in words if w not in (END, PAD)) for words in found]
    beams = beam_search(decoder, features, 3, max_words=10, no_repeat_ngram_size=n)
    found += [h[0].words for h in beams]
    assert not any(map(repeats, found))
    assert not any(UNK in words for words in found)


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
        ({"alpha": -0.1}, "alpha -0.1 must be a finite number, 0 or more"),
        ({"alpha": math.nan}, "alpha"),
    ],
)
def test_an_impossible_beam_is_explained(options, why):
    with pytest.raises(ValueError, match=why):
        beam_search(make("rnn"), random_features(1), **options)


def test_broken_weights_are_noticed():
    decoder = make("lstm")
    with torch.no_grad():
        decoder.output.weight[5] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        beam_search(decoder, random_features(2))


# --- attention -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attention", "transformer, 2 layers"])
def test_attention_weights_are_those_of_the_steps(name):
    decoder, features = make(name), random_features(1)
    words = [5, 4, 7]
    weights = attention_weights(decoder, features, words)
    assert weights.shape == (3, features.shape[1])
    state = decoder.start(features)
    for before, weight in zip([0, 5, 4], weights, strict=True):
        with torch.no_grad():
            _, state, attention = decoder.step(torch.tensor([before]), state)
        torch.testing.assert_close(weight, attention[0])
    assert attention_weights(make("lstm"), features, words) is None
