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
    annotations = json.loads((data / "annotations" / "captions_test2014.json").read_text("utf-8"))
    by_id = {entry["image_id"]: entry["caption"] for entry in annotations["annotations"]}
    stems = {record["image_id"]: record["file_name"][:-4] for record in scenes["scenes"]}
    entries = [{"image_id": stems[i], "caption": caption, **change} for i, caption in by_id.items()]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_references_beside_the_control_and_the_most_common_caption(data, tmp_path, capsys, cli):
    path, out = results(data, tmp_path), tmp_path / "grades.json"
    assert cli(grade_toy.main, path, "--data", data, "--out", out) == 0
    grades = json.loads(out.read_text("utf-8"))
    assert grades["captions"]["things"]["right"] == 100
    assert grades["control"]["things"]["right"] < 60
    assert grades["most common"]["different"] == 1
    assert "largest object named" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"image_id": 200_005}, "two captions of image 200005"),
        ({"image_id": 5}, "no caption of a photo in the annotations"),
        ({"caption": None}, "entry 1 has no valid `caption`"),
    ],
)
def test_broken_results_are_refused_in_a_sentence(data, tmp_path, change, why, cli):
    assert why in cli(grade_toy.main, results(data, tmp_path, **change), "--data", data)


def test_part_of_the_pictures_is_graded_on_request(data, tmp_path, cli, capsys):
    path = results(data, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8"))[:5]), encoding="utf-8")
    assert "7 captions are missing" in cli(grade_toy.main, path, "--data", data)
    assert cli(grade_toy.main, path, "--data", data, "--partial") == 0
    assert "different captions" in capsys.readouterr().out
