"""Attention, saliency and the beam's tree against what the search itself says."""

import pytest
import torch
from tests.helpers import make, random_features
from PIL import Image

from captioning.inference.captioner import Captioner
from captioning.inference.search import START, attention_weights, beam_search
from captioning.inference.attention_maps import as_maps, draw_attention, attention_maps, grad_cam, attention_overlay
from captioning.inference.beam_tree import draw_beam_tree, grow_beam
from vocabulary import Vocabulary

WORDS = Vocabulary.build([["a", "dog", "on", "red", "grass"]], vocab_threshold=1)


@pytest.fixture
def photo() -> Image.Image:
    return Image.effect_noise((90, 60), 80).convert("RGB")


@pytest.fixture
def captioner(request, encoder) -> Captioner:
    return Captioner(encoder, make(request.param, len(WORDS)), WORDS)


each_kind = pytest.mark.parametrize("captioner", ["lstm", "gru", "rnn"], indirect=True)
each_attention = pytest.mark.parametrize("captioner", ["attention", "transformer"], indirect=True)


@each_attention
def test_maps_are_the_attention_of_the_search(captioner, photo):
    maps, attends = attention_maps(captioner, photo, [4, 5, 6])
    weights = attention_weights(captioner.decoder, captioner.features([photo]), [4, 5, 6])
    assert attends
    assert maps.shape == (3, 3, 3)
    torch.testing.assert_close(maps.flatten(1), weights / weights.amax(dim=1, keepdim=True))


def test_two_looks_are_laid_over_each_other():
    grid = torch.zeros(2, 2, 3, 3)  # words, looks, rows, columns
    grid[0, 0, 1, 0] = 0.5  # word 0: the middle of the left edge ...
    grid[0, 1, 1, 2] = 0.5  # ... which the mirror image has on the right
    grid[1, 0, 0, 1], grid[1, 1, 2, 2] = 0.8, 0.2
    first, second = as_maps(grid.flatten(1))
    assert first.nonzero().tolist() == [[1, 0]]
    assert second[0, 1] == 1
    assert second[2, 0] == pytest.approx(0.25)


@each_kind
def test_saliency_is_the_slope_of_each_word(captioner, photo):
    """By finite differences: what scaling one place up a little adds to the log-probability."""
    words = [4, 6, 5]
    captioner.network = captioner.encoder.backbone.network  # exact, rather than half precision
    maps = grad_cam(captioner, photo, words)
    with torch.no_grad():
        grid = captioner.encoder.backbone(captioner.transform(photo)[None]).double()
        embed, decoder = captioner.encoder.embed.double(), captioner.decoder.double()
        said = torch.tensor([[START, *words]])

        def logprobs(grid: torch.Tensor) -> torch.Tensor:  # (T,)
            each = decoder(embed(grid), said[:, :-1]).log_softmax(-1)[0]
            return each[range(3), words]

        slopes = []
        for place in range(grid.shape[1]):
            more, less = grid.clone(), grid.clone()
            more[:, place] *= 1 + 1e-4
            less[:, place] *= 1 - 1e-4
            slopes.append((logprobs(more) - logprobs(less)) / 2e-4)
        wanted = torch.stack(slopes, dim=1).relu()  # (T, P)
    wanted = wanted / wanted.amax(dim=1, keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(maps.flatten(1), wanted.float(), atol=0.01, rtol=0.01)


@pytest.mark.parametrize("captioner", ["lstm", "attention"], indirect=True)
def test_looking_trains_nothing(captioner, photo):
    attention_maps(captioner, photo, [4, 5])
    assert all(p.grad is None for p in captioner.decoder.parameters())
    assert not captioner.decoder.training


def test_a_veil_is_clear_where_it_was_looked_at():
    look = torch.zeros(3, 3)
    look[0, 2] = 1  # top right
    veil = attention_overlay(look, (90, 60)).getchannel("A")
    assert veil.getpixel((85, 4)) == 0
    assert veil.getpixel((4, 55)) > 180


@pytest.mark.parametrize("captioner", ["lstm", "transformer"], indirect=True)
def test_figure_has_a_panel_for_each_word_and_says_what_it_shows(captioner, photo, tmp_path):
    figure = draw_attention(captioner, photo, (4, 5, 6))
    titles = [panel.get_title() for panel in figure.axes]
    assert titles == ["the photo", *(WORDS.words[word] for word in (4, 5, 6))]
    has_attention = captioner.decoder.config["kind"] == "transformer"
    assert ("no attention" in figure.get_suptitle()) != has_attention
    figure.savefig(tmp_path / "figure.png")
    assert len(draw_attention(captioner, photo, ()).axes) == 1, "a caption without words"


@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
@pytest.mark.parametrize("beam_size", [1, 3, 4])
def test_the_tree_ends_where_the_search_ends(kind, beam_size):
    decoder = make(kind)
    for features in random_features(4).split(1):
        steps = grow_beam(decoder, features, beam_size, max_words=6)
        kept = [branch for step in steps for branch in step if branch.kept]
        ended = [b for b in kept if b.words[-1] == Vocabulary.end]
        ended += [b for b in kept if len(b.words) == 6 and b not in ended]
        found = beam_search(decoder, features, beam_size, 0.0, max_words=6, n_best=beam_size)[0]
        tree = sorted(ended, key=lambda branch: -branch.logprob)
        wanted = [h.words + (Vocabulary.end,) * h.finished for h in found]
        assert [branch.words for branch in tree] == wanted
        assert [branch.logprob for branch in tree] == pytest.approx([h.logprob for h in found])


@pytest.mark.parametrize("captioner", ["attention"], indirect=True)
def test_the_tree_is_drawn(captioner, photo, tmp_path):
    figure = draw_beam_tree(captioner, photo, beam_size=2, max_words=5)
    drawn = [text.get_text() for text in figure.axes[0].texts]
    best = captioner.caption([photo], 2, max_words=5)[0][0]
    assert drawn[0] == "<start>"
    assert {captioner.vocab.words[word] for word in best.words} <= set(drawn)
    figure.savefig(tmp_path / "tree.png")
    with pytest.raises(ValueError, match="at least 1"):
        draw_beam_tree(captioner, photo, beam_size=0)
