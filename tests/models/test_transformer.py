"""The Transformer against PyTorch's own layers; its fast dropout."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captioning.models.transformer import FastDropout
from tests.helpers import HIDDEN, assert_close, make, random_captions, random_features


@torch.no_grad()
def test_multi_head_attention_equals_pytorchs():
    block = make("transformer").blocks[0].self_attention
    theirs = nn.MultiheadAttention(HIDDEN, block.num_heads, batch_first=True).eval()
    parts = (block.query, block.key, block.value)
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(block.out.state_dict())
    x, image = torch.randn(2, 5, HIDDEN), torch.randn(2, 7, HIDDEN)
    expected, weights = theirs(x, image, image)
    assert_close(block(x, block.keys_values(image)), expected)
    assert_close(block.weights(x, block.keys_values(image)[0]), weights)
    hidden_from = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected, _ = theirs(x, x, x, attn_mask=hidden_from)
    assert_close(block(x, block.keys_values(x), causal=True), expected)


@torch.no_grad()
def test_the_transformer_equals_pytorchs():
    """Dropout off, the whole decoder equals a stack of nn.TransformerDecoderLayer."""
    d, features, captions = make("transformer, 2 layers"), random_features(2), random_captions(2, 5)
    x = d.word_embedding(captions) * math.sqrt(HIDDEN)
    for t in range(5):
        for pair in range(HIDDEN // 2):
            angle = t / 10_000 ** (2 * pair / HIDDEN)
            x[:, t, 2 * pair] += math.sin(angle)
            x[:, t, 2 * pair + 1] += math.cos(angle)
    image = d.image(features)
    for block in d.blocks:
        layer = nn.TransformerDecoderLayer(
            HIDDEN, block.self_attention.num_heads, 4 * HIDDEN, 0.0, F.gelu,
            batch_first=True, norm_first=True,
        ).eval()  # fmt: skip
        for theirs, ours in (
            (layer.self_attn, block.self_attention),
            (layer.multihead_attn, block.cross_attention),
        ):
            parts = (ours.query, ours.key, ours.value)
            theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            theirs.out_proj.load_state_dict(ours.out.state_dict())
        layer.linear1.load_state_dict(block.feed_forward[0].state_dict())
        layer.linear2.load_state_dict(block.feed_forward[2].state_dict())
        for i in (1, 2, 3):
            getattr(layer, f"norm{i}").load_state_dict(getattr(block, f"norm{i}").state_dict())
        mask = nn.Transformer.generate_square_subsequent_mask(5)
        x = layer(x, image, tgt_mask=mask, tgt_is_causal=True)
    assert_close(d.output(d.norm(x)), d(features, captions), within=1e-4)


def test_fast_dropout_drops_independently_at_its_rate_and_keeps_the_mean():
    torch.manual_seed(0)
    x, dropout = torch.ones(999, 1001, requires_grad=True), FastDropout(0.3)
    y = dropout(x)
    kept = y != 0
    assert kept.float().mean().item() == pytest.approx(1 - 77 / 256, abs=0.002)
    assert y.mean().item() == pytest.approx(1, abs=0.003)  # kept values are scaled up
    each = kept.flatten()[: 999 * 1000].view(-1, 8).float()  # eight bytes come from one draw
    assert each.mean(dim=0).min() > 0.69
    assert each.T.corrcoef().triu(1).abs().max() < 0.02  # and are independent
    y.sum().backward()
    assert torch.equal(x.grad != 0, kept)
    assert torch.equal(dropout.eval()(x), x)
    assert FastDropout(0.999)(x).isfinite().all()  # at least 1 value in 256 is kept
