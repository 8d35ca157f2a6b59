"""The captioner: a frozen image encoder, and a decoder that writes the caption word by word.

    EncoderCNN      images (B, 3, H, W) -> grid (B, P, D) -> features (B, P, E)
    EncoderGroup    several of them look at one photo: their places are those of one image
    DecoderRNN      an LSTM, GRU or RNN that reads the image, then the words
    make_decoder    any decoder by name: "lstm", "gru", "rnn", "attention", "transformer"

All decoders share one contract, which search, tests and the web page rely on:

    state = decoder.start(features)                       tuple of tensors, batch first
    logits, state, attention = decoder.step(word, state)  (B, V), next state, (B, P) or None
    logits = decoder(features, captions)                  (B, T, V): teacher forcing = stepping

The other decoders are in captioning/models: attention.py and transformer.py.
Shapes: B images, P places, D grid size, E embedding, H hidden, T words, V vocabulary, L layers.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioning.models.attention import AttentionDecoder
from captioning.models.backbone import Backbone
from captioning.models.config import DecoderConfig, EncoderConfig, split_by_backbone
from captioning.models.decoder import Decoder, State, repeat_state
from captioning.models.familiarity import Familiarity
from captioning.models.transformer import TransformerDecoder


class StandardizedLinear(nn.Linear):
    """A linear layer on (x - mean) / std, both fixed before training.

    The features of a ResNet are all positive, and some channels vary far more than others; left as
    they are, the largest few decide every step. LeCun et al. 1998, "Efficient BackProp".
    """

    mean: Tensor
    std: Tensor

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features)
        self.register_buffer("mean", torch.zeros(in_features))
        self.register_buffer("std", torch.ones(in_features))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.std  # the same result in one product: x stays untouched
        return F.linear(x, weight, self.bias - weight @ self.mean)


class EncoderCNN(nn.Module):
    """A frozen convolutional network, and one linear layer that is trained.

    embed_size      E, size of the features at each place
    backbone        name of a torchvision classifier
    weights         torchvision's enum name ("IMAGENET1K_V1"), a file, or None (random weights)
    grid            keep all P places, for attention; otherwise their mean (P = 1)
    backbone_layer  layer at which it is cut, by torchvision's name; None: its last feature map
    fine_tune_from  also train the network, from this child on ("layer4"); None: all frozen
    pca             principal components kept of each place (captioning/features/pca.py); 0: all
    image_size      side in pixels of the square that the network sees; 0: as in its training
    tta             test-time augmentation: see the photo larger and also mirrored
    tta_scale       with tta, above 1: see both also this many times larger

    `train()` never reaches the backbone: its BatchNorm layers would replace the statistics of a
    million photos by those of a small batch, and drift.
    """

    def __init__(
        self,
        embed_size: int,
        backbone: str = "resnet50",
        weights: str | None = "IMAGENET1K_V1",
        grid: bool = False,
        backbone_layer: str | None = None,
        fine_tune_from: str | None = None,
        pca: int = 0,
        image_size: int = 0,
        tta: bool = False,
        tta_scale: float = 1.0,
    ):
        super().__init__()
        self.backbone = Backbone(
            backbone, weights, grid, pca, image_size, tta, backbone_layer, tta_scale
        )
        self.embed = StandardizedLinear(self.backbone.grid_size, embed_size)
        name = self.backbone.weights_name
        self.config = EncoderConfig(
            embed_size, backbone, name, grid, backbone_layer, fine_tune_from, pca, image_size, tta,
            tta_scale,
        )  # fmt: skip
        self.familiarity: Familiarity | None = None  # with the training photos; set by train.py
        if fine_tune_from:
            children = dict(self.backbone.children_in_order())
            if fine_tune_from not in children:
                raise ValueError(f"fine_tune_from must be one of {', '.join(children)}.")
            for child in list(children)[list(children).index(fine_tune_from) :]:
                children[child].requires_grad_(True)

    @classmethod
    def from_config(cls, config: EncoderConfig) -> "EncoderCNN":
        """Build the encoder that `config` describes."""
        return cls(**vars(config))

    @property
    def parts(self) -> list["EncoderCNN"]:
        """The encoders of which this one consists, as of an EncoderGroup: only itself."""
        return [self]

    def train(self, mode: bool = True) -> "EncoderCNN":
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W), normalized -> features (B, P, E)"""
        return self.embed(self.backbone(images))


class EncoderGroup(nn.Module):
    """Several encoders that look at the same photo, each with a frozen network of its own.

    The decoder gets the places of all as places of one image: it attends over P1 + P2 + ..., or,
    pooled, reads the mean of one vector from each. `embed` of each encoder brings its D to the same
    E, and its bias marks whose place it is. Networks trained differently see different things:
    Jiang et al. 2018, "Recurrent Fusion Network for Image Captioning", arXiv:1807.09986.
    """

    parts: Any  # nn.ModuleList of EncoderCNN

    def __init__(self, encoders: Sequence[EncoderCNN]):
        super().__init__()
        if len({(one.config.embed_size, one.config.grid) for one in encoders}) > 1:
            raise ValueError("encoders of one group need the same embed_size, and all a grid.")
        self.parts = nn.ModuleList(encoders)

    def embed(self, grids: Sequence[Tensor]) -> Tensor:
        """grids (B, P1, D1), (B, P2, D2) ... -> features (B, P1 + P2 + ..., E)"""
        pairs = zip(self.parts, grids, strict=True)
        return torch.cat([part.embed(grid) for part, grid in pairs], dim=1)


Encoder = EncoderCNN | EncoderGroup
Grid = Any  # a Tensor (B, P, D) of one encoder; a tuple of them, one of each, for a group


def build_encoder(config: EncoderConfig) -> Encoder:
    """Build the encoder that `config` describes; of several backbones an EncoderGroup."""
    encoders = [EncoderCNN.from_config(one) for one in split_by_backbone(config)]
    return encoders[0] if len(encoders) == 1 else EncoderGroup(encoders)


def split_grid(grid: Grid) -> tuple[Tensor, ...]:
    """Return the grid of each encoder in `encoder.parts`."""
    return (grid,) if isinstance(grid, Tensor) else grid


def join_grids(grids: Iterable[Tensor]) -> Grid:
    """Return the grids of `encoder.parts` as its `embed` takes them."""
    first, *others = grids
    return (first, *others) if others else first


class DecoderRNN(Decoder):
    """The image is the first word: Vinyals et al., "Show and Tell", 2015, arXiv:1411.4555.

    cell          "lstm", "gru" or "rnn"
    image_input   "input": the image is read like a first word; "state": it is the initial state
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
        image_input: str = "input",
        nonlinearity: str = "tanh",
        tie_weights: bool = False,
    ):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights)
        if cell not in ("lstm", "gru", "rnn") or image_input not in ("input", "state"):
            raise ValueError("cell must be lstm, gru or rnn, and image_input input or state.")
        if cell != "rnn" and nonlinearity != "tanh":
            raise ValueError(f"The {cell} decoder does not have the option nonlinearity.")
        rnn = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell]
        extra = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
        between_layers = dropout if num_layers > 1 else 0.0
        self.rnn = rnn(
            embed_size, hidden_size, num_layers, batch_first=True, dropout=between_layers, **extra
        )
        self.dropout = nn.Dropout(dropout)
        self.image_input = image_input
        self.num_states = 2 if cell == "lstm" else 1  # (h, c) or (h,)
        if image_input == "state":
            self.init_state = nn.Linear(embed_size, self.num_states * num_layers * hidden_size)

    def start(self, features: Tensor) -> State:
        image = features.mean(dim=1)  # (B, E)
        if self.image_input == "input":
            return self._run(image[:, None], None)[1]
        state = self.init_state(image).tanh()  # (B, num_states * L * H)
        return state.view(len(image), self.num_states, self.rnn.num_layers, -1).unbind(1)

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, None]:
        hidden, state = self._run(self.word_embedding(word)[:, None], state)
        return self.output(hidden[:, 0]), state, None

    def hidden_states(self, features: Tensor, captions: Tensor) -> tuple[Tensor, None]:
        words = self.word_embedding(captions)  # (B, T, E)
        if self.image_input == "state":
            return self._run(words, repeat_state(self.start(features), len(words)))[0], None
        (image,) = repeat_state((features.mean(dim=1, keepdim=True),), len(words))  # (B, 1, E)
        return self._run(torch.cat([image, words], dim=1), None)[0][:, 1:], None

    def _run(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
        """inputs (B, T, E) -> hidden (B, T, H), state. PyTorch's states are layers first."""
        rnn_state: Any = None
        if state is not None:
            layers_first = tuple(part.transpose(0, 1).contiguous() for part in state)  # (L, B, H)
            rnn_state = layers_first if self.num_states == 2 else layers_first[0]
        hidden, rnn_state = self.rnn(self.dropout(inputs), rnn_state)
        layers_first = rnn_state if self.num_states == 2 else (rnn_state,)
        return self.dropout(hidden), tuple(part.transpose(0, 1) for part in layers_first)


DECODERS: dict[str, Callable[..., Decoder]] = {
    "lstm": DecoderRNN,
    "gru": functools.partial(DecoderRNN, cell="gru"),
    "rnn": functools.partial(DecoderRNN, cell="rnn"),
    "attention": AttentionDecoder,
    "transformer": TransformerDecoder,
}
NEEDS_GRID = ("attention", "transformer")


def make_decoder(kind: str, **options: Any) -> Decoder:
    """Build the decoder named `kind`, one of DECODERS; the options are DecoderConfig's fields.

    Raises ValueError for an unknown kind, and for an option that this kind does not have.
    """
    if options.get("bidirectional"):
        raise ValueError(
            "A decoder cannot be bidirectional: it would read the words that it must predict."
        )
    try:
        config = DecoderConfig(kind=kind, **options)
    except TypeError as error:
        raise ValueError(f"The {kind} decoder does not have that option: {error}.") from None
    return build_decoder(config)


def build_decoder(config: DecoderConfig) -> Decoder:
    """Build the decoder that `config` describes; `decoder.config` keeps it for the saved file."""
    if config.kind not in DECODERS:
        raise ValueError(f"There is no decoder {config.kind!r}; choose from {', '.join(DECODERS)}.")
    known, options = inspect.signature(DECODERS[config.kind]).parameters, {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in known:
            options[field.name] = value
        elif field.name not in ("kind", "max_words") and value != field.default:
            raise ValueError(f"The {config.kind} decoder does not have the option {field.name}.")
    decoder = DECODERS[config.kind](**options)
    decoder.config = config
    return decoder
