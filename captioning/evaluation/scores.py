"""How good is a caption? The scores that papers report, without Java and without torch.

    bleu                  n-grams of 1 to 4 words that a reference has too (NLTK's corpus_bleu)
    rouge_l               the longest common subsequence with a reference
    CiderD                agreement with all references; rare n-grams count most
    per_image, evaluate   scores of each image, and of a whole set
    note_on_cider         a warning where the images are too few, or too alike, for CIDEr
    bootstrap_intervals   how far they would move with other images

Everywhere `references` is {image id: [caption, ...]} and `captions` is {image id: caption}, plain
strings. `bleu`, `rouge_l` and `CiderD` return what `pycocoevalcap` returns on the same tokens (a
CIDEr near 1 is good); `per_image`, `evaluate` and what follows from them are times 100.
"""

import functools
import math
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np

from vocabulary import tokenize

References = Mapping[Any, list[str]]
Captions = Mapping[Any, str]
Scores = dict[str, float]

BLEU = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
SIGMA = 6.0  # words by which a caption may be longer or shorter in CIDEr-D
BLEU_EPS_NUM, BLEU_EPS_DEN = 1e-15, 1e-9  # pycocoevalcap's constants for orders without a match


@functools.lru_cache(maxsize=1 << 18)
def tokens(caption: str) -> tuple[str, ...]:
    """Return the tokens that are compared; cached, since the same caption comes many times."""
    return tuple(tokenize(caption))


def ngrams(caption: str) -> Counter[tuple[str, ...]]:
    """Count each sequence of 1 to 4 words in the caption."""
    words = tokens(caption)
    return Counter(words[i : i + n] for n in range(1, 5) for i in range(max(len(words) - n + 1, 0)))


def bleu(references: References, captions: Captions) -> list[float]:
    """Return BLEU-1..4 of the whole set, 0 to 1 (Papineni et al. 2002).

    Clipped n-gram precisions of the whole set, not a mean over images, times the brevity penalty.
    A caption too short for a 4-gram counts as one failed 4-gram in NLTK, as none in the reference
    scorer; the smoothing function makes NLTK's numbers the reference scorer's.
    """
    from nltk.translate.bleu_score import corpus_bleu

    hypotheses = [tokens(caption) for caption in captions.values()]

    def smooth(precisions: list, **_) -> list[float]:
        possible = [sum(max(len(h) - n, 0) for h in hypotheses) for n in range(4)]
        pairs = zip(precisions, possible, strict=True)
        return [(precision.numerator + BLEU_EPS_NUM) / (n + BLEU_EPS_DEN) for precision, n in pairs]

    return corpus_bleu(
        [[tokens(reference) for reference in references[image]] for image in captions],
        hypotheses,
        weights=[(1 / n,) * n for n in range(1, 5)],
        smoothing_function=smooth,
    )


def longest_common_subsequence(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Return how many words `a` and `b` share in the same order, gaps allowed."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def rouge_l(references: list[str], caption: str, beta: float = 1.2) -> float:
    """Return ROUGE-L of one caption, 0 to 1 (Lin 2004).

    The best precision and the best recall over the references; `beta` above 1 favors recall.
    """
    caption_words = tokens(caption) or ("",)
    all_words = [tokens(reference) or ("",) for reference in references]
    common = [longest_common_subsequence(reference, caption_words) for reference in all_words]
    precision = max(common) / len(caption_words)
    recall = max(n / len(reference) for n, reference in zip(common, all_words, strict=True))
    if not precision:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


class NgramVector(NamedTuple):
    """A caption as tf-idf weights of its n-grams."""

    weights: dict[tuple[str, ...], float]
    norms: list[float]  # one for each n
    length: int


class CiderD:
    """CIDEr-D (Vedantam et al. 2015): tf-idf vectors of n-grams, compared with each reference.

    An n-gram in the references of many images says little, so it weighs little. The number of
    images is counted in `documents`: by default the references scored, as the reference scorer
    does. For a training reward, give the references of the training set: the counts stay fixed,
    and the vectors of an image's references are computed once. A single image scores 0, because
    an n-gram that all images have weighs nothing.
    """

    def __init__(self, references: References, documents: References | None = None):
        documents = references if documents is None else documents
        if not documents:
            raise ValueError("CIDEr needs references: there is no image to count n-grams in.")
        counts: Counter[tuple[str, ...]] = Counter()
        for captions in documents.values():
            counts.update(set().union(*map(ngrams, captions)))
        self.common = {ngram: math.log(count) for ngram, count in counts.items() if count > 1}
        self.log_documents = math.log(len(documents))
        self.references = references
        self.vectors: dict[Hashable, list[NgramVector]] = {}  # of each image's references

    def vector(self, caption: str) -> NgramVector:
        """Return the tf-idf vector of the caption's n-grams."""
        weights: dict[tuple[str, ...], float] = {}
        squares = [0.0] * 4
        for ngram, count in ngrams(caption).items():
            weights[ngram] = count * (self.log_documents - self.common.get(ngram, 0.0))
            squares[len(ngram) - 1] += weights[ngram] ** 2
        length = max(len(tokens(caption)) - 1, 0)  # the reference scorer counts bigrams here
        return NgramVector(weights, [math.sqrt(s) for s in squares], length)

    def score(self, image: Hashable, caption: str) -> float:
        """Return CIDEr-D of one caption, 0 to 10; papers print the mean over images times 100."""
        if image not in self.vectors:
            self.vectors[image] = [self.vector(r) for r in self.references[image]]
        weights, norms, length = self.vector(caption)
        total = 0.0
        for reference_weights, reference_norms, reference_length in self.vectors[image]:
            overlap = [0.0] * 4
            for ngram, weight in weights.items():
                if ngram in reference_weights:
                    other = reference_weights[ngram]
                    overlap[len(ngram) - 1] += min(weight, other) * other
            norm = [a * b for a, b in zip(norms, reference_norms, strict=True)]
            cosine = sum(o / n for o, n in zip(overlap, norm, strict=True) if n) / 4
            total += cosine * math.exp(-((length - reference_length) ** 2) / (2 * SIGMA**2))
        return 10 * total / len(self.vectors[image])

    def compute(self, captions: Captions) -> float:
        """Return the mean CIDEr-D over the images."""
        return sum(self.score(image, c) for image, c in captions.items()) / len(captions)


def per_image(references: References, captions: Captions) -> dict[Hashable, Scores]:
    """Return {image id: {"ROUGE-L": ..., "CIDEr": ...}}; BLEU is not a mean over images.

    Raises ValueError where there is no caption, or an image without a reference.
    """
    if not captions:
        raise ValueError("There is no caption to score.")
    for image in captions:
        if not references.get(image):
            raise ValueError(f"Image {image!r} has no reference captions to score against.")
    cider = CiderD({image: references[image] for image in captions})
    return {
        image: {
            "ROUGE-L": 100 * rouge_l(references[image], caption),
            "CIDEr": 100 * cider.score(image, caption),
        }
        for image, caption in captions.items()
    }


def evaluate(references: References, captions: Captions) -> Scores:
    """Return all scores of the images in `captions`: BLEU-1..4, ROUGE-L, CIDEr."""
    images = per_image(references, captions)
    scores = dict(zip(BLEU, (100 * b for b in bleu(references, captions)), strict=True))
    for name in ("ROUGE-L", "CIDEr"):
        scores[name] = sum(image[name] for image in images.values()) / len(images)
    return scores


def note_on_cider(references: References, scores: Scores) -> str:
    """Return a sentence where even true captions get CIDEr 0, as those of a single image; else "".

    A word that is in the references of every image tells nothing about any of them.
    """
    true_captions = {image: texts[0] for image, texts in references.items()}
    if scores["CIDEr"] or evaluate(references, true_captions)["CIDEr"]:
        return ""
    return "note: CIDEr is 0 whatever the captions: it needs images whose references differ"


class BleuCounts(NamedTuple):
    """What BLEU adds up over images; each field an array, its first axis the images."""

    matches: np.ndarray  # (N, 4): clipped n-grams that a reference has too
    possible: np.ndarray  # (N, 4): n-grams in the caption
    reference_length: np.ndarray  # (N,): of the reference closest in length
    length: np.ndarray  # (N,): of the caption


def bleu_counts(references: References, captions: Captions) -> BleuCounts:
    """Return the counts of each image, in the order of `captions`."""
    from nltk.translate.bleu_score import closest_ref_length, modified_precision

    rows = []
    for image, text in captions.items():
        caption = tokens(text)
        others = [tokens(reference) for reference in references[image]]
        matches = [modified_precision(others, caption, n).numerator for n in range(1, 5)]
        possible = [max(len(caption) - n, 0) for n in range(4)]
        rows.append((matches, possible, closest_ref_length(others, len(caption)), len(caption)))
    return BleuCounts(*(np.array(column) for column in zip(*rows, strict=True)))


def bleu_of_resamples(counts: BleuCounts, draws: np.ndarray) -> np.ndarray:
    """draws (S, N): how often each image was drawn -> BLEU-1..4 of each resample, (S, 4)"""
    precision = (draws @ counts.matches + BLEU_EPS_NUM) / (draws @ counts.possible + BLEU_EPS_DEN)
    length = np.maximum(draws @ counts.length, BLEU_EPS_NUM)
    brevity_penalty = np.exp(np.minimum(1 - draws @ counts.reference_length / length, 0))
    mean_log_precision = np.log(precision).cumsum(axis=1) / np.arange(1, 5)
    return brevity_penalty[:, None] * np.exp(mean_log_precision)


def bootstrap_intervals(
    references: References, captions: Captions, samples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each score: would other images of this kind have changed it?

    Draws as many images as there are, with replacement, `samples` times. Each image's n-gram
    weights for CIDEr stay as they are; BLEU is computed from the counts of the images drawn.
    """
    means = np.array([list(scores.values()) for scores in per_image(references, captions).values()])
    images = len(means)
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), samples)
    bleus = 100 * bleu_of_resamples(bleu_counts(references, captions), draws)  # (S, 4)
    resampled = np.hstack([bleus, draws @ means / images])  # (S, 6)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0).tolist()
    return dict(zip([*BLEU, "ROUGE-L", "CIDEr"], zip(low, high, strict=True), strict=True))
