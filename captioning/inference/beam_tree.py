"""The beam search over one photo as a tree: every caption it kept, and what it dropped.

grow_beam(decoder, features, ...)              the branches, step by step
draw_beam_tree(captioner, photo, beam_size)    the tree as a figure
"""

from dataclasses import dataclass
from typing import Any

import matplotlib.style
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from captioning.inference.attention_maps import STYLE
from captioning.inference.captioner import Captioner
from captioning.inference.search import END, START, Steppable, next_word_logprobs
from captioning.models.decoder import State

KEPT, DROPPED, INK = "#00805E", "#A7ABB3", "#22252B"


@dataclass(frozen=True)
class Branch:
    """A caption that the beam considered: its words so far, its log-probability, its fate."""

    words: tuple[int, ...]
    logprob: float
    kept: bool


@torch.inference_mode()
def grow_beam(
    decoder: Steppable, features: Any, beam_size: int, max_words: int
) -> list[list[Branch]]:
    """Return the branches of each step of a beam over one image (1, P, E), the best first.

    The same search as `search.beam_search`, written to be read: one caption at a time, and all
    that it considers is remembered.
    """
    alive: list[tuple[Branch, State]] = [(Branch((), 0.0, True), decoder.start(features))]
    steps: list[list[Branch]] = []
    while alive and len(steps) < max_words:
        candidates = []
        for branch, state in alive:
            device = state[0].device
            last = torch.tensor([branch.words[-1] if branch.words else START], device=device)
            logits, state, _ = decoder.step(last, state)
            said = torch.tensor([branch.words], dtype=torch.long, device=device)
            logprobs = next_word_logprobs(logits, said, suppress_unk=True, no_repeat_ngram_size=0)
            best = logprobs[0].topk(beam_size)
            for logprob, word in zip(*(part.tolist() for part in best), strict=True):
                candidates.append(((*branch.words, word), branch.logprob + logprob, state))
        candidates.sort(key=lambda candidate: -candidate[1])
        step = [Branch(w, logprob, i < beam_size) for i, (w, logprob, _) in enumerate(candidates)]
        steps.append(step)
        kept = range(min(beam_size, len(step)))
        alive = [(step[i], candidates[i][2]) for i in kept if step[i].words[-1] != END]
        beam_size = len(alive)  # a caption that ended gives up its place
    return steps


def draw_beam_tree(
    captioner: Captioner, photo: Image.Image, beam_size: int = 3, max_words: int = 20
) -> Figure:
    """Draw the beam as a tree: a column a word, log-probabilities below; kept green, dropped gray.

    Of the dropped branches only the most likely `beam_size` of each step are shown. Raises
    ValueError where a size is below 1.
    """
    if beam_size < 1 or max_words < 1:
        raise ValueError("A beam keeps at least 1 caption of 1 word: beam_size, max_words >= 1.")
    features = captioner.features([photo])
    steps = grow_beam(captioner.decoder, features, beam_size, max_words)
    with matplotlib.style.context(STYLE):
        size = 1.1 * (len(steps) + 1), 0.5 + 0.42 * 2 * beam_size
        figure = Figure(figsize=size, layout="constrained")
        panel = figure.add_subplot()
        panel.set_title(f"A beam of {beam_size}: green is kept, gray is dropped")
        panel.axis("off")
        panel.set(xlim=(-0.5, len(steps) + 0.5), ylim=(2 * beam_size - 0.3, -0.6))
        places: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, 0.0)}
        _draw_word(panel, places[()], "<start>", "", KEPT)
        for column, step in enumerate(steps, 1):
            for row, branch in enumerate(step[: 2 * beam_size]):
                color = KEPT if branch.kept else DROPPED
                places[branch.words] = column, row
                (x, y), (from_x, from_y) = places[branch.words], places[branch.words[:-1]]
                panel.plot((from_x + 0.2, x - 0.2), (from_y, y), color=color, lw=1 + branch.kept)
                word = captioner.vocab.words[branch.words[-1]]
                _draw_word(panel, (x, y), word, f"{branch.logprob:.2f}", color)
    return figure


def _draw_word(
    panel: Axes, place: tuple[float, float], word: str, logprob: str, color: str
) -> None:
    """Draw a word in its box, and the log-probability of its caption so far below it."""
    ended = word == "<end>" and color == KEPT
    frame = {"boxstyle": "round", "facecolor": color if ended else "white", "edgecolor": color}
    style: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3}
    panel.text(*place, word, color="white" if ended else INK, size=8, bbox=frame, **style)
    panel.text(place[0], place[1] + 0.42, logprob, color=INK, size=6.5, **style)
