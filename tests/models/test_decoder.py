"""Every decoder keeps the contract: stepping equals teacher forcing, and more."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captioning.models.decoder import init_weights
from model import DECODERS, make_decoder
from tests.helpers import (
    HIDDEN,
    KINDS,
    NUM_PLACES,
    VOCAB,
    assert_close,
    every_decoder,
    make,
    random_captions,
    random_features,
    with_attention,
)


def by_steps(decoder, features, captions):
    """Step through the captions: logits (B, T, V), and each step's attention, (B, P) or None."""
    state, logits, attentions = decoder.start(features), [], []
    for word in captions.unbind(1):
        next_logits, state, attention = decoder.step(word, state)
        logits.append(next_logits)
        attentions.append(attention)
    return torch.stack(logits, dim=1), attentions


# --- the contract ----------------------------------------------------------------------------


def test_there_is_a_test_for_every_decoder():
    assert {config["kind"] for config in KINDS.values()} == set(DECODERS)


@every_decoder
@torch.no_grad()
def test_stepping_equals_teacher_forcing(name):
    decoder, features, captions = make(name), random_features(3), random_captions(3, 7)
    logits = decoder(features, captions)
    assert logits.shape == (3, 7, VOCAB)
    assert_close(by_steps(decoder, features, captions)[0], logits)


@every_decoder
@torch.no_grad()
def test_later_words_do_not_change_earlier_logits(name):
    decoder, features, captions = make(name), random_features(2), random_captions(2, 6)
    logits = decoder(features, captions)
    for t in range(1, 6):
        changed = captions.clone()
        changed[:, t] = 4 + (captions[:, t] - 3) % (VOCAB - 4)  # another word
        others = decoder(features, changed)
        assert_close(others[:, :t], logits[:, :t], within=1e-6)
        assert (others[:, t] - logits[:, t]).abs().max() > 1e-3


@every_decoder
@torch.no_grad()
def test_padding_changes_nothing(name):
    decoder, features, captions = make(name), random_features(2), random_captions(2, 4)
    padded = torch.cat([captions, torch.full((2, 5), 3)], dim=1)
    assert_close(decoder(features, padded)[:, :4], decoder(features, captions), within=1e-6)


@every_decoder
@torch.no_grad()
def test_a_batch_equals_its_rows_one_by_one(name):
    decoder, features, captions = make(name), random_features(4), random_captions(4, 5)
    together = decoder(features, captions)
    for i in range(4):
        assert_close(decoder(features[i : i + 1], captions[i : i + 1])[0], together[i])


@every_decoder
def test_several_captions_of_an_image_equal_a_copy_of_the_image_for_each(name):
    decoder, features, captions = make(name), random_features(3), random_captions(6, 5)
    with torch.no_grad():
        together = decoder(features, captions)  # two captions for each image, side by side
        alone = decoder(features.repeat_interleave(2, dim=0), captions)
    torch.testing.assert_close(together, alone)


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
    assert_close(decoder.step(word, swapped)[0], decoder.step(word[[1, 2, 0]], after)[0][[2, 0, 1]])


@every_decoder
@torch.no_grad()
def test_the_image_matters(name):
    decoder, captions = make(name), random_captions(1, 4)
    one, other = (decoder(random_features(1, seed), captions) for seed in (1, 2))
    assert (one - other).abs().max() > 0.05


@with_attention
@torch.no_grad()
def test_attention_sums_to_one_and_moves_from_word_to_word(name):
    decoder, features = make(name, scale=4.0), random_features(3)
    attention = torch.stack(by_steps(decoder, features, random_captions(3, 6))[1], dim=1)
    assert attention.shape == (3, 6, NUM_PLACES)  # (B, T, P)
    assert (attention >= 0).all()
    assert_close(attention.sum(dim=-1), torch.ones(3, 6))
    assert (attention.diff(dim=1).abs().amax(dim=(0, 2)) > 1e-3).all()


@torch.no_grad()
def test_attention_in_training_is_that_of_stepping():
    decoder, features, captions = make("attention"), random_features(3), random_captions(3, 6)
    _, attention = decoder.hidden_states(features, captions)
    assert_close(attention, torch.stack(by_steps(decoder, features, captions)[1], dim=1))


@with_attention
@torch.no_grad()
def test_places_have_no_order(name):
    decoder, features, captions = make(name), random_features(2), random_captions(2, 4)
    moved = features[:, torch.tensor([2, 0, 3, 1])]
    assert_close(decoder(moved, captions), decoder(features, captions))


@with_attention
def test_attention_over_pooled_features_is_refused(name):
    with pytest.raises(ValueError, match="grid=True"):
        make(name).start(random_features(2).mean(dim=1, keepdim=True))


@every_decoder
def test_four_captions_are_memorized(name):
    decoder = make(name, scale=1.0)
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
    for t in range(1, 6):  # without teacher forcing
        logits, state, _ = decoder.step(word, state)
        word = logits.argmax(dim=-1)
        assert torch.equal(word, captions[:, t])


# --- options ---------------------------------------------------------------------------------


@every_decoder
def test_tied_weights_are_one_matrix(name):
    decoder = make(name, embed_size=HIDDEN, tie_weights=True)
    assert decoder.word_embedding.weight is decoder.output.weight
    free = make(name, embed_size=HIDDEN)
    saved = sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in decoder.parameters())
    assert saved == VOCAB * HIDDEN
    features, captions = torch.randn(2, NUM_PLACES, HIDDEN), random_captions(2, 3)
    decoder(features, captions).sum().backward()
    assert decoder.output.weight.grad is not None


def test_dropout_works_in_training_only():
    for kind in DECODERS:
        decoder = make_decoder(kind, embed_size=16, hidden_size=16, vocab_size=9, dropout=0.5)
        features, captions = torch.randn(2, 4, 16), random_captions(2, 4)
        decoder.train()
        assert not torch.equal(decoder(features, captions), decoder(features, captions))
        decoder.eval()
        assert torch.equal(decoder(features, captions), decoder(features, captions))


# --- initialization --------------------------------------------------------------------------


def test_init_weights_fills_each_group_as_named():
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


def test_init_weights_leaves_the_other_groups_alone():
    decoder = make("transformer")
    before = {name: p.detach().clone() for name, p in decoder.named_parameters()}
    init_weights(decoder, output="kaiming")
    changed = {n for n, p in decoder.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {"output.weight"}


def test_the_output_bias_may_begin_as_word_frequencies():
    decoder = make("gru", vocab_size=6)
    counts = torch.tensor([0, 10, 2, 0, 50, 30])
    init_weights(decoder, word_counts=counts)
    frequency = decoder.output.bias.softmax(dim=0)
    torch.testing.assert_close(frequency, (counts + 1) / (counts + 1).sum())


def test_an_unknown_initializer_is_refused():
    with pytest.raises(ValueError, match="xavier, kaiming, not 'zeros'"):
        init_weights(make("rnn"), recurrent="zeros")
