"""A table of references gives the CIDEr-D that `CiderD` gives, for all images at once."""

import numpy as np
import pytest

from captioning.evaluation.cider_table import CiderTable
from captioning.evaluation.scores import CiderD

REFERENCES = {
    "beach": ["a red ball lies on the beach", "there is a ball on the sand", "a ball"],
    7: ["a dog runs over the grass", "a brown dog runs"],
    "nothing": [],
    "empty": [""],
    "street": ["two men walk along the street and a red ball rolls", "men on the street"],
}
CAPTIONS = [
    "a red ball on the street",
    "a dog",
    "ball ball ball ball",  # clipped
    "",
    "an unknown zebra",
    "two men walk along the street and a red ball rolls",
    "a red ball lies on the beach , there is a ball on the sand and a brown dog runs over it",
]


@pytest.mark.parametrize("caption", CAPTIONS)
def test_the_table_agrees_with_cider_d(caption):
    found = CiderTable(REFERENCES).scores(caption)
    cider = CiderD(REFERENCES)
    expected = [cider.score(i, caption) if texts else 0 for i, texts in REFERENCES.items()]
    assert found.shape == (5,)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_caption_agrees_most_with_its_own_image():
    table = CiderTable(REFERENCES)
    for row, texts in enumerate(REFERENCES.values()):
        assert all(table.scores(text).argmax() == row for text in texts if len(text) > 6)
