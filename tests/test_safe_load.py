"""Untrusted files: code never runs, false claims cost no memory."""

import contextlib
import os
import pickle
import shutil
import zipfile

import pytest
import torch
from torch import nn

import caption as caption_module
import train as train_module
from captioning.data.coco import read_captions
from captioning.inference.captioner import Captioner
from captioning.inference.serialization import load_pair
from captioning.safe_load import check_state_dict, safe_load, same_structure
from model import EncoderCNN

# --- code in a pickle ------------------------------------------------------------------------


class Bomb:
    """Unpickled, it makes a folder; a real one would do worse."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture(params=["torch.save", "pickle", "in a good file"])
def bomb(request, tmp_path, run):
    """A file that makes the folder `tmp_path / "boom"` when it is unpickled."""
    path, boom = tmp_path / "bomb.pkl", tmp_path / "boom"
    if request.param == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Bomb(boom)}, protocol=2))
    elif request.param == "torch.save":
        torch.save({"state_dict": Bomb(boom)}, path)
    else:
        torch.save(safe_load(run / "decoder-2.pkl") | {"note": Bomb(boom)}, path)
    yield path
    assert not boom.exists()
    with contextlib.suppress(OSError, RuntimeError):  # loading fails only after the code ran
        torch.load(path, weights_only=False)
    assert boom.is_dir()  # the file did hold working code


REFUSED = r"bomb\.pkl is refused .*more than plain weights"


def test_a_pickle_with_code_is_refused_by_every_loader(bomb, run, weights):
    for call in (
        lambda: safe_load(bomb),
        lambda: load_pair(bomb, run / "decoder-2.pkl", str(weights)),
        lambda: load_pair(run / "encoder-2.pkl", bomb, str(weights)),
        lambda: load_pair(run / "encoder-2.pkl", run / "decoder-2.pkl", str(bomb)),
        lambda: Captioner.load(run / "encoder-2.pkl", bomb, str(weights)),
        lambda: EncoderCNN(12, weights=str(bomb)),
    ):
        with pytest.raises(ValueError, match=REFUSED):
            call()


def test_a_pickle_with_code_is_refused_by_every_command(
    bomb, run, weights, data, config_of, cli, tmp_path
):
    photo = read_captions(data, "val").photos[0].path
    files = ["--encoder-file", run / "encoder-2.pkl", "--decoder-file", run / "decoder-2.pkl"]
    for flags in (
        ["--encoder-file", bomb, *files[2:]],
        [*files[:2], "--decoder-file", bomb],
        [*files, "--weights", bomb],
    ):
        status = cli(caption_module.main, photo, *flags)
        assert "bomb.pkl is refused" in status
    out = tmp_path / "out"
    status = cli(train_module.main, "--data", data, "--weights", bomb, "--out", out)
    assert "bomb.pkl is refused" in status
    out.mkdir(exist_ok=True)
    shutil.copy(bomb, out / "checkpoint.pkl")
    with pytest.raises(ValueError, match=r"checkpoint\.pkl is refused"):
        train_module.train(config_of(out, resume=True))


# --- false claims ----------------------------------------------------------------------------


def test_plain_data_is_loaded_as_it_was_saved(tmp_path):
    content = {"weight": torch.arange(6.0).view(2, 3), "names": ["a"], "epoch": 3}
    torch.save(content, tmp_path / "good.pkl")
    loaded = safe_load(tmp_path / "good.pkl")
    assert torch.equal(loaded.pop("weight"), content.pop("weight"))
    assert loaded == content


def test_a_compressed_archive_is_refused(tmp_path):
    """A zip bomb unpacks to far more than its size; torch.save never compresses."""
    torch.save({"weight": torch.zeros(100_000)}, tmp_path / "good.pkl")
    with (
        zipfile.ZipFile(tmp_path / "good.pkl") as good,
        zipfile.ZipFile(tmp_path / "bomb.pkl", "w", zipfile.ZIP_DEFLATED) as compressed,
    ):
        for name in good.namelist():
            compressed.writestr(name, good.read(name))
    with pytest.raises(ValueError, match=r"bomb\.pkl is refused"):
        safe_load(tmp_path / "bomb.pkl")


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    "tensor", [torch.zeros(1).expand(10**10), torch.zeros(2, 2).to_sparse()], ids=["wide", "sparse"]
)
def test_a_tensor_with_fewer_values_than_its_shape_is_refused(tmp_path, tensor):
    torch.save({"nested": [{"weight": tensor}]}, tmp_path / "file.pkl")
    with pytest.raises(ValueError, match=r"file\.pkl is refused"):
        safe_load(tmp_path / "file.pkl")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), "text", None])
def test_a_file_without_a_dictionary_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "file.pkl")
    with pytest.raises(ValueError, match=r"file\.pkl holds a \w+, not weights"):
        safe_load(tmp_path / "file.pkl")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pkl is missing"):
        safe_load(tmp_path / "none.pkl")
    with pytest.raises(ValueError, match=f"{tmp_path.name} cannot be read"):
        safe_load(tmp_path)


def test_a_state_dict_must_fit_its_model_and_be_finite():
    state = nn.Linear(3, 2).state_dict()
    check_state_dict(lambda: nn.Linear(3, 2), state)
    broken = [
        (lambda: nn.Linear(4, 2), state, "weight is not what its configuration"),
        (lambda: nn.Linear(3, 2), {"weight": state["weight"]}, "bias is not what"),
        (lambda: nn.Linear(3, 2), state | {"extra": state["bias"]}, "extra is not what"),
        (lambda: nn.Linear(3, 2), state | {"bias": "text"}, "bias is not what"),
        (lambda: nn.Linear(3, 2), state | {"bias": state["bias"] / 0}, "not finite"),
        (lambda: nn.Linear(10**6, 10**6), state, "not what"),  # 4 TB, if it were built
    ]
    for build, found, why in broken:
        with pytest.raises(ValueError, match=why):
            check_state_dict(build, found)


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (1, 2.5, True),
        (1, True, False),
        ("a", "a", True),
        ("a", "b", False),
        ({"a": [1, (2, None)]}, {"a": [3, (4, None)]}, True),
        ({"a": 1}, {"b": 1}, False),
        ([1], [1, 2], False),
        ([1], (1,), False),
        (torch.zeros(2), torch.ones(2), True),
        (torch.zeros(2), torch.zeros(3), False),
        (torch.zeros(2), torch.zeros(2).double(), False),
        (torch.zeros(1), 0.0, False),
    ],
)
def test_same_structure_compares_everything_but_numbers(expected, found, same):
    assert same_structure(expected, found) is same
