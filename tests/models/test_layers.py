"""Torchvision's classifiers, cut: the last feature map of each family, any layer by its name."""

import pytest
import torch
from torchvision import models

from captioning.models.backbone import Backbone
from captioning.models.classifiers import random_classifier
from captioning.models.layers import cut_network
from tests.helpers import assert_close, random_images

SIDE = 128  # pixels
FAMILIES = {  # name: D, places along a side of an image of 128 pixels
    "alexnet": (256, 3),
    "vgg11": (512, 4),
    "densenet121": (1024, 4),
    "mobilenet_v2": (1280, 4),
    "mobilenet_v3_small": (576, 4),
    "shufflenet_v2_x0_5": (1024, 4),
    "squeezenet1_1": (512, 7),
    "mnasnet0_5": (1280, 4),
    "regnet_y_400mf": (440, 4),
    "googlenet": (1024, 4),
    "inception_v3": (2048, 2),
    "swin_t": (768, 4),
    "convnext_tiny": (768, 4),
}


def check_maps(name: str, side: int, shape: tuple[int, ...]) -> None:
    """Assert the shape of a family's maps, and that each place sees another part of the image."""
    torch.manual_seed(0)
    network = cut_network(random_classifier(name), name).eval()
    images = random_images(2, side)
    with torch.no_grad():
        maps = network(images)
        mirrored = network(images.flip(-1))
    assert maps.shape == shape
    assert maps.shape[2] == maps.shape[3] > 1
    assert maps.isfinite().all()
    assert (maps[0] != maps[1]).any()
    places = maps.flatten(2)
    assert (places[..., 0] != places[..., -1]).any()
    assert (maps != mirrored).any()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_gives_its_last_feature_map(name, quick_to_make):
    size, side = FAMILIES[name]
    check_maps(name, SIDE, (2, size, side, side))


def test_a_vision_transformer_is_refused_in_a_sentence(quick_to_make):
    with pytest.raises(ValueError, match=r"^vit_b_16 has no feature map; choose a conv.*\.$"):
        cut_network(models.vit_b_16(weights=None), "vit_b_16")


@pytest.mark.parametrize(("layer", "size", "side"), [("layer3.1.relu_1", 256, 8), ("fc", 1000, 1)])
def test_a_layer_by_its_name(layer, size, side):
    classifier = models.resnet18(weights=None).eval()
    images = random_images(2, SIDE)
    with torch.no_grad():
        maps = cut_network(classifier, "resnet18", layer).eval()(images)
        assert maps.shape == (2, size, side, side)
        if layer == "fc":
            assert_close(maps[:, :, 0, 0], classifier(images))


def test_a_fully_connected_layer_of_vgg_gives_one_place(quick_to_make):
    backbone = Backbone("vgg11", weights=None, grid=True, layer="classifier.4")
    assert (backbone.grid_size, backbone.places) == (4096, 1)
    with torch.no_grad():
        assert backbone(random_images(1, SIDE)).shape == (1, 1, 4096)


def test_an_unknown_layer_is_refused_and_layers_are_named():
    with pytest.raises(ValueError) as refused:
        cut_network(models.resnet18(weights=None), "resnet18", "layer5")
    sentence = str(refused.value)
    assert sentence.startswith("resnet18 has no layer 'layer5'; the last of its 70 layers are ")
    assert "layer4.1.relu_1, avgpool, flatten, fc." in sentence


@pytest.mark.parametrize(
    ("name", "layer"), [("vit_b_16", "encoder.ln"), ("shufflenet_v2_x0_5", "stage2.1.size")]
)
def test_a_layer_that_gives_no_maps_is_refused(name, layer, quick_to_make):
    with pytest.raises(ValueError, match=rf"^The layer {layer} gives neither feature maps"):
        Backbone(name, weights=None, layer=layer)


def test_a_size_that_a_network_cannot_see_is_refused(quick_to_make, capfd):
    with pytest.raises(ValueError, match=r"alexnet cannot see images of 32 x 32 pixels: choose"):
        Backbone("alexnet", weights=None, image_size=32)
    with pytest.raises(ValueError, match=r"inception_v3 .* 37 x 37 pixels.*or leave out"):
        Backbone("inception_v3", weights=None, image_size=32, tta=True)
    assert not capfd.readouterr().err  # nor the code of a traced network


@pytest.mark.filterwarnings("error")
def test_torchvisions_file_of_googlenet_gives_torchvisions_features(tmp_path):
    """The file lacks the auxiliary classifiers and expects images that were scaled differently."""
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False, "transform_input": True}
    classifier = models.googlenet(weights=None, **options).eval()
    for module in classifier.modules():
        if isinstance(module, torch.nn.Conv2d):  # at random the last maps would be nearly zero
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(classifier.state_dict(), tmp_path / "googlenet.pth")
    backbone = Backbone("googlenet", str(tmp_path / "googlenet.pth"))
    images = random_images(2, SIDE)
    classifier.fc, classifier.dropout = torch.nn.Identity(), torch.nn.Identity()
    with torch.no_grad():
        expected = classifier(images)
        assert expected.std() > 0.1
        assert_close(backbone(images)[:, 0], expected, within=1e-3)
