"""Fixtures of the tests of models.

quick_to_make   torchvision's classifiers with random weights, made in a moment
"""

import pytest
import torch
from torch import nn


@pytest.fixture
def quick_to_make(monkeypatch):
    """Cheaper initialization, at the scale of He et al.; linear layers are removed anyway."""

    def fill(tensor, *_, **__):
        if tensor.dim() == 2:
            return tensor
        fan_in = tensor[0].numel() if tensor.dim() > 1 else 1
        with torch.no_grad():
            return tensor.uniform_(-1, 1).mul_((6 / fan_in) ** 0.5)

    for name in ("kaiming_normal_", "kaiming_uniform_", "normal_"):
        monkeypatch.setattr(nn.init, name, fill)
