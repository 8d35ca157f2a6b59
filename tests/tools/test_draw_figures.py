"""The figures in images/ are those that the tool draws, are correct, and have alt texts."""

import itertools
import json
import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import image, pyplot
from PIL import Image

from captioning.inference.search import beam_search
from model import DECODERS
from tools import beam_figure, draw_figures
from tools.beam_figure import NEXT_WORD, length_penalty
from tools.draw_figures import IMAGES

FILES = [f"{figure.__name__}.png" for figure in draw_figures.FIGURES]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    draw_figures.draw(folder)
    return folder


def png_version(path):
    with Image.open(path) as png:
        return png.info["Software"]


def test_the_alt_texts_are_the_scripts(drawn):
    kept = (IMAGES / "alt_text.json").read_text(encoding="utf-8")
    assert kept == (drawn / "alt_text.json").read_text(encoding="utf-8")
    assert sorted(json.loads(kept)) == sorted(FILES) == sorted(p.name for p in drawn.glob("*.png"))


@pytest.mark.parametrize("file", FILES)
def test_a_figure_is_what_the_script_draws(drawn, file):
    new, kept = image.imread(drawn / file), image.imread(IMAGES / file)
    assert new.shape == kept.shape
    difference = np.abs(new - kept)
    if png_version(drawn / file) == png_version(IMAGES / file):
        assert (difference > 0.2).sum() < 20  # one other digit changes more
    else:  # another Matplotlib draws the edges of letters differently
        assert difference.mean() < 0.02


@pytest.mark.parametrize("file", FILES)
def test_a_figure_is_small_wide_enough_and_opaque(file):
    assert (IMAGES / file).stat().st_size < 150_000
    pixels = image.imread(IMAGES / file)
    height, width, _ = pixels.shape
    assert width >= 1200
    assert (pixels[40 : height - 40, 40 : width - 40, 3] == 1).all()


@pytest.mark.parametrize("file", FILES)
def test_an_alt_text_survives_markdown_and_html(file):
    words = json.loads((IMAGES / "alt_text.json").read_text(encoding="utf-8"))[file]
    assert 80 < len(words) < 600
    assert not set(words) & set('<>[]"`*\n')


def test_the_beam_of_the_figure_is_right():
    table, steps = NEXT_WORD, beam_figure.beam_search(NEXT_WORD, 2)
    assert all(math.isclose(sum(row.values()), 1) for row in table.values())
    for words, total, _ in itertools.chain(*steps):
        edges = [math.log(table[a][b]) for a, b in itertools.pairwise(words)]
        assert math.isclose(total, sum(edges))
        assert round(total, 2) == round(sum(round(edge, 2) for edge in edges), 2)  # as printed
    kept = [[words for words, _, kept in step if kept] for step in steps]
    assert [len(step) for step in kept] == [2, 2, 2, 1]
    assert min(total for _, total, k in steps[1] if k) > max(t for _, t, k in steps[1] if not k)

    finished = {w[1:]: total for w, total, k in itertools.chain(*steps) if k and w[-1] == "<end>"}
    short, long = ("a", "kite", "<end>"), ("a", "red", "kite", "<end>")
    assert set(finished) == {short, long}
    assert finished[short] > finished[long]
    scores = {words: total / length_penalty(len(words)) for words, total in finished.items()}
    assert scores[short] < scores[long]
    alt_text = " ".join(beam_figure.beam.__doc__.split())
    for words in (short, long):
        divisor = length_penalty(len(words))
        assert all(f"{n:.2f}" in alt_text for n in (finished[words], divisor, scores[words]))
        as_printed = round(finished[words], 2) / round(divisor, 2)
        assert round(scores[words], 2) == round(as_printed, 2)


class TableDecoder:
    """A decoder for which the next word depends on the last one alone."""

    words = ("<start>", "<end>", "<unk>", "<pad>", "a", "red", "kite")

    def __init__(self, table):
        rows = [[table.get(last, {}).get(word, 0.0) for word in self.words] for last in self.words]
        self.logits = (torch.tensor(rows) + 1e-30).log()  # never NaN, also after <end>

    def start(self, features):
        return (torch.zeros(len(features), 1),)

    def step(self, word, state):
        return self.logits[word], state, None


def test_the_beam_of_the_figure_is_that_of_the_course():
    decoder = TableDecoder(NEXT_WORD)
    features = torch.zeros(1, 1, 1)
    (found,) = beam_search(decoder, features, 2, alpha=beam_figure.ALPHA, n_best=2)
    captions = [" ".join(decoder.words[word] for word in caption.words) for caption in found]
    assert captions == ["a red kite", "a kite"]
    assert [f"{caption.logprob:.2f}" for caption in found] == ["-1.79", "-1.70"]
    for caption in found:
        score = caption.logprob / length_penalty(len(caption.words) + 1)
        assert math.isclose(caption.score, score, rel_tol=1e-5)


def test_a_wide_beam_finds_the_best_of_all():
    acyclic = NEXT_WORD | {"kite": {"<end>": 1.0}, "a": {"kite": 1.0}}
    found = {
        words: total
        for step in beam_figure.beam_search(acyclic, 9)
        for words, total, kept in step
        if kept and words[-1] == "<end>"
    }
    assert math.isclose(sum(map(math.exp, found.values())), 1)  # nothing was lost
    assert max(found, key=found.get) == ("<start>", "a", "kite", "<end>")


def test_the_attention_of_the_figure_is_a_distribution_that_looks_at_the_kite():
    weights = np.array(draw_figures.attention_weights())
    assert weights.shape == (49,)
    assert weights.min() > 0
    assert math.isclose(weights.sum(), 1)
    assert divmod(int(weights.argmax()), 7) in ((1, 4), (2, 4))


def test_the_figures_use_the_names_of_the_code():
    attention = DECODERS["attention"](8, 16, 10)
    parts = {"key", "query", "score", "gate", "context_proj", "word_embedding", "output"}
    assert parts <= {name for name, _ in attention.named_children()}
    block = DECODERS["transformer"](8, 16, 10).blocks[0]
    assert block.feed_forward[0].out_features == 4 * 16
    assert isinstance(block.feed_forward[1], torch.nn.GELU)
    assert {"self_attention", "cross_attention"} <= {name for name, _ in block.named_children()}


def test_the_notebooks_style_is_opaque_and_needs_no_font():
    with pyplot.style.context(IMAGES / "course.mplstyle"):
        settings = matplotlib.rcParams.copy()
    red, green, blue, opaque = matplotlib.colors.to_rgba(settings["figure.facecolor"])
    assert min(red, green, blue) > 0.9
    assert opaque == 1
    assert settings["savefig.facecolor"] != "none"
    assert settings["figure.dpi"] <= 90
    shipped = {path.stem for path in (Path(matplotlib.get_data_path()) / "fonts/ttf").iterdir()}
    assert {name.replace(" ", "") for name in settings["font.family"]} <= shipped
    assert len(set(settings["axes.prop_cycle"].by_key()["color"])) >= 7
