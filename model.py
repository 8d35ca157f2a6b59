"""The captioner: an image encoder and the decoders that share one contract.

    EncoderCNN           images (B, 3, H, W) -> grid (B, P, D) -> features (B, P, E)
    DecoderRNN           RNN, GRU or LSTM; the pooled image is its first input
    AttentionDecoder     looks at all P places anew before every word
    TransformerDecoder   masked self-attention, then attention over the P places

The contract of all decoders, which every search, test and page relies on:

    state = decoder.start(features)                       tuple of tensors, batch first
    logits, state, attention = decoder.step(word, state)  (B, V), next state, (B, P) or None
    logits = decoder(features, captions)                  (B, T, V): teacher forcing = stepping

Shapes: B images, P places, D grid size, E embedding, H hidden, T words, V vocabulary, L layers.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import Backbone
from contract import Decoder, State, repeated
from transformer import TransformerDecoder


class StandardisedLinear(nn.Linear):
    """A linear layer on (x - mean) / deviation, both fixed before training.

    A ResNet's numbers are all above zero and vary far more in some channels than in others; as
    they are, the loudest few decide every step. LeCun et al. 1998, "Efficient BackProp".
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features)
        self.register_buffer("mean", torch.zeros(in_features))
        self.register_buffer("deviation", torch.ones(in_features))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.deviation  # the same in one product: x itself is not touched
        return F.linear(x, weight, self.bias - weight @ self.mean)


class EncoderCNN(nn.Module):
    """A frozen convolutional network and one trained linear layer.

    embed_size      E, numbers per place given to the decoder
    backbone        name of a torchvision classifier
    weights         "IMAGENET1K_V1" and its like, a file, or None (random; for experiments)
    grid            all P places for attention, or the average place
    fine_tune_from  child of the network from which on it is trained too ("layer4"), or None
    pca             numbers kept of each place, see pca.py; 0: all
    pixels          side of the square that the network sees; 0: what it was trained with
    second_look     in use, see the photo larger and mirrored as well, see Backbone

    `train()` never reaches the backbone: its BatchNorm layers would replace what they learned from
    a million photos by the average of a small batch, and drift.
    """

    def __init__(
        self,
        embed_size: int,
        backbone: str = "resnet50",
        weights: str | None = "IMAGENET1K_V1",
        grid: bool = False,
        fine_tune_from: str | None = None,
        pca: int = 0,
        pixels: int = 0,
        second_look: bool = False,
    ):
        super().__init__()
        self.backbone = Backbone(backbone, weights, grid, pca, pixels, second_look)
        self.embed = StandardisedLinear(self.backbone.grid_size, embed_size)
        self.config = {
            "embed_size": embed_size,
            "backbone": backbone,
            "weights": self.backbone.weights_name,
            "grid": grid,
            "fine_tune_from": fine_tune_from,
            "pca": pca,
            "pixels": pixels,
            "second_look": second_look,
        }
        if fine_tune_from:
            children = dict(self.backbone.network.named_children())
            if fine_tune_from not in children:
                raise ValueError(f"fine_tune_from is one of {', '.join(children)}.")
            for name in list(children)[list(children).index(fine_tune_from) :]:
                children[name].requires_grad_(True)

    def train(self, mode: bool = True) -> "EncoderCNN":
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W), normalised -> features (B, P, E)"""
        return self.embed(self.backbone(images))


class DecoderRNN(Decoder):
    """The image is the first word: Vinyals et al., "Show and Tell", 2015, arXiv:1411.4555.

    cell          "lstm", "gru" or "rnn"
    image_as      "input": the image is read like a first word; "state": it makes the first state
    nonlinearity  of the plain RNN, "tanh" or "relu"
    """

    def __init__(
        self,
        embed_size: int,
        hidden_size: int,
        vocab_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        cell: str = "lstm",
        image_as: str = "input",
        nonlinearity: str = "tanh",
        tie_weights: bool = False,
    ):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights)
        if cell not in ("lstm", "gru", "rnn") or image_as not in ("input", "state"):
            raise ValueError("cell is lstm, gru or rnn; image_as is input or state.")
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell]
        extra = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
        between = dropout if num_layers > 1 else 0.0
        self.rnn = kind(
            embed_size, hidden_size, num_layers, batch_first=True, dropout=between, **extra
        )
        self.dropout = nn.Dropout(dropout)
        self.image_as, self.parts = image_as, 2 if cell == "lstm" else 1  # (h, c) or (h,)
        if image_as == "state":
            self.first_state = nn.Linear(embed_size, self.parts * num_layers * hidden_size)

    def start(self, features: Tensor) -> State:
        image = features.mean(dim=1)  # (B, E)
        if self.image_as == "input":
            return self._run(image[:, None], None)[1]
        first = self.first_state(image).tanh()  # (B, parts * L * H)
        return tuple(first.view(len(image), self.parts, self.rnn.num_layers, -1).unbind(1))

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, None]:
        hidden, state = self._run(self.word_embedding(word)[:, None], state)
        return self.output(hidden[:, 0]), state, None

    def hidden_states(self, features: Tensor, captions: Tensor) -> tuple[Tensor, None]:
        words = self.word_embedding(captions)  # (B, T, E)
        if self.image_as == "state":
            return self._run(words, repeated(self.start(features), len(words)))[0], None
        (image,) = repeated((features.mean(dim=1, keepdim=True),), len(words))  # (B, 1, E)
        return self._run(torch.cat([image, words], dim=1), None)[0][:, 1:], None

    def _run(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        """PyTorch wants states layers first, the contract batch first: (B, L, H)."""
        if state is not None:
            state = tuple(part.transpose(0, 1).contiguous() for part in state)
            state = state if self.parts == 2 else state[0]
        hidden, state = self.rnn(self.dropout(inputs), state)
        state = state if self.parts == 2 else (state,)
        return self.dropout(hidden), tuple(part.transpose(0, 1) for part in state)


class AttentionDecoder(Decoder):
    """Looks anew before every word: Xu et al., "Show, Attend and Tell", 2015, arXiv:1502.03044.

    Additive attention (Bahdanau et al. 2014, arXiv:1409.0473) over the P places, a gate that says
    how much of what is seen matters now, and an LSTM that reads the word and the gated context.
    """

    def __init__(
        self,
        embed_size: int,
        hidden_size: int,
        vocab_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        tie_weights: bool = False,
    ):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights)
        if num_layers != 1:
            raise ValueError("AttentionDecoder has one layer: its state is what asks the question.")
        self.first_state = nn.Linear(embed_size, 2 * hidden_size)
        self.key = nn.Linear(embed_size, hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.gate = nn.Linear(hidden_size, embed_size)
        self.lstm = nn.LSTMCell(2 * embed_size, hidden_size)
        self.see = nn.Linear(embed_size, hidden_size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def start(self, features: Tensor) -> State:
        if features.shape[1] < 2:
            raise ValueError("Attention needs a grid of places: make the encoder with grid=True.")
        hidden, cell = self.first_state(features.mean(dim=1)).tanh().chunk(2, dim=-1)  # (B, H) each
        return hidden, cell, features, self.key(features)

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        hidden, state, attention = self._look(self.dropout(self.word_embedding(word)), state)
        return self.output(hidden), state, attention

    def hidden_states(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        words = self.dropout(self.word_embedding(captions))  # (B, T, E)
        state, hidden, attention = repeated(self.start(features), len(words)), [], []
        for word in words.unbind(1):  # the next question depends on the last answer: no shortcut
            seen, state, where = self._look(word, state)
            hidden.append(seen)
            attention.append(where)
        return torch.stack(hidden, dim=1), torch.stack(attention, dim=1)

    def _look(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        """word (B, E), already embedded -> (B, H) for the projection, next state, (B, P)."""
        hidden, cell, features, key = state
        energy = torch.tanh(key + self.query(hidden)[:, None])  # (B, P, H)
        attention = self.score(energy).squeeze(-1).float().softmax(dim=-1)  # (B, P)
        context = (attention.to(features.dtype)[:, None] @ features)[:, 0]  # (B, E)
        context = self.gate(hidden).sigmoid() * context
        hidden, cell = self.lstm(torch.cat([word, context], dim=-1), (hidden, cell))
        seen = self.dropout(torch.tanh(hidden + self.see(context)))  # both speak: "deep output"
        return seen, (hidden, cell, features, key), attention


DECODERS = {
    "lstm": DecoderRNN,
    "gru": functools.partial(DecoderRNN, cell="gru"),
    "rnn": functools.partial(DecoderRNN, cell="rnn"),
    "attention": AttentionDecoder,
    "transformer": TransformerDecoder,
}
NEEDS_GRID = ("attention", "transformer")


def make_decoder(kind: str, **config) -> Decoder:
    """The decoder named `kind`, one of DECODERS, made with `config` (embed_size, hidden_size ...).

    `decoder.config` keeps both, so that a saved file can make it again.
    """
    if kind not in DECODERS:
        raise ValueError(f"There is no decoder {kind!r}; choose from {', '.join(DECODERS)}.")
    if config.get("bidirectional"):
        raise ValueError(
            "A decoder cannot be bidirectional: it would read the words it is to predict."
        )
    try:
        decoder = DECODERS[kind](**config)
    except TypeError as error:
        raise ValueError(f"The {kind} decoder does not know that option: {error}.") from None
    decoder.config = {"kind": kind, **config}
    return decoder
