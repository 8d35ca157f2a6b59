"""The Transformer as a decoder of captions.

    TransformerDecoder    masked self-attention, then attention over the P places
    MultiHeadAttention    queries (B, T, H) against keys and values (B, heads, S, H / heads)
    TransformerBlock      self-attention, cross-attention, feed-forward, each after a LayerNorm
    sinusoidal_positions  the position of a word as sines and cosines
    FastDropout           dropout that draws its random numbers quickly on a CPU

Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762; LayerNorm before each part
rather than after it trains without warm-up: Xiong et al., 2020, arXiv:2002.04745.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioning.models.decoder import ONE_PLACE, Decoder, State, repeat_state

KeysValues = tuple[Tensor, Tensor]  # (B, heads, S, H / heads) each


class MultiHeadAttention(nn.Module):
    """softmax(q k^T / sqrt(d)) v, in `num_heads` independent slices of the H features."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(
                f"hidden_size {hidden_size} cannot be split into {num_heads} equal heads; "
                f"choose a multiple of {num_heads}."
            )
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)

    def heads(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, heads, T, H / heads)"""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def keys_values(self, x: Tensor) -> KeysValues:
        return float32_on_cpu(self.heads(self.key(x))), float32_on_cpu(self.heads(self.value(x)))

    def forward(self, x: Tensor, keys_values: KeysValues, causal: bool = False) -> Tensor:
        """x (B, T, H) -> (B, T, H), by PyTorch's fused kernel."""
        query = float32_on_cpu(self.heads(self.query(x)))
        with torch.autocast("cpu", enabled=False):
            seen = F.scaled_dot_product_attention(query, *keys_values, is_causal=causal)
        return self.out(seen.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, key: Tensor) -> Tensor:
        """Return the attention over S places, the mean of all heads: (B, T, S); rows sum to 1."""
        query = float32_on_cpu(self.heads(self.query(x)))
        with torch.autocast("cpu", enabled=False):
            energy = query @ key.transpose(2, 3) / math.sqrt(key.shape[-1])
        return energy.float().softmax(dim=-1).mean(dim=1)


def float32_on_cpu(x: Tensor) -> Tensor:
    """Return float32 on a CPU, where attention trains three times as fast as in bfloat16."""
    return x.float() if x.device.type == "cpu" and x.dtype == torch.bfloat16 else x


class FastDropout(nn.Dropout):
    """PyTorch's dropout; on a CPU it takes eight random bytes from one draw of the generator.

    There PyTorch draws one number at a time, which takes longer than a small matrix product. Here
    a byte decides whether a number is kept, so `p` is rounded to a 256th.
    """

    def forward(self, x: Tensor) -> Tensor:
        dropped = min(round(256 * self.p), 255)  # of 256 byte values
        if not self.training or not dropped or x.device.type != "cpu":
            return super().forward(x)
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = (draws.view(torch.uint8)[: x.numel()] >= dropped).view(x.shape)
        return x * kept * (256 / (256 - dropped))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward; each adds to the residual stream."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(hidden_size) for _ in range(3))
        self.self_attention = MultiHeadAttention(hidden_size, num_heads)
        self.cross_attention = MultiHeadAttention(hidden_size, num_heads)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size),
            nn.GELU(),
            nn.Linear(4 * hidden_size, hidden_size),
        )
        self.dropout = FastDropout(dropout)

    def forward(
        self, words: Tensor, image: KeysValues, past: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        """words (B, T, H) -> the same shape, and the keys and values of all words so far.

        Without `past` the T words are a whole caption and each sees only those before it; with
        `past` they continue one (T = 1).
        """
        words, past = self.self_attend(words, past)
        words = self.cross_attend(words, image)
        return self.feed(words), past

    def self_attend(self, words: Tensor, past: KeysValues | None) -> tuple[Tensor, KeysValues]:
        normed = self.norm1(words)
        key, value = self.self_attention.keys_values(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        attended = self.self_attention(normed, (key, value), causal=past is None)
        return words + self.dropout(attended), (key, value)

    def cross_attend(self, words: Tensor, image: KeysValues) -> Tensor:
        return words + self.dropout(self.cross_attention(self.norm2(words), image))

    def feed(self, words: Tensor) -> Tensor:
        return words + self.dropout(self.feed_forward(self.norm3(words)))

    def cross_attention_weights(self, words: Tensor, key: Tensor) -> Tensor:
        """Return the weights that `cross_attend` gives the P places: (B, T, P)."""
        return self.cross_attention.weights(self.norm2(words), key)


def sinusoidal_positions(first: int, length: int, like: Tensor) -> Tensor:
    """Return positions first .. first + length - 1 as (length, H), H and dtype those of `like`.

    Even columns are sines, odd columns cosines; each pair has a lower frequency than the last.
    """
    size = like.shape[-1]
    place = torch.arange(first, first + length, device=like.device)[:, None]
    pair = torch.arange(0, size, 2, device=like.device)
    angle = place * torch.exp(pair * (-math.log(10_000.0) / size))  # (length, H / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :size].to(like.dtype)


class TransformerDecoder(Decoder):
    """Every word attends to all words before it and to all P places, `num_layers` times.

    Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762. Words are as wide as the
    model (hidden_size); `embed_size` is the width of the image features. `step` keeps the keys and
    values of the words so far, so a word costs one pass, however long the caption is.
    """

    blocks: Any  # nn.ModuleList of TransformerBlock

    def __init__(
        self,
        embed_size: int,
        hidden_size: int,
        vocab_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        num_heads: int = 8,
        tie_weights: bool = False,
    ):
        super().__init__(vocab_size, hidden_size, hidden_size, tie_weights)
        nn.init.normal_(self.word_embedding.weight, std=hidden_size**-0.5)
        self.image = nn.Sequential(nn.Linear(embed_size, hidden_size), nn.LayerNorm(hidden_size))
        blocks = [TransformerBlock(hidden_size, num_heads, dropout) for _ in range(num_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = FastDropout(dropout)

    def start(self, features: Tensor) -> State:
        """Return four tensors a block: keys and values of the words so far, and of the image."""
        state: State = ()
        for key, value in self.image_keys_values(features):
            state += (key[:, :, :0], value[:, :, :0], key, value)  # (B, heads, 0 or P, H / heads)
        return state

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        words = self._embed(word[:, None], first=state[0].shape[2])  # (B, 1, H)
        new_state: State = ()
        for i, block in enumerate(self.blocks):
            *past, image_key, image_value = state[4 * i : 4 * i + 4]
            words, past = block.self_attend(words, past)
            if i == len(self.blocks) - 1:
                attention = block.cross_attention_weights(words, image_key)[:, 0]  # (B, P)
            words = block.feed(block.cross_attend(words, (image_key, image_value)))
            new_state += (*past, image_key, image_value)
        return self.output(self.norm(words[:, 0])), new_state, attention

    def hidden_states(self, features: Tensor, captions: Tensor) -> tuple[Tensor, None]:
        words = self._embed(captions)
        for block, image in zip(self.blocks, self.image_keys_values(features), strict=True):
            words, _ = block(words, repeat_state(image, len(captions)))
        return self.norm(words), None

    def image_keys_values(self, features: Tensor) -> list[KeysValues]:
        """Return the image's keys and values for each block; they are the same for every word."""
        if features.shape[1] < 2:
            raise ValueError(ONE_PLACE)
        image = self.dropout(self.image(features))  # (B, P, H)
        return [block.cross_attention.keys_values(image) for block in self.blocks]

    def _embed(self, captions: Tensor, first: int = 0) -> Tensor:
        """(B, T) ids -> (B, T, H), plus the positions first, first + 1, ..."""
        words = self.word_embedding(captions) * self.word_embedding.embedding_dim**0.5
        return self.dropout(words + sinusoidal_positions(first, captions.shape[1], words))
