"""How good is a caption? The scores of the papers, without Java and without torch.

    bleu          word sequences of 1 to 4 words that a reference has too (NLTK's corpus_bleu)
    rouge_l       the longest common subsequence with a reference
    CiderD        the consensus: n-grams that the annotators share, rare ones count most
    evaluate      all of them; per_image and bootstrap say how they spread over the images
    ladder        the same scores for random, most common, nearest-neighbour and human captions
    diversity     how many captions differ, were copied from training, how many words they use

Everywhere `references` is {image id: [caption, ...]} and `captions` is {image id: caption}, plain
strings. `bleu`, `rouge_l` and `CiderD` return what `pycocoevalcap` returns on the same tokens (its
CIDEr is near 1, ours too); what goes into a table, from `evaluate` down, is times 100.

    python metrics.py results.json data/flickr8k/annotations/captions_val.json
"""

import argparse
import functools
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Hashable

import numpy as np

from vocabulary import cli_errors, tokenize, write_atomically

References = dict[Hashable, list[str]]
Captions = dict[Hashable, str]
Scores = dict[str, float]

BLEU = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
TINY, SMALL = 1e-15, 1e-9  # pycocoevalcap's constants for orders of n-grams that never match


@functools.lru_cache(maxsize=1 << 18)
def words(caption: str) -> tuple[str, ...]:
    """The tokens that are compared; the same caption comes many times, so they are kept."""
    return tuple(tokenize(caption))


def ngrams(caption: str) -> Counter:
    """How often each sequence of 1 to 4 words occurs in the caption."""
    tokens = words(caption)
    return Counter(
        tokens[i : i + n] for n in range(1, 5) for i in range(max(len(tokens) - n + 1, 0))
    )


def bleu(references: References, captions: Captions) -> list[float]:
    """BLEU-1..4 of the whole set, 0 to 1 (Papineni et al. 2002).

    The clipped n-gram precisions of the set, not a mean over images; too short costs. For NLTK a
    caption too short for any 4-gram has one that failed, for the reference scorer it has none.
    """
    from nltk.translate.bleu_score import corpus_bleu

    hypotheses = [words(caption) for caption in captions.values()]

    def smooth(precisions: list, **_) -> list[float]:
        possible = [sum(max(len(h) - n, 0) for h in hypotheses) for n in range(4)]
        pairs = zip(precisions, possible, strict=True)
        return [(precision.numerator + TINY) / (n + SMALL) for precision, n in pairs]

    return corpus_bleu(
        [[words(reference) for reference in references[image]] for image in captions],
        hypotheses,
        weights=[(1 / n,) * n for n in range(1, 5)],
        smoothing_function=smooth,
    )


def longest_common_subsequence(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many words `a` and `b` share in the same order, gaps allowed."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def rouge_l(references: list[str], caption: str, beta: float = 1.2) -> float:
    """ROUGE-L of one caption, 0 to 1: best recall and best precision, recall weighs more (Lin)."""
    caption_words = words(caption) or ("",)
    all_words = [words(reference) or ("",) for reference in references]
    common = [longest_common_subsequence(reference, caption_words) for reference in all_words]
    precision = max(common) / len(caption_words)
    recall = max(n / len(reference) for n, reference in zip(common, all_words, strict=True))
    if not precision:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


class CiderD:
    """CIDEr-D (Vedantam et al. 2015): tf-idf vectors of n-grams, compared with each reference.

    An n-gram that is in the references of many images tells little, so it weighs little. How many
    images have it is counted in `documents`: by default the references scored, as the reference
    scorer does. As a training reward, give the references of the training set: the counts
    stay fixed, and the vectors of an image's references are made once.
    A single image scores 0: what is in all images weighs nothing.
    """

    def __init__(self, references: References, documents: References | None = None):
        documents = references if documents is None else documents
        if not documents:
            raise ValueError("CIDEr needs references: there is no image to count n-grams in.")
        counts = Counter()
        for captions in documents.values():
            counts.update(set().union(*map(ngrams, captions)))
        self.common = {ngram: math.log(count) for ngram, count in counts.items() if count > 1}
        self.log_documents = math.log(len(documents))
        self.references = references
        self.vectors = {}  # image id -> the vectors of its references

    def vector(self, caption: str) -> tuple[dict, list[float], int]:
        """The weight of each n-gram, the four norms (one for each n), and the length."""
        weights, squares = {}, [0.0] * 4
        for ngram, count in ngrams(caption).items():
            weights[ngram] = count * (self.log_documents - self.common.get(ngram, 0.0))
            squares[len(ngram) - 1] += weights[ngram] ** 2
        length = max(len(words(caption)) - 1, 0)  # the reference scorer counts bigrams here
        return weights, [math.sqrt(s) for s in squares], length

    def score(self, image: Hashable, caption: str) -> float:
        """CIDEr-D of one caption, 0 to 10; papers print the mean over images times 100."""
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
            total += cosine * math.exp(-((length - reference_length) ** 2) / (2 * 6.0**2))
        return 10 * total / len(self.vectors[image])

    def compute(self, captions: Captions) -> float:
        """The mean CIDEr-D of a caption for each image."""
        return sum(self.score(image, c) for image, c in captions.items()) / len(captions)


def per_image(references: References, captions: Captions) -> dict[Hashable, Scores]:
    """{image id: {"ROUGE-L": ..., "CIDEr": ...}}, times 100. BLEU is not a mean over images.

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
    """All scores of the images in `captions`, times 100: BLEU-1..4, ROUGE-L, CIDEr."""
    images = per_image(references, captions)
    scores = dict(zip(BLEU, (100 * b for b in bleu(references, captions)), strict=True))
    for name in ("ROUGE-L", "CIDEr"):
        scores[name] = sum(image[name] for image in images.values()) / len(images)
    return scores


def bootstrap(
    references: References, captions: Captions, samples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each score: would other images of this kind have changed it?

    Draws as many images as there are, with replacement, again and again. Each image's n-gram
    weights for CIDEr stay as they are; BLEU is made anew from the counts of the images drawn.
    """
    from nltk.translate.bleu_score import closest_ref_length, modified_precision

    rows = []  # per image: matches and possible n-grams of each order, both lengths, two scores
    for image, scores in per_image(references, captions).items():
        caption = words(captions[image])
        others = [words(reference) for reference in references[image]]
        matches = [modified_precision(others, caption, n).numerator for n in range(1, 5)]
        possible = [max(len(caption) - n, 0) for n in range(4)]
        lengths = [closest_ref_length(others, len(caption)), len(caption)]
        rows.append([*matches, *possible, *lengths, *scores.values()])
    rng, images = np.random.default_rng(seed), len(rows)
    draws = rng.multinomial(images, np.full(images, 1 / images), size=samples)
    total = draws @ np.array(rows)  # (samples, 12)
    precision = (total[:, :4] + TINY) / (total[:, 4:8] + SMALL)
    brevity = np.exp(np.minimum(1 - total[:, [8]] / np.maximum(total[:, [9]], TINY), 0))
    bleus = 100 * brevity * np.exp(np.log(precision).cumsum(axis=1) / np.arange(1, 5))
    drawn = np.hstack([bleus, total[:, 10:] / images])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0).tolist()
    return dict(zip([*BLEU, "ROUGE-L", "CIDEr"], zip(low, high, strict=True), strict=True))


def ladder(
    references: References, training: References, nearest: Captions | None = None, seed: int = 0
) -> dict[str, Scores]:
    """The scores of captions that looked at nothing, and of people: a number needs neighbours.

    nearest: for each image the caption of the training photo most like it (`nearest_photos`).
    Human is each reference in turn against the others, one fewer than the other rungs have.
    """
    rng = random.Random(seed)
    pool = [caption for captions in training.values() for caption in captions]
    common = Counter(" ".join(words(caption)) for caption in pool).most_common(1)[0][0]
    rungs = {
        "random": evaluate(references, {image: rng.choice(pool) for image in references}),
        "common": evaluate(references, dict.fromkeys(references, common)),
    }
    if nearest:
        rungs["nearest"] = evaluate(references, nearest)
    several = {image: captions for image, captions in references.items() if len(captions) > 1}
    if several:
        people = []
        for turn in range(min(map(len, several.values()))):
            others = {image: c[:turn] + c[turn + 1 :] for image, c in several.items()}
            people.append(evaluate(others, {image: c[turn] for image, c in several.items()}))
        rungs["human"] = {n: sum(s[n] for s in people) / len(people) for n in people[0]}
    return rungs


def nearest_photos(features: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """For each of `features` (N, D) the row of `bank` (M, D) that is most like it (cosine)."""
    bank = bank / np.maximum(np.linalg.norm(bank, axis=1, keepdims=True), 1e-12)
    chunks = np.array_split(features, max(len(features) // 1024, 1))
    return np.concatenate([(chunk @ bank.T).argmax(axis=1) for chunk in chunks])


def diversity(captions: Captions, training: References) -> Scores:
    """What no score sees: does the model say the same thing to every photo?"""
    said = [words(caption) for caption in captions.values()]
    known = {words(caption) for several in training.values() for caption in several}
    return {
        "different captions, %": 100 * len(set(said)) / len(said),
        "copied from training, %": 100 * sum(caption in known for caption in said) / len(said),
        "different words": len({word for caption in said for word in caption}),
        "words a caption": sum(map(len, said)) / len(said),
    }


def table(columns: dict[str, Scores], intervals: dict[str, tuple[float, float]]) -> str:
    """The scores as text, a line each; the intervals are those of the first column."""
    first, *others = columns
    lines = [f"{'':8}{first:>10}   95 % interval" + "".join(f"{name:>10}" for name in others)]
    for name, (low, high) in intervals.items():
        interval = f"{low:.1f} to {high:.1f}"
        rest = "".join(f"{columns[other][name]:10.1f}" for other in others)
        lines.append(f"{name:8}{columns[first][name]:10.1f}{interval:>16}{rest}")
    return "\n".join(lines)


def main() -> None:
    from extras.results import read_references, read_results

    parser = argparse.ArgumentParser(description="Scores captions (COCO results JSON), times 100.")
    parser.add_argument("results", help='[{"image_id": ..., "caption": "..."}, ...]')
    parser.add_argument("annotations", help="captions_<split>.json in COCO's format")
    parser.add_argument("--partial", action="store_true", help="score what both files have")
    parser.add_argument("--training", help="captions_train.json: adds the ladder and diversity")
    parser.add_argument("--java", action="store_true", help="also METEOR, SPICE; needs Java")
    parser.add_argument("--out", help="write the scores as JSON, too")
    args = parser.parse_args()
    with cli_errors():
        references, file_names = read_references(args.annotations)
        captions = read_results(args.results, references, file_names, args.partial)
        if empty := [image for image, caption in captions.items() if not words(caption)]:
            note = f"note: {len(empty)} captions have no words, the first of image {empty[0]}"
            print(note, file=sys.stderr)
        references = {image: references[image] for image in captions}
        columns, more = {"captions": evaluate(references, captions)}, {}
        if args.java:
            from extras.java_scores import java_scores

            more["java"] = java_scores(references, captions)
        if args.training:
            training, _ = read_references(args.training)
            columns |= ladder(references, training)
            more["diversity"] = diversity(captions, training)
        print(f"{len(captions)} images, {sum(map(len, references.values()))} references")
        print(table(columns, bootstrap(references, captions)))
        for kind, scores in more.items():
            for name, value in scores.items():
                print(f"{kind:10}{name:24}{value:6.1f}")
        if args.out:
            with write_atomically(args.out, "w") as file:
                json.dump({"images": len(captions), **columns, **more}, file, indent=1)


if __name__ == "__main__":
    main()
