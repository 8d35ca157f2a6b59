"""Our words against those of Stanford's tokenizer, which papers are scored with."""

import shutil

import pytest

from captioning.evaluation import java
from captioning.evaluation.scores import evaluate
from tests.evaluation.references import random_references
from tests.helpers import ROOT

FLICKR8K = ROOT / "../shared/data/flickr8k"


def flickr8k_captions(list_name: str) -> dict[str, list[str]]:
    found = {}
    for line in (FLICKR8K / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        found.setdefault(name.split("#")[0], []).append(caption)
    return {name: found[name] for name in (FLICKR8K / list_name).read_text().split()[:100]}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("java"), reason="needs Java")
def test_our_words_score_as_the_ptb_tokenizers():
    pytest.importorskip("pycocoevalcap")
    if FLICKR8K.exists():
        references = flickr8k_captions("Flickr_8k.devImages.txt")
    else:
        references = random_references(200) | {  # odd captions are as rare as in COCO
            "possessive": ["A man's dog can't swim in the U.S.", "The men's dogs aren't wet; sad!"],
            "hyphen": ["A black-and-white cat (asleep) on a t-shirt", "Rock & roll / jazz: 5'6\""],
        }
    captions = {image: several[0] for image, several in references.items()}
    others = {image: several[1:] for image, several in references.items()}
    by_java, ours = java.java_scores(others, captions), evaluate(others, captions)
    assert 0 < by_java["METEOR"] < 100
    for name, score in ours.items():
        assert score == pytest.approx(by_java[name], abs=0.3), name


def test_missing_java_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(java.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="need Java, which is not installed"):
        java.java_scores({1: ["a"]}, {1: "a"})
