"""Odd photos where users meet them: each command sees them upright, and stops at none."""

import itertools
import json
from pathlib import Path

import pytest
from PIL import Image

import caption
import prepare
from captioning.data.check import check
from tests.helpers import write_data
from tests.odd_exif import ODD_TAGS, TURN, odd_exif
from train import train


@pytest.fixture
def odd_data(tmp_path) -> Path:
    """Photos that lie on their side, as a camera stores them, with odd tags beside the turn."""
    data = write_data(tmp_path / "data")
    tags = itertools.cycle(ODD_TAGS.values())
    for path in sorted(data.glob("images/*/*.jpg")):
        lying = Image.open(path).transpose(Image.Transpose.ROTATE_90)
        lying.save(path, quality=95, exif=odd_exif([*next(tags), TURN]))
    return data


def test_caption_py_captions_all_of_them_upright(odd_data, data, run, weights, cli, tmp_path):
    files = ["--encoder-file", run / "encoder-2.pkl", "--decoder-file", run / "decoder-2.pkl"]
    texts = []
    for folder in (odd_data, data):
        out = tmp_path / "results.json"
        photos = folder / "images/val2014"
        assert cli(caption.main, photos, *files, "--weights", weights, "--out", out) == 0
        texts.append([row["caption"] for row in json.loads(out.read_text(encoding="utf-8"))])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 6


def test_prepare_copies_and_checks_them(odd_data, cli, tmp_path, capsys):
    table = "image,caption\n"
    table += "".join(f"{p.name},a ball\n" for p in sorted((odd_data / "images/val2014").iterdir()))
    (tmp_path / "captions.csv").write_text(table, encoding="utf-8")
    source = ("--from", odd_data / "images/val2014", "--csv", tmp_path / "captions.csv")
    assert cli(prepare.main, "folder", *source, "--out", tmp_path / "prepared") == 0
    report = check(odd_data)
    assert "broken" not in report.found
    assert len(report.found["rotated"]) == 18


@pytest.mark.parametrize("options", [{"views": 2}, {"fine_tune_from": "layer4"}])
def test_training_reads_them(odd_data, config_of, tmp_path, capsys, options):
    history = train(
        config_of(tmp_path / "run", data=str(odd_data), num_epochs=1, precision="auto", **options)
    )
    assert len(history) == 1
    assert "unreadable" not in capsys.readouterr().out
