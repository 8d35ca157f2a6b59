"""Captions drawn at random: temperature, top-k and top-p sampling, the same for every decoder.

    sample(decoder, features, seed)    words drawn by their probability
    top_k_top_p_filter(...)            the probabilities of the most likely words only

A whole batch at once, as in search.py. Shapes: B images, R captions, T words, V vocabulary.
"""

import math

import torch
from torch import Tensor

from captioning.device import rows_where
from captioning.inference.search import END, PAD, START, Steppable, next_word_logprobs
from captioning.models.decoder import State, repeat_state

ROWS = 32  # captions still being written are computed in multiples of this many


@torch.no_grad()
def sample(
    decoder: Steppable,
    features: Tensor,
    seed: int | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    max_words: int = 20,
    suppress_unk: bool = True,
    no_repeat_ngram_size: int = 0,
    samples_per_image: int = 1,
    noise: Tensor | None = None,
) -> Tensor:
    """features (B, P, E) -> words (R, T), each drawn by its probability; `<pad>` follows `<end>`.

    temperature        below 1 sharpens the probabilities, above 1 flattens them
    top_k              only the k most likely words (0: all); Fan et al. 2018, arXiv:1805.04833
    top_p              only the most likely words that together reach probability p; Holtzman et
                       al. 2020, arXiv:1904.09751
    seed               gives every image the same stream of random numbers, so its caption does not
                       depend on the rest of the batch; None draws them independently
    samples_per_image  captions of each image, one after the other: R = B * samples_per_image
    noise              (R, T) random numbers in [0, 1) to draw with, in place of seed, max_words and
                       samples_per_image

    Raises ValueError where temperature, top_k or top_p is out of range.
    """
    if not 0 < temperature < math.inf or not 0 < top_p <= 1 or top_k < 0:
        raise ValueError("temperature must be above 0, top_p in (0, 1], top_k 0 or more.")
    if seed is not None and not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed} must be 0 or more, and below 2**63.")
    state = decoder.start(features)
    images, device = len(state[0]), state[0].device
    if noise is None:
        noise = _uniform_noise(images * samples_per_image, max_words, seed, device)
    captions, max_words = noise.shape
    unfinished = _Unfinished(repeat_state(state, captions))
    words = torch.full((captions, max_words + 1), PAD, device=device)
    words[:, 0] = START
    for t in range(max_words):
        rows = unfinished.rows
        logits = unfinished.step(decoder, words[rows, t])
        logprobs = next_word_logprobs(
            logits, words[rows, 1 : t + 1], suppress_unk, no_repeat_ngram_size
        )
        probability = top_k_top_p_filter((logprobs / temperature).softmax(dim=-1), top_k, top_p)
        word = _draw(probability, noise[rows, t])
        words[rows, t + 1] = word.masked_fill(unfinished.ended, PAD)
        unfinished.update(words[rows, t + 1] == END)
        if unfinished.ended.all():
            break
    return words[:, 1 : t + 2]


def _uniform_noise(captions: int, steps: int, seed: int | None, device: torch.device) -> Tensor:
    """Random numbers in [0, 1), (captions, steps); with a seed the same for every caption."""
    if seed is None:
        return torch.rand(captions, steps, device=device)
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, steps, generator=generator).to(device).expand(captions, -1)


def _draw(probability: Tensor, noise: Tensor) -> Tensor:
    """probability (R, V), up to a factor; noise (R,) -> the word at which each sum passes noise."""
    below = probability.cumsum(dim=-1)
    word = (below <= noise[:, None] * below[:, -1:]).sum(dim=-1)
    return word.clamp(max=probability.shape[1] - 1)


class _Unfinished:
    """The captions still being written; once most have ended, the rest are computed alone.

    rows   (R,) numbers of the captions whose state is kept: R is a multiple of ROWS, or all
    ended  (R,) which of them have ended
    """

    def __init__(self, state: State):
        self.state = state
        self.rows = torch.arange(len(state[0]), device=state[0].device)
        self.ended = torch.zeros_like(self.rows, dtype=torch.bool)

    def step(self, decoder: Steppable, word: Tensor) -> Tensor:
        """word (R,) -> logits (R, V)"""
        logits, self.state, _ = decoder.step(word, self.state)
        return logits

    def update(self, ended_now: Tensor) -> None:
        self.ended |= ended_now
        kept = rows_where(~self.ended, ROWS)
        if 0 < 2 * len(kept) <= len(self.rows):
            self.rows, self.ended = self.rows[kept], self.ended[kept]
            self.state = tuple(part[kept] for part in self.state)


def top_k_top_p_filter(probability: Tensor, top_k: int, top_p: float) -> Tensor:
    """probability (R, V) -> the same, 0 for all but the `top_k` words, or those that reach `top_p`.

    Words exactly as likely as the last one kept are kept as well.
    """
    if not top_k and top_p == 1:
        return probability
    ordered = probability.sort(dim=-1, descending=True).values
    dropped = ordered.cumsum(dim=-1) - ordered >= top_p  # more likely words have reached it
    if top_k:
        dropped[:, top_k:] = True
    least = ordered.masked_fill(dropped, torch.inf).amin(dim=-1, keepdim=True)
    return probability.masked_fill(probability < least, 0.0)
