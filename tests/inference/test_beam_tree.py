"""The beam's tree ends with the captions that the search finds."""

import pytest

from captioning.inference.beam_tree import draw_beam_tree, grow_beam
from captioning.inference.search import beam_search
from tests.helpers import make, random_features
from vocabulary import Vocabulary


@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
@pytest.mark.parametrize("beam_size", [1, 3, 4])
def test_the_tree_ends_where_the_search_ends(kind, beam_size):
    decoder = make(kind)
    for features in random_features(4).split(1):
        steps = grow_beam(decoder, features, beam_size, max_words=6)
        kept = [branch for step in steps for branch in step if branch.kept]
        ended = [b for b in kept if b.words[-1] == Vocabulary.end]
        ended += [b for b in kept if len(b.words) == 6 and b not in ended]
        found = beam_search(decoder, features, beam_size, 0.0, max_words=6, n_best=beam_size)[0]
        tree = sorted(ended, key=lambda branch: -branch.logprob)
        wanted = [h.words + (Vocabulary.end,) * h.finished for h in found]
        assert [branch.words for branch in tree] == wanted
        assert [branch.logprob for branch in tree] == pytest.approx([h.logprob for h in found])


@pytest.mark.parametrize("captioner", ["attention"], indirect=True)
def test_the_tree_is_drawn(captioner, photo, tmp_path):
    figure = draw_beam_tree(captioner, photo, beam_size=2, max_words=5)
    drawn = [text.get_text() for text in figure.axes[0].texts]
    best = captioner.caption([photo], 2, max_words=5)[0][0]
    assert drawn[0] == "<start>"
    assert {captioner.vocab.words[word] for word in best.words} <= set(drawn)
    figure.savefig(tmp_path / "tree.png")
    with pytest.raises(ValueError, match="at least 1"):
        draw_beam_tree(captioner, photo, beam_size=0)
