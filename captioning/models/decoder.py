"""The contract that all decoders share, and how their numbers begin.

    state = decoder.start(features)                       a tuple of tensors, batch first
    logits, state, attention = decoder.step(word, state)  one word: (B, V), next state, (B, P)
    logits = decoder(features, captions)                  teacher forcing (B, T, V) = stepping

    initialise(decoder, embedding=..., recurrent=..., output=...)   xavier, kaiming or default

Every search, test, page and export is written once, against these three calls. The state is a
tuple whose every tensor begins with the batch, so a beam is reordered by one indexing rule.
"""

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]


def repeated(state: State, rows: int) -> State:
    """The state of B images for `rows` captions, rows / B for each image, in its order."""
    times = rows // len(state[0])
    return tuple(part.repeat_interleave(times, dim=0) for part in state) if times > 1 else state


class Decoder(nn.Module):
    """What all decoders share: words in, words out, one projection to the vocabulary."""

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

    def forward(self, features: Tensor, captions: Tensor) -> Tensor:
        """features (B, P, E), captions (B, T) -> logits (B, T, V); [:, t] predicts word t + 1."""
        return self.output(self.hidden_states(features, captions)[0])

    def hidden_states(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, T, H) before the projection to words; attention (B, T, P) where it is computed.

        Where there are n captions for each image, in its order, each image is prepared only once.

        Training projects only what is no padding: at V = 10,000 that projection is most work.
        """
        raise NotImplementedError

    def start(self, features: Tensor) -> State:
        """features (B, P, E) -> what the decoder remembers before the first word."""
        raise NotImplementedError

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """word (B,) ids -> logits (B, V) of the next word, next state, attention (B, P) or None."""
        raise NotImplementedError


INITIALISERS = {
    "default": None,  # what PyTorch chose when it made the layer
    "xavier": nn.init.xavier_uniform_,  # Glorot & Bengio 2010: keeps the size of signals
    "kaiming": nn.init.kaiming_normal_,  # He et al. 2015, arXiv:1502.01852: the same, before ReLU
}


def initialise(
    decoder: Decoder,
    embedding: str = "default",
    recurrent: str = "default",
    output: str = "default",
    word_counts: Tensor | None = None,
) -> None:
    """Draws the matrices of three groups of layers anew; biases stay, but for the output's.

    recurrent    every matrix but the word embedding and the output projection
    word_counts  (V,) uses of each word: the output bias becomes their log share, so that the
                 untrained model already knows which words are frequent (Karpathy & Fei-Fei 2015)
    """
    chosen = {"embedding": embedding, "recurrent": recurrent, "output": output}
    for group, name in chosen.items():
        if name not in INITIALISERS:
            raise ValueError(f"{group} is one of {', '.join(INITIALISERS)}, not {name!r}.")
    tied = decoder.word_embedding.weight is decoder.output.weight
    for name, matrix in decoder.named_parameters():
        group = name.split(".")[0].replace("word_", "")
        group = group if group in chosen else "recurrent"
        fill = INITIALISERS[chosen["output" if tied and group == "embedding" else group]]
        if fill and matrix.dim() > 1:
            fill(matrix)
    if word_counts is not None:
        with torch.no_grad():
            share = (word_counts + 1).double() / (word_counts + 1).sum()
            decoder.output.bias.copy_(share.log())
