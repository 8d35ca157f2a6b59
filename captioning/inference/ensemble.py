"""Several captioners that vote: an easy way to better captions, for the cost of all of them.

    DecoderEnsemble(decoders)      the mean of their probabilities; follows the decoders' contract
    EncoderEnsemble(encoders)      each frozen network once, and each member's `embed`
    load_ensemble(encoder_files, decoder_files)   from saved pairs; from one pair, that captioner

    python train.py --decoder lstm attention transformer --out models/three
    python caption.py photo.jpg \\
        --encoder-file models/three/lstm/best/encoder.pkl \\
        --decoder-file models/three/lstm/best/decoder.pkl \\
        --encoder-file models/three/attention/best/encoder.pkl ... (a pair for each member)

Members may differ in kind, seed and backbone, but must share a vocabulary. The probability of a
word is the mean of what the members give it; the search then works as with a single decoder. A word
that only one member believes in is rarely chosen, and the members' mistakes differ.

The mean of probabilities, not of logits or weights: Vinyals et al. 2016, "Show and Tell: Lessons
learned", arXiv:1609.06647, section 4.3.3, gained most from it.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from captioning.files import PathLike
from captioning.inference.serialization import load_pair
from captioning.models.decoder import Decoder, State
from model import Encoder, EncoderCNN, Grid, split_grid
from vocabulary import Vocabulary

MAX_MEMBERS = 5  # each costs as much as one captioner


class DecoderEnsemble(nn.Module):
    """Decoders that vote. `start` takes a list of features (B, P, E), one for each of them."""

    decoders: Any  # nn.ModuleList of Decoder

    def __init__(self, decoders: Sequence[Decoder]):
        super().__init__()
        self.decoders = nn.ModuleList(decoders)
        self.max_words = max(decoder.config.max_words for decoder in decoders)
        self.num_parts: list[int] = []  # tensors in the state of each member

    def start(self, features: list[Tensor]) -> State:
        states = [decoder.start(f) for decoder, f in zip(self.decoders, features, strict=True)]
        self.num_parts = [len(state) for state in states]
        return tuple(part for state in states for part in state)

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, None]:
        """Return what a decoder does, without attention: members may see other places."""
        logprobs: list[Tensor] = []
        next_state: list[Tensor] = []
        first = 0
        for decoder, parts in zip(self.decoders, self.num_parts, strict=True):
            logits, new_parts, _ = decoder.step(word, state[first : first + parts])
            logprobs.append(logits.float().log_softmax(dim=-1))
            next_state += new_parts
            first += parts
        mean = torch.stack(logprobs).logsumexp(dim=0) - math.log(len(logprobs))
        return mean, tuple(next_state), None


class EncoderEnsemble(nn.Module):
    """The encoders of the members: a frozen network that several of them share runs once for all.

    parts  an encoder for each different network, which the captioner asks for its grid
    """

    parts: Any  # nn.ModuleList of EncoderCNN
    embeds: Any  # nn.ModuleList, for each member, of a StandardizedLinear for each of its networks

    def __init__(self, encoders: Sequence[Encoder]):
        super().__init__()
        parts: dict[tuple, EncoderCNN] = {}
        for part in (part for encoder in encoders for part in encoder.parts):
            key = network_key(part)
            if key not in parts or part.backbone.grid:
                parts[key] = part
        numbers = {key: number for number, key in enumerate(parts)}
        self.sources = [
            [(numbers[network_key(part)], part.backbone.grid) for part in encoder.parts]
            for encoder in encoders
        ]
        self.embeds = nn.ModuleList(
            nn.ModuleList(part.embed for part in encoder.parts) for encoder in encoders
        )
        self.parts = nn.ModuleList(parts.values())
        for part in self.parts:
            part.familiarity = None  # each member may have another one

    def embed(self, grid: Grid) -> list[Tensor]:
        """grid (B, P, D), of several networks a tuple -> features (B, P or 1, E) for each member"""
        grids = split_grid(grid)
        means = [grid.mean(dim=1, keepdim=True) for grid in grids]
        return [
            torch.cat(
                [
                    embed(grids[number] if all_places else means[number])
                    for embed, (number, all_places) in zip(embeds, sources, strict=True)
                ],
                dim=1,
            )
            for embeds, sources in zip(self.embeds, self.sources, strict=True)
        ]


def network_key(encoder: EncoderCNN) -> tuple:
    """Return what two frozen networks must have in common to give the same grid."""
    backbone = encoder.backbone
    return backbone.fingerprint(with_pca=True), backbone.scales, str(backbone.transform)


def load_ensemble(
    encoder_files: Sequence[PathLike],
    decoder_files: Sequence[PathLike],
    weights: str | Sequence[Any] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Encoder | EncoderEnsemble, Decoder | DecoderEnsemble, Vocabulary]:
    """Load one pair (see `serialization.load_pair`), or several as an ensemble.

    weights  of the backbones, for all members the same; or a sequence with one for each member

    Raises ValueError, one sentence, where the members cannot vote together.
    """
    if len(encoder_files) != len(decoder_files) or not 1 <= len(encoder_files) <= MAX_MEMBERS:
        raise ValueError(
            f"an ensemble has 1 to {MAX_MEMBERS} members, an encoder and a decoder file for each, "
            f"in the same order, not {len(encoder_files)} and {len(decoder_files)}."
        )
    files = list(zip(encoder_files, decoder_files, strict=True))
    if len(files) == 1:
        return load_pair(*files[0], weights, device)
    same_for_all = weights is None or isinstance(weights, str) or len(weights) != len(files)
    of_members = [weights] * len(files) if same_for_all else list(weights or [])
    encoders, decoders, words = zip(
        *(load_pair(*f, w, device) for f, w in zip(files, of_members, strict=True)), strict=True
    )
    if any(vocab.words != words[0].words for vocab in words):
        raise ValueError(
            "the members have different vocabularies; train them on the same data, or with the "
            "same --vocab-file."
        )
    return EncoderEnsemble(encoders), DecoderEnsemble(decoders), words[0]
