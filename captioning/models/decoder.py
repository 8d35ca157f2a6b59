"""The contract that all decoders share, and how their weights are initialized.

    state = decoder.start(features)                       a tuple of tensors, batch first
    logits, state, attention = decoder.step(word, state)  one word: (B, V), next state, (B, P)
    logits = decoder(features, captions)                  teacher forcing (B, T, V) = stepping

    init_weights(decoder, embedding=..., recurrent=..., output=...)   xavier, kaiming or default

Search, tests, page and export are each written once, against these three calls. The state is a
tuple whose every tensor begins with the batch, so one indexing rule reorders a beam. A tensor that
`step` hands on as it got it belongs to the image: all captions of its beam share it, and it is not
reordered. So `step` never changes a tensor of the state in place.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captioning.models.config import DecoderConfig

State = tuple[Tensor, ...]
ONE_PLACE = (
    "Attention needs a grid of places, and these features have one place: make the encoder with "
    "grid=True, without a fully connected --backbone-layer, or choose an RNN, GRU or LSTM."
)


def repeat_state(state: State, rows: int) -> State:
    """Repeat the state of B images for `rows` captions, rows / B for each image, in order."""
    times = rows // len(state[0])
    return tuple(part.repeat_interleave(times, dim=0) for part in state) if times > 1 else state


class Decoder(nn.Module):
    """What all decoders share: a word embedding, and one projection to the vocabulary."""

    config: DecoderConfig  # set by `model.build_decoder`, and saved with the weights

    def __init__(self, vocab_size: int, word_size: int, output_size: int, tie_weights: bool):
        super().__init__()
        self.word_embedding = nn.Embedding(vocab_size, word_size)
        self.output = nn.Linear(output_size, vocab_size)
        if tie_weights:  # Press & Wolf 2017, arXiv:1608.05859
            if word_size != output_size:
                raise ValueError(
                    f"Tied weights need embed_size equal to hidden_size, "
                    f"not {word_size} and {output_size}."
                )
            self.word_embedding.weight = self.output.weight

    @property
    def max_words(self) -> int:
        """The length at which a search cuts a caption off, in words."""
        return self.config.max_words

    def forward(self, features: Tensor, captions: Tensor) -> Tensor:
        """features (B, P, E), captions (B, T) -> logits (B, T, V); [:, t] predicts word t + 1."""
        return self.output(self.hidden_states(features, captions)[0])

    def hidden_states(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (B, T, H) before the projection, and attention (B, T, P) where it is computed.

        With n captions for each image, in the images' order, each image is prepared only once.

        Training projects only the positions that are not padding: at V = 10,000 the projection is
        most of the work.
        """
        raise NotImplementedError

    def start(self, features: Tensor) -> State:
        """features (B, P, E) -> the state before the first word."""
        raise NotImplementedError

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """word (B,) ids -> logits (B, V) of the next word, next state, attention (B, P) or None."""
        raise NotImplementedError


INITIALIZERS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "default": None,  # PyTorch's choice for the layer
    "xavier": nn.init.xavier_uniform_,  # Glorot & Bengio 2010: keeps the variance of signals
    "kaiming": nn.init.kaiming_normal_,  # He et al. 2015, arXiv:1502.01852: the same, before ReLU
}


def init_weights(
    decoder: Decoder,
    embedding: str = "default",
    recurrent: str = "default",
    output: str = "default",
    word_counts: Tensor | None = None,
) -> None:
    """Initialize the matrices of three groups of layers; biases stay, except the output's.

    recurrent    every matrix but the word embedding and the output projection
    word_counts  (V,) occurrences of each word: the output bias becomes the log of their relative
                 frequency, so that the untrained model already knows which words are frequent
                 (Karpathy & Fei-Fei 2015, arXiv:1412.2306)
    """
    chosen = {"embedding": embedding, "recurrent": recurrent, "output": output}
    for group, name in chosen.items():
        if name not in INITIALIZERS:
            raise ValueError(f"{group} must be one of {', '.join(INITIALIZERS)}, not {name!r}.")
    tied = decoder.word_embedding.weight is decoder.output.weight
    for name, matrix in decoder.named_parameters():
        group = name.split(".")[0].replace("word_", "")
        group = group if group in chosen else "recurrent"
        initializer = INITIALIZERS[chosen["output" if tied and group == "embedding" else group]]
        if initializer and matrix.dim() > 1:
            initializer(matrix)
    if word_counts is not None:
        with torch.no_grad():
            frequency = (word_counts + 1).double() / (word_counts + 1).sum()
            decoder.output.bias.copy_(frequency.log())
