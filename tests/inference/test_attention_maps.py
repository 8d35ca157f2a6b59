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
from captioning.inference.captioner import Captioner
from captioning.inference.search import START, attention_weights
from captioning.models.transformer import TransformerDecoder
from model import EncoderCNN, EncoderGroup
from tests.helpers import EMBED, make
from vocabulary import Vocabulary

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
    first, second = weights_to_maps(grid.flatten(1), [(2, 18)])
    assert first.nonzero().tolist() == [[1, 0]]
    assert second[0, 1] == 1
    assert second[2, 0] == pytest.approx(0.25)
    larger = torch.cat([grid.roll(1, dims=2), grid], dim=1)  # four images: not one of 6 x 6 places
    first, second = weights_to_maps(larger.flatten(1), [(4, 36)])
    assert first.nonzero().tolist() == [[1, 0], [2, 0]]
    assert second.flatten().nonzero().flatten().tolist() == [0, 1, 4, 6]
    assert second[0, 1] == second[1, 1] == 1


def test_maps_of_two_grids_are_stretched_and_added():
    """A weight on one of 4 places covers as much of the photo as 4 equal ones of 16."""
    coarse, fine = torch.zeros(2, 4), torch.zeros(2, 16)
    coarse[0, 0] = 1.0
    fine[0] = 1e-3
    fine[1, [2, 3, 6, 7]] = 0.25  # the top right quarter
    coarse[1, 1] = 1.0
    first, second = weights_to_maps(torch.cat([coarse, fine], dim=1), [(1, 4), (1, 16)])
    assert first.shape == (4, 4)
    assert first[0, 0] == 1
    assert first[3, 3] < 0.01
    quarter = second[:2, 2:]
    assert quarter[0, 1] == 1
    assert (second[:, 0] == 0).all()
    only_fine = weights_to_maps(fine, [(1, 16)])[1]
    assert only_fine.sum() == 4


@pytest.mark.parametrize("name", ["lstm", "attention"])
def test_maps_of_several_encoders_have_the_size_of_the_finest(both, photo, name):
    grid = name == "attention"
    encoder = EncoderGroup([EncoderCNN(EMBED, weights=path, grid=grid) for path in both])
    vocab = Vocabulary.build([["a", "dog", "on", "red", "grass"]], vocab_threshold=1)
    maps, attends = attention_maps(Captioner(encoder, make(name, len(vocab)), vocab), photo, [4, 5])
    assert attends == grid
    assert maps.shape == (2, 3, 3)
    assert maps.amax(dim=(1, 2)).tolist() == [1, 1]


@each_kind
def test_grad_cam_is_the_slope_of_each_words_log_probability(captioner, photo):
    """By finite differences: what scaling up the features of one place adds."""
    words = [4, 6, 5]
    captioner.backbones = [
        FastBackbone(  # float32, whatever this machine prefers
            captioner.encoder.backbone, torch.device("cpu"), torch.float32, batch_size=1
        )
    ]
    maps = grad_cam(captioner, photo, words)
    with torch.no_grad():
        grid = captioner.encoder.backbone(captioner.transforms[0](photo)[None]).double()
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
