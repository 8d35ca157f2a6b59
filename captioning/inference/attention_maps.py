"""What a captioner looked at, and what its search weighed, as pictures.

    draw_attention(captioner, photo, words)      the photo once a word, dark where it did not look
    draw_beam_tree(captioner, photo, beam_size)  every caption the beam kept, and what it dropped
    looks(captioner, photo, words)               the maps themselves (T, h, w)
    saliency(captioner, photo, words)            maps for decoders that have no attention
    shade(look)                                  one map as a veil to lay over the photo

The encoder sees the whole photo squashed to a square, so place (row, column) of its h x w grid is
that part of the photo, whatever the photo's shape: a map is stretched over it, nothing is cut off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from backbones import as_grid, maps_of
from caption import Captioner
from contract import Decoder
from search import END, START, attention_of, word_logprobs

LOOK = Path(__file__).parent / "images" / "course.mplstyle"
KEPT, DROPPED, INK = "#00805E", "#A7ABB3", "#22252B"
DARKEST = 0.8  # how much of the light is taken from what was not looked at


def looks(captioner: Captioner, photo: Image.Image, words: Sequence[int]) -> tuple[Tensor, bool]:
    """Where the captioner looked before each of `words`: maps (T, h, w), each at most 1.

    The second value tells what they are: True for the decoder's attention, False for `saliency`.
    """
    attention = attention_of(captioner.decoder, captioner.features([photo]), list(words))
    if attention is None:
        return saliency(captioner, photo, words), False
    return as_maps(attention), True


def saliency(captioner: Captioner, photo: Image.Image, words: Sequence[int]) -> Tensor:
    """How much each place of the photo speaks for each of `words`: maps (T, h, w), at most 1.

    The gradient of a word's log-probability by the numbers at a place, times these numbers, is to
    first order what that place adds to it. What speaks against the word counts as 0. For a decoder
    that sees the average place this is Grad-CAM: Selvaraju et al. 2017, arXiv:1610.02391.
    """
    pixels = captioner.transform(photo)[None].to(captioner.device)
    maps = maps_of(captioner.network, pixels, captioner.encoder.backbone.second_look)
    grid = as_grid(maps, True).clone()  # (1, P, D); clone: it needs gradients
    count = len(words)
    grid = grid.expand(count, -1, -1).contiguous().requires_grad_()  # a copy for each word
    said = torch.tensor([[START, *words]], device=grid.device)  # (1, T + 1)
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN: training only
        features = captioner.encoder.embed(grid)  # (T, P, E)
        logits = captioner.decoder(features, said[:, :-1].expand(count, -1))  # (T, T, V)
        row = torch.arange(count, device=grid.device)
        logprobs = logits[row, row].log_softmax(dim=-1)[row, said[0, 1:]]  # (T,): copy t, word t
        (gradient,) = torch.autograd.grad(logprobs.sum(), grid)
    return as_maps((gradient * grid.detach()).sum(dim=-1).relu())


def as_maps(weights: Tensor) -> Tensor:
    """(T, P) -> (T, h, w) on the CPU, the largest number of each map 1."""
    side = math.isqrt(weights.shape[1])
    if side**2 == weights.shape[1]:
        maps = weights.float().cpu().unflatten(1, (side, side))
    else:  # two looks, the second at the mirror image
        side = math.isqrt(weights.shape[1] // 2)
        first, second = weights.float().cpu().unflatten(1, (2, side, side)).unbind(1)
        maps = first + second.flip(-1)
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def shade(look: Tensor, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A map (h, w) as a veil to lay over the photo: clear where it is 1, dark where it is 0."""
    dark = Image.fromarray(((1 - look.numpy()) * DARKEST * 255).astype(np.uint8))
    return Image.merge("LA", (Image.new("L", size), dark.resize(size, Image.Resampling.BICUBIC)))


def draw_attention(captioner: Captioner, photo: Image.Image, words: Sequence[int]) -> Figure:
    """The photo, then the photo once for each of `words` (ids), bright where it was looked at."""
    maps, attends = looks(captioner, photo, words) if len(words) else (torch.empty(0), True)
    photo = photo.copy()
    photo.thumbnail((320, 320))
    veils = [None, *(shade(look, photo.size) for look in maps)]
    titles = ["the photo", *(captioner.vocab.words[word] for word in words)]
    columns = min(5, len(titles))
    rows = math.ceil(len(titles) / columns)
    with matplotlib.style.context(LOOK):
        size = 1.8 * columns, 0.4 + (0.3 + 1.8 * photo.height / photo.width) * rows
        figure = Figure(figsize=size, layout="constrained")
        if attends:
            figure.suptitle("Where the decoder looked before each word")
        else:
            figure.suptitle("This decoder has no attention: which places spoke for each word")
        for number, (veil, title) in enumerate(zip(veils, titles, strict=True), 1):
            panel = figure.add_subplot(rows, columns, number)
            panel.imshow(photo)
            if veil:
                panel.imshow(veil.convert("RGBA"))
            panel.set_title(title, loc="center", weight="normal")
            panel.axis("off")
    return figure


@dataclass(frozen=True)
class Branch:
    """A caption that the beam weighed: words so far, their log-probability, whether it was kept."""

    words: tuple[int, ...]
    logprob: float
    kept: bool


@torch.inference_mode()
def grow_beam(
    decoder: Decoder, features: Tensor, beam_size: int, max_words: int
) -> list[list[Branch]]:
    """The beam over one image (features (1, P, E)), step by step, the best first.

    `search.beam_search` for reading: one caption at a time, and what it weighed is remembered.
    """
    alive, steps = [(Branch((), 0.0, True), decoder.start(features))], []
    while alive and len(steps) < max_words:
        weighed = []
        for branch, state in alive:
            last = torch.tensor([branch.words[-1] if branch.words else START]).to(features.device)
            logits, state, _ = decoder.step(last, state)
            said = torch.tensor([branch.words], dtype=torch.long, device=features.device)
            best = word_logprobs(logits, said, block_unk=True, block_repeats=0)[0].topk(beam_size)
            for logprob, word in zip(*(part.tolist() for part in best), strict=True):
                weighed.append(((*branch.words, word), branch.logprob + logprob, state))
        weighed.sort(key=lambda one: -one[1])
        steps.append(
            [Branch(w, logprob, i < beam_size) for i, (w, logprob, _) in enumerate(weighed)]
        )
        going_on = [i for i in range(min(beam_size, len(weighed))) if weighed[i][0][-1] != END]
        alive = [(steps[-1][i], weighed[i][2]) for i in going_on]
        beam_size = len(alive)  # one that ended gives up its place
    return steps


def draw_beam_tree(
    captioner: Captioner, photo: Image.Image, beam_size: int = 3, max_words: int = 20
) -> Figure:
    """The beam as a tree: a column a word, log-probabilities below; green was kept, grey dropped.

    Of what was dropped only the likeliest `beam_size` of each step are shown.
    """
    if beam_size < 1 or max_words < 1:
        raise ValueError("A beam keeps at least 1 caption of 1 word: beam_size, max_words >= 1.")
    features = captioner.features([photo])
    steps = grow_beam(captioner.decoder, features, beam_size, max_words)
    with matplotlib.style.context(LOOK):
        size = 1.1 * (len(steps) + 1), 0.5 + 0.42 * 2 * beam_size
        figure = Figure(figsize=size, layout="constrained")
        panel = figure.add_subplot()
        panel.set_title(f"A beam of {beam_size}: green is kept, grey is dropped")
        panel.axis("off")
        panel.set(xlim=(-0.5, len(steps) + 0.5), ylim=(2 * beam_size - 0.3, -0.6))
        places = {(): (0.0, 0.0)}
        write(panel, places[()], "<start>", "", KEPT)
        for column, step in enumerate(steps, 1):
            for row, branch in enumerate(step[: 2 * beam_size]):
                colour = KEPT if branch.kept else DROPPED
                places[branch.words] = column, row
                (x, y), (from_x, from_y) = places[branch.words], places[branch.words[:-1]]
                panel.plot((from_x + 0.2, x - 0.2), (from_y, y), color=colour, lw=1 + branch.kept)
                word = captioner.vocab.words[branch.words[-1]]
                write(panel, (x, y), word, f"{branch.logprob:.2f}", colour)
    return figure


def write(panel, place: tuple[float, float], word: str, logprob: str, colour: str) -> None:
    """A word in its box, and what its caption has cost so far below it."""
    ended = word == "<end>" and colour == KEPT
    frame = {"boxstyle": "round", "facecolor": colour if ended else "white", "edgecolor": colour}
    style = {"ha": "center", "va": "center", "zorder": 3}
    panel.text(*place, word, color="white" if ended else INK, size=8, bbox=frame, **style)
    panel.text(place[0], place[1] + 0.42, logprob, color=INK, size=6.5, **style)
