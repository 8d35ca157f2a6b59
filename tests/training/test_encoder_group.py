"""Training with two frozen encoders side by side, from their features to the command line."""

import dataclasses
import shutil

import pytest
import torch

import caption as caption_module
from captioning.data.coco import read_captions
from captioning.data.photos import read_photo
from captioning.inference.captioner import Captioner
from captioning.inference.serialization import load_pair
from captioning.safe_load import safe_load
from captioning.training import overfit
from captioning.training.config import TrainConfig
from captioning.training.preparation import prepare_split
from captioning.training.self_critical import fine_tune_on_cider
from model import EncoderCNN, EncoderGroup, build_encoder
from tests.helpers import EMBED, make, write_data
from tests.runs import (
    assert_captions_as_in_validation,
    assert_equal,
    numbers,
    pairs,
    power_cut,
    prepared,
)
from train import train
from vocabulary import Vocabulary

BACKBONES = ("resnet50", "resnet50")


@pytest.fixture
def config_of_two(config_of, both, tmp_path):
    """`config_of_two(...)`: the config of a small run with two backbones."""
    common = {"backbone": BACKBONES, "weights": both, "cache_dir": str(tmp_path / "features")}

    def make_config(out="out", **changed) -> TrainConfig:
        return config_of(tmp_path / out, **(common | changed))

    return make_config


@pytest.fixture(scope="module")
def run_of_two(config_of, both, tmp_path_factory):
    """Folder of a finished run: attention over the places of both, seen larger and mirrored."""
    out = tmp_path_factory.mktemp("two")
    train(config_of(out, backbone=BACKBONES, weights=both, decoder="attention", tta=True))
    return out


def best(out) -> tuple:
    return out / "best" / "encoder.pkl", out / "best" / "decoder.pkl"


@pytest.mark.parametrize("decoder", ["lstm", "transformer"])
def test_a_batch_has_a_grid_of_each_encoder_and_their_caches_serve_each_alone(
    config_of_two, both, tmp_path, decoder
):
    def batches(**changed) -> list:
        loaders, *_ = prepared(config_of_two(decoder=decoder, views=2, **changed))
        return list(loaders["train"].epoch(1))

    together = batches()
    folders = {path.name for path in (tmp_path / "features").iterdir() if path.is_dir()}
    assert len(folders) == 4  # two encoders, two splits
    for number, path in enumerate(both):
        alone = batches(backbone="resnet50", weights=path)
        for (grids, captions, _), (grid, same, _) in zip(together, alone, strict=True):
            assert torch.equal(grids[number], grid)
            assert torch.equal(captions, same)
    assert {path.name for path in (tmp_path / "features").iterdir() if path.is_dir()} == folders


def test_an_unreadable_photo_is_left_out_for_both(config_of_two, tmp_path):
    data = write_data(tmp_path / "data")
    (data / "images/train2014/photo_004.jpg").write_bytes(b"no photo")
    loaders, *_ = prepared(config_of_two(data=str(data)))
    assert 4 not in loaders["train"].readable
    assert len(loaders["train"].readable) == 11


@pytest.mark.parametrize("decoder", ["lstm", "attention", "transformer"])
def test_a_run_captions_as_it_did_in_validation(config_of_two, decoder):
    config = config_of_two(decoder=decoder, num_epochs=3, pca=8, precision="auto")
    history = train(config)
    assert history[-1]["loss"] < history[0]["loss"]
    assert_captions_as_in_validation(config, epoch=3)


def test_an_interrupted_run_continues_exactly(config_of_two, tmp_path):
    whole = train(config_of_two("whole", dropout=0.4))
    cut = config_of_two("cut", dropout=0.4, checkpoint_every=2)
    with power_cut(in_step=8):
        train(cut)
    assert numbers(train(dataclasses.replace(cut, resume=True))) == numbers(whole)
    assert_equal(pairs(tmp_path / "cut"), pairs(tmp_path / "whole"))


def test_it_learns_a_batch_by_heart_and_is_fine_tuned_on_cider(
    config_of_two, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(overfit, "CHECK_EVERY", 1)
    assert overfit.learn_batch_by_heart(config_of_two(lr=3e-3, hidden_size=32))
    assert "learned 12 captions by heart" in capsys.readouterr().out
    train(config_of_two(num_epochs=1))
    history = fine_tune_on_cider(tmp_path / "out", 1, batch_size=4, samples_per_image=2)
    assert [row["epoch"] for row in history] == [1, 2]


def test_bfloat16_gives_nearly_the_same_loss(config_of_two, monkeypatch):
    expected = train(config_of_two("float32", decoder="transformer", num_epochs=1))
    monkeypatch.setattr("captioning.training.optim.compute_dtype", lambda device: torch.bfloat16)
    found = train(config_of_two("bfloat16", decoder="transformer", num_epochs=1, precision="auto"))
    assert found[0]["loss"] == pytest.approx(expected[0]["loss"], rel=0.02)


# --- from the command line -------------------------------------------------------------------


def test_the_command_captions_and_draws(run_of_two, both, data, tmp_path, cli, capsys):
    photo = data / "images/val2014/photo_100.jpg"
    flags = ["--captioner", run_of_two, "--weights", both[0], "--weights", both[1]]
    flags += ["--device", "cpu", "--attention", tmp_path / "map.png"]
    assert cli(caption_module.main, photo, *flags) == 0
    assert capsys.readouterr().out.startswith("photo_100.jpg\t")
    assert (tmp_path / "map.png").stat().st_size > 1000


def test_wrong_weights_are_refused_by_name(run_of_two, both, run):
    for weights, why in {
        both[::-1]: "other.pth is not the one that .*encoder.pkl was trained with .narrow.pth",
        both[:1]: "narrow.pth is not the one that .*encoder.pkl was trained with .other.pth",
        (*both, both[0]): "one for each of 2 backbones, .* or one for all, not 3",
        None: "narrow.pth, are missing. Name the file with --weights",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=why):
            load_pair(*best(run_of_two), weights)


def test_a_saved_group_is_loaded_and_names_no_folder(run_of_two, both):
    encoder, _, _ = load_pair(*best(run_of_two), both)
    assert isinstance(encoder, EncoderGroup)
    assert [part.config.weights for part in encoder.parts] == ["narrow.pth", "other.pth"]
    saved = safe_load(best(run_of_two)[0])
    assert [part["config"]["weights"] for part in saved["parts"]] == ["narrow.pth", "other.pth"]


FALSE_PARTS = {"none": [], "texts": ["a", "b"], "empty": [{}], "many": [{}] * 99, "a text": "ab"}


@pytest.mark.parametrize("parts", FALSE_PARTS.values(), ids=FALSE_PARTS)
def test_a_file_with_false_parts_is_refused(run_of_two, both, tmp_path, parts):
    files = [shutil.copy(path, tmp_path) for path in best(run_of_two)]
    torch.save(safe_load(files[0]) | {"parts": parts}, files[0])
    with pytest.raises(ValueError, match="encoder"):
        load_pair(*files, both)


def test_encoders_of_other_sizes_do_not_make_a_group(run_of_two, both, config_of_two, tmp_path):
    train(config_of_two(decoder="attention", embed_size=8, num_epochs=1, tta=True))
    files = [shutil.copy(path, tmp_path) for path in best(run_of_two)]
    saved, other = safe_load(files[0]), safe_load(tmp_path / "out/encoder-1.pkl")
    torch.save(saved | {"parts": [saved["parts"][0], other["parts"][1]]}, files[0])
    with pytest.raises(ValueError, match="the same embed_size"):
        load_pair(*files, both)


def test_what_takes_one_backbone_says_so(config_of_two):
    config = config_of_two()
    with pytest.raises(ValueError, match="Several backbones need cached features"):
        prepare_split(config, build_encoder(config.encoder_config()), "train", None, lambda x: x)


def test_the_first_backbone_with_a_familiarity_judges_the_photos(both, data):
    class Judge:
        def judge(self, grid: torch.Tensor) -> list:
            return [tuple(grid.shape[1:])] * len(grid)

    encoder = EncoderGroup([EncoderCNN(EMBED, weights=path, grid=True) for path in both])
    captioner = Captioner(encoder, make("attention"), Vocabulary.build([["a"]], 1))
    photos = [read_photo(photo.path) for photo in read_captions(data, "val").photos[:2]]
    grid = captioner.grid(photos)
    assert captioner.judge(grid) == [None, None]
    encoder.parts[1].familiarity = Judge()
    assert captioner.judge(grid) == [(4, 64)] * 2  # of the second backbone
