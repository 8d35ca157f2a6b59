"""The captioner without PyTorch sees the same pictures, and says what it cannot read."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from captioning.data.photos import PhotoTransform, read_photo
from tests.helpers import ROOT
from tests.odd_exif import ODD_TAGS, TURN, odd_exif

pytest.importorskip("onnxruntime", reason="needs requirements-extra.txt")

from recipes import onnx_caption
from recipes.onnx_caption import OnnxCaptioner


@pytest.fixture
def folder(tmp_path):
    """Photos with values that no display has, a turned one, a transparent one, a large one."""
    levels = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    gray = Image.fromarray((levels * 4095).astype(np.uint16))
    gray.save(tmp_path / "12 bits in 16.png")
    Image.fromarray(np.where(levels > 0.9, np.inf, levels)).save(tmp_path / "float.tif")
    color = Image.effect_noise((80, 60), 60).convert("RGB")
    color.save(tmp_path / "turned.jpg", exif=odd_exif([TURN, *next(iter(ODD_TAGS.values()))]))
    color.putalpha(Image.fromarray((levels * 255).astype(np.uint8)))
    color.save(tmp_path / "transparent.png")
    Image.effect_noise((900, 700), 60).save(tmp_path / "large.jpg")
    return tmp_path


def test_it_sees_what_pytorch_sees(folder):
    transform = PhotoTransform(resize=56, crop=48)
    captioner = OnnxCaptioner.__new__(OnnxCaptioner)
    captioner.info = {"transform": {"crop": 48, "mean": transform.mean, "std": transform.std}}
    level = 1 / 255 / min(transform.std)  # Pillow's and torchvision's rounding may differ
    for path in sorted(folder.iterdir()):
        image = transform(read_photo(path, transform.min_side))[None].numpy()
        assert np.abs(captioner.read(path) - image).max() < 1.01 * level, path


def test_a_photo_that_cannot_be_read_stops_no_other(folder, monkeypatch, cli, capsys):
    class Reader(OnnxCaptioner):
        def __init__(self, path):
            self.info = {"transform": {"crop": 48, "mean": [0.5] * 3, "std": [0.5] * 3}}

        def caption(self, path, max_words=20):
            return f"{self.read(path).shape}"

    monkeypatch.setattr(onnx_caption, "OnnxCaptioner", Reader)
    good, none = folder / "turned.jpg", folder / "none.jpg"
    assert cli(onnx_caption.main, "any.onnx", good, none, good) == 1
    said = capsys.readouterr()
    assert said.out == f"{good}\t(1, 3, 48, 48)\n" * 2
    assert said.err == f"error: {none} is missing.\n"
    assert cli(onnx_caption.main, "any.onnx", folder) == 0


def test_files_that_are_no_captioner_are_refused_in_a_sentence(tmp_path, folder, cli):
    missing = tmp_path / "none.onnx"
    assert f"error: {missing} is missing; " in str(cli(onnx_caption.main, missing, folder))
    photo = folder / "turned.jpg"
    said = str(cli(onnx_caption.main, photo, photo))
    assert said.startswith(f"error: {photo} cannot be loaded (")
    assert "\n" not in said


def test_a_photo_that_cannot_be_read_is_left_out_of_the_check(folder, capsys):
    pytest.importorskip("onnxscript", reason="needs requirements-extra.txt")
    from recipes.export_onnx import readable

    good, bad = folder / "large.jpg", folder / "empty.jpg"
    bad.touch()
    assert readable([good, bad]) == [good]
    assert capsys.readouterr().err == f"error: {bad} is empty (0 bytes).\n"
    with pytest.raises(ValueError, match="none of the photos to check can be read"):
        readable([bad])


def test_it_needs_no_torch():
    code = "import sys, recipes.onnx_caption; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout == "False\n"
