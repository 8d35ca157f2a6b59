"""A beam search in a language of three words, and its tree: the figure `beam` of `draw_figures`.

NEXT_WORD     the language: the probability of each next word
beam_search   every hypothesis that is scored, step by step
beam          the figure
"""

import math

from tools.figure_parts import EDGE, MUTED, PALE, arrow, box, card, label, text

NEXT_WORD = {
    "<start>": {"a": 0.65, "red": 0.25, "kite": 0.10},
    "a": {"red": 0.40, "kite": 0.35, "<end>": 0.25},
    "red": {"kite": 0.80, "<end>": 0.20},
    "kite": {"<end>": 0.80, "a": 0.20},
}
ALPHA = 0.7  # exponent of the length penalty: the larger, the longer the captions

Hypothesis = tuple[tuple[str, ...], float]  # words, log-probability


def beam_search(
    table: dict[str, dict[str, float]], width: int
) -> list[list[tuple[tuple[str, ...], float, bool]]]:
    """Return all hypotheses that are scored, step by step, as (words, log-probability, kept).

    The `width` best of a step are kept; each one that ends makes the beam narrower by one.
    """
    alive: list[Hypothesis] = [(("<start>",), 0.0)]
    steps = []
    while alive:
        candidates = [
            ((*words, word), total + math.log(probability))
            for words, total in alive
            for word, probability in table[words[-1]].items()
        ]
        kept = sorted(candidates, key=lambda hypothesis: -hypothesis[1])[:width]
        steps.append([(*hypothesis, hypothesis in kept) for hypothesis in candidates])
        alive = [hypothesis for hypothesis in kept if hypothesis[0][-1] != "<end>"]
        width -= len(kept) - len(alive)
    return steps


def length_penalty(length: int) -> float:
    """Return the divisor of a caption's log-probability (Wu et al., 2016, arXiv:1609.08144)."""
    return ((5 + length) / 6) ** ALPHA


def beam() -> None:
    """A beam search of width 2 over three words, as a tree. Each edge carries the log-probability
    of the next word, each hypothesis the sum of its edges; at each step the two best are kept and
    the others dropped. Two hypotheses finish: a kite end, with the sum -1.70, and a red kite end,
    with -1.79. By the sum the short one wins. Divided by the length penalty, 1.22 for three words
    with end and 1.33 for four, the longer one wins, with -1.35 against -1.39."""
    ax = card(800, 490, "Beam search with two hypotheses")
    box(ax, 66, 112, 66, "<start>", "word")
    spots, finished = {("<start>",): (99, 112)}, []
    for depth, step in enumerate(beam_search(NEXT_WORD, 2)):
        x = 215 + 165 * depth
        text(ax, x, 76, f"step {depth + 1}", color=MUTED)
        for i, (words, total, kept) in enumerate(step):
            y = 112 + i * (56 if depth else 112)
            done = kept and words[-1] == "<end>"
            finished += [(words[1:], total)] if done else []
            color, ink = (EDGE["word"], "black") if kept else (PALE, MUTED)
            look = {"fill": color, "ink": "white"} if done else {}
            look = look if kept else {"fill": "white", "edge": color, "ink": ink}
            (from_x, from_y), spots[words] = spots[words[:-1]], (x + 33, y)
            arrow(ax, (from_x, from_y), (x - 33, y), color=color, lw=2 if kept else 1)
            box(ax, x, y, 66, words[-1], "word", **look)
            edge = math.log(NEXT_WORD[words[-2]][words[-1]])
            middle = 0.36 * from_x + 0.64 * (x - 33), 0.36 * from_y + 0.64 * y
            label(ax, *middle, f"{edge:.2f}".replace("-", "−"), color=ink)
            text(ax, x, y + 22, f"{total:.2f}".replace("-", "−"), 11.5, color=ink, weight="bold")
    finished.sort(key=lambda caption: caption[1] / length_penalty(len(caption[0])))
    rows = [("finished", "sum", "length", "penalty", "sum / penalty")]
    for words, total in finished:
        penalty = length_penalty(len(words))
        score = (f"{penalty:.2f}", f"{total / penalty:.2f}")
        rows.append((" ".join(words), f"{total:.2f}", f"{len(words)}", *score))
    for i, row in enumerate(rows):
        for j, (x, cell) in enumerate(zip((330, 528, 590, 662, 772), row, strict=True)):
            style = {"family": "monospace", "weight": "bold" if i == len(finished) else "normal"}
            style = style if i else {"color": MUTED}
            text(ax, x, 384 + 28 * i, cell.replace("-", "−"), ha="right" if j else "left", **style)
    ax.plot((330, 772), (398, 398), color=PALE, lw=1)
    text(ax, 34, 384, "Green is kept, gray is dropped.", ha="left", color=MUTED)
    text(ax, 34, 412, "length counts <end>", ha="left", color=MUTED)
    text(ax, 34, 440, f"penalty = ((5 + length) / 6) ** {ALPHA}", ha="left", color=MUTED)
