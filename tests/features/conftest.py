"""An encoder without a grid, and a record of the photos that are read.

pooled        EncoderCNN with the narrow ResNet-50, grid=False
photos_read   list that receives the name of each photo which `extract_features` decodes
"""

import pytest

from captioning.data.photos import read_photo
from captioning.features import views
from model import EncoderCNN
from tests.helpers import EMBED


@pytest.fixture
def pooled(weights) -> EncoderCNN:
    return EncoderCNN(EMBED, weights=str(weights))


@pytest.fixture
def photos_read(monkeypatch) -> list:
    """Return a list that receives the name of each photo which `extract_features` decodes."""
    seen = []

    def record(path, **options):
        seen.append(path.name)
        return read_photo(path, **options)

    monkeypatch.setattr(views, "read_photo", record)
    return seen
