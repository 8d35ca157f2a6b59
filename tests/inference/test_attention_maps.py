"""Attention maps and Grad-CAM against the search's own attention and finite differences."""

import pytest
import torch

from captioning.features.fast_network import FastBackbone
from captioning.inference.attention_maps import (
    attention_maps,
    attention_overlay,
    draw_attention,
    grad_cam,
    weights_to_maps,
)
from captioning.inference.search import START, attention_weights
from captioning.models.transformer import TransformerDecoder

each_kind = pytest.mark.parametrize("captioner", ["lstm", "gru", "rnn"], indirect=True)


each_attention = pytest.mark.parametrize("captioner", ["attention", "transformer"], indirect=True)


@each_attention
def test_maps_are_the_attention_of_the_search(captioner, photo):
    maps, attends = attention_maps(captioner, photo, [4, 5, 6])
    weights = attention_weights(captioner.decoder, captioner.features([photo]), [4, 5, 6])
    assert attends
    assert maps.shape == (3, 3, 3)
    torch.testing.assert_close(maps.flatten(1), weights / weights.amax(dim=1, keepdim=True))


def test_maps_of_the_mirrored_photo_are_flipped_and_added():
    grid = torch.zeros(2, 2, 3, 3)  # words, photo and mirror image, rows, columns
    grid[0, 0, 1, 0] = 0.5  # word 0: the middle of the left edge ...
    grid[0, 1, 1, 2] = 0.5  # ... which the mirror image has on the right
    grid[1, 0, 0, 1], grid[1, 1, 2, 2] = 0.8, 0.2
    first, second = weights_to_maps(grid.flatten(1))
    assert first.nonzero().tolist() == [[1, 0]]
    assert second[0, 1] == 1
    assert second[2, 0] == pytest.approx(0.25)


@each_kind
def test_grad_cam_is_the_slope_of_each_words_log_probability(captioner, photo):
    """By finite differences: what scaling up the features of one place adds."""
    words = [4, 6, 5]
    captioner.backbone = FastBackbone(  # float32, whatever this machine prefers
        captioner.encoder.backbone, torch.device("cpu"), torch.float32, batch_size=1
    )
    maps = grad_cam(captioner, photo, words)
    with torch.no_grad():
        grid = captioner.encoder.backbone(captioner.transform(photo)[None]).double()
        embed, decoder = captioner.encoder.embed.double(), captioner.decoder.double()
        caption = torch.tensor([[START, *words]])

        def logprobs(grid: torch.Tensor) -> torch.Tensor:  # (T,)
            each = decoder(embed(grid), caption[:, :-1]).log_softmax(-1)[0]
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
def test_drawing_maps_leaves_no_gradients(captioner, photo):
    attention_maps(captioner, photo, [4, 5])
    assert all(p.grad is None for p in captioner.decoder.parameters())
    assert not captioner.decoder.training


def test_an_overlay_is_clear_where_the_attention_is():
    weights = torch.zeros(3, 3)
    weights[0, 2] = 1  # top right
    overlay = attention_overlay(weights, (90, 60)).getchannel("A")
    assert overlay.getpixel((85, 4)) == 0
    assert overlay.getpixel((4, 55)) > 180


@pytest.mark.parametrize("captioner", ["lstm", "transformer"], indirect=True)
def test_figure_has_a_panel_for_each_word_and_names_what_it_shows(captioner, photo, tmp_path):
    figure = draw_attention(captioner, photo, (4, 5, 6))
    titles = [panel.get_title() for panel in figure.axes]
    assert titles == ["the photo", *(captioner.vocab.words[word] for word in (4, 5, 6))]
    has_attention = isinstance(captioner.decoder, TransformerDecoder)
    assert ("No attention" in figure.get_suptitle()) != has_attention
    figure.savefig(tmp_path / "figure.png")
    assert len(draw_attention(captioner, photo, ()).axes) == 1, "a caption without words"
