"""Several captioners that vote: the cheapest way to better captions, at the price of their sum.

    Ensemble(decoders)             the mean of their probabilities; follows the decoders' contract
    EncoderEnsemble(encoders)      one frozen network, which sees the photo once, and each `embed`
    load_ensemble(encoder_files, decoder_files)   from saved pairs; of one pair, that pair

    python train.py --decoder lstm attention transformer --out models/three
    python caption.py photo.jpg \\
        --encoder-file models/three/lstm/best/encoder.pkl \\
        --decoder-file models/three/lstm/best/decoder.pkl \\
        --encoder-file models/three/attention/best/encoder.pkl ... (and so on: a pair for each)

Members may be of different kinds and seeds, but speak the same words and see through the same
network. The probability of a word is the mean of what they give it, after which the search goes on
as with one: what one member alone believes is rarely said, and their mistakes differ.

The mean of probabilities, not of logits or of weights: Vinyals et al. 2016, "Show and Tell:
Lessons learned", arXiv:1609.06647, section 4.3.3, gained most from it.
"""

import math
import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from contract import Decoder, State
from model import EncoderCNN
from saving import load_pair
from vocabulary import Vocabulary

MOST = 5  # members; each costs as much as one captioner


class Ensemble(nn.Module):
    """Decoders that vote. `start` takes a list of features (B, P, E), one for each of them."""

    def __init__(self, decoders: Sequence[Decoder]):
        super().__init__()
        self.decoders = nn.ModuleList(decoders)

    def start(self, features: list[Tensor]) -> State:
        states = [decoder.start(f) for decoder, f in zip(self.decoders, features, strict=True)]
        self.parts = [len(state) for state in states]
        return tuple(part for state in states for part in state)

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """As a decoder's; the attention is the mean of those that have one."""
        logprobs, next_state, looks, first = [], [], [], 0
        for decoder, parts in zip(self.decoders, self.parts, strict=True):
            logits, own, attention = decoder.step(word, state[first : first + parts])
            logprobs.append(logits.float().log_softmax(dim=-1))
            next_state += own
            looks += [] if attention is None else [attention]
            first += parts
        mean = torch.stack(logprobs).logsumexp(dim=0) - math.log(len(logprobs))
        return mean, tuple(next_state), sum(looks) / len(looks) if looks else None


class EncoderEnsemble(nn.Module):
    """Encoders that share one frozen network: it runs once, and each `embed` reads what it saw."""

    def __init__(self, encoders: Sequence[EncoderCNN]):
        super().__init__()
        self.backbone = max((e.backbone for e in encoders), key=lambda backbone: backbone.grid)
        self.embeds = nn.ModuleList(encoder.embed for encoder in encoders)
        self.grids = [encoder.backbone.grid for encoder in encoders]

    def embed(self, grid: Tensor) -> list[Tensor]:
        """grid (B, P, D) -> features (B, P or 1, E) for each member"""
        mean = grid.mean(dim=1, keepdim=True)
        return [
            embed(grid if all_places else mean)
            for embed, all_places in zip(self.embeds, self.grids, strict=True)
        ]


def load_ensemble(
    encoder_files: Sequence[str | os.PathLike],
    decoder_files: Sequence[str | os.PathLike],
    weights: str | None = None,
    device: torch.device | str = "cpu",
) -> tuple[EncoderCNN | EncoderEnsemble, Decoder | Ensemble, Vocabulary]:
    """What `saving.load_pair` gives, for one pair or several that are to vote.

    Raises ValueError, one sentence, where the members cannot speak with one voice.
    """
    if len(encoder_files) != len(decoder_files) or not 1 <= len(encoder_files) <= MOST:
        raise ValueError(
            f"an ensemble has 1 to {MOST} members, an encoder and a decoder file for each, in the "
            f"same order, not {len(encoder_files)} and {len(decoder_files)}."
        )
    files = list(zip(encoder_files, decoder_files, strict=True))
    encoders, decoders, words = zip(*(load_pair(*f, weights, device) for f in files), strict=True)
    if len(files) == 1:
        return encoders[0], decoders[0], words[0]
    if any(vocab.words != words[0].words for vocab in words):
        raise ValueError("the members have different vocabularies; train them on the same data.")
    if any(encoder.config["fine_tune_from"] for encoder in encoders):
        raise ValueError("members that fine-tuned their backbones see the photo differently.")
    if len({encoder.backbone.second_look for encoder in encoders}) > 1:
        raise ValueError("some members take a second look at each photo and some do not.")
    if len({encoder.backbone.fingerprint() for encoder in encoders}) > 1:
        raise ValueError("the members were trained on different backbones; they must share one.")
    return EncoderEnsemble(encoders), Ensemble(decoders), words[0]
