"""A memory of the training photos: what people said about them helps to choose among captions.

    Memory(folder, encoder)          photos and captions of the split train of a data folder
    memory.agreement(grid, texts)    the CIDEr-D that captions of new photos will have, predicted
    memory.influence(grid)           how much each training photo counts in that
    pooled_features(encoder, ...)    the features by which photos are compared

    python caption.py photo.jpg --memory data/flickr8k

A beam search finds several captions that a decoder finds almost equally likely. Which one would
people agree with? For any caption we know its CIDEr-D against the captions of every training photo:
a number for each of thousands of photos with known features. Ridge regression (Hoerl & Kennard
1970) learns from them to predict the number from features, and then predicts it for the new photo.
A caption's rank is

    score + WEIGHT * predicted CIDEr-D

As the regression is linear, the prediction is a weighted sum over training photos; `influence` are
the weights, the same for all captions of a photo, so that nothing is learned for each of them.
Devlin et al. 2015, arXiv:1505.04467, gave the most similar photos a weight each and the others
none: that gains a third as much. Nothing of it is in the saved pair, so another folder is another
memory, without training: Ramos et al. 2023, "SmallCap", arXiv:2209.15323. How the numbers were
chosen is in benchmarks/results.md.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from captioning.data.coco import CaptionSet, read_captions
from captioning.device import compute_dtype, device_of
from captioning.evaluation.cider_table import CiderTable
from captioning.features.cache import FeatureCache, cache_key
from captioning.features.extraction import extract_features
from captioning.files import PathLike
from captioning.safe_load import LOAD_ERRORS
from model import Grid, split_grid

CANDIDATES = 10  # captions of a beam among which the memory chooses
WEIGHT = 30.0  # of the predicted CIDEr-D (0 to 10, but cautious) beside the score (in nats)
RIDGE = 0.3  # pulls the regression towards the mean; a photo's features have length 1


class Memory:
    """The training photos of a data folder, as the backbone of a captioner sees them.

    folder   in COCO's layout; its cached features are used, or computed once and kept there
    encoder  of the captioner; each of its backbones counts the same

    Raises FileNotFoundError or ValueError, one sentence, where the folder has no photos with
    captions. Takes 4 bytes for each of the D features of a photo, and those of `CiderTable`.
    """

    def __init__(self, folder: PathLike, encoder: Any):
        captions = read_captions(folder, "train")
        pooled, unreadable = [], set()
        for part in encoder.parts:
            features, broken = pooled_features(part, captions, Path(folder, "features"))
            pooled.append(features)
            unreadable |= broken
        rows = sorted(set(captions.photo_index) - unreadable)
        if not rows:
            raise ValueError(f"{folder} has no training photo with captions: it is not a memory.")
        references = captions.references()
        self.photos = [captions.photos[row] for row in rows]
        self.references = {photo.id: references[photo.id] for photo in self.photos}
        self.table = CiderTable(self.references)
        self.means = [features[rows].mean(axis=0) for features in pooled]
        bank = self.keys([features[rows] for features in pooled])
        self.mean_key = bank.mean(axis=0)
        bank -= self.mean_key
        penalty = RIDGE * np.eye(bank.shape[1], dtype=np.float32)
        self.solution = np.linalg.solve(bank.T @ bank + penalty, bank.T)  # (D, N)

    def keys(self, pooled: Sequence[np.ndarray]) -> np.ndarray:
        """pooled (B, D) of each backbone -> (B, D1 + D2 + ...), each part centered, of length 1

        What all photos have in common is taken away: it would make all of them similar.
        """
        centered = [part - mean for part, mean in zip(pooled, self.means, strict=True)]
        lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in centered]
        pairs = zip(centered, lengths, strict=True)
        return np.concatenate([part / np.maximum(n, 1e-12) for part, n in pairs], axis=1)

    def influence(self, grid: Grid) -> np.ndarray:
        """grid (B, P, D) -> the weight of each training photo, in the order of `photos`: (B, N)"""
        pooled = [part.float().mean(dim=1).cpu().numpy() for part in split_grid(grid)]
        centered = self.keys(pooled) - self.mean_key
        return centered @ self.solution + 1 / len(self.photos)  # the mean of all, and what differs

    def agreement(self, grid: Grid, texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the predicted CIDEr-D of each of a photo's `texts`."""
        return [
            [float(self.table.scores(text) @ of_photo) for text in found]
            for of_photo, found in zip(self.influence(grid), texts, strict=True)
        ]


def pooled_features(encoder: Any, captions: CaptionSet, out: Path) -> tuple[np.ndarray, set[int]]:
    """Return the mean over all places of each photo (N, D), and the rows that are unreadable."""
    views = cached_views(encoder, captions, out)
    device = device_of(encoder)
    with contextlib.redirect_stdout(sys.stderr):  # captions alone are printed to standard output
        cache = extract_features(encoder, captions, out, views, grid=False, device=device)
    whole = np.asarray(cache.array[:, 0, 0], dtype=np.float32)  # view 0 is the whole photo
    return whole, set(cache.unreadable)


def cached_views(encoder: Any, captions: CaptionSet, out: Path) -> int:
    """Return how many views a cache has that training left of these photos; 1 without one.

    Pooled features follow from it in seconds, where the network would need minutes.
    """
    dtype = compute_dtype(device_of(encoder))
    for index in sorted(out.glob("*/index.json")):
        try:
            cache = FeatureCache(index.parent)
        except LOAD_ERRORS:
            continue
        if (cache.spec["backbone"], len(cache)) != (encoder.backbone.name, len(captions.photos)):
            continue
        grid, views = cache.spec["grid"], cache.views
        key = cache_key(encoder, captions.photos, views, grid, dtype, out)
        if cache.is_complete and key.items() <= cache.spec.items():
            return cache.views
    return 1
