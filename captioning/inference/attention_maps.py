"""Where a captioner attended, as maps over the photo and as a figure.

    attention_maps(captioner, photo, words)   a map (h, w) for each word, of attention or Grad-CAM
    grad_cam(captioner, photo, words)         maps for decoders that have no attention
    attention_overlay(weights)                one map as a layer that darkens the rest of the photo
    draw_attention(captioner, photo, words)   the photo once for each word
    draw_caption(photo, text)                 the photo with its caption

The encoder sees the whole photo squashed to a square, so place (row, column) of its h x w grid is
that part of the photo, whatever the photo's shape: a map is stretched over it, nothing is cut off.
"""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from captioning.inference.captioner import Captioner
from captioning.inference.ensemble import EncoderEnsemble
from captioning.inference.search import START, attention_weights
from captioning.models.decoder import Decoder
from model import join_grids

STYLE = Path(__file__).parents[2] / "images" / "course.mplstyle"
DARKEST = 0.8  # fraction of the light that is taken from places without attention


def attention_maps(
    captioner: Captioner, photo: Image.Image, words: Sequence[int]
) -> tuple[Tensor, bool]:
    """Return maps (T, h, w), one for each of `words`, each with maximum 1.

    The second value says what they are: True for the decoder's attention, False for `grad_cam`.
    """
    attention = attention_weights(captioner.decoder, captioner.features([photo]), list(words))
    if attention is None:
        return grad_cam(captioner, photo, words), False
    return weights_to_maps(attention, views_and_places(captioner)), True


def grad_cam(captioner: Captioner, photo: Image.Image, words: Sequence[int]) -> Tensor:
    """Return how much each place of the photo supports each of `words`: maps (T, h, w), at most 1.

    The gradient of a word's log-probability with respect to the features of a place, times these
    features, is to first order what the place adds to it; negative contributions count as 0. For a
    decoder that sees the mean over all places this is Grad-CAM: Selvaraju et al. 2017,
    arXiv:1610.02391.

    Raises ValueError for an ensemble, which has no single gradient.
    """
    encoder, decoder = captioner.encoder, captioner.decoder
    if isinstance(encoder, EncoderEnsemble) or not isinstance(decoder, Decoder):
        raise ValueError("Grad-CAM needs one captioner, not an ensemble; give one pair of files.")
    count, grids = len(words), []
    for transform, backbone in zip(captioner.transforms, captioner.backbones, strict=True):
        grid = backbone(transform(photo)[None].to(captioner.device), grid=True)  # (1, P, D)
        grids.append(grid.repeat(count, 1, 1).requires_grad_())  # a copy for each word
    caption = torch.tensor([[START, *words]], device=captioner.device)  # (1, T + 1)
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN: training only
        pooled = (grid.mean(dim=1, keepdim=True) for grid in grids)  # what such a decoder sees
        features = encoder.embed(join_grids(pooled))  # (T, 1, E); of several backbones, of each
        logits = decoder(features, caption[:, :-1].expand(count, -1))  # (T, T, V)
        row = torch.arange(count, device=captioner.device)
        logprobs = logits[row, row].log_softmax(dim=-1)[row, caption[0, 1:]]  # (T,)
        gradients = torch.autograd.grad(logprobs.sum(), grids)
    adds = [(g * grid.detach()).sum(-1) for g, grid in zip(gradients, grids, strict=True)]
    return weights_to_maps(torch.cat(adds, dim=1).relu(), views_and_places(captioner))


def views_and_places(captioner: Captioner) -> list[tuple[int, int]]:
    """Return how many images of a photo each backbone sees, and all their places."""
    backbones = [part.backbone for part in captioner.encoder.parts]
    return [(backbone.views, backbone.num_grid_places) for backbone in backbones]


def weights_to_maps(weights: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    """(T, P) -> (T, h, w) on the CPU, each map with maximum 1

    grids  `views_and_places` of each backbone, P places in all: their maps are stretched to the
           largest and added. A weight spreads over the area of its place, which is larger in a
           coarser grid
    """
    parts = weights.float().cpu().split([places for _, places in grids], dim=1)
    maps_of_grids = [_grid_map(part, views) for part, (views, _) in zip(parts, grids, strict=True)]
    size = max(grid.shape[1:] for grid in maps_of_grids)
    maps = torch.zeros(len(weights), *size)
    for grid in maps_of_grids:
        stretched = F.interpolate(grid[:, None], size, mode="bilinear")[:, 0]
        maps += stretched * (grid[0].numel() / maps[0].numel())
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def _grid_map(weights: Tensor, views: int) -> Tensor:
    """(T, P) of one backbone -> (T, h, w), the sum over all images that it saw of the photo"""
    side = math.isqrt(weights.shape[1] // views)
    maps = weights.unflatten(1, (views, side, side))
    mirrored = maps[:, 1::2].flip(-1)  # test-time augmentation: every second image
    return maps[:, ::2].sum(dim=1) + mirrored.sum(dim=1)


def attention_overlay(weights: Tensor, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Return a map (h, w) as a layer over the photo: clear where it is 1, dark where it is 0."""
    dark = Image.fromarray(((1 - weights.numpy()) * DARKEST * 255).astype(np.uint8))
    return Image.merge("LA", (Image.new("L", size), dark.resize(size, Image.Resampling.BICUBIC)))


def draw_caption(photo: Image.Image, text: str) -> Figure:
    """Draw the photo with its caption below it."""
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(5, 0.6 + 5 * photo.height / photo.width), layout="constrained")
        panel = figure.add_subplot()
        panel.imshow(photo)
        panel.axis("off")
        figure.supxlabel("\n".join(textwrap.wrap(text, 60)) or "(no words)", fontsize=11)
    return figure


def draw_attention(captioner: Captioner, photo: Image.Image, words: Sequence[int]) -> Figure:
    """Draw the photo, then the photo once for each of `words` (ids), bright where it attended."""
    maps, is_attention = torch.empty(0), True
    if words:
        maps, is_attention = attention_maps(captioner, photo, words)
    photo = photo.copy()
    photo.thumbnail((320, 320))
    overlays = [None, *(attention_overlay(weights, photo.size) for weights in maps)]
    titles = ["the photo", *(captioner.vocab.words[word] for word in words)]
    columns = min(5, len(titles))
    rows = math.ceil(len(titles) / columns)
    with matplotlib.style.context(STYLE):
        size = 1.8 * columns, 0.4 + (0.3 + 1.8 * photo.height / photo.width) * rows
        figure = Figure(figsize=size, layout="constrained")
        if is_attention:
            figure.suptitle("Attention of the decoder before each word")
        else:
            figure.suptitle("No attention in this decoder: Grad-CAM, the places behind each word")
        for number, (overlay, title) in enumerate(zip(overlays, titles, strict=True), 1):
            panel = figure.add_subplot(rows, columns, number)
            panel.imshow(photo)
            if overlay:
                panel.imshow(overlay.convert("RGBA"))
            panel.set_title(title, loc="center", weight="normal")
            panel.axis("off")
    return figure
