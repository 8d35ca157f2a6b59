"""A captioner ready to caption: saved weights, the fast frozen network, the search.

    Captioner.load(encoder_file, decoder_file)   from a pair of files, or several: an ensemble
    captioner.caption(photos)                    n captions for each photo, the best first
    captioner.caption_stream(paths)              a whole folder: reads, encodes and searches at once

The same photo gets the same caption, alone or in a folder.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from captioning.data.photos import PhotoTransform, read_photo
from captioning.device import compute_dtype, get_device, parallel_map
from captioning.features.fast_network import FastBackbone
from captioning.files import PathLike
from captioning.inference.ensemble import DecoderEnsemble, EncoderEnsemble, load_ensemble
from captioning.inference.memory import CANDIDATES, WEIGHT, Memory
from captioning.inference.sampling import sample
from captioning.inference.search import PAD, Hypothesis, beam_search
from captioning.models.decoder import Decoder
from captioning.models.familiarity import Judgment
from model import Encoder, Grid, join_grids, split_grid
from vocabulary import Vocabulary

SEARCH_BATCH = 64  # photos whose captions are searched together
ENCODE_BATCH = 8  # images given to the network at once
SILENCE = 0.01  # weighs like a label of this probability; see Caption.trust
TOY_WARNING = (
    "this captioner has only ever seen drawn scenes; for photographs choose the captioner photos, "
    "or train one (README, 'Training on photographs')."
)


@dataclass(frozen=True)
class Caption:
    text: str
    score: float  # logprob over the length penalty; see search.beam_search
    logprob: float
    words: tuple[int, ...]
    judgment: Judgment | None = None  # of the photo, where the captioner has a familiarity
    agreement: float | None = None  # predicted CIDEr-D, 0 to 10, where it has a memory

    @property
    def trust(self) -> float:
        """How likely the caption is to be right, in nats: only its order means anything.

        Familiarity of the photo + log p of the caption + log(p of named labels + SILENCE). So three
        things count: whether the decoder has read captions of such photos, how sure it is of this
        one, and whether it names what the image network sees. nan without a familiarity.
        """
        if self.judgment is None:
            return float("nan")
        named = self.judgment.named_in(self.text)
        return self.judgment.familiarity + self.logprob + math.log(named + SILENCE)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them: a drawn caption has no score, null in JSON."""
        fields = asdict(self) | {"trust": self.trust}
        if self.judgment is None:
            del fields["judgment"], fields["trust"]
        if self.agreement is None:
            del fields["agreement"]
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in fields.items()
        }


class Captioner:
    """An encoder, a decoder and its vocabulary, and how to ask them for captions."""

    def __init__(
        self,
        encoder: Encoder | EncoderEnsemble,
        decoder: Decoder | DecoderEnsemble,
        vocab: Vocabulary,
        device: torch.device | str = "cpu",
        memory: PathLike | None = None,
    ):
        self.device, self.vocab = torch.device(device), vocab
        self.encoder, self.decoder = encoder.to(device).eval(), decoder.to(device).eval()
        dtype = compute_dtype(self.device)
        networks = [part.backbone for part in encoder.parts]
        self.transforms = [PhotoTransform(**network.transform) for network in networks]
        self.backbones = [FastBackbone(one, self.device, dtype, ENCODE_BATCH) for one in networks]
        self.min_side = max(transform.min_side for transform in self.transforms)
        self.toy_only = any(network.toy_only for network in networks)
        self.memory = Memory(memory, self.encoder) if memory else None

    @classmethod
    def load(
        cls,
        encoder_file: PathLike | Sequence[PathLike],
        decoder_file: PathLike | Sequence[PathLike],
        weights: str | Sequence[str] | None = None,
        device: str = "auto",
        memory: PathLike | None = None,
    ) -> "Captioner":
        """Load a pair of files, or the ensemble in several; see `serialization.load_pair`.

        memory  a data folder whose training photos help to choose; see memory.py
        """
        target = get_device(device)
        pairs = (_as_list(encoder_file), _as_list(decoder_file))
        return cls(*load_ensemble(*pairs, weights, target), target, memory)

    @torch.inference_mode()
    def grid(self, photos: list[Image.Image]) -> Grid:
        """photos -> grid (B, P, D) of the frozen network, or of each of several"""
        return join_grids(
            torch.cat(
                [
                    backbone(transform.normalize(part.to(self.device)))
                    for part in _pixels(transform, photos).split(ENCODE_BATCH)
                ]
            )
            for transform, backbone in zip(self.transforms, self.backbones, strict=True)
        )

    @torch.inference_mode()
    def features(self, photos: list[Image.Image]) -> Any:
        """photos -> features (B, P, E); a list of such for an ensemble, one for each member"""
        return self.encoder.embed(self.grid(photos))

    def judge(self, grid: Grid) -> Sequence[Judgment | None]:
        """grid (B, P, D) -> what the image network makes of each photo; None where unknown"""
        grids = split_grid(grid)
        for part, own in zip(self.encoder.parts, grids, strict=True):
            if part.familiarity:
                return part.familiarity.judge(own)
        return [None] * len(grids[0])

    @torch.inference_mode()
    def caption(
        self,
        photos: Sequence[Image.Image | PathLike],
        beam_size: int = 3,
        alpha: float = 0.7,
        n_best: int = 1,
        max_words: int | None = None,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        no_repeat_ngram_size: int = 0,
    ) -> list[list[Caption]]:
        """Return the `n_best` captions of each photo (PIL images or paths), the best first.

        max_words    limit of a caption's length; None: as long as the training captions
        temperature  0 uses beam search; above 0 draws `n_best` captions at random, see
                     `sampling.sample`, with `top_k`, `top_p` and `seed`

        With a memory, the best are chosen among CANDIDATES captions of the beam search, which then
        keeps at least as many; captions drawn at random stay as they are.

        Raises ValueError where a number is out of range.
        """
        max_words = self.decoder.max_words if max_words is None else max_words
        if n_best < 1 or max_words < 1:
            raise ValueError("n_best and max_words must be 1 or more.")
        if no_repeat_ngram_size < 0:
            raise ValueError("no_repeat_ngram_size must be 0 or more words.")
        if temperature == 0 and (top_k != 0 or top_p != 1):
            raise ValueError(
                "top_k and top_p choose among words that are drawn at random: they need a "
                "temperature above 0."
            )
        images = [p if isinstance(p, Image.Image) else read_photo(p, self.min_side) for p in photos]
        grid = self.grid(images)
        judgments = self.judge(grid)
        features: Any = self.encoder.embed(grid)
        if temperature == 0:
            candidates = max(n_best, CANDIDATES) if self.memory else n_best
            found = beam_search(
                self.decoder, features, beam_size, alpha, max_words, candidates,
                no_repeat_ngram_size=no_repeat_ngram_size,
            )  # fmt: skip
            captions = [
                [self.as_caption(h, judgment) for h in hypotheses]
                for hypotheses, judgment in zip(found, judgments, strict=True)
            ]
            return self.choose(captions, grid, n_best) if self.memory else captions
        samples = [
            sample(
                self.decoder, features, seed + i, temperature, top_k, top_p, max_words,
                no_repeat_ngram_size=no_repeat_ngram_size,
            ).tolist()
            for i in range(n_best)
        ]  # fmt: skip
        return [
            [self.as_caption(ids, judgment) for ids in drawn]
            for *drawn, judgment in zip(*samples, judgments, strict=True)
        ]

    def choose(self, captions: list[list[Caption]], grid: Grid, n_best: int) -> list[list[Caption]]:
        """Return the `n_best` captions of each photo by score and predicted agreement."""
        assert self.memory
        agreements = self.memory.agreement(grid, [[c.text for c in found] for found in captions])
        ranked = []
        for found, of_photo in zip(captions, agreements, strict=True):
            rated = [replace(c, agreement=a) for c, a in zip(found, of_photo, strict=True)]
            rated.sort(key=lambda c: -c.score - WEIGHT * (c.agreement or 0))
            ranked.append(rated[:n_best])
        return ranked

    def as_caption(
        self, found: Hypothesis | list[int], judgment: Judgment | None = None
    ) -> Caption:
        """Return the text of what a search found, or of drawn ids, which have no score."""
        if isinstance(found, Hypothesis):
            text = self.vocab.decode(found.words)
            return Caption(text, found.score, found.logprob, found.words, judgment)
        words = tuple(word for word in found if word not in (PAD, self.vocab.end))
        return Caption(self.vocab.decode(words), float("nan"), float("nan"), words, judgment)

    def caption_stream(
        self, paths: Iterable[Path], **options: Any
    ) -> Iterator[tuple[Path, list[Caption] | str]]:
        """Yield (path, captions) in order; (path, reason) where the photo cannot be read.

        options  those of `caption`. Threads read the next photos while the network encodes these.
        """

        def read(path: Path) -> tuple[Path, Image.Image | str]:
            try:
                return path, read_photo(path, self.min_side)
            except (OSError, ValueError) as error:
                return path, str(error)

        photos = parallel_map(read, paths)
        while part := list(islice(photos, SEARCH_BATCH)):
            readable = [photo for _, photo in part if not isinstance(photo, str)]
            captions = iter(self.caption(readable, **options) if readable else [])
            for path, photo in part:
                yield path, photo if isinstance(photo, str) else next(captions)


def _pixels(transform: PhotoTransform, photos: list[Image.Image]) -> Tensor:
    return torch.stack([transform.resize_and_crop(photo) for photo in photos])


def _as_list(files: PathLike | Sequence[PathLike]) -> Sequence[PathLike]:
    return files if isinstance(files, list | tuple) else [files]  # type: ignore[list-item]
