"""The fast network computes what the plain one does, in batches that change nothing."""

import pytest
import torch
from torchvision import models

from captioning.features import fast_network
from captioning.features.fast_network import FastBackbone, fold_batchnorm
from captioning.models.backbone import Backbone, maps_to_grid
from tests.helpers import assert_close, random_images


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@torch.no_grad()
def test_folding_batchnorm_changes_nothing(name):
    torch.manual_seed(0)
    backbone = Backbone(name, weights=None)
    network = backbone.network
    images = torch.rand(4, 3, 64, 64)
    network.train()(images)
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold_batchnorm(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    expected = network(images)
    assert (folded(images) - expected).abs().max() < 1e-4 * expected.abs().max()
    fast = FastBackbone(backbone, torch.device("cpu"), torch.float32, batch_size=4)
    expected_grid = maps_to_grid(expected, grid=True)
    assert (fast(images, grid=True) - expected_grid).abs().max() < 1e-4 * expected.abs().max()
    assert_close(fast(images), expected_grid.mean(dim=1, keepdim=True), within=1e-4)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])  # the original is unharmed


def test_folding_leaves_batchnorm_that_follows_no_convolution():
    network = models.densenet121(weights=None).features.eval()
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            fold_batchnorm(network)(images), network(images), atol=1e-4, rtol=1e-3
        )


@torch.no_grad()
def test_images_are_computed_in_batches_of_one_size(encoder):
    """In half precision a photo's features must not depend on the rest of its batch."""
    images = random_images(5)
    fast = FastBackbone(encoder.backbone, torch.device("cpu"), torch.bfloat16, batch_size=2)
    sizes = []
    fast.network = lambda batch, network=fast.network: sizes.append(len(batch)) or network(batch)
    together = fast(images)
    assert sizes == [2, 2, 2]  # the last batch is filled up
    assert together.shape == (5, 9, 128)
    assert together.dtype == torch.float32
    assert torch.equal(fast(images[4:]), together[4:])


def test_a_few_images_do_not_pay_for_compiling(encoder, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: compiled.append(network) or network)
    monkeypatch.setattr(fast_network, "can_compile", lambda device: True)
    cpu = torch.device("cpu")
    FastBackbone(encoder.backbone, cpu, torch.float32, batch_size=2, num_images=999)
    assert not compiled
    FastBackbone(encoder.backbone, cpu, torch.float32, batch_size=2, num_images=1000)
    assert len(compiled) == 1
