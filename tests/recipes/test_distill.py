"""A captioner describes pictures for another one to learn from."""

import pytest

from captioning.data.coco import read_captions
from captioning.inference.captioner import Captioner
from recipes import distill
from tests.helpers import write_split
from train import train


@pytest.fixture
def teacher(run, weights, monkeypatch):
    """The finished run of conftest.py, which finds its backbone where the tests keep it."""
    load = Captioner.load
    monkeypatch.setattr(Captioner, "load", lambda *pair: load(*pair, weights=str(weights)))
    return run / "best"


@pytest.fixture
def photos(tmp_path):
    """Eight pictures that are in no other folder; the captions beside them are not to be read."""
    write_split(tmp_path / "more", "train2014", 8, first=300)
    return tmp_path / "more" / "images" / "train2014"


def test_another_learns_from_what_it_says(teacher, photos, data, config_of, weights, cli, tmp_path):
    (photos / "broken.jpg").write_bytes(b"not a photo")
    arguments = ["--photos", photos, "--run", teacher, "--captions", 2]
    assert cli(distill.main, *arguments, "--out", tmp_path / "described") == 0
    described = read_captions(tmp_path / "described", "train")
    assert [p.path.name for p in described.photos] == [f"photo_{i}.jpg" for i in range(300, 308)]
    said = described.references()
    assert all(1 <= len(captions) <= 2 for captions in said.values())
    captioner = Captioner.load(teacher / "encoder.pkl", teacher / "decoder.pkl")
    best = captioner.caption([described.photos[0].path], beam_size=5, n_best=2)[0]
    spoken = [distill.as_sentence(caption.text) for caption in best if caption.text]
    assert said[described.photos[0].id] == spoken  # it may write nothing

    both = train(config_of(tmp_path / "student", data=(str(data), str(tmp_path / "described"))))
    assert "CIDEr" in both[-1]


def test_captions_look_like_captions():
    assert distill.as_sentence("a red ball") == "A red ball."
    assert distill.as_sentence("") == ""


def test_no_captions_are_refused(teacher, photos, cli, tmp_path):
    said = cli(distill.main, "--photos", photos, "--captions", 0, "--out", tmp_path / "none")
    assert "captions must be 1 or more" in said
    assert not (tmp_path / "none").exists()
