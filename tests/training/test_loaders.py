"""Batches: every caption once an epoch, by however many processes; several folders as one set."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers import make, random_features, write_data
from tests.commands.test_train import some_captions

from captioning import distributed
import train as train_module
from captioning.training.loaders import CachedLoader, PhotoLoader, prepare_data
from captioning.distributed import BatchShare
from model import EncoderCNN
from captioning.training.losses import caption_loss
from train import train


@pytest.fixture
def as_process(monkeypatch):
    """`as_process(1, 4)`: what follows is done as process 1 of 4 would do it."""

    def pretend(rank: int, world: int) -> None:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "world", lambda: world)

    return pretend


def sources_of(settings) -> tuple[dict, EncoderCNN]:
    torch.manual_seed(0)
    encoder = EncoderCNN(
        settings.embed_size, weights=settings.weights, grid=settings.grid,
        fine_tune_from=settings.fine_tune_from,
    )  # fmt: skip
    return prepare_data(settings, encoder)[0], encoder


# --- shares ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fine_tune_from", [None, "layer4"])
@pytest.mark.parametrize("world", [2, 5])
def test_every_caption_is_seen_once_by_all_processes_together(
    settings_of, as_process, tmp_path, world, fine_tune_from
):
    settings = settings_of(tmp_path, batch_size=7, views=2, fine_tune_from=fine_tune_from)
    sources, _ = sources_of(settings)
    assert isinstance(sources["train"], PhotoLoader if fine_tune_from else CachedLoader)
    whole = list(sources["train"].epoch(1))
    assert sum(len(captions) for _, captions, _ in whole) == 36
    assert {share for _, _, share in whole} == {BatchShare(1.0, 1.0)}
    parts = []
    for rank in range(world):
        as_process(rank, world)
        parts.append(list(sources["train"].epoch(1)))
    for step, (inputs, captions, _) in enumerate(whole):
        shares = [part[step] for part in parts]
        for rank, (some_inputs, some, share) in enumerate(shares):
            assert len(some_inputs) == len(some) == len(captions[rank::world])
            for a, b in zip(some.tolist(), captions[rank::world].tolist(), strict=True):
                assert [w for w in a if w != 3] == [w for w in b if w != 3]
            assert torch.equal(some_inputs, inputs[rank::world])
            assert share.captions == pytest.approx(len(some) / len(captions))
            words = [((c[:, 1:] != 3).sum().item()) for c in (some, captions)]
            assert share.words == pytest.approx(words[0] / words[1])
    photos = []
    for rank in range(world):
        photos += [i for ids, _ in sources["val"].photos(rank, world) for i in ids]
    assert sorted(photos) == list(range(100, 106))


@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
def test_losses_and_gradients_of_shares_add_up_to_those_of_the_batch(kind):
    options = {"label_smoothing": 0.1, "attention_penalty": 2.0}
    decoder, features, captions = make(kind), random_features(3), some_captions()
    learning = list(decoder.parameters())
    loss, words = caption_loss(decoder, features, captions, **options)
    expected = torch.autograd.grad(loss, learning, allow_unused=True)
    total, sums = 0.0, [torch.zeros_like(p) for p in learning]
    for rank in range(2):
        mine = captions[rank::2]
        share = BatchShare((mine[:, 1:] != 3).sum().item() / words, len(mine) / len(captions))
        part, _ = caption_loss(decoder, features[rank::2], mine, **options, share=share)
        total += part.item()
        for known, new in zip(
            sums, torch.autograd.grad(part, learning, allow_unused=True), strict=True
        ):
            known += 0 if new is None else new
    assert total == pytest.approx(loss.item(), abs=1e-5)
    for known, new in zip(sums, expected, strict=True):
        torch.testing.assert_close(known, torch.zeros_like(known) if new is None else new)


def test_a_process_without_a_share_adds_nothing():
    features = random_features(1)[:0].requires_grad_()
    loss, words = caption_loss(make("attention"), features, some_captions()[:0])
    assert (loss.item(), words) == (0.0, 0)
    loss.backward()


# --- several folders -------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    """Two folders whose photos have the same ids and names, but are others."""
    folders = [write_data(tmp_path / name) for name in ("one", "two")]
    for path in folders[1].glob("images/*/*.jpg"):
        path.write_bytes(path.read_bytes() + b"more")  # after the end of a JPEG nobody looks
    for path in folders[1].glob("annotations/*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        for annotation in content["annotations"]:
            annotation["caption"] = annotation["caption"].replace("ball", "sphere")
        path.write_text(json.dumps(content), encoding="utf-8")
    return [str(folder) for folder in folders]


@pytest.mark.parametrize("fine_tune_from", [None, "layer4"])
def test_several_folders_are_one_set_with_one_vocabulary(
    settings_of, tmp_path, two, fine_tune_from
):
    changed = {"fine_tune_from": fine_tune_from, "num_epochs": 1}
    settings = settings_of(tmp_path / "out", data=[Path(folder) for folder in two], **changed)
    sources, _ = sources_of(settings)
    assert len(sources["train"].packed) == 72
    photos = sources["train"].captions.photos
    assert len({photo.id for photo in photos}) == len(photos) == 24
    assert sum(len(captions) for _, captions, _ in sources["train"].epoch(1)) == 72
    history = train(settings)
    assert history[0]["val_loss"] > 0
    resumed = settings_of(tmp_path / "out", data=two, resume=True, **changed | {"num_epochs": 2})
    assert len(train(resumed)) == 2


def test_each_photo_has_the_features_of_its_own_folder(settings_of, tmp_path, two):
    sources, _ = sources_of(settings_of(tmp_path / "out", data=two))
    alone = [sources_of(settings_of(tmp_path / "out", data=folder))[0] for folder in two]
    rows = torch.tensor([20, 3, 15, 3, 0])
    found = sources["train"].grid(rows, torch.zeros(5, dtype=torch.long))
    for row, features in zip(rows.tolist(), found, strict=True):
        expected = alone[row // 12]["train"].features[0][row % 12, 0]
        assert torch.equal(features, expected)
    stores = [np.load(p) for folder in two for p in (tmp_path / folder).rglob("features.npy")]
    assert len(stores) == 4  # train and val of each; nothing was computed twice


def test_one_folder_may_have_no_val(settings_of, tmp_path, two):
    (tmp_path / "two/annotations/captions_val2014.json").unlink()
    sources, _ = sources_of(settings_of(tmp_path / "out", data=two))
    assert len(sources["val"].captions.photos) == 6


def test_a_photo_of_one_folder_in_the_val_of_the_other_is_refused(settings_of, tmp_path, two, cli):
    shutil.copy(tmp_path / "one/images/train2014/photo_003.jpg", tmp_path / "leak.jpg")
    shutil.copy(tmp_path / "leak.jpg", tmp_path / "two/images/val2014/photo_101.jpg")
    with pytest.raises(ValueError, match=r"1 photos .*photo_003\.jpg .*photo_101\.jpg"):
        train(settings_of(tmp_path / "out", data=two))
    flags = ["--weights", settings_of(tmp_path).weights, "--out", tmp_path / "out"]
    assert "photo_101.jpg" in cli(train_module.main, "--data", *two, *flags)
