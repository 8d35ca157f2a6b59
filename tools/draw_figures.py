"""Draw the figures of the course into images/: `python -m tools.draw_figures`. Matplotlib only.

    model, shift, decoder_unrolled, attention, transformer, beam, data_path

Each function draws the figure of its name; its docstring is the alt text, and every number in the
figure is computed. `beam_figure` holds the beam, `figure_parts` the parts of all figures.
"""

import argparse
import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tools.beam_figure import beam
from tools.figure_parts import (
    EDGE,
    FILL,
    MUTED,
    PALE,
    arrow,
    box,
    card,
    chain,
    grid,
    label,
    photo,
    save,
    sheets,
    tensor,
    text,
)

IMAGES = Path(__file__).parents[1] / "images"
SENTENCE = ["<start>", "a", "red", "kite", "<end>"]


def unrolled(ax: Axes, columns: tuple[int, ...], y: int) -> None:
    """Draw the same LSTM at every step: the image first, then one word per step."""
    chain(ax, y, *((x, 92, "LSTM", "trained") for x in columns))
    for x, word in zip(columns[1:], SENTENCE, strict=False):
        box(ax, x, y - 98, 66, word, "word")
        box(ax, x, y - 54, 112, "word_embedding", "trained", height=26, size=11)
        box(ax, x, y + 54, 92, "output", "trained", height=26, size=11)
        for start, end in ((-86, -67), (-41, -18), (18, 41), (67, 88)):
            arrow(ax, (x, y + start), (x, y + end))


def model() -> None:
    """The whole model. A photo goes through the frozen ResNet-50, which gives a grid of 7 by 7
    places with D numbers each; the trained layer embed turns these into features of E numbers.
    Their mean is the first input of an LSTM; then the words go in, one a step, and at each step
    the LSTM gives a score to every word of the vocabulary, the logits. The ResNet is blue for
    frozen; embed, the word embedding, the LSTM and the output layer are orange for trained."""
    ax = card(800, 530, "From pixels to words")
    for x, kind, words in ((518, "frozen", "frozen, never changes ❄"), (711, "trained", "trained")):
        box(ax, x - 17, 30, 20, kind=kind, height=14, radius=3)
        text(ax, x, 30, words, ha="left")
    photo(ax, 88, 122, 104)
    box(ax, 252, 122, 150, kind="frozen", height=112, radius=10)
    for x, height in ((201, 80), (223, 67), (246, 53), (270, 40), (298, 27)):
        box(ax, x, 110, 30 - height / 4, kind="frozen", height=height, radius=2, fill="#B9DAF1")
    text(ax, 252, 164, "ResNet-50 ❄", weight="bold", color=EDGE["frozen"])
    sheets(ax, 408, 128, 78, 5, "frozen")
    sheets(ax, 670, 128, 78, 2, "trained")
    chain(ax, 122, (88, 104), (252, 150), (416, 96), (546, 74, "linear", "trained"), (672, 84))
    tensor(ax, 88, 197, "images", "(B, 3, H, W)")
    tensor(ax, 252, 197, "encoder.backbone", "pretrained")
    tensor(ax, 415, 197, "grid", "(B, P, D)")
    tensor(ax, 546, 197, "encoder.embed", "D to E numbers")
    tensor(ax, 672, 197, "features", "(B, P, E)")
    label(ax, 415, 231, "P = 49, D = 2048")

    columns = (88, 240, 380, 520, 660)
    arrow(ax, (713, 122), (765, 122), (765, 254), (88, 254), (88, 374))
    label(ax, 98, 270, "mean over P", ha="left")
    unrolled(ax, columns, 392)
    for x, word in zip(columns[1:], SENTENCE[1:], strict=True):
        box(ax, x, 492, 66, word, "word")
    tensor(ax, 748, 287, "captions", "(B, T)")
    tensor(ax, 748, 439, "logits", "(B, T, V)")
    label(ax, 748, 492, "likeliest word")
    label(ax, 88, 464, "Training: the true words\ngo in. Inference: the\npredicted word goes in.")


def shift() -> None:
    """A caption as the network sees it: start a red kite end, then padding. The inputs are all
    words but the last, the targets all words but the first, so each word's target is the word
    after it. Where the target is padding there is no loss. The start word is never a target."""
    ax = card(800, 300, "The input is a word, the target is the next one")
    ids = {"<start>": 0, "<end>": 1, "<pad>": 3, "a": 4, "red": 13, "kite": 73}
    caption = [*SENTENCE, "<pad>", "<pad>"]
    faint = {"fill": "#EFEDE8", "edge": PALE, "ink": MUTED}
    for i, word in enumerate(caption):
        x = 208 + 88 * i
        box(ax, x, 78, 76, word, "word", **(faint if word == "<pad>" else {}))
        label(ax, x, 102, f"{ids[word]}")
        if i + 1 < len(caption):
            counts = caption[i + 1] != "<pad>"
            label(ax, x, 144, f"t = {i}")
            box(ax, x, 170, 76, word, "word", **({} if counts else faint))
            box(ax, x, 222, 76, caption[i + 1], "word", **({} if counts else faint))
            arrow(ax, (x, 182), (x, 210))
            text(ax, x, 264, "yes" if counts else "no", color=EDGE["loss"] if counts else MUTED)
    tensor(ax, 24, 78, "captions", "words and ids", ha="left")
    tensor(ax, 24, 166, "captions[:, :-1]", "input", ha="left")
    tensor(ax, 24, 218, "captions[:, 1:]", "target", ha="left")
    text(ax, 24, 264, "in the loss?", ha="left")


def decoder_unrolled() -> None:
    """The decoder unrolled over its steps. The image goes in first and its output is not used.
    Then the start word, a, red, kite go in, and the targets are the same caption shifted by one:
    a, red, kite, end. Under each step stands the probability given to the target and its loss,
    minus the logarithm of it; the loss of the caption is their mean. The start word is an input
    and never a target."""
    ax = card(800, 520, "One caption, step by step")
    columns, vocabulary = (176, 312, 442, 572, 702), ("a", "red", "kite", "dog", "<end>")
    probabilities = (
        (0.70, 0.05, 0.10, 0.10, 0.05),
        (0.05, 0.40, 0.25, 0.25, 0.05),
        (0.05, 0.05, 0.60, 0.20, 0.10),
        (0.10, 0.05, 0.05, 0.05, 0.75),
    )
    photo(ax, columns[0], 91, 66)
    tensor(ax, columns[0], 136, "features", "(B, 1, E)")
    arrow(ax, (columns[0], 164), (columns[0], 186))
    unrolled(ax, columns, 204)
    losses = []
    for t, (x, row) in enumerate(zip(columns[1:], probabilities, strict=True)):
        target = vocabulary.index(SENTENCE[t + 1])
        losses.append(-math.log(row[target]))
        label(ax, x, 70, f"t = {t}")
        for i, probability in enumerate(row):
            color = EDGE["word"] if i == target else "#C9CDD2"
            height = 70 * probability
            bar = {"height": height, "radius": 0.1, "fill": color, "edge": color}
            box(ax, x - 34 + 16 * i, 352 - height / 2, 12, **bar)
        ax.plot((x - 44, x + 41), (352, 352), color=MUTED, lw=0.8)
        box(ax, x, 384, 66, vocabulary[target], "word")
        text(ax, x, 418, f"p = {row[target]:.2f}", family="monospace")
        box(ax, x, 448, 92, f"{losses[-1]:.2f}", "loss", height=26)
    rows = ((106, "input"), (330, "probability\nof 5 words"), (384, "target"), (448, "loss"))
    for y, words in rows:
        text(ax, 24, y, words, ha="left", color=MUTED)
    label(ax, 24, 467, "−log p", ha="left")
    note = "The image has no target,\n<start> is never one:\nno loss here."
    label(ax, columns[0], 416, note, color=EDGE["loss"])
    total, mean = " + ".join(f"{loss:.2f}" for loss in losses), sum(losses) / len(losses)
    text(ax, 754, 492, f"loss of the caption = ({total}) / {len(losses)} = {mean:.2f}", ha="right")


def attention_weights() -> list[float]:
    """Return 49 weights: the softmax of scores that fall off with the distance from the kite."""
    places = [((i % 7 + 0.5) / 7, (i // 7 + 0.5) / 7) for i in range(49)]
    scores = [4 * math.exp(-((u - 0.64) ** 2 + (v - 0.3) ** 2) / 0.08) for u, v in places]
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def attention() -> None:
    """One step of additive attention. Every place of the 7 by 7 grid has a key, and the hidden
    state asks with a query. The tanh of their sum is scored, and a softmax turns the 49 scores
    into weights that sum to one, here bright on the kite. The features summed with these weights
    are the context, scaled by a gate between 0 and 1. The LSTM reads it together with the word red;
    its output and the context, through the layer context_proj, give the next word, kite."""
    ax = card(800, 510, "Where to look before the next word")
    weights = attention_weights()
    photo(ax, 105, 134, 136)
    photo(ax, 695, 134, 136, weights)
    for x in (105, 695):
        grid(ax, x, 134, 136, "white")
    tensor(ax, 105, 220, "features", "(B, P, E)")
    tensor(ax, 695, 220, "attention", "(B, P)")
    label(ax, 695, 254, f"{len(weights)} weights, sum {sum(weights):.0f}")
    before = ((105, 136), (250, 74, "key", "trained"), (335, 22, "+", "node"), (402, 52, "tanh"))
    chain(ax, 134, *before, (492, 74, "score", "trained"), (579, 72, "softmax"), (695, 136))
    chain(ax, 320, (105, 110, "hidden"), (250, 74, "query", "trained"))
    arrow(ax, (287, 320), (335, 320), (335, 145))
    arrow(ax, (163, 202), (163, 288), (684, 288))
    arrow(ax, (695, 264), (695, 277))
    box(ax, 695, 288, 22, "Σ", "node")
    for x, y, shape in ((250, 166, "(B, P, H)"), (492, 166, "(B, P)"), (105, 352, "(B, H)")):
        label(ax, x, y, shape, family="monospace")
    label(ax, 250, 352, "(B, H)", family="monospace")
    tensor(ax, 645, 333, "context", "(B, E)")
    arrow(ax, (187, 320), (187, 392), (213, 392))
    arrow(ax, (187, 392), (187, 424), (448, 424), (448, 437))
    chain(ax, 392, (250, 74, "gate", "trained"), (376, 72, "sigmoid"), (470, 22, "×", "node"))
    arrow(ax, (695, 299), (695, 392), (481, 392))
    arrow(ax, (470, 403), (470, 437))
    arrow(ax, (470, 418), (504, 418))
    box(ax, 556, 418, 104, "context_proj", "trained", height=24)
    arrow(ax, (556, 430), (556, 444))
    word = ((105, 66, "red", "word"), (250, 116, "word_embedding", "trained"))
    state = ((470, 80, "LSTM", "trained"), (556, 22, "+", "node"), (604, 48, "tanh"))
    chain(ax, 455, *word, *state, (674, 60, "output", "trained"), (748, 58, "kite", "word"))
    label(ax, 105, 482, "the previous word")
    label(ax, 748, 486, "the next word")


def transformer() -> None:
    """One block of the Transformer decoder. The words' vectors run along a straight line, and
    three branches, each behind its own LayerNorm, add to it: masked self-attention, where a word
    sees itself and the words before it; attention over the image, where a word looks at all P
    places of the features; and a feed-forward network, wider inside, for each word by itself."""
    ax = card(800, 450, "One Transformer block: three additions to the residual stream")
    tensor(ax, 58, 84, "words", "(B, T, H)")
    tensor(ax, 742, 84, "words", "(B, T, H)")
    arrow(ax, (98, 92), (704, 92), lw=2)
    names = ("self_attention", "cross_attention", "feed_forward")
    notes = ("itself and the words before", "all P places", "each word by itself")
    for x, name, note in zip((195, 400, 605), names, notes, strict=True):
        arrow(ax, (x - 60, 92), (x - 60, 124))
        box(ax, x - 60, 138, 90, "LayerNorm", "trained", height=28)
        arrow(ax, (x - 60, 152), (x - 60, 184))
        box(ax, x, 206, 180, name, "trained", height=44, size=14)
        arrow(ax, (x + 62, 184), (x + 62, 103))
        box(ax, x + 62, 92, 22, "+", "node")
        text(ax, x, 421, note)
    for row, word in enumerate(SENTENCE[:-1]):
        text(ax, 164, 284 + 30 * row, word, family="monospace", ha="right")
        for column in range(len(SENTENCE) - 1):
            place = (186 + 30 * column, 284 + 30 * row)
            look = {"fill": FILL["word"], "edge": EDGE["word"]} if column <= row else {}
            box(ax, *place, 28, height=28, radius=0.1, **look)
    photo(ax, 400, 320, 100)
    grid(ax, 400, 320, 100, "white")
    arrow(ax, (400, 270), (400, 228))
    label(ax, 408, 250, "keys, values (B, P, H)", ha="left")
    tensor(ax, 400, 384, "features", "(B, P, E)")
    for y, width, words in ((284, 46, "H"), (330, 150, "4 H"), (376, 46, "H")):
        box(ax, 605, y, width, words, height=24)
    for y, words in ((296, "Linear, GELU"), (342, "Linear")):
        arrow(ax, (605, y), (605, y + 22))
        label(ax, 615, y + 11, words, ha="left")


def data_path() -> None:
    """Two ways from JPEG files to a trained decoder. The naive one sends a photo through the
    frozen ResNet-50 for every caption in every epoch: 90,000 times for 6,000 photos with five
    captions in three epochs. The other runs the frozen network once per photo, 6,000 times, keeps
    the grid on disk, and takes its batches from there in every epoch."""
    photos, captions, epochs = 6000, 5, 3  # Flickr8k's training photos and a short training
    ax = card(800, 430, "What never changes is computed once")
    runs = (f"{photos * captions * epochs:,}", f"{photos:,}")
    titles = ("Naive: for every caption in every epoch", "Here: once for every photo")
    for y, title, count, kind in zip((134, 312), titles, runs, ("loss", "frozen"), strict=True):
        text(ax, 40, y - 58, title, 13, weight="bold", ha="left")
        style = {"weight": "bold", "color": EDGE[kind], "ha": "right"}
        text(ax, 752, y - 58, f"{count} runs of ResNet-50", 13, **style)
        photo(ax, 74, y, 66)
        start = ((74, 66), (172, 70, "decode,\nresize"), (292, 110, "ResNet-50 ❄", "frozen"))
        end = ((586, 66, "embed", "trained"), (710, 84, "decoder", "trained"))
        middle = ((416, 80), (502, 56, "batch")) if kind == "frozen" else ()
        chain(ax, y, *start, *middle, *end)
    arrow(ax, (710, 152), (710, 194), (74, 194), (74, 167))
    label(
        ax, 392, 194, f"{captions} captions × {epochs} epochs: each photo {captions * epochs} times"
    )
    sheets(ax, 408, 318, 56, 4, "frozen")
    arrow(ax, (710, 330), (710, 376), (408, 376), (408, 346))
    label(ax, 560, 376, f"{epochs} epochs")
    megabytes = photos * 2048 * 2 / 1e6
    sizes = f"{megabytes:.1f} MB pooled, {49 * megabytes / 1000:.1f} GB with all 49 places"
    label(ax, 206, 384, f"2 bytes per number:\n{sizes}")
    tensor(ax, 416, 247, "grid", "on disk")


FIGURES = [model, shift, decoder_unrolled, attention, transformer, beam, data_path]


def draw(out: Path) -> dict[str, str]:
    """Write every figure and `alt_text.json` into `out`; return {file name: alt text}."""
    out.mkdir(parents=True, exist_ok=True)
    alt_text = {}
    for figure in FIGURES:
        file = f"{figure.__name__}.png"
        with plt.style.context("default"):  # independent of the reader's own style
            figure()
            save(out / file)
        alt_text[file] = " ".join((figure.__doc__ or "").split())
    lines = json.dumps(alt_text, indent=1, ensure_ascii=False)
    (out / "alt_text.json").write_text(lines + "\n", encoding="utf-8")
    return alt_text


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the figures of the course.")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder to write into (images)")
    print(*draw(parser.parse_args().out), sep="\n")


if __name__ == "__main__":
    main()
