"""A captioner with random weights, and a photo for it.

captioner   a Captioner with the decoder that the test's parameter names, one of helpers.KINDS
photo       a photo of random noise
"""

import pytest
from PIL import Image

from captioning.inference.captioner import Captioner
from tests.helpers import make
from vocabulary import Vocabulary


@pytest.fixture
def photo() -> Image.Image:
    return Image.effect_noise((90, 60), 80).convert("RGB")


@pytest.fixture
def captioner(request, encoder) -> Captioner:
    vocab = Vocabulary.build([["a", "dog", "on", "red", "grass"]], vocab_threshold=1)
    return Captioner(encoder, make(request.param, len(vocab)), vocab)
