"""Does a captioner know what it is looking at? Its image network can tell; its decoder cannot.

    Familiarity(classifier, prior, threshold)   compares a photo with the training photos
    fit(config, training, validation)           the prior and the threshold of a training run

A decoder always writes a fluent caption: it has never seen a cup, so a cup becomes a ball. But the
network in front of it was trained to name a thousand classes, and the layer that names them is in
its package. The mean of its class probabilities over the training photos is a prior: how usual
each class was. A photo of usual classes has a high familiarity,

    familiarity = sum over classes c of p(c | photo) * log prior(c),

the negative cross-entropy of the photo's classes against the prior, in nats. Below the threshold,
which 5 % of the validation photos fall short of, the caption should not be trusted; the names of
the likeliest classes are then a better guide. Hendrycks and Gimpel 2017, arXiv:1610.02136, began
the study of such questions.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captioning.models.config import EncoderConfig
from captioning.models.efficientnet_lite import PACKAGE, labels, load_classifier

UNFAMILIAR = 0.05  # fraction of the validation photos below the threshold
SMALLEST = 1e-5  # of a prior; no class is impossible
LABELS = 3  # classes that are named


@dataclass(frozen=True)
class Judgment:
    """What the image network makes of a photo.

    familiarity  in nats, 0 at most; the higher, the more like the training photos
    is_familiar  whether it reaches the threshold
    labels       the likeliest ImageNet classes and their probabilities
    """

    familiarity: float
    is_familiar: bool
    labels: tuple[tuple[str, float], ...]

    def named_in(self, caption: str) -> float:
        """Return the probability of those labels of which the caption has a word."""
        words = {word.rstrip("s") for word in caption.lower().split()}
        has = [
            words & {word.rstrip("s") for word in name.lower().split()} for name, _ in self.labels
        ]
        return sum(p for (_, p), shared in zip(self.labels, has, strict=True) if shared)

    def __str__(self) -> str:
        names = ", ".join(name for name, _ in self.labels)
        if self.is_familiar:
            return f"like the photos it learned from; the image network sees: {names}"
        return f"unlike the photos it learned from; the image network itself sees: {names}"


class Familiarity:
    """Compares photos with those of training; kept in the encoder's file, about 2 kB.

    prior      (1000,) mean class probabilities over the training photos
    threshold  familiarity below which a photo is called unlike them
    """

    def __init__(self, classifier: nn.Linear, prior: Tensor, threshold: float):
        fits = prior.shape == (classifier.out_features,) and bool(prior.isfinite().all())
        if not fits or not math.isfinite(threshold):
            raise ValueError("the prior of its classes does not fit its image network")
        self.classifier, self.prior, self.threshold = classifier, prior.float(), float(threshold)

    @torch.inference_mode()
    def judge(self, grid: Tensor) -> list[Judgment]:
        """grid (B, P, D) of the backbone -> what each photo looks like"""
        logits = self.classifier(grid.float().mean(dim=1).cpu())  # (B, 1000)
        values = familiarity(logits.softmax(dim=-1), self.prior).tolist()
        return [
            Judgment(value, value >= self.threshold, tuple(labels(row, LABELS)))
            for value, row in zip(values, logits, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """Return what the encoder's file keeps."""
        return {"prior": self.prior.half(), "threshold": self.threshold}


def familiarity(probability: Tensor, prior: Tensor) -> Tensor:
    """probability (B, C), prior (C,) -> (B,) in nats"""
    return probability @ prior.clamp(min=SMALLEST).log()


def classifier_of(config: EncoderConfig) -> nn.Linear | None:
    """Return the layer that names what the backbone sees, or None where it does not fit."""
    changed = config.pca or config.backbone_layer or config.fine_tune_from
    if config.weights != PACKAGE or changed or not isinstance(config.backbone, str):
        return None
    return load_classifier(config.backbone)


@torch.inference_mode()
def fit(
    config: EncoderConfig, training: Iterable[Tensor], validation: Iterable[Tensor]
) -> Familiarity | None:
    """Return the familiarity of a training run, or None for a backbone without a classifier.

    training, validation  batches of grids (B, P, D); the threshold is set on the second, or on the
                          training photos where there are none
    """
    if (classifier := classifier_of(config)) is None:
        return None
    known, held_out = (
        [classifier(grid.float().mean(dim=1).cpu()).softmax(dim=-1) for grid in grids]
        for grids in (training, validation)
    )
    prior = torch.cat(known).mean(dim=0).half().float()  # as it will be saved
    values = familiarity(torch.cat(held_out or known), prior)
    return Familiarity(classifier, prior, values.quantile(UNFAMILIAR).item())


def restore(config: EncoderConfig, state: Any) -> Familiarity | None:
    """Return the familiarity that an encoder's file holds, or None where it has none."""
    classifier = classifier_of(config) if state else None
    return Familiarity(classifier, **state) if classifier is not None else None
