"""From logits to the most likely captions: greedy and beam search, the same for every decoder.

    greedy(decoder, features)          the most likely next word, again and again
    beam_search(decoder, features)     the most likely captions, K kept at each step
    attention_weights(decoder, ...)    where the decoder attended before each word of a caption

Captions drawn at random instead are in sampling.py.

All work on a batch at once, without a Python loop over images, and an image's captions do not
depend on the rest of its batch. Ids as in vocabulary.py: `<start>` 0, `<end>` 1, `<unk>` 2.
Shapes: B images, K captions in each image's beam, R = B * K rows, T words, V vocabulary.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from captioning.models.decoder import State, repeat_state
from vocabulary import Vocabulary

START, END, UNK, PAD = Vocabulary.start, Vocabulary.end, Vocabulary.unk, Vocabulary.pad


class Steppable(Protocol):
    """What a search needs of a decoder: a `Decoder`, an ensemble, or anything with these two."""

    def start(self, features: Any) -> State: ...

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]: ...


@dataclass(frozen=True)
class Hypothesis:
    """A caption that the search found, and how the model rates it."""

    words: tuple[int, ...]  # without <start> and <end>
    logprob: float  # log p(words, and <end> where finished | image), natural logarithm
    score: float  # logprob over the length penalty; captions are ranked by it
    finished: bool  # ended by <end> rather than by the limit of words


def next_word_logprobs(
    logits: Tensor, words: Tensor, suppress_unk: bool, no_repeat_ngram_size: int
) -> Tensor:
    """logits (R, V) after words (R, T) -> log-probabilities (R, V), -inf for forbidden words.

    The softmax runs over all V words before any is forbidden, so the rest keep the model's own
    log-probabilities. `<start>` and `<pad>` are never words of a caption. With
    `no_repeat_ngram_size=n` a word that would complete an n-gram a second time is forbidden.
    """
    logprobs = logits.float().log_softmax(dim=-1)
    logprobs[:, [START, PAD]] = -torch.inf
    if suppress_unk:
        logprobs[:, UNK] = -torch.inf
    n = no_repeat_ngram_size
    if n and words.shape[1] >= n:
        ngrams = words.unfold(1, n, 1)  # (R, T - n + 1, n): every n-gram so far
        last = words[:, words.shape[1] - n + 1 :]  # (R, n - 1)
        repeats = (ngrams[..., :-1] == last[:, None]).all(dim=-1)  # (R, T - n + 1)
        row, position = repeats.nonzero(as_tuple=True)
        logprobs[row, ngrams[row, position, -1]] = -torch.inf
    return logprobs


@torch.no_grad()
def greedy(
    decoder: Steppable,
    features: Tensor,
    max_words: int = 20,
    suppress_unk: bool = True,
    no_repeat_ngram_size: int = 0,
) -> Tensor:
    """features (B, P, E) -> words (B, T): always the most likely word; `<pad>` follows `<end>`.

    The same captions as a beam of size 1.
    """
    state = decoder.start(features)
    words = torch.full((len(state[0]), 1), START, device=state[0].device)
    ended = torch.zeros_like(words[:, 0], dtype=torch.bool)
    for _ in range(max_words):
        logits, state, _ = decoder.step(words[:, -1], state)
        logprobs = next_word_logprobs(logits, words[:, 1:], suppress_unk, no_repeat_ngram_size)
        word = logprobs.argmax(dim=-1).masked_fill(ended, PAD)
        words = torch.cat([words, word[:, None]], dim=1)
        ended |= word == END
        if ended.all():
            break
    return words[:, 1:]


@torch.no_grad()
def beam_search(
    decoder: Steppable,
    features: Tensor,
    beam_size: int = 3,
    alpha: float = 0.7,
    max_words: int = 20,
    n_best: int = 1,
    suppress_unk: bool = True,
    no_repeat_ngram_size: int = 0,
) -> list[list[Hypothesis]]:
    """features (B, P, E) -> for each image its `n_best` captions, the best first.

    At each step the K most likely continuations of all kept captions survive; one that ends gives
    up its place in the beam. Captions are ranked by

        score = logprob / ((5 + length) / 6) ** alpha        (Wu et al. 2016, arXiv:1609.08144)

    where length counts the words and `<end>`. A sum of negative numbers falls with every word, so
    alpha = 0 favors short captions, and a larger alpha longer ones. Captions that `max_words` cuts
    off are ranked by the same rule. A wide enough beam equals exhaustive search; for `n_best`
    captions the beam is at least that wide.

    Raises ValueError where a size is below 1 or alpha below 0, and where the decoder returns NaN.
    """
    if beam_size < 1 or n_best < 1 or max_words < 1:
        raise ValueError(
            "A beam keeps at least 1 caption of at least 1 word: beam_size, n_best and max_words "
            "must be 1 or more."
        )
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha {alpha} must be a finite number, 0 or more.")
    beam_size = max(beam_size, n_best)
    state = decoder.start(features)
    images, device = len(state[0]), state[0].device
    state = repeat_state(state, images * beam_size)
    words = torch.empty(images * beam_size, 0, dtype=torch.long, device=device)  # (R, T)
    word = torch.full((images * beam_size,), START, device=device)  # (R,)
    logprob = torch.full((images, beam_size), -torch.inf, device=device)  # (B, K)
    logprob[:, 0] = 0.0  # all rows of a beam begin alike: only the first one counts
    free_places = torch.full((images, 1), beam_size, device=device)
    finished_beams: list[tuple[Tensor, Tensor, int]] = []  # of each step: (B, K), (R, T), length

    for length in range(1, max_words + 1):
        logits, new_state, _ = decoder.step(word, state)
        next_logprobs = next_word_logprobs(logits, words, suppress_unk, no_repeat_ngram_size)
        logprob, parent, word = _expand(logprob, next_logprobs, free_places)
        words, state = words[parent], _reorder(state, new_state, parent)
        ended_logprob, logprob, free_places = _finish(logprob, word, free_places)
        finished_beams.append((ended_logprob, words, length))
        words = torch.cat([words, word[:, None]], dim=1)
        if not logprob.isfinite().any():
            break
    finished_beams.append((logprob, words, length))  # cut off by the limit
    return _rank(finished_beams, alpha, n_best)


def _reorder(state: State, new_state: State, parent: Tensor) -> State:
    """The state of the captions that continue; parent (R,): the row that each one continues.

    What a step returns as it got it, like the keys and values of the places, belongs to the image.
    All rows of its beam hold the same, so their order does not matter, and nothing is copied.
    """
    pairs = zip(state, new_state, strict=True)
    return tuple(new if new is old else new[parent] for old, new in pairs)


def _expand(
    logprob: Tensor, next_logprobs: Tensor, free_places: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The K best continuations of each image's beam.

    logprob (B, K), next_logprobs (R, V), free_places (B, 1) -> logprob (B, K), the best first;
    parent (R,): the row that each one continues; word (R,): the word that it adds.
    """
    images, beam_size = logprob.shape
    vocab_size = next_logprobs.shape[1]
    total = (next_logprobs + logprob.view(-1, 1)).view(images, -1)  # (B, K * V)
    logprob, choice = total.topk(beam_size)  # (B, K)
    rank = torch.arange(beam_size, device=logprob.device)
    logprob = logprob.masked_fill(rank >= free_places, -torch.inf)
    first_row = torch.arange(images, device=logprob.device)[:, None] * beam_size
    return logprob, (first_row + choice // vocab_size).view(-1), (choice % vocab_size).view(-1)


def _finish(logprob: Tensor, word: Tensor, free_places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take the captions that have just ended out of the beams.

    logprob (B, K), word (R,), free_places (B, 1) -> logprob of those that ended (-inf for the
    others), logprob of those that continue, and the places that remain.
    """
    ended = (word == END).view(logprob.shape) & logprob.isfinite()
    ended_logprob = logprob.masked_fill(~ended, -torch.inf)
    free_places = free_places - ended.sum(dim=1, keepdim=True)
    return ended_logprob, logprob.masked_fill(ended, -torch.inf), free_places


def _rank(
    finished_beams: list[tuple[Tensor, Tensor, int]], alpha: float, n_best: int
) -> list[list[Hypothesis]]:
    """The `n_best` of all captions that ended at any step; the last entry never ended."""
    logprobs = torch.cat([logprob for logprob, _, _ in finished_beams], dim=1)  # (B, steps * K)
    penalty = [((5 + length) / 6) ** alpha for _, _, length in finished_beams]
    scores = torch.cat(
        [logprob / p for (logprob, _, _), p in zip(finished_beams, penalty, strict=True)], dim=1
    )
    best, column = (part.cpu() for part in scores.topk(min(n_best, scores.shape[1])))
    logprobs, beam_size = logprobs.cpu(), finished_beams[0][0].shape[1]
    words_at = [words.cpu() for _, words, _ in finished_beams]
    ranked: list[list[Hypothesis]] = []
    for image in range(len(best)):
        hypotheses = []
        for score, place in zip(best[image].tolist(), column[image].tolist(), strict=True):
            if score > -math.inf:
                step, row = place // beam_size, image * beam_size + place % beam_size
                hypotheses.append(
                    Hypothesis(
                        words=tuple(words_at[step][row].tolist()),
                        logprob=logprobs[image, place].item(),
                        score=score,
                        finished=step < len(finished_beams) - 1,
                    )
                )
        if not hypotheses:  # <end> is never forbidden: finite logits always give a caption
            raise ValueError("The decoder returns NaN: its weights are broken, train it again.")
        ranked.append(hypotheses)
    return ranked


@torch.no_grad()
def attention_weights(decoder: Steppable, features: Tensor, words: list[int]) -> Tensor | None:
    """Return the attention before each of `words`, (T, P), or None for decoders without it.

    features (1, P, E) of one image.
    """
    state, weights = decoder.start(features), []
    for word in [START, *words][: len(words)]:
        _, state, attention = decoder.step(torch.tensor([word], device=features.device), state)
        if attention is None:
            return None
        weights.append(attention[0])
    return torch.stack(weights) if weights else None
