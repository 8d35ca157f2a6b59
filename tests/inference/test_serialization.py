"""Loading returns what was saved; files that do not belong together are refused."""

import dataclasses
import os
import shutil
import zipfile

import pytest
import torch

from captioning.inference.serialization import FORMAT, copy_best, load_pair, save_pair
from captioning.models.config import DecoderConfig, EncoderConfig
from captioning.safe_load import safe_load
from model import EncoderCNN, make_decoder
from tests.helpers import KINDS, make, random_captions, random_features
from tests.runs import assert_captions_as_in_validation
from train import train
from vocabulary import Vocabulary

WORDS = ["<start>", "<end>", "<unk>", "<pad>", "a", "red", "ball", "box", "snow"]


@pytest.fixture
def pair(run, tmp_path):
    """Copies of the pair of epoch 2, free to be broken."""
    return [shutil.copy(run / f"{part}-2.pkl", tmp_path) for part in ("encoder", "decoder")]


def change(path, **values) -> str:
    """Write the file again with other values; `name=...` (Ellipsis) leaves one out."""
    content = safe_load(path) | values
    torch.save({k: v for k, v in content.items() if v is not ...}, path)
    return path


# --- saved and loaded ------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_saved_is_loaded(weights, tmp_path, name):
    decoder, features, captions = make(name), random_features(2), random_captions(2, 5)
    encoder = EncoderCNN(12, weights=str(weights), grid=True)
    fingerprint = encoder.backbone.fingerprint()
    files = save_pair(tmp_path, 7, encoder, decoder, Vocabulary(WORDS), "run", fingerprint)
    assert [path.name for path in files] == ["encoder-7.pkl", "decoder-7.pkl"]
    loaded_encoder, loaded_decoder, vocab = load_pair(*files, weights=str(weights))
    assert vocab.words == WORDS
    assert not loaded_encoder.training
    assert not loaded_decoder.training
    images = torch.randn(2, 3, 48, 48)
    assert torch.equal(loaded_encoder(images), encoder.eval()(images))
    assert torch.equal(loaded_decoder(features, captions), decoder(features, captions))


def test_a_finished_run_captions_as_it_did_in_validation(config_of, tmp_path):
    config = config_of(tmp_path, precision="auto")
    train(config)
    assert_captions_as_in_validation(config, epoch=2)


def test_tied_weights_are_tied_again(weights, tmp_path):
    decoder = make_decoder("lstm", embed_size=16, hidden_size=16, vocab_size=9, tie_weights=True)
    encoder = EncoderCNN(16, weights=str(weights))
    fingerprint = encoder.backbone.fingerprint()
    files = save_pair(tmp_path, 1, encoder, decoder, Vocabulary(WORDS), "run", fingerprint)
    loaded = load_pair(*files, weights=str(weights))[1]
    assert loaded.word_embedding.weight is loaded.output.weight


def test_fine_tuned_layers_are_saved_too(weights, tmp_path):
    encoder = EncoderCNN(12, weights=str(weights), fine_tune_from="layer4")
    fingerprint = encoder.backbone.fingerprint()
    with torch.no_grad():
        encoder.backbone.network.layer4[1].conv2.weight += 0.01
    files = save_pair(tmp_path, 1, encoder, make("lstm"), Vocabulary(WORDS), "run", fingerprint)
    loaded = load_pair(*files, weights=str(weights))[0]
    assert loaded.backbone.fingerprint() == encoder.backbone.fingerprint() != fingerprint


def test_a_random_backbone_is_saved_whole(tmp_path):
    """Its weights exist nowhere else, so the pair must have them."""
    encoder = EncoderCNN(12, "resnet18", weights=None)
    fingerprint = encoder.backbone.fingerprint()
    files = save_pair(tmp_path, 1, encoder, make("lstm"), Vocabulary(WORDS), "run", fingerprint)
    assert load_pair(*files)[0].backbone.fingerprint() == fingerprint


def test_best_is_a_copy_of_the_pair(run, weights, tmp_path):
    for part in ("encoder", "decoder"):
        shutil.copy(run / f"{part}-1.pkl", tmp_path)
    copy_best(tmp_path, 1)
    best = load_pair(tmp_path / "best/encoder.pkl", tmp_path / "best/decoder.pkl", str(weights))
    first = load_pair(run / "encoder-1.pkl", run / "decoder-1.pkl", str(weights))
    for one, other in zip(best[1].parameters(), first[1].parameters(), strict=True):
        assert torch.equal(one, other)


# --- content of the files --------------------------------------------------------------------


def test_the_files_are_plain_data_and_name_no_folder(run, weights):
    for part in ("encoder", "decoder"):
        path = run / f"{part}-2.pkl"
        content = torch.load(path, weights_only=True)
        assert {"kind", "format", "state_dict", "config", "run_id", "epoch"} <= content.keys()
        assert content["format"] == FORMAT
        with zipfile.ZipFile(path) as archive:
            inside = b"".join(archive.read(name) for name in archive.namelist())
        for folder in {str(run), str(weights.parent), os.getcwd(), os.path.expanduser("~")}:
            assert folder.encode() not in inside
    encoder = torch.load(run / "encoder-2.pkl", weights_only=True)
    assert encoder["config"]["weights"] == "narrow.pth"
    assert set(encoder["state_dict"]) == {
        "embed.weight",
        "embed.bias",
        "embed.mean",
        "embed.std",
    }
    assert encoder["transform"]["crop"] == 48
    assert encoder["config"].keys() == {field.name for field in dataclasses.fields(EncoderConfig)}
    decoder = torch.load(run / "decoder-2.pkl", weights_only=True)
    assert decoder["config"].keys() == {field.name for field in dataclasses.fields(DecoderConfig)}
    assert decoder["words"][:4] == WORDS[:4]
    assert "ball" in decoder["words"]
    assert all(t.device.type == "cpu" for t in decoder["state_dict"].values())


# --- refused ---------------------------------------------------------------------------------


def refused(encoder_file, decoder_file, why, weights=None) -> None:
    """Assert that `load_pair` refuses the files in one sentence that matches `why`."""
    with pytest.raises((ValueError, FileNotFoundError), match=why) as error:
        load_pair(encoder_file, decoder_file, weights and str(weights))
    assert "\n" not in str(error.value)


def test_files_that_are_not_a_pair_are_refused(run, pair, weights, tmp_path):
    encoder, decoder = pair
    refused(run / "encoder-1.pkl", decoder, r"epoch 1, .*decoder-2\.pkl of epoch 2", weights)
    refused(decoder, encoder, r"decoder-2\.pkl is the decoder's file; the encoder's", weights)
    refused(encoder, encoder, r"encoder-2\.pkl is the encoder's file; the decoder's", weights)
    refused(tmp_path / "none.pkl", decoder, r"none\.pkl is missing", weights)
    change(decoder, run_id="another")
    refused(encoder, decoder, "come from different training runs", weights)


@pytest.mark.parametrize("number", [0, 1], ids=["encoder", "decoder"])
@pytest.mark.parametrize("version", [..., 1, 3, "2", None])
def test_a_file_of_another_version_is_refused_in_one_sentence(pair, weights, version, number):
    """Files of version 0.1 have no key `format`."""
    change(pair[number], format=version)
    part = ("encoder", "decoder")[number]
    known = 1 if version is ... else version
    why = (
        rf"^\S*{part}-2\.pkl was saved by another version of this course \(format {known}, not 2\)"
    )
    refused(*pair, why + r"; train it again with this version\.$", weights)


def test_a_wrong_backbone_is_named(pair, weights, tmp_path):
    content = safe_load(weights)
    content["state_dict"]["layer4.2.conv3.weight"][0] += 1e-3
    other = tmp_path / "other.pth"
    torch.save(content, other)
    refused(*pair, r"other\.pth is not the one that .*encoder-2\.pkl was trained with", other)
    refused(*pair, r"narrow\.pth, are missing\. Name the file with --weights")
    refused(*pair, r"elsewhere\.pth, are missing", tmp_path / "elsewhere.pth")


HUGE = torch.zeros(1).expand(10**6, 16)


FALSE_ENCODERS = {
    "no state": {"state_dict": ...},
    "no run": {"run_id": ...},
    "no transform": {"transform": ...},
    "odd transform": {"transform": {"crop": "large"}},
    "unknown transform": {"transform": {"crop": 48, "rotate": 90}},
    "endless crop": {"transform": {"resize": 10**7, "crop": 10**7}},
    "three colors": {"transform": {"resize": 56, "crop": 48, "mean": ["red", "green", "blue"]}},
    "one std": {"transform": {"resize": 56, "crop": 48, "std": [1.0]}},
    "negative crop": {"transform": {"resize": 56, "crop": -1}},
    "state a list": {"state_dict": [1, 2]},
    "state empty": {"state_dict": {}},
    "state of texts": {"state_dict": {"embed.weight": "a", "embed.bias": "b"}},
    "other shape": {"state_dict": {"embed.weight": torch.zeros(3, 3), "embed.bias": HUGE}},
    "config a list": {"config": [1]},
    "config empty": {"config": {}},
    "unknown option": {"config": {"embed_size": 16, "color": "red"}},
    "odd backbone": {"config": {"embed_size": 16, "backbone": "os.system"}},
    "odd size": {"config": {"embed_size": -4}},
}


FALSE_DECODERS = {
    "no words": {"words": ...},
    "words a text": {"words": "abcdefgh"},
    "a word less": {"words": WORDS},
    "words of numbers": {"words": list(range(20))},
    "state empty": {"state_dict": {}},
    "config empty": {"config": {}},
    "unknown kind": {"config": {"kind": "bert", "embed_size": 16}},
    "endless": {"config": {"kind": "lstm", "embed_size": 10**9, "hidden_size": 10**9,
                           "vocab_size": 10**9}},
    "odd sizes": {"config": {"kind": "lstm", "embed_size": "big", "hidden_size": 2,
                             "vocab_size": 9}},
}  # fmt: skip


@pytest.mark.parametrize("claim", FALSE_ENCODERS.values(), ids=FALSE_ENCODERS)
def test_an_encoder_file_with_false_claims_is_refused(pair, weights, claim):
    change(pair[0], **claim)
    refused(*pair, ".", weights)


@pytest.mark.parametrize("claim", FALSE_DECODERS.values(), ids=FALSE_DECODERS)
def test_a_decoder_file_with_false_claims_is_refused(pair, weights, claim):
    change(pair[1], **claim)
    refused(*pair, ".", weights)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"not a pickle", b"\x80\x04.", b"[]"])
def test_a_file_without_weights_is_refused(pair, weights, content):
    with open(pair[1], "wb") as file:
        file.write(content)
    refused(*pair, r"decoder-2\.pkl", weights)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(pair, weights, fraction):
    size = os.path.getsize(pair[1])
    os.truncate(pair[1], int(fraction * size))
    refused(*pair, r"decoder-2\.pkl (is refused|cannot be read)", weights)


# --- writing ---------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_pair(run, weights, tmp_path, monkeypatch):
    encoder, decoder, vocab = load_pair(run / "encoder-2.pkl", run / "decoder-2.pkl", str(weights))
    files = save_pair(tmp_path, 1, encoder, decoder, vocab, "run", "f" * 16)
    before = files[1].read_bytes()

    def full(content, file):
        file.write(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:815] . PytorchStreamWriter failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"encoder-1\.pkl could not be written .*free some space"):
        save_pair(tmp_path, 1, encoder, decoder, vocab, "run", "f" * 16)
    assert files[1].read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoder-1.pkl", "encoder-1.pkl"]
