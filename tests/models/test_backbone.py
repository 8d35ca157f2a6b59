"""Backbones: any torchvision classifier, weights from a file, false claims refused."""

import pytest
import torch
from torch import nn
from torchvision import models

from captioning.models.backbone import Backbone
from captioning.models.classifiers import narrow_resnet50
from tests.helpers import assert_close, random_images

TORCHVISION = {
    "resnet50": 2048, "resnet101": 2048, "resnet152": 2048, "resnext50_32x4d": 2048,
    "mobilenet_v2": 1280, "vgg16": 512, "efficientnet_b2": 1408,
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
@torch.no_grad()
def test_a_torchvision_classifier_is_a_backbone(name, quick_to_make):
    torch.manual_seed(0)
    backbone = Backbone(name, weights=None, grid=True)
    assert (backbone.grid_size, backbone.places) == (TORCHVISION[name], 49)
    assert not any(p.requires_grad for p in backbone.parameters())
    images = random_images(2, size=64)
    grid = backbone(images)
    assert grid.shape == (2, 4, TORCHVISION[name])
    assert grid.isfinite().all()
    backbone.grid = False
    assert_close(backbone(images), grid.mean(dim=1, keepdim=True))


def test_a_state_dict_of_torchvision_is_loaded_from_disk(tmp_path):
    torch.manual_seed(0)
    classifier = models.resnet18(weights=None).eval()
    half = {k: v.half() if v.is_floating_point() else v for k, v in classifier.state_dict().items()}
    torch.save(half, tmp_path / "resnet18.pth")
    backbone = Backbone("resnet18", str(tmp_path / "resnet18.pth"))
    assert backbone.weights_name == "resnet18.pth"
    assert not backbone.toy_only
    classifier.load_state_dict({k: v.float() for k, v in half.items()})  # the same rounding
    classifier.fc = nn.Identity()
    images = random_images(2, size=64)
    with torch.no_grad():
        assert_close(backbone(images)[:, 0], classifier(images))
    headless = {k: v for k, v in half.items() if not k.startswith("fc.")}
    torch.save({"state_dict": headless}, tmp_path / "headless.pth")
    assert Backbone("resnet18", str(tmp_path / "headless.pth")).fingerprint() == (
        backbone.fingerprint()
    )


def test_the_fingerprint_changes_with_any_weight(encoder, weights):
    first = encoder.backbone.fingerprint()
    assert first == Backbone(weights=str(weights)).fingerprint()
    with torch.no_grad():
        encoder.backbone.network.layer2[0].bn1.running_mean[1] += 1e-3
    assert encoder.backbone.fingerprint() != first


def test_the_narrow_resnet_has_the_layers_of_a_resnet50():
    narrow, wide = narrow_resnet50(4, last_stride=2), models.resnet50(weights=None)
    assert [len(getattr(narrow, f"layer{i}")) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    assert set(narrow.state_dict()) == {k for k in wide.state_dict() if not k.startswith("fc.")}
    for key, tensor in narrow.state_dict().items():
        shape = [n * 16 if n > 3 and i < 2 else n for i, n in enumerate(tensor.shape)]
        assert shape[0] == wide.state_dict()[key].shape[0] if tensor.dim() else True


@pytest.mark.parametrize(
    ("name", "weights", "why"),
    [
        ("resnet51", None, "no backbone named 'resnet51'"),
        ("vit_b_16", None, "has no feature map"),
        ("resnet50", "nowhere/resnet50.pth", "nowhere/resnet50.pth, are missing"),
        ("resnet50", "IMAGENET1K_V9", "IMAGENET1K_V9, are missing"),
    ],
)
def test_an_impossible_backbone_is_explained(name, weights, why, quick_to_make):
    with pytest.raises((ValueError, FileNotFoundError), match=why):
        Backbone(name, weights)


@pytest.mark.parametrize(
    "claim",
    [
        {"transform": {"crop": "large"}}, {"transform": {}, "config": {"height": 3}},
        {"transform": {"resize": 9, "crop": 10**6}}, {"transform": None}, {"config": [4]},
        {"state_dict": {}}, {"state_dict": 7}, {"config": {"width": 5}}, {"arch": ["resnet"]},
    ],
)  # fmt: skip
def test_a_weights_file_with_false_claims_is_refused(tmp_path, weights, claim):
    torch.save(torch.load(weights) | claim, tmp_path / "false.pth")
    with pytest.raises(ValueError, match=r"false\.pth does not hold weights of resnet50"):
        Backbone("resnet50", str(tmp_path / "false.pth"))


def test_weights_of_another_network_are_refused(tmp_path, weights):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold weights of resnet18"):
        Backbone("resnet18", str(tmp_path / "other.pth"))
    for content in ([1, 2], torch.zeros(3)):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=r"other\.pth holds a (list|Tensor), not weights"):
            Backbone("resnet18", str(tmp_path / "other.pth"))
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.pth (is refused|cannot be read)"):
        Backbone("resnet50", str(tmp_path / "cut.pth"))
