"""Several captioners that vote: an easy way to better captions, for the cost of all of them.

    DecoderEnsemble(decoders)      the mean of their probabilities; follows the decoders' contract
    EncoderEnsemble(encoders)      one frozen network, which runs once, and each member's `embed`
    load_ensemble(encoder_files, decoder_files)   from saved pairs; from one pair, that captioner

    python train.py --decoder lstm attention transformer --out models/three
    python caption.py photo.jpg \\
        --encoder-file models/three/lstm/best/encoder.pkl \\
        --decoder-file models/three/lstm/best/decoder.pkl \\
        --encoder-file models/three/attention/best/encoder.pkl ... (a pair for each member)

Members may differ in kind and seed, but must share vocabulary and backbone. The probability of a
word is the mean of what the members give it; the search then works as with a single decoder. A
word that only one member believes in is rarely chosen, and the members' mistakes differ.

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
from captioning.models.backbone import Backbone
from captioning.models.decoder import Decoder, State
from model import Encoder, EncoderCNN, EncoderGroup
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

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """Return what a decoder does; the attention is the mean of those that have one."""
        logprobs: list[Tensor] = []
        next_state: list[Tensor] = []
        attentions: list[Tensor] = []
        first = 0
        for decoder, parts in zip(self.decoders, self.num_parts, strict=True):
            logits, new_parts, attention = decoder.step(word, state[first : first + parts])
            logprobs.append(logits.float().log_softmax(dim=-1))
            next_state += new_parts
            attentions += [] if attention is None else [attention]
            first += parts
        mean = torch.stack(logprobs).logsumexp(dim=0) - math.log(len(logprobs))
        mean_attention = torch.stack(attentions).mean(dim=0) if attentions else None
        return mean, tuple(next_state), mean_attention


class EncoderEnsemble(nn.Module):
    """Encoders that share one frozen network: it runs once, and each `embed` reads its grid."""

    backbone: Backbone
    embeds: Any  # nn.ModuleList of StandardizedLinear

    def __init__(self, encoders: Sequence[EncoderCNN]):
        super().__init__()
        self.backbone = max((e.backbone for e in encoders), key=lambda backbone: backbone.grid)
        self.embeds = nn.ModuleList(encoder.embed for encoder in encoders)
        self.grids = [encoder.backbone.grid for encoder in encoders]
        self.familiarity = None  # each member may have another one

    @property
    def parts(self) -> list["EncoderEnsemble"]:
        """The holders of a frozen network, as of an EncoderGroup: only itself."""
        return [self]

    def embed(self, grid: Tensor) -> list[Tensor]:
        """grid (B, P, D) -> features (B, P or 1, E) for each member"""
        mean = grid.mean(dim=1, keepdim=True)
        return [
            embed(grid if all_places else mean)
            for embed, all_places in zip(self.embeds, self.grids, strict=True)
        ]


def load_ensemble(
    encoder_files: Sequence[PathLike],
    decoder_files: Sequence[PathLike],
    weights: str | Sequence[str] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Encoder | EncoderEnsemble, Decoder | DecoderEnsemble, Vocabulary]:
    """Load one pair (see `serialization.load_pair`), or several as an ensemble.

    Raises ValueError, one sentence, where the members cannot vote together.
    """
    if len(encoder_files) != len(decoder_files) or not 1 <= len(encoder_files) <= MAX_MEMBERS:
        raise ValueError(
            f"an ensemble has 1 to {MAX_MEMBERS} members, an encoder and a decoder file for each, "
            f"in the same order, not {len(encoder_files)} and {len(decoder_files)}."
        )
    files = list(zip(encoder_files, decoder_files, strict=True))
    encoders, decoders, words = zip(*(load_pair(*f, weights, device) for f in files), strict=True)
    if len(files) == 1:
        return encoders[0], decoders[0], words[0]
    if any(vocab.words != words[0].words for vocab in words):
        raise ValueError("the members have different vocabularies; train them on the same data.")
    if any(isinstance(encoder, EncoderGroup) for encoder in encoders):
        raise ValueError(
            "an ensemble shares one backbone, and a member has several: give pairs of one backbone."
        )
    if any(encoder.config.fine_tune_from for encoder in encoders):
        raise ValueError(
            "members with fine-tuned backbones cannot share one; train without --fine-tune-from."
        )
    if len({encoder.backbone.scales for encoder in encoders}) > 1:
        raise ValueError(
            "the members differ in test-time augmentation; train all with the same --tta and "
            "--tta-scale, or none."
        )
    if len({encoder.backbone.fingerprint() for encoder in encoders}) > 1:
        raise ValueError("the members were trained on different backbones; they must share one.")
    return EncoderEnsemble(encoders), DecoderEnsemble(decoders), words[0]
