"""The command that grades captions of the drawn pictures: its columns, its refusals."""

import json

import pytest

import toy_coco
from recipes import grade_toy


@pytest.fixture
def data(tmp_path):
    return toy_coco.draw(tmp_path / "toy", seed=4, sizes=(8, 1, 12))


def results(data, tmp_path, **change):
    scenes = json.loads((data / "annotations" / "scenes_test2014.json").read_text("utf-8"))
    said = json.loads((data / "annotations" / "captions_test2014.json").read_text("utf-8"))
    by_id = {annotation["image_id"]: annotation["caption"] for annotation in said["annotations"]}
    stems = {record["image_id"]: record["file_name"][:-4] for record in scenes["scenes"]}
    listed = [{"image_id": stems[i], "caption": caption, **change} for i, caption in by_id.items()]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(listed), encoding="utf-8")
    return path


def test_references_shuffled_and_blind(data, tmp_path, capsys, monkeypatch):
    path, out = results(data, tmp_path), tmp_path / "marks.json"
    arguments = ["toy_truth.py", str(path), "--data", str(data), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    toy_truth.main()
    marks = json.loads(out.read_text("utf-8"))
    assert marks["captions"]["things"]["right"] == 100
    assert marks["shuffled"]["things"]["right"] < 60
    assert marks["most common"]["different"] == 1
    assert "largest thing named" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "why"),
    [({"image_id": 5}, "two captions for image 5"), ({"caption": None}, "not a list of COCO")],
)
def test_broken_results_are_refused_in_a_sentence(data, tmp_path, change, why, monkeypatch, capsys):
    path = results(data, tmp_path, **change)
    monkeypatch.setattr(sys, "argv", ["toy_truth.py", str(path), "--data", str(data)])
    with pytest.raises(SystemExit, match=why):
        toy_truth.main()
