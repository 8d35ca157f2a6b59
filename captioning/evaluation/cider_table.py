"""CIDEr-D of a caption against the references of every image of a set, at once.

    CiderTable(references)      an inverted index: n-gram -> the references that have it
    table.scores(caption)       CIDEr-D against each image's references (N,)

`CiderD` compares a caption with the references of its own image. Where one caption is compared with
those of thousands of images (inference/memory.py), only references that share an n-gram with it can
score above 0. As a search engine does, the table keeps for each n-gram a list of its references and
its tf-idf weight there, so that a caption costs a few additions for each word, not for each image.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from captioning.evaluation.scores import SIGMA, CiderD, References

DOCUMENTS = 10_000  # images in which n-grams are counted; more change their weights little
ENTRY = np.dtype(
    [("ngram", np.int32), ("reference", np.int32), ("weight", np.float32), ("share", np.float32)]
)


class CiderTable:
    """`entries` are sorted by n-gram; those of number k are at `first[k]` to `first[k + 1]`."""

    def __init__(self, references: References):
        self.cider = CiderD(references, dict(islice(references.items(), DOCUMENTS)))
        self.number: dict[tuple[str, ...], int] = {}  # of each n-gram
        lengths: list[int] = []  # of each reference
        entries = np.fromiter(self._entries(references, lengths), ENTRY)
        order = np.argsort(entries["ngram"], kind="stable")
        self.entries = entries[order]
        self.lengths = np.array(lengths)
        self.first = np.searchsorted(self.entries["ngram"], np.arange(len(self.number) + 1))
        counts = [len(captions) for captions in references.values()]
        self.image = np.repeat(np.arange(len(counts)), counts)  # of each reference
        self.weight = np.repeat(1 / np.maximum(counts, 1), counts)  # a mean over an image's
        self.images = len(counts)

    def _entries(
        self, references: References, lengths: list[int]
    ) -> Iterator[tuple[int, int, float, float]]:
        """Yield n-gram, reference, the n-gram's tf-idf weight there, the same over the norm.

        The length of each reference is appended to `lengths`.
        """
        captions = (caption for texts in references.values() for caption in texts)
        for row, caption in enumerate(captions):
            weights, norms, length = self.cider.vector(caption)
            lengths.append(length)
            for ngram, weight in weights.items():
                if weight:
                    number = self.number.setdefault(ngram, len(self.number))
                    yield number, row, weight, weight / norms[len(ngram) - 1]

    def scores(self, caption: str) -> np.ndarray:
        """Return CIDEr-D, 0 to 10, against the references of each image: (N,)"""
        weights, norms, length = self.cider.vector(caption)
        cosine = np.zeros(len(self.lengths))
        for ngram, weight in weights.items():
            number = self.number.get(ngram)
            if number is not None:
                of_ngram = self.entries[self.first[number] : self.first[number + 1]]
                clipped = np.minimum(weight, of_ngram["weight"]) / norms[len(ngram) - 1]
                cosine[of_ngram["reference"]] += clipped * of_ngram["share"] / 4
        cosine *= np.exp(-((length - self.lengths) ** 2) / (2 * SIGMA**2))
        return 10 * np.bincount(self.image, cosine * self.weight, minlength=self.images)
