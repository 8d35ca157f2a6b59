"""Batches: every caption once an epoch, by any number of processes, with its own image."""

import pytest
import torch

from captioning import distributed
from captioning.distributed import BatchShare
from captioning.training.loaders import CachedLoader, PhotoBatch, PhotoLoader
from captioning.training.losses import CaptionLoss
from captioning.training.optim import trainable_parameters
from tests.helpers import make
from tests.runs import prepared


@pytest.fixture
def as_process(monkeypatch):
    """`as_process(1, 4)` makes the rest of the test run as process 1 of 4."""

    def pretend(rank: int, world_size: int) -> None:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: world_size)

    return pretend


def pairs_of(inputs, captions) -> list[tuple]:
    """Return (caption without padding, its image or features as bytes) for each caption."""
    if isinstance(inputs, PhotoBatch):
        inputs = inputs.images[inputs.image_of]
    inputs = inputs.repeat_interleave(len(captions) // max(1, len(inputs)), dim=0)
    words = [tuple(word for word in caption if word != 3) for caption in captions.tolist()]
    return [(w, part.numpy().tobytes()) for w, part in zip(words, inputs, strict=True)]


SOURCES = [
    {"feature_order": "random"},
    {"feature_order": "shards"},
    {"captions_together": 2},
    {"fine_tune_from": "layer4"},
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("world_size", [2, 5])
def test_every_caption_is_seen_once_by_all_processes_together(
    config_of, as_process, tmp_path, world_size, source
):
    config = config_of(tmp_path, batch_size=7, views=2, **source)
    loaders, _, _ = prepared(config)
    is_cached = "fine_tune_from" not in source
    assert isinstance(loaders["train"], CachedLoader if is_cached else PhotoLoader)
    whole = list(loaders["train"].epoch(1))
    assert len(whole) == loaders["train"].steps()
    assert sum(len(captions) for _, captions, _ in whole) == 36
    assert {share for _, _, share in whole} == {BatchShare(1.0, 1.0)}
    parts = []
    for rank in range(world_size):
        as_process(rank, world_size)
        parts.append(list(loaders["train"].epoch(1)))
    for (inputs, captions, _), *of_step in zip(whole, *parts, strict=True):
        found = []
        for some_inputs, some, share in of_step:
            found += pairs_of(some_inputs, some)
            assert share.captions == pytest.approx(len(some) / len(captions))
            words = [(c[:, 1:] != 3).sum().item() for c in (some, captions)]
            assert share.words == pytest.approx(words[0] / words[1])
        assert sorted(found) == sorted(pairs_of(inputs, captions))
    photos = []
    for rank in range(world_size):
        photos += [i for ids, _ in loaders["val"].photos(rank, world_size) for i in ids]
    assert sorted(photos) == list(range(100, 106))


@pytest.mark.parametrize("source", SOURCES)
def test_an_epoch_follows_from_its_number_and_may_begin_anywhere(config_of, tmp_path, source):
    loaders, _, _ = prepared(config_of(tmp_path, views=2, **source))

    def batches(number, first=0):
        epoch = loaders["train"].epoch(number, first)
        return [pairs_of(inputs, captions) for inputs, captions, _ in epoch]

    assert batches(2) == batches(2) != batches(3)
    assert batches(2, first=2) == batches(2)[2:]


def test_both_orders_give_each_caption_the_features_of_its_photo(config_of, tmp_path):
    found = []
    for source in SOURCES[:2]:
        loaders, _, _ = prepared(config_of(tmp_path, views=2, **source))
        pairs = [
            pair for inputs, captions, _ in loaders["train"].epoch(1)
            for pair in pairs_of(inputs, captions)
        ]  # fmt: skip
        found.append(pairs)
    assert found[0] != found[1]
    assert sorted(found[0]) == sorted(found[1])


def test_a_batch_of_photos_holds_all_captions_of_each(config_of, tmp_path):
    """The backbone, which is the expensive part, sees each photo once an epoch."""
    loaders, _, _ = prepared(config_of(tmp_path, batch_size=7, fine_tune_from="layer4"))
    images = 0
    for inputs, captions, _ in loaders["train"].epoch(1):
        assert inputs.image_of.tolist() == [i for i in range(len(inputs.images)) for _ in range(3)]
        assert len(captions) == 3 * len(inputs.images)
        images += len(inputs.images)
    assert images == 12


@pytest.mark.parametrize("fine_tune_from", [None, "layer4"])
def test_gradients_of_all_processes_add_up_to_those_of_one(
    config_of, as_process, tmp_path, fine_tune_from
):
    config = config_of(tmp_path, batch_size=7, dropout=0.0, fine_tune_from=fine_tune_from)
    loaders, _, encoder = prepared(config)
    decoder = make("lstm", vocab_size=20, embed_size=config.embed_size)
    parameters = trainable_parameters(encoder, decoder)
    objective = CaptionLoss(loaders["train"], decoder, config)

    def gradients(rank: int, world_size: int) -> list[torch.Tensor]:
        """Of the last batch, in which not every process has a caption, but all a gradient."""
        as_process(rank, world_size)
        *_, batch = loaders["train"].epoch(1)
        return torch.autograd.grad(objective(*batch), parameters)

    of_one = gradients(0, 1)
    of_three = [sum(parts) for parts in zip(*(gradients(r, 3) for r in range(3)), strict=True)]
    assert (len(of_one) > 30) is bool(fine_tune_from)  # the backbone is among them
    for found, expected in zip(of_three, of_one, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_captions_of_a_photo_come_side_by_side(config_of, tmp_path):
    """Three captions a photo, in groups of two: then each photo has one that comes alone."""
    loaders, _, _ = prepared(config_of(tmp_path, captions_together=2, batch_size=7))
    batches = list(loaders["train"].epoch(1))
    per_photo = [len(captions) / len(inputs) for inputs, captions, _ in batches]
    assert sorted(set(per_photo)) == [1, 2]
    assert max(len(captions) for _, captions, _ in batches) <= 7
    assert sum(len(inputs) for inputs, _, _ in batches) == 24
    assert sum(len(captions) for _, captions, _ in batches) == 36
