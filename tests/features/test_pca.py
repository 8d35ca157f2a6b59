"""Principal components: the layer, its file, and a run with it from training to caption."""

import numpy as np
import pytest
import torch

from captioning.data.coco import read_captions
from captioning.features import pca
from captioning.features.pca import fit, principal_components, sample_grid
from captioning.inference.captioner import Captioner
from model import EncoderCNN
from tests.helpers import EMBED
from tests.runs import prepared
from train import train


def test_principal_components_equal_numpys():
    torch.manual_seed(0)
    grid = torch.randn(500, 6) @ torch.randn(6, 6) + 3
    components, mean, explained = principal_components(grid, 4)
    _, singular, rows = np.linalg.svd((grid - grid.mean(0)).double().numpy(), full_matrices=False)
    np.testing.assert_allclose(np.abs(components @ rows[:4].T), np.eye(4), atol=1e-5)
    np.testing.assert_allclose(mean, grid.mean(0).numpy(), rtol=1e-6)
    assert explained == pytest.approx((singular[:4] ** 2).sum() / (singular**2).sum(), rel=1e-6)


@pytest.fixture
def reduced(weights):
    torch.manual_seed(0)
    return EncoderCNN(EMBED, weights=str(weights), grid=True, pca=10)


def test_the_layer_gives_the_components_of_the_grid(reduced, encoder, data, tmp_path):
    photos = read_captions(data, "train")
    explained = fit(reduced, photos, tmp_path, torch.device("cpu"))
    assert 0.5 < explained < 1
    whole = sample_grid(reduced, photos, torch.device("cpu"))  # (N * P, D), before the layer
    components, mean, _ = principal_components(whole, 10)
    images = torch.randn(2, 3, 48, 48)
    expected = (encoder.backbone(images) - torch.from_numpy(mean)) @ torch.from_numpy(components).T
    torch.testing.assert_close(reduced.backbone(images), expected, atol=1e-3, rtol=1e-3)
    assert reduced.embed.in_features == 10


def test_the_components_are_computed_once(reduced, data, tmp_path, monkeypatch):
    photos, device = read_captions(data, "train"), torch.device("cpu")
    fit(reduced, photos, tmp_path, device)
    first = reduced.backbone.fingerprint(with_pca=True)
    monkeypatch.setattr(pca, "principal_components", None)
    fit(reduced, photos, tmp_path, device)
    assert reduced.backbone.fingerprint(with_pca=True) == first


def test_a_broken_file_is_named(reduced, data, tmp_path):
    photos, device = read_captions(data, "train"), torch.device("cpu")
    fit(reduced, photos, tmp_path, device)
    (path,) = tmp_path.glob("pca-*.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is broken; delete it"):
        fit(reduced, photos, tmp_path, device)


def test_more_components_than_features_are_refused(weights):
    with pytest.raises(ValueError, match="pca must keep 1 to 127 components, not 500"):
        EncoderCNN(EMBED, weights=str(weights), pca=500)


def test_another_number_of_components_has_its_own_features(config_of, tmp_path):
    sizes = []
    for count in (0, 8, 10):
        config = config_of(tmp_path, pca=count)
        loaders, _, _ = prepared(config)
        row = torch.tensor([0])
        sizes.append(loaders["train"].features.gather_rows(row, row).shape[-1])
    assert sizes == [128, 8, 10]


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_a_run_with_pca_captions_with_it(config_of, data, weights, tmp_path, decoder):
    more = {"decoder": decoder, "hidden_size": 24, "num_epochs": 1, "pca": 12}
    train(config_of(tmp_path, **more))
    pair = [tmp_path / "best" / f"{part}.pkl" for part in ("encoder", "decoder")]
    captioner = Captioner.load(*pair, str(weights), "cpu")
    assert captioner.encoder.backbone.grid_size == 12
    assert captioner.encoder.backbone.network.pca.weight.abs().sum() > 0
    photo = next((data / "images" / "val2014").iterdir())
    assert len(captioner.caption([photo])) == 1
