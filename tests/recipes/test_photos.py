"""The captioner of photographs: which photos teach it, and how its files are stored."""

import json

import pytest
import torch

from captioning.data.coco import read_captions
from captioning.inference.captioner import Captioner
from captioning.training.config import TrainConfig
from recipes.photos import OPTIONS, mix, store_half
from tests.helpers import write_data
from train import train


def test_even_ids_choose_and_odd_ids_are_kept_for_the_test(tmp_path):
    data, out = write_data(tmp_path / "coco"), tmp_path / "mixed"
    mix([data], out)
    original = read_captions(data, "val")
    splits = {name: read_captions(out, name) for name in ("train", "val", "test")}
    assert [photo.id for photo in splits["train"].photos] == [
        photo.id for photo in read_captions(data, "train").photos
    ]
    assert {photo.id % 2 for photo in splits["val"].photos} == {0}
    assert {photo.id % 2 for photo in splits["test"].photos} == {1}
    kept = splits["val"].references() | splits["test"].references()
    assert kept == original.references()
    (out / "annotations" / "captions_val.json").write_text("{}", encoding="utf-8")
    mix([data], out)  # does nothing: the folder is there
    assert json.loads((out / "annotations" / "captions_val.json").read_text("utf-8")) == {}


def test_a_folder_of_coco_that_is_missing_is_refused(tmp_path):
    data, missing = write_data(tmp_path / "coco"), tmp_path / "more"
    with pytest.raises(FileNotFoundError, match="more is not a data folder"):
        mix([data, missing], tmp_path / "mixed")
    missing.mkdir()
    with pytest.raises(FileNotFoundError, match="has no captions_train"):
        mix([data, missing], tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_half_precision_halves_the_files_and_keeps_the_captions(run, weights, data, tmp_path):
    store_half(run / "best", tmp_path)
    for part in ("encoder", "decoder"):
        before, after = (folder / f"{part}.pkl" for folder in (run / "best", tmp_path))
        state = torch.load(after, weights_only=True)["state_dict"]
        assert {tensor.dtype for tensor in state.values()} == {torch.float16}
        assert after.stat().st_size < before.stat().st_size
    captions = []
    for folder in (run / "best", tmp_path):
        files = folder / "encoder.pkl", folder / "decoder.pkl"
        captioner = Captioner.load(*files, str(weights), "cpu")
        assert {p.dtype for p in captioner.decoder.parameters()} == {torch.float32}
        paths = [photo.path for photo in read_captions(data, "val").photos]
        captions.append([best.logprob for (best,) in captioner.caption(paths)])
    assert captions[1] == pytest.approx(captions[0], abs=0.05)


def test_tied_weights_are_stored_once(config_of, tmp_path):
    train(
        config_of(tmp_path / "run", num_epochs=1, tie_weights=True, embed_size=48, hidden_size=48)
    )
    store_half(tmp_path / "run" / "best", tmp_path)
    state = torch.load(tmp_path / "decoder.pkl", weights_only=True)["state_dict"]
    assert state["word_embedding.weight"].data_ptr() == state["output.weight"].data_ptr()


def test_its_options_are_those_of_a_run():
    config = TrainConfig(data=("a", "b"), **OPTIONS)
    assert config.grid
    assert config.passes_of("b") > config.passes_of("a")
