"""The encoder is frozen where it says so; every decoder keeps the one contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from tests.helpers import EMBED, HIDDEN, KINDS, PLACES_SEEN, VOCAB, make, random_captions, random_features
from torch import nn
from torchvision import models

from captioning.models.backbone import Backbone, narrow_resnet50
from captioning.models.decoder import init_weights
from model import DECODERS, NEEDS_GRID, EncoderCNN, make_decoder
from captioning.models.transformer import Dropout

every_decoder = pytest.mark.parametrize("name", KINDS)
with_attention = pytest.mark.parametrize(
    "name", [name for name, config in KINDS.items() if config["kind"] in NEEDS_GRID]
)


def same(one, other, within=2e-5) -> None:
    torch.testing.assert_close(one, other, atol=within, rtol=1e-4)


def by_steps(decoder, features, captions):
    """What `step` says, word by word: logits (B, T, V), attention [(B, P) or None] * T"""
    state, logits, looks = decoder.start(features), [], []
    for word in captions.unbind(1):
        next_logits, state, attention = decoder.step(word, state)
        logits.append(next_logits)
        looks.append(attention)
    return torch.stack(logits, dim=1), looks


# --- the contract ----------------------------------------------------------------------------


def test_there_is_a_test_for_every_decoder():
    assert {config["kind"] for config in KINDS.values()} == set(DECODERS)


@every_decoder
@torch.no_grad()
def test_stepping_equals_teacher_forcing(name):
    decoder, features, captions = make(name), random_features(3), random_captions(3, 7)
    logits = decoder(features, captions)
    assert logits.shape == (3, 7, VOCAB)
    same(by_steps(decoder, features, captions)[0], logits)


@every_decoder
@torch.no_grad()
def test_the_future_never_leaks(name):
    decoder, features, captions = make(name), random_features(2), random_captions(2, 6)
    logits = decoder(features, captions)
    for t in range(1, 6):
        changed = captions.clone()
        changed[:, t] = 4 + (captions[:, t] - 3) % (VOCAB - 4)  # another word
        others = decoder(features, changed)
        same(others[:, :t], logits[:, :t], within=1e-6)
        assert (others[:, t] - logits[:, t]).abs().max() > 1e-3


@every_decoder
@torch.no_grad()
def test_padding_changes_nothing(name):
    decoder, features, captions = make(name), random_features(2), random_captions(2, 4)
    padded = torch.cat([captions, torch.full((2, 5), 3)], dim=1)
    same(decoder(features, padded)[:, :4], decoder(features, captions), within=1e-6)


@every_decoder
@torch.no_grad()
def test_a_batch_equals_its_rows_one_by_one(name):
    decoder, features, captions = make(name), random_features(4), random_captions(4, 5)
    together = decoder(features, captions)
    for i in range(4):
        same(decoder(features[i : i + 1], captions[i : i + 1])[0], together[i])


@every_decoder
@torch.no_grad()
def test_the_state_is_a_tuple_of_tensors_batch_first(name):
    decoder, features = make(name), random_features(3)
    state = decoder.start(features)
    assert isinstance(state, tuple)
    _, after, _ = decoder.step(torch.tensor([4, 5, 6]), state)
    for part in (*state, *after):
        assert part.shape[0] == 3
    swapped = tuple(part[[2, 0, 1]] for part in after)  # what a beam does
    word = torch.tensor([7, 8, 4])
    same(decoder.step(word, swapped)[0], decoder.step(word[[1, 2, 0]], after)[0][[2, 0, 1]])


@every_decoder
@torch.no_grad()
def test_the_image_matters(name):
    decoder, captions = make(name), random_captions(1, 4)
    one, other = (decoder(random_features(1, seed), captions) for seed in (1, 2))
    assert (one - other).abs().max() > 0.05


@with_attention
@torch.no_grad()
def test_attention_sums_to_one_and_moves_from_word_to_word(name):
    decoder, features = make(name, loud=4.0), random_features(3)
    looks = torch.stack(by_steps(decoder, features, random_captions(3, 6))[1], dim=1)  # (B, T, P)
    assert looks.shape == (3, 6, PLACES_SEEN)
    assert (looks >= 0).all()
    same(looks.sum(dim=-1), torch.ones(3, 6))
    assert (looks.diff(dim=1).abs().amax(dim=(0, 2)) > 1e-3).all()


@torch.no_grad()
def test_attention_in_training_is_that_of_stepping():
    decoder, features, captions = make("attention"), random_features(3), random_captions(3, 6)
    _, attention = decoder.hidden_states(features, captions)
    same(attention, torch.stack(by_steps(decoder, features, captions)[1], dim=1))


@with_attention
@torch.no_grad()
def test_places_have_no_order(name):
    decoder, features, captions = make(name), random_features(2), random_captions(2, 4)
    moved = features[:, torch.tensor([2, 0, 3, 1])]
    same(decoder(moved, captions), decoder(features, captions))


@every_decoder
def test_four_captions_are_memorized(name):
    decoder = make(name, loud=1.0)
    features, captions = random_features(4), random_captions(4, 6)
    captions[:, 5] = 1
    optimizer = torch.optim.Adam(decoder.parameters(), lr=2e-2 if "trans" not in name else 1e-2)
    for _ in range(70):
        loss = F.cross_entropy(
            decoder(features, captions[:, :-1]).flatten(0, 1), captions[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
    assert loss < 0.1
    state, word = decoder.start(features), captions[:, 0]
    for t in range(1, 6):  # free running
        logits, state, _ = decoder.step(word, state)
        word = logits.argmax(dim=-1)
        assert torch.equal(word, captions[:, t])


# --- by hand ---------------------------------------------------------------------------------


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
    same(torch.stack(logits, dim=1), decoder(features, captions))


@torch.no_grad()
def test_the_attention_decoder_by_hand():
    d, features, captions = make("attention"), random_features(2), random_captions(2, 3)
    hidden, cell = torch.tanh(d.init_state(features.mean(dim=1))).split(HIDDEN, dim=-1)
    logits = []
    for word in captions.unbind(1):
        scores = torch.zeros(2, PLACES_SEEN)
        for place in range(PLACES_SEEN):
            asked = d.query.weight @ hidden.T  # (H, B)
            offered = d.key.weight @ features[:, place].T + d.key.bias[:, None]
            scores[:, place] = (d.score.weight @ torch.tanh(asked + offered))[0]
        weights = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
        context = sum(weights[:, [p]] * features[:, p] for p in range(PLACES_SEEN))
        context = torch.sigmoid(d.gate(hidden)) * context
        read = torch.cat([d.word_embedding.weight[word], context], dim=1)
        hidden, cell = d.lstm(read, (hidden, cell))
        logits.append(d.output(torch.tanh(hidden + d.see(context))))
    same(torch.stack(logits, dim=1), d(features, captions))


@torch.no_grad()
def test_multi_head_attention_is_pytorchs():
    block = make("transformer").blocks[0].self_attention
    theirs = nn.MultiheadAttention(HIDDEN, block.num_heads, batch_first=True).eval()
    parts = (block.query, block.key, block.value)
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(block.out.state_dict())
    x, image = torch.randn(2, 5, HIDDEN), torch.randn(2, 7, HIDDEN)
    expected, weights = theirs(x, image, image)
    same(block(x, block.keys_values(image)), expected)
    same(block.weights(x, block.keys_values(image)[0]), weights)
    hidden_from = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected, _ = theirs(x, x, x, attn_mask=hidden_from)
    same(block(x, block.keys_values(x), causal=True), expected)


@torch.no_grad()
def test_the_transformer_is_pytorchs():
    """Dropout off, the whole decoder equals a stack of nn.TransformerDecoderLayer."""
    d, features, captions = make("transformer, 2 layers"), random_features(2), random_captions(2, 5)
    x = d.word_embedding(captions) * math.sqrt(HIDDEN)
    for t in range(5):
        for pair in range(HIDDEN // 2):
            angle = t / 10_000 ** (2 * pair / HIDDEN)
            x[:, t, 2 * pair] += math.sin(angle)
            x[:, t, 2 * pair + 1] += math.cos(angle)
    image = d.image(features)
    for block in d.blocks:
        layer = nn.TransformerDecoderLayer(
            HIDDEN, block.self_attention.num_heads, 4 * HIDDEN, 0.0, F.gelu,
            batch_first=True, norm_first=True,
        ).eval()  # fmt: skip
        for theirs, ours in (
            (layer.self_attn, block.self_attention),
            (layer.multihead_attn, block.cross_attention),
        ):
            parts = (ours.query, ours.key, ours.value)
            theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            theirs.out_proj.load_state_dict(ours.out.state_dict())
        layer.linear1.load_state_dict(block.feed_forward[0].state_dict())
        layer.linear2.load_state_dict(block.feed_forward[2].state_dict())
        for i in (1, 2, 3):
            getattr(layer, f"norm{i}").load_state_dict(getattr(block, f"norm{i}").state_dict())
        mask = nn.Transformer.generate_square_subsequent_mask(5)
        x = layer(x, image, tgt_mask=mask, tgt_is_causal=True)
    same(d.output(d.norm(x)), d(features, captions), within=1e-4)


# --- options ---------------------------------------------------------------------------------


@every_decoder
def test_tied_weights_are_one_matrix(name):
    decoder = make(name, embed_size=HIDDEN, tie_weights=True)
    assert decoder.word_embedding.weight is decoder.output.weight
    free = make(name, embed_size=HIDDEN)
    saved = sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in decoder.parameters())
    assert saved == VOCAB * HIDDEN
    features, captions = torch.randn(2, PLACES_SEEN, HIDDEN), random_captions(2, 3)
    decoder(features, captions).sum().backward()
    assert decoder.output.weight.grad is not None


def test_initialize_fills_each_group_as_named():
    torch.manual_seed(0)
    decoder = make_decoder("lstm", embed_size=64, hidden_size=256, vocab_size=500)
    before = {name: p.detach().clone() for name, p in decoder.named_parameters()}
    init_weights(decoder, embedding="xavier", recurrent="kaiming", output="xavier")
    limit = math.sqrt(6 / (500 + 64))
    assert limit * 0.99 < decoder.word_embedding.weight.abs().max() <= limit
    limit = math.sqrt(6 / (500 + 256))
    assert limit * 0.99 < decoder.output.weight.abs().max() <= limit
    assert decoder.rnn.weight_hh_l0.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.02)
    assert torch.equal(decoder.rnn.bias_hh_l0, before["rnn.bias_hh_l0"])
    assert torch.equal(decoder.output.bias, before["output.bias"])


def test_initialize_leaves_what_is_default():
    decoder = make("transformer")
    before = {name: p.detach().clone() for name, p in decoder.named_parameters()}
    init_weights(decoder, output="kaiming")
    changed = {n for n, p in decoder.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"output.weight"}


def test_the_output_bias_may_begin_as_word_frequencies():
    decoder = make("gru", vocab_size=6)
    counts = torch.tensor([0, 10, 2, 0, 50, 30])
    init_weights(decoder, word_counts=counts)
    share = decoder.output.bias.softmax(dim=0)
    torch.testing.assert_close(share, (counts + 1) / (counts + 1).sum())


def test_dropout_works_in_training_only():
    for kind in DECODERS:
        decoder = make_decoder(kind, embed_size=16, hidden_size=16, vocab_size=9, dropout=0.5)
        features, captions = torch.randn(2, 4, 16), random_captions(2, 4)
        decoder.train()
        assert not torch.equal(decoder(features, captions), decoder(features, captions))
        decoder.eval()
        assert torch.equal(decoder(features, captions), decoder(features, captions))


SIZES = {"embed_size": 12, "hidden_size": 20, "vocab_size": 9}


def test_eight_bytes_of_a_draw_are_eight_chances():
    torch.manual_seed(0)
    x, dropout = torch.ones(999, 1001, requires_grad=True), Dropout(0.3)
    y = dropout(x)
    kept = y != 0
    assert kept.float().mean().item() == pytest.approx(1 - 77 / 256, abs=0.002)
    assert y.mean().item() == pytest.approx(1, abs=0.003)  # what is left speaks louder
    each = kept.flatten()[: 999 * 1000].view(-1, 8).float()  # the eight bytes of a draw
    assert each.mean(dim=0).min() > 0.69
    assert each.T.corrcoef().triu(1).abs().max() < 0.02  # and none follows another
    y.sum().backward()
    assert torch.equal(x.grad != 0, kept)
    assert torch.equal(dropout.eval()(x), x)
    assert Dropout(0.999)(x).isfinite().all()  # of 256 chances one is always left


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"kind": "bert"}, "no decoder 'bert'; choose from lstm"),
        ({"kind": "lstm", "bidirectional": True}, "cannot be bidirectional: it would read"),
        ({"kind": "lstm", "num_heads": 4}, "lstm decoder does not know that option"),
        ({"kind": "attention", "num_layers": 2}, "has one layer"),
        ({"kind": "transformer", "num_heads": 8}, "20 cannot be cut into 8 equal heads"),
        ({"kind": "lstm", "tie_weights": True}, "Tied weights need embed_size equal"),
        ({"kind": "lstm", "image_as": "poem"}, "image_as is input or state"),
        ({"kind": "rnn", "nonlinearity": "sine"}, "nonlinearity"),
    ],
)
def test_a_wrong_combination_is_explained(config, why):
    with pytest.raises(ValueError, match=why):
        make_decoder(**(SIZES | config))


@with_attention
def test_attention_over_pooled_features_is_refused(name):
    with pytest.raises(ValueError, match="grid=True"):
        make(name).start(random_features(2).mean(dim=1, keepdim=True))


def test_an_unknown_initializer_is_refused():
    with pytest.raises(ValueError, match="xavier, kaiming, not 'zeros'"):
        init_weights(make("rnn"), recurrent="zeros")


# --- the encoder -----------------------------------------------------------------------------


def photos_of(batch=3, size=48) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(3))


def test_the_encoder_is_backbone_and_embed(encoder, weights):
    images = photos_of()
    grid = encoder.backbone(images)
    assert grid.shape == (3, 9, 128)
    assert (encoder.backbone.places, encoder.backbone.grid_size) == (9, 128)
    same(encoder(images), encoder.embed(grid))
    pooled = EncoderCNN(EMBED, weights=str(weights))
    assert pooled.backbone.places == 1
    same(pooled.backbone(images), grid.mean(dim=1, keepdim=True))


def test_a_second_look_is_at_the_mirrored_photo(encoder, weights):
    twice = EncoderCNN(EMBED, weights=str(weights), grid=True, tta=True)
    images = photos_of()
    once, mirrored = encoder.backbone(images), encoder.backbone(images.flip(-1))
    same(twice.backbone(images), torch.cat([once, mirrored], dim=1))
    same(twice.backbone(images.flip(-1)), torch.cat([mirrored, once], dim=1))
    assert (twice.backbone.transform["crop"], twice.backbone.train_transform["crop"]) == (56, 48)
    assert twice.backbone.places == 2 * 16  # 56 pixels give 4 x 4 places
    assert twice.backbone.to("meta").map_size(48, True)[2:] == (6, 3)  # wherever the network is


def test_train_never_reaches_the_frozen_network(encoder):
    before = {name: value.clone() for name, value in encoder.backbone.state_dict().items()}
    images = photos_of()
    expected = encoder.eval()(images)
    encoder.train()
    assert encoder.training
    assert not any(module.training for module in encoder.backbone.modules())
    for _ in range(3):
        same(encoder(images), expected, within=1e-6)
    for name, value in encoder.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_only_embed_trains(encoder):
    learning = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert learning == {"embed.weight", "embed.bias"}
    encoder(photos_of()).sum().backward()
    assert {n for n, p in encoder.named_parameters() if p.grad is not None} == learning


def test_fine_tuning_begins_where_it_is_told(weights):
    encoder = EncoderCNN(EMBED, weights=str(weights), fine_tune_from="layer3").train()
    encoder(photos_of()).sum().backward()
    learning = {n.split(".")[1] for n, p in encoder.backbone.named_parameters() if p.requires_grad}
    assert learning == {"layer3", "layer4"}
    assert encoder.backbone.network.layer1[0].conv1.weight.grad is None
    assert encoder.backbone.network.layer3[0].conv1.weight.grad is not None
    assert not encoder.backbone.network.layer4[0].bn1.training  # its statistics stay frozen
    with pytest.raises(ValueError, match=r"fine_tune_from is one of conv1, .*layer4"):
        EncoderCNN(EMBED, weights=str(weights), fine_tune_from="layer9")


TORCHVISION = {
    "resnet50": 2048, "resnet101": 2048, "resnet152": 2048, "resnext50_32x4d": 2048,
    "mobilenet_v2": 1280, "vgg16": 512, "efficientnet_b2": 1408,
}  # fmt: skip


@pytest.fixture
def quick_to_make(monkeypatch):
    """Cheaper random numbers, scaled as He et al. do, and none for linear layers: cut off anyway"""

    def fill(tensor, *_, **__):
        if tensor.dim() == 2:
            return tensor
        fan_in = tensor[0].numel() if tensor.dim() > 1 else 1
        with torch.no_grad():
            return tensor.uniform_(-1, 1).mul_((6 / fan_in) ** 0.5)

    for name in ("kaiming_normal_", "kaiming_uniform_", "normal_"):
        monkeypatch.setattr(nn.init, name, fill)


@pytest.mark.parametrize("name", TORCHVISION)
@torch.no_grad()
def test_torchvisions_classifiers_are_backbones(name, quick_to_make):
    torch.manual_seed(0)
    backbone = Backbone(name, weights=None, grid=True)
    assert (backbone.grid_size, backbone.places) == (TORCHVISION[name], 49)
    assert not any(p.requires_grad for p in backbone.parameters())
    images = photos_of(2, size=64)
    grid = backbone(images)
    assert grid.shape == (2, 4, TORCHVISION[name])
    assert grid.isfinite().all()
    backbone.grid = False
    same(backbone(images), grid.mean(dim=1, keepdim=True))


def test_a_state_dict_of_torchvision_is_loaded_from_disk(tmp_path):
    torch.manual_seed(0)
    classifier = models.resnet18(weights=None).eval()
    half = {k: v.half() if v.is_floating_point() else v for k, v in classifier.state_dict().items()}
    torch.save(half, tmp_path / "resnet18.pth")
    backbone = Backbone("resnet18", str(tmp_path / "resnet18.pth"))
    assert backbone.weights_name == "resnet18.pth"
    assert not backbone.toy_only
    classifier.load_state_dict({k: v.float() for k, v in half.items()})  # rounded alike
    classifier.fc = nn.Identity()
    images = photos_of(2, size=64)
    with torch.no_grad():
        same(backbone(images)[:, 0], classifier(images))
    headless = {k: v for k, v in half.items() if not k.startswith("fc.")}
    torch.save({"state_dict": headless}, tmp_path / "headless.pth")
    assert Backbone("resnet18", str(tmp_path / "headless.pth")).fingerprint() == (
        backbone.fingerprint()
    )


def test_the_fingerprint_sees_every_number(encoder, weights):
    first = encoder.backbone.fingerprint()
    assert first == Backbone(weights=str(weights)).fingerprint()
    with torch.no_grad():
        encoder.backbone.network.layer2[0].bn1.running_mean[1] += 1e-3
    assert encoder.backbone.fingerprint() != first


def test_the_narrow_resnet_is_a_resnet50():
    narrow, wide = narrow_resnet50(4, last_stride=2), models.resnet50(weights=None)
    assert [len(getattr(narrow, f"layer{i}")) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    assert set(narrow.state_dict()) == {k for k in wide.state_dict() if not k.startswith("fc.")}
    for key, tensor in narrow.state_dict().items():
        shape = [n * 16 if n > 3 and i < 2 else n for i, n in enumerate(tensor.shape)]
        assert shape[0] == wide.state_dict()[key].shape[0] if tensor.dim() else True


@pytest.mark.parametrize(
    ("name", "weights", "why"),
    [
        ("resnet51", None, "no classifier named 'resnet51'"),
        ("vit_b_16", None, "keeps no grid of features"),
        ("resnet50", "nowhere/resnet50.pth", "nowhere/resnet50.pth are not here"),
        ("resnet50", "IMAGENET1K_V9", "IMAGENET1K_V9 are not here"),
    ],
)
def test_a_backbone_that_cannot_be_is_explained(name, weights, why, quick_to_make):
    with pytest.raises((ValueError, FileNotFoundError), match=why):
        Backbone(name, weights)


@pytest.mark.parametrize(
    "lie",
    [
        {"transform": {"crop": "large"}}, {"transform": {}, "config": {"height": 3}},
        {"transform": {"resize": 9, "crop": 10**6}}, {"transform": None}, {"config": [4]},
        {"state_dict": {}}, {"state_dict": 7}, {"config": {"width": 5}}, {"arch": ["resnet"]},
    ],
)  # fmt: skip
def test_a_file_of_weights_that_lies_is_refused(tmp_path, weights, lie):
    torch.save(torch.load(weights) | lie, tmp_path / "lie.pth")
    with pytest.raises(ValueError, match=r"lie\.pth holds no weights of resnet50"):
        Backbone("resnet50", str(tmp_path / "lie.pth"))


def test_weights_of_another_network_are_refused(tmp_path, weights):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth holds no weights of resnet18"):
        Backbone("resnet18", str(tmp_path / "other.pth"))
    for content in ([1, 2], torch.zeros(3)):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=r"other\.pth holds a (list|Tensor), not weights"):
            Backbone("resnet18", str(tmp_path / "other.pth"))
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.pth (is refused|cannot be read)"):
        Backbone("resnet50", str(tmp_path / "cut.pth"))


@pytest.mark.parametrize("name", KINDS)
def test_several_captions_of_an_image_are_read_as_if_each_had_its_own(name):
    decoder, features, captions = make(name), random_features(3), random_captions(6, 5)
    with torch.no_grad():
        together = decoder(features, captions)  # two captions for each image, side by side
        alone = decoder(features.repeat_interleave(2, dim=0), captions)
    torch.testing.assert_close(together, alone)
