"""Hostile files: programs in pickles, bombs of memory, models of a billion layers.

Every way in which a file of weights can be opened is in tests/inference/test_serialization.py; here
are the page, the commands, files without weights, and files that lie about their size.
"""

import ast
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import train as train_module
from captioning.data.coco import read_captions
from captioning.features.extraction import extract_features
from captioning.inference.captioner import Captioner
from captioning.inference.serialization import load_pair
from captioning.safe_load import safe_load
from model import EncoderCNN
from recipes import self_critical
from tests.helpers import ROOT
from vocabulary import Vocabulary


class Bomb:
    """Unpickled, it makes a folder; a real one would do worse."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def boom(tmp_path):
    """Yield the folder that must not exist in the end."""
    yield tmp_path / "boom"
    assert not (tmp_path / "boom").exists()


def copy_of(run: Path, folder: Path) -> Path:
    """Copy the best pair to models/best/, as the page expects it; return the folder of models."""
    (folder / "best").mkdir(parents=True)
    for part in ("encoder", "decoder"):
        (folder / f"best/{part}.pkl").write_bytes((run / f"best/{part}.pkl").read_bytes())
    return folder


# --- programs --------------------------------------------------------------------------------


def test_the_page_refuses_a_program(boom, run, weights, tmp_path, capsys):
    gradio_main = pytest.importorskip("gradio_main", exc_type=ImportError)
    models = copy_of(run, tmp_path / "models")
    torch.save(safe_load(run / "decoder-2.pkl") | {"note": Bomb(boom)}, models / "best/decoder.pkl")
    pairs = gradio_main.find_captioners(models)
    with pytest.raises(ValueError, match="no captioner could be loaded"):
        gradio_main.CaptionService(pairs, str(weights), "cpu", tmp_path)
    said = capsys.readouterr()
    assert "decoder.pkl is refused" in said.out + said.err


def test_resume_refuses_a_program(boom, data, weights, cli, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    torch.save({"config": {}, "progress": Bomb(boom)}, out / "checkpoint.pkl")
    flags = ["--data", data, "--weights", weights, "--out", out, "--resume"]
    assert "checkpoint.pkl is refused" in cli(train_module.main, *flags)
    assert "checkpoint.pkl is refused" in cli(self_critical.main, "--run", out)


def test_cached_features_are_no_way_in(boom, encoder, data, tmp_path):
    captions = read_captions(data, "val")
    cache = extract_features(encoder, captions, tmp_path / "features", device="cpu")
    good = (cache.folder / "features-00000.npy").read_bytes()
    np.save(cache.folder / "features-00000.npy", np.array([Bomb(boom)] * 6, dtype=object))
    again = extract_features(encoder, captions, tmp_path / "features", device="cpu")
    assert (again.folder / "features-00000.npy").read_bytes() == good


def test_a_vocabulary_is_no_way_in(boom, tmp_path):
    torch.save({"words": Bomb(boom)}, tmp_path / "vocab.json")
    with pytest.raises(ValueError, match=r"vocab\.json"):
        Vocabulary.load(tmp_path / "vocab.json")


def calls(path: Path) -> list[ast.Call]:
    """Return every call in a module, or in the code cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [c["source"] for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
        lines = "\n\n".join("".join(source) for source in cells).splitlines()
        magic = re.compile(r"^(\s*)[%!].*")
        text = "\n".join(magic.sub(r"\1pass", line) for line in lines)
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]


def test_no_line_of_this_project_unpickles_an_untrusted_file():
    folders = ("captioning", "recipes", "tools", "benchmarks", "tests/stress")
    files = [*ROOT.glob("*.py"), *ROOT.glob("*.ipynb")]  # the museum shows the bug
    files += [path for folder in folders for path in ROOT.glob(f"{folder}/**/*.py")]
    files.remove(Path(__file__))  # writes such files itself
    assert len(files) > 80
    for path in files:
        for call in calls(path):
            name, flags = ast.unparse(call.func), [ast.unparse(k) for k in call.keywords]
            if name == "torch.load":
                assert "weights_only=True" in flags, f"{path}: {ast.unparse(call)}"
            assert "allow_pickle=True" not in flags, path
            forbidden = ("pickle.load", "pickle.loads", "pickle.Unpickler", "eval", "exec")
            assert name not in forbidden, f"{path}: {ast.unparse(call)}"
            assert not name.endswith((".extractall", "joblib.load", "torch.hub.load")), path


# --- lies about size -------------------------------------------------------------------------


def refused(file: Path, run: Path, weights: Path, why: str) -> None:
    pair = [run / "encoder-2.pkl", run / "decoder-2.pkl"]
    pair["decoder" in file.name] = file
    for load in (load_pair, Captioner.load):
        with pytest.raises(ValueError, match=why) as error:
            load(*pair, str(weights))
        assert "\n" not in str(error.value)


def test_a_bomb_of_zeros_is_not_unpacked(run, weights, tmp_path):
    bomb = tmp_path / "decoder-bomb.pkl"
    with (
        zipfile.ZipFile(run / "decoder-2.pkl") as good,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in good.namelist():
            archive.writestr(name, good.read(name))
        with archive.open(f"{good.namelist()[0].split('/')[0]}/data/999", "w") as entry:
            for _ in range(64):
                entry.write(bytes(2**20))
    assert bomb.stat().st_size < 2**20
    refused(bomb, run, weights, r"decoder-bomb\.pkl is refused")


@pytest.mark.parametrize(
    "odd",
    [torch.zeros(1).expand(10**11), torch.eye(4).to_sparse(), torch.zeros(5, device="meta")],
    ids=["expanded", "sparse", "meta"],
)
def test_a_tensor_that_is_not_all_in_the_file_is_refused(run, weights, tmp_path, odd):
    content = safe_load(run / "decoder-2.pkl")
    content["state_dict"]["output.bias"] = odd
    torch.save(content, tmp_path / "decoder-odd.pkl")
    refused(tmp_path / "decoder-odd.pkl", run, weights, r"decoder-odd\.pkl is refused")


@pytest.mark.parametrize("sizes", [{"hidden_size": 10**6}, {"num_layers": 10**9}])
def test_no_model_is_made_that_is_larger_than_its_file(run, weights, tmp_path, sizes):
    content = safe_load(run / "decoder-2.pkl")
    content["config"] |= sizes
    torch.save(content, tmp_path / "decoder-large.pkl")
    refused(
        tmp_path / "decoder-large.pkl", run, weights, r"decoder-large\.pkl do not make a captioner"
    )


def test_no_encoder_or_backbone_is_made_that_is_larger_than_its_file(run, weights, tmp_path):
    content = safe_load(run / "encoder-2.pkl")
    content["config"]["embed_size"] = 10**8
    torch.save(content, tmp_path / "encoder-large.pkl")
    refused(
        tmp_path / "encoder-large.pkl", run, weights, r"encoder-large\.pkl .* do not have the size"
    )
    content = safe_load(weights)
    content["config"]["width"] = 10**6
    torch.save(content, tmp_path / "large.pth")
    with pytest.raises(ValueError, match=r"large\.pth does not hold weights"):
        EncoderCNN(8, weights=str(tmp_path / "large.pth"))


def test_lists_inside_themselves_end(tmp_path):
    endless: list = [1]
    endless.append(endless)
    laughs: list = []
    for _ in range(60):  # 10 ** 60 entries, if each were visited
        laughs = [laughs] * 10
    for content in ({"a": endless}, {"a": laughs}):
        torch.save(content, tmp_path / "odd.pkl")
        assert safe_load(tmp_path / "odd.pkl").keys() == {"a"}


def test_weights_that_are_not_finite_are_refused(run, weights, tmp_path):
    content = safe_load(run / "decoder-2.pkl")
    content["state_dict"]["output.bias"][0] = float("nan")
    torch.save(content, tmp_path / "decoder-nan.pkl")
    refused(tmp_path / "decoder-nan.pkl", run, weights, r"decoder-nan\.pkl .* not finite")
