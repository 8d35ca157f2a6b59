"""From logits to captions: greedy, beam search, sampling. One way for every decoder.

    greedy(decoder, features)        the likeliest word, again and again
    beam_search(decoder, features)   the likeliest captions, K kept alive at each step
    sample(decoder, features, seed)  words drawn by their probability
    attention_of(decoder, ...)       where each word of a caption looked

All work on a batch at once, without a Python loop over images, and an image's captions do not
depend on the others in its batch. Ids as in vocabulary.py: `<start>` 0, `<end>` 1, `<unk>` 2.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from contract import Decoder, repeated
from vocabulary import Vocabulary

START, END, UNK, PAD = Vocabulary.start, Vocabulary.end, Vocabulary.unk, Vocabulary.pad


@dataclass(frozen=True)
class Hypothesis:
    """A caption and what the model thinks of it."""

    words: tuple[int, ...]  # without <start> and <end>
    logprob: float  # log p(words, and <end> where finished | image), natural logarithm
    score: float  # logprob over the length penalty; what captions are ranked by
    finished: bool  # ended by <end> rather than by the limit of words


def word_logprobs(logits: Tensor, words: Tensor, block_unk: bool, block_repeats: int) -> Tensor:
    """logits (R, V) after words (R, T) -> log-probabilities (R, V), -inf for what is not allowed.

    The softmax runs over all V words before any is forbidden, so what remains are the model's own
    log-probabilities. `<start>` and `<pad>` are never words of a caption. `block_repeats=n` forbids
    the word that would complete a sequence of n words for the second time.
    """
    logprobs = logits.float().log_softmax(dim=-1)
    logprobs[:, [START, PAD]] = -torch.inf
    if block_unk:
        logprobs[:, UNK] = -torch.inf
    n = block_repeats
    if n and words.shape[1] >= n:
        said = words.unfold(1, n, 1)  # (R, T - n + 1, n): every sequence of n words so far
        last = words[:, words.shape[1] - n + 1 :]  # (R, n - 1)
        again = (said[..., :-1] == last[:, None]).all(dim=-1)  # (R, T - n + 1)
        row, place = again.nonzero(as_tuple=True)
        logprobs[row, said[row, place, -1]] = -torch.inf
    return logprobs


@torch.no_grad()
def greedy(
    decoder: Decoder,
    features: Tensor,
    max_words: int = 20,
    block_unk: bool = True,
    block_repeats: int = 0,
) -> Tensor:
    """features (B, P, E) -> words (B, T): the likeliest next word each time, `<pad>` after `<end>`.

    The same captions as a beam of size 1.
    """
    state = decoder.start(features)
    words = torch.full((len(state[0]), 1), START, device=state[0].device)
    ended = torch.zeros_like(words[:, 0], dtype=torch.bool)
    for _ in range(max_words):
        logits, state, _ = decoder.step(words[:, -1], state)
        logprobs = word_logprobs(logits, words[:, 1:], block_unk, block_repeats)
        word = logprobs.argmax(dim=-1).masked_fill(ended, PAD)
        words = torch.cat([words, word[:, None]], dim=1)
        ended |= word == END
        if ended.all():
            break
    return words[:, 1:]


@torch.no_grad()
def beam_search(
    decoder: Decoder,
    features: Tensor,
    beam_size: int = 3,
    alpha: float = 0.7,
    max_words: int = 20,
    n_best: int = 1,
    block_unk: bool = True,
    block_repeats: int = 0,
) -> list[list[Hypothesis]]:
    """features (B, P, E) -> for each image its `n_best` captions, the best first.

    At each step the K likeliest continuations of all kept captions survive; one that ends gives up
    its place for good. Captions are ranked by

        score = logprob / ((5 + length) / 6) ** alpha        (Wu et al. 2016, arXiv:1609.08144)

    where length counts the words and `<end>`. A sum of negative numbers falls with every word, so
    alpha = 0 favours short captions, and a larger alpha longer ones. What `max_words` cuts off is
    ranked by the same rule. Wide enough a beam finds what trying all captions would; for `n_best`
    captions it is at least so wide.
    """
    if beam_size < 1 or n_best < 1 or max_words < 1:
        raise ValueError(
            "A beam keeps at least 1 caption of at least 1 word: beam_size, n_best and max_words "
            "must be 1 or more."
        )
    if not alpha >= 0:
        raise ValueError(f"alpha {alpha} would reward short captions twice; it must be 0 or more.")
    beam_size = max(beam_size, n_best)
    state = decoder.start(features)
    images, device = len(state[0]), state[0].device
    state = repeated(state, images * beam_size)
    first_row = torch.arange(images, device=device)[:, None] * beam_size  # of each image's beam
    words = torch.empty(images * beam_size, 0, dtype=torch.long, device=device)
    word = torch.full((images * beam_size,), START, device=device)
    logprob = torch.full((images, beam_size), -torch.inf, device=device)
    logprob[:, 0] = 0.0  # all beams begin alike: only the first of them counts
    places_left = torch.full((images, 1), beam_size, device=device)
    rank = torch.arange(beam_size, device=device)
    ends: list[tuple[Tensor, Tensor, int]] = []  # (log-probabilities, words, length) of each step

    for length in range(1, max_words + 1):
        logits, state, _ = decoder.step(word, state)
        nexts = word_logprobs(logits, words, block_unk, block_repeats)  # (B * K, V)
        vocab_size = nexts.shape[1]
        nexts = (nexts + logprob.view(-1, 1)).view(images, -1)  # (B, K * V)
        logprob, choice = nexts.topk(beam_size)  # (B, K), the best first
        logprob = logprob.masked_fill(rank >= places_left, -torch.inf)
        parent = (first_row + choice // vocab_size).view(-1)
        word = (choice % vocab_size).view(-1)
        words, state = words[parent], tuple(part[parent] for part in state)
        ended = (word == END).view(images, beam_size) & logprob.isfinite()
        ends.append((logprob.masked_fill(~ended, -torch.inf), words, length))
        places_left = places_left - ended.sum(dim=1, keepdim=True)
        logprob = logprob.masked_fill(ended, -torch.inf)
        words = torch.cat([words, word[:, None]], dim=1)
        if not logprob.isfinite().any():
            break
    ends.append((logprob, words, length))  # what the limit cut off
    return rank_hypotheses(ends, alpha, n_best, images)


def rank_hypotheses(
    ends: list[tuple[Tensor, Tensor, int]], alpha: float, n_best: int, images: int
) -> list[list[Hypothesis]]:
    """The `n_best` of all captions that ended at any step; the last entry never ended."""
    scores = torch.cat([lp / ((5 + length) / 6) ** alpha for lp, _, length in ends], dim=1)
    best, column = (part.cpu() for part in scores.topk(min(n_best, scores.shape[1])))
    beam_size = ends[0][0].shape[1]
    logprobs = torch.cat([lp for lp, _, _ in ends], dim=1).cpu()
    said = [words.cpu() for _, words, _ in ends]
    found: list[list[Hypothesis]] = []
    for image in range(images):
        hypotheses = []
        for score, place in zip(best[image].tolist(), column[image].tolist(), strict=True):
            if score > -math.inf:
                step, row = place // beam_size, image * beam_size + place % beam_size
                hypotheses.append(
                    Hypothesis(
                        words=tuple(said[step][row].tolist()),
                        logprob=logprobs[image, place].item(),
                        score=score,
                        finished=step < len(ends) - 1,
                    )
                )
        if not hypotheses:  # <end> is never forbidden, so this cannot happen to numbers
            raise ValueError("The decoder answers with NaN: its weights are broken, train anew.")
        found.append(hypotheses)
    return found


@torch.no_grad()
def sample(
    decoder: Decoder,
    features: Tensor,
    seed: int | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    max_words: int = 20,
    block_unk: bool = True,
    block_repeats: int = 0,
    draws: int = 1,
) -> Tensor:
    """features (B, P, E) -> words (B, T), each drawn by its probability, `<pad>` after `<end>`.

    temperature  below 1 sharpens the probabilities, above 1 flattens them
    top_k        only the k likeliest words (0: all); Fan et al. 2018, arXiv:1805.04833
    top_p        only the likeliest words that together reach probability p; Holtzman et al. 2020,
                 arXiv:1904.09751
    seed         gives every image the same stream of random numbers, so its caption does not
                 depend on the others in the batch; None draws them independently
    draws        captions of each image, one after the other: words (B * draws, T)
    """
    if not temperature > 0 or not 0 < top_p <= 1 or top_k < 0:
        raise ValueError("temperature must be above 0, top_p in (0, 1], top_k 0 or more.")
    state = decoder.start(features)
    state = repeated(state, draws * len(state[0]))
    captions, device = len(state[0]), state[0].device
    if seed is None:
        noise = torch.rand(captions, max_words, device=device)
    else:
        noise = torch.rand(1, max_words, generator=torch.Generator().manual_seed(seed)).to(device)
        noise = noise.expand(captions, -1)
    words = torch.full((captions, max_words + 1), PAD, device=device)
    words[:, 0] = START
    ended = torch.zeros(captions, dtype=torch.bool, device=device)
    rows = torch.arange(captions, device=device)  # those that `state` speaks of
    for t in range(max_words):
        logits, state, _ = decoder.step(words[rows, t], state)
        logprobs = word_logprobs(logits, words[rows, 1 : t + 1], block_unk, block_repeats)
        share = keep_likely((logprobs / temperature).softmax(dim=-1), top_k, top_p)
        below = share.cumsum(dim=-1)
        word = (below <= noise[rows, t, None] * below[:, -1:]).sum(dim=-1)
        word = word.clamp(max=share.shape[1] - 1).masked_fill(ended[rows], PAD)
        words[rows, t + 1] = word
        ended |= words[:, t + 1] == END
        if ended.all():
            break
        going = ~ended[rows]
        if 2 * going.sum() < len(rows):  # most have ended: half the work from here on
            rows, state = rows[going], tuple(part[going] for part in state)
    return words[:, 1 : t + 2]


def keep_likely(share: Tensor, top_k: int, top_p: float) -> Tensor:
    """Probabilities (R, V) with 0 for all but the `top_k` words, or those that reach `top_p`."""
    if not top_k and top_p == 1:
        return share
    ordered = share.sort(dim=-1, descending=True).values
    dropped = ordered.cumsum(dim=-1) - ordered >= top_p  # likelier words have reached it
    if top_k:
        dropped[:, top_k:] = True
    least = ordered.masked_fill(dropped, torch.inf).amin(dim=-1, keepdim=True)
    return share.masked_fill(share < least, 0.0)


@torch.no_grad()
def attention_of(decoder: Decoder, features: Tensor, words: list[int]) -> Tensor | None:
    """Where the decoder looked before it said each of `words`: (T, P), or None without attention.

    features (1, P, E) of one image.
    """
    state, looks = decoder.start(features), []
    for word in [START, *words][: len(words)]:
        _, state, attention = decoder.step(torch.tensor([word], device=features.device), state)
        if attention is None:
            return None
        looks.append(attention[0])
    return torch.stack(looks) if looks else None
