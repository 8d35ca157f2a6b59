"""The encoder is frozen as configured; the recurrent decoders equal the formulas."""

import pytest
import torch
import torch.nn.functional as F

from model import EncoderCNN, EncoderGroup, make_decoder
from tests.helpers import (
    EMBED,
    HIDDEN,
    assert_close,
    make,
    random_captions,
    random_features,
    random_images,
)

# --- the encoder -----------------------------------------------------------------------------


def test_the_encoder_is_backbone_and_embed(encoder, weights):
    images = random_images()
    grid = encoder.backbone(images)
    assert grid.shape == (3, 9, 128)
    assert (encoder.backbone.places, encoder.backbone.grid_size) == (9, 128)
    assert_close(encoder(images), encoder.embed(grid))
    pooled = EncoderCNN(EMBED, weights=str(weights))
    assert pooled.backbone.places == 1
    assert_close(pooled.backbone(images), grid.mean(dim=1, keepdim=True))


def test_tta_adds_the_places_of_the_mirrored_photo(encoder, weights):
    doubled = EncoderCNN(EMBED, weights=str(weights), grid=True, tta=True)
    images = random_images()
    plain, mirrored = encoder.backbone(images), encoder.backbone(images.flip(-1))
    assert_close(doubled.backbone(images), torch.cat([plain, mirrored], dim=1))
    assert_close(doubled.backbone(images.flip(-1)), torch.cat([mirrored, plain], dim=1))
    assert (doubled.backbone.transform["crop"], doubled.backbone.train_transform["crop"]) == (
        56,
        48,
    )
    assert doubled.backbone.places == 2 * 16  # 56 pixels give 4 x 4 places
    assert doubled.backbone.to("meta").map_size(48, (1,))[2:] == (6, 3)  # on any device


def test_tta_scale_adds_the_places_of_a_larger_photo(weights):
    options = {"weights": str(weights), "grid": True, "tta": True}
    mirrored, larger = EncoderCNN(EMBED, **options), EncoderCNN(EMBED, **options, tta_scale=1.5)
    images = random_images()  # 48 pixels give 3 x 3 places, 72 give 5 x 5
    grid = larger.backbone(images)
    assert grid.shape[1:] == (4 * 9, 128)
    assert_close(grid[:, :18], mirrored.backbone(images))
    at_72 = mirrored.backbone.network(F.interpolate(images, size=(72, 72), mode="bilinear"))
    assert at_72.shape[2:] == (5, 5)
    at_72 = F.interpolate(at_72, size=(3, 3), mode="bilinear")
    assert_close(grid[:, 18:27], at_72.flatten(2).transpose(1, 2))
    assert larger.backbone.views == 4
    assert larger.backbone.places == 4 * 16  # of an image of 56 pixels
    assert EncoderCNN(EMBED, weights=str(weights), tta_scale=1.5).backbone.views == 1  # no tta


def test_the_places_of_a_group_are_those_of_its_encoders(both):
    encoders = [EncoderCNN(EMBED, weights=path, grid=True) for path in both]
    group = EncoderGroup(encoders)
    grids = [encoder.backbone(random_images()) for encoder in encoders]
    assert [grid.shape for grid in grids] == [(3, 9, 128), (3, 9, 64)]
    features = group.embed(grids)
    assert features.shape == (3, 18, EMBED)
    assert_close(features[:, :9], encoders[0].embed(grids[0]))
    assert_close(features[:, 9:], encoders[1].embed(grids[1]))
    group.train()
    assert not any(m.training for part in group.parts for m in part.backbone.modules())
    with pytest.raises(ValueError, match="the same embed_size"):
        EncoderGroup([encoders[0], EncoderCNN(EMBED + 1, weights=both[1], grid=True)])


def test_train_never_reaches_the_frozen_network(encoder):
    before = {name: value.clone() for name, value in encoder.backbone.state_dict().items()}
    images = random_images()
    expected = encoder.eval()(images)
    encoder.train()
    assert encoder.training
    assert not any(module.training for module in encoder.backbone.modules())
    for _ in range(3):
        assert_close(encoder(images), expected, within=1e-6)
    for name, value in encoder.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_only_embed_trains(encoder):
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert trained == {"embed.weight", "embed.bias"}
    encoder(random_images()).sum().backward()
    assert {n for n, p in encoder.named_parameters() if p.grad is not None} == trained


def test_fine_tuning_begins_at_the_named_layer(weights):
    encoder = EncoderCNN(EMBED, weights=str(weights), fine_tune_from="layer3").train()
    encoder(random_images()).sum().backward()
    trained = {n.split(".")[1] for n, p in encoder.backbone.named_parameters() if p.requires_grad}
    assert trained == {"layer3", "layer4"}
    assert encoder.backbone.network.layer1[0].conv1.weight.grad is None
    assert encoder.backbone.network.layer3[0].conv1.weight.grad is not None
    assert not encoder.backbone.network.layer4[0].bn1.training  # its statistics stay frozen
    with pytest.raises(ValueError, match=r"fine_tune_from must be one of conv1, .*layer4"):
        EncoderCNN(EMBED, weights=str(weights), fine_tune_from="layer9")


# --- recurrent decoders by hand --------------------------------------------------------------


def gates(layer, x, h):
    """The two matrix products that RNN, GRU and LSTM have in common."""
    return x @ layer.weight_ih_l0.T + layer.bias_ih_l0, h @ layer.weight_hh_l0.T + layer.bias_hh_l0


def rnn_by_hand(layer, x, state):
    from_input, from_memory = gates(layer, x, state[0])
    return (torch.tanh(from_input + from_memory),)


def gru_by_hand(layer, x, state):
    from_input, from_memory = gates(layer, x, state[0])
    (reset, update, new), (reset_h, update_h, new_h) = (
        part.chunk(3, dim=-1) for part in (from_input, from_memory)
    )
    reset, update = torch.sigmoid(reset + reset_h), torch.sigmoid(update + update_h)
    return ((1 - update) * torch.tanh(new + reset * new_h) + update * state[0],)


def lstm_by_hand(layer, x, state):
    hidden, cell = state
    from_input, from_memory = gates(layer, x, hidden)
    enter, forget, new, leave = (from_input + from_memory).chunk(4, dim=-1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


@pytest.mark.parametrize(
    ("name", "cell", "parts"),
    [("rnn", rnn_by_hand, 1), ("gru", gru_by_hand, 1), ("lstm", lstm_by_hand, 2)],
)
@torch.no_grad()
def test_a_recurrent_decoder_by_hand(name, cell, parts):
    decoder, features, captions = make(name), random_features(2), random_captions(2, 5)
    state = (torch.zeros(2, HIDDEN),) * parts
    state = cell(decoder.rnn, features.mean(dim=1), state)  # the image is the first word
    logits = []
    for word in captions.unbind(1):
        state = cell(decoder.rnn, decoder.word_embedding.weight[word], state)
        logits.append(state[0] @ decoder.output.weight.T + decoder.output.bias)
    assert_close(torch.stack(logits, dim=1), decoder(features, captions))


# --- make_decoder ----------------------------------------------------------------------------


SIZES = {"embed_size": 12, "hidden_size": 20, "vocab_size": 9}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"kind": "bert"}, "no decoder 'bert'; choose from lstm"),
        ({"kind": "lstm", "bidirectional": True}, "cannot be bidirectional: it would read"),
        ({"kind": "lstm", "num_heads": 4}, "lstm decoder does not have the option num_heads"),
        ({"kind": "attention", "num_layers": 2}, "has one layer"),
        ({"kind": "transformer", "num_heads": 8}, "20 cannot be split into 8 equal heads"),
        ({"kind": "lstm", "tie_weights": True}, "Tied weights need embed_size equal"),
        ({"kind": "lstm", "image_input": "poem"}, "image_input input or state"),
        ({"kind": "rnn", "nonlinearity": "sine"}, "nonlinearity"),
    ],
)
def test_a_wrong_combination_is_explained(config, why):
    with pytest.raises(ValueError, match=why):
        make_decoder(**(SIZES | config))
