"""The scores against the reference scorer, and against numbers worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from captioning.evaluation.scores import (
    CiderD,
    bleu,
    bootstrap_intervals,
    evaluate,
    note_on_cider,
    per_image,
    rouge_l,
    tokens,
)
from tests.evaluation.references import random_references

WORDS = ["a", "dog", "cat", "runs", "sits", "on", "the", "red", "ball"]
sentence = st.lists(st.sampled_from(WORDS), max_size=9)
captions_of_one_image = st.lists(sentence.filter(bool).map(" ".join), min_size=1, max_size=5)


def reference_scores(references: dict, captions: dict) -> dict:
    """What pycocoevalcap says of the same tokens."""
    bleu_scorer = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    wanted = {k: [" ".join(tokens(r)) for r in v] for k, v in references.items() if k in captions}
    given_captions = {k: [" ".join(tokens(captions[k]))] for k in wanted}
    bleus, _ = bleu_scorer.compute_score(wanted, given_captions, verbose=0)
    rouge, rouges = Rouge().compute_score(wanted, given_captions)
    cider, ciders = Cider().compute_score(wanted, given_captions)
    return {"bleu": bleus, "rouge": rouge, "cider": cider, "rouges": rouges, "ciders": ciders}


def assert_equal_to_reference(references: dict, captions: dict) -> None:
    want = reference_scores(references, captions)
    order = [image for image in references if image in captions]
    ours = per_image(references, {image: captions[image] for image in order})
    assert bleu(references, captions) == pytest.approx(want["bleu"], abs=1e-6)
    scores = evaluate(references, captions)
    assert scores["ROUGE-L"] / 100 == pytest.approx(want["rouge"], abs=1e-6)
    assert scores["CIDEr"] / 100 == pytest.approx(want["cider"], abs=1e-6)
    for name, key in (("ROUGE-L", "rouges"), ("CIDEr", "ciders")):
        each = [ours[image][name] / 100 for image in order]
        assert each == pytest.approx(want[key].tolist(), abs=1e-6)


@examples(deadline=None, max_examples=150, derandomize=True)
@given(st.lists(st.tuples(captions_of_one_image, sentence.map(" ".join)), min_size=1, max_size=6))
def test_equal_to_the_reference_scorer(pairs):
    references = dict(enumerate(several for several, _ in pairs))
    captions = dict(enumerate(caption for _, caption in pairs))
    assert_equal_to_reference(references, captions)


@pytest.mark.parametrize(
    "captions",
    [
        ["a dog runs on the grass", "two cats sit"],  # identical
        ["", ""],
        ["", "two cats sit"],
        ["zebra", "giraffe"],  # no overlap
        ["dog", "cats"],  # one word: no bigram at all
        ["a dog", "xylophone music plays loudly today"],
        ["a a a a a a a a a a a a", "two two cats cats sit sit"],
        ["!!!", "..."],
    ],
)
def test_equal_on_edge_cases(captions):
    references = {7: ["a dog runs on the grass", "dog"], "x": ["two cats sit", "cats sit here now"]}
    assert_equal_to_reference(references, dict(zip(references, captions, strict=True)))


def test_bleu_by_hand():
    references = {1: ["the cat is on the mat", "there is a cat on the mat"]}
    # Papineni's example of clipping: `the` is twice in a reference, so 2 of 7 count
    assert bleu(references, {1: "the the the the the the the"})[0] == pytest.approx(2 / 7)
    # 5 words; the closest reference has 6: brevity exp(1 - 6/5); 4/5 words and 2/4 pairs are right
    brevity = math.exp(1 - 6 / 5)
    scores = bleu(references, {1: "the cat sat the mat"})
    assert scores[:2] == pytest.approx([brevity * 4 / 5, brevity * math.sqrt(4 / 5 * 2 / 4)])
    assert bleu(references, {1: "the cat is on the mat"}) == pytest.approx([1, 1, 1, 1])
    assert bleu(references, {1: ""}) == [0, 0, 0, 0]


def test_rouge_by_hand():
    # "the cat the mat" is common: recall 4/6, precision 4/5, beta squared 1.44
    precision, recall = 4 / 5, 4 / 6
    want = 2.44 * precision * recall / (recall + 1.44 * precision)
    assert rouge_l(["the cat is on the mat"], "the cat near the mat") == pytest.approx(want)
    # the best precision and the best recall may come from different references
    want = 2.44 * 1 * (2 / 3) / (2 / 3 + 1.44 * 1)
    assert rouge_l(["a b c", "a b d e f g"], "a b") == pytest.approx(want)
    assert rouge_l(["a"], "") == 0


def test_cider_by_hand():
    references = {1: ["red dog"], 2: ["red cat"]}
    # `red` is in both images and weighs log 2 - log 2 = 0; `dog` and the pair weigh log 2.
    # Cosines of orders 1 to 4: 1, 1, 0, 0; their mean is 1/2, times 10
    assert CiderD(references).score(1, "red dog") == pytest.approx(5)
    # `big` is in no reference and weighs log 2 as well, so the cosine of single words is
    # 1 / sqrt(2); no pair is right; one word too many costs exp(-1 / 72)
    want = 10 / 4 * (1 / math.sqrt(2)) * math.exp(-1 / 72)
    assert CiderD(references).score(1, "dog big red") == pytest.approx(want)
    assert CiderD(references).score(1, "red") == 0


def test_cider_documents_fix_the_frequencies():
    training = {i: [f"red thing{i}"] for i in range(4)}
    references = {1: ["red dog"], 2: ["red cat"]}
    reward = CiderD(references, documents=training)
    # in the training set `red` is everywhere and `dog` nowhere, whatever the references say
    assert reward.common == {("red",): math.log(4)}
    assert reward.score(1, "red dog") == pytest.approx(5)
    assert reward.score(1, "red dog") == pytest.approx(5), "cached vectors give the same"
    assert reward.compute({1: "red dog", 2: "dog"}) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="needs references"):
        CiderD({})


@pytest.mark.parametrize(
    ("references", "caption", "noted"),
    [
        ({1: ["red dog", "a dog"]}, "red dog", True),  # a single image
        ({1: ["red dog"], 2: ["dog red dog"]}, "blue", False),  # wrong captions, good references
        ({1: ["red dog"], 2: ["red dog"]}, "red dog", True),
        ({1: ["red dog"], 2: ["red cat"]}, "red dog", False),  # image 1 has more than 0
    ],
)
def test_a_cider_that_is_always_0_is_noted(references, caption, noted):
    scores = evaluate(references, dict.fromkeys(references, caption))
    assert bool(note_on_cider(references, scores)) == noted


def test_evaluate_refuses_in_a_sentence():
    with pytest.raises(ValueError, match="no caption to score"):
        evaluate({1: ["a"]}, {})
    with pytest.raises(ValueError, match="Image 2 has no reference"):
        evaluate({1: ["a"]}, {2: "a"})


def test_bootstrap_encloses_the_score_and_is_repeatable():
    references = random_references(60)
    captions = {image: several[0] for image, several in random_references(60, seed=1).items()}
    scores, intervals = (
        evaluate(references, captions),
        bootstrap_intervals(references, captions),
    )
    assert list(intervals) == list(scores)
    for name, (low, high) in intervals.items():
        assert low < scores[name] < high
        assert high - low < scores[name], "60 images are enough for an idea"
    assert bootstrap_intervals(references, captions) == intervals


def test_bootstrap_of_equal_images_is_the_score():
    references = {image: ["a dog runs on grass", "the dog ran away fast"] for image in range(10)}
    captions = dict.fromkeys(references, "a dog runs fast")
    scores = evaluate(references, captions)
    for name, (low, high) in bootstrap_intervals(references, captions, samples=20).items():
        assert low == pytest.approx(scores[name])
        assert high == pytest.approx(scores[name])
