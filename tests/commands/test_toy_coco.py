"""The drawn dataset: COCO's own library reads it, its files agree, the same seed repeats it."""

import contextlib
import io
import json

import cv2
import pytest
from pycocotools.coco import COCO

import toy_coco
from captioning.toy.kinds import HELD_OUT, KINDS
from captioning.toy.places import SETTINGS

SIZES = (24, 6, 20)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return toy_coco.draw(tmp_path_factory.mktemp("drawn") / "toy", seed=3, sizes=SIZES)


def load(root, name):
    return json.loads((root / "annotations" / f"{name}.json").read_text(encoding="utf-8"))


def coco(root, name):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(root / "annotations" / f"{name}.json")


@pytest.mark.parametrize(("split", "size"), zip(toy_coco.SPLITS, SIZES, strict=True))
def test_cocos_own_library_reads_it(root, split, size):
    instances, captions = coco(root, f"instances_{split}"), coco(root, f"captions_{split}")
    assert len(instances.imgs) == len(captions.imgs) == size
    assert all(len(captions.getAnnIds(imgIds=image)) == 5 for image in captions.imgs)
    for image_id, image in instances.imgs.items():
        path = root / "images" / split / image["file_name"]
        assert cv2.imread(str(path)).shape == (image["height"], image["width"], 3)
        for annotation in instances.loadAnns(instances.getAnnIds(imgIds=image_id)):
            mask = instances.annToMask(annotation)
            x, y, width, height = annotation["bbox"]
            assert int(mask.sum()) == pytest.approx(annotation["area"], rel=0.05, abs=25)
            assert mask[y : y + height, x : x + width].sum() > 0.97 * mask.sum()
            assert all(len(polygon) >= 6 for polygon in annotation["segmentation"])
            assert annotation["category_id"] in instances.cats


def test_names_and_ids_are_cocos(root):
    images = load(root, "image_info_test2014")["images"]
    assert images[0]["file_name"] == "COCO_test2014_000000200001.jpg"
    wanted = {"license", "file_name", "coco_url", "height", "width", "date_captured"}
    assert wanted | {"flickr_url", "id"} == set(images[0])
    categories = {c["name"]: c["id"] for c in load(root, "instances_train2014")["categories"]}
    assert categories["person"] == 1
    assert categories["teddy bear"] == 88
    ids = [image for split in toy_coco.SPLITS for image in coco(root, f"captions_{split}").imgs]
    assert len(set(ids)) == sum(SIZES)


def test_scenes_agree_with_instances(root):
    instances = {a["id"]: a for a in load(root, "instances_val2014")["annotations"]}
    for record in load(root, "scenes_val2014")["scenes"]:
        assert record["setting"] in SETTINGS
        assert 1 <= len(record["things"]) <= 4
        for thing in record["things"]:
            annotation = instances.pop(10 * record["image_id"] + thing["id"])
            assert annotation["bbox"] == thing["box"]
            assert annotation["area"] > 0.85 * thing["area"]  # a polygon has no holes, thus >
            assert thing["color"] in KINDS[thing["kind"]].colors
        largest = max(record["things"], key=lambda thing: thing["area"])
        assert record["largest"] == largest["id"]
        assert sum(record["counts"].values()) == len(record["things"])
    assert not instances


def test_pairs_held_out_are_in_test_pictures_only(root):
    def pairs(split):
        things = [t for r in load(root, f"scenes_{split}")["scenes"] for t in r["things"]]
        return {(thing["kind"], thing["color"]) for thing in things}

    assert not pairs("train2014") & HELD_OUT
    assert not pairs("val2014") & HELD_OUT
    assert pairs("test2014") & HELD_OUT
    for record in load(root, "scenes_test2014")["scenes"]:
        found = [t["id"] for t in record["things"] if (t["kind"], t["color"]) in HELD_OUT]
        assert found == record["unseen"]


def test_the_same_seed_draws_the_same(root, tmp_path):
    again = toy_coco.draw(tmp_path / "toy", seed=3, sizes=SIZES, workers=2)
    files = sorted(path.relative_to(root) for path in root.rglob("*.*"))
    assert len(files) == sum(SIZES) + 10
    for file in files:
        assert (again / file).read_bytes() == (root / file).read_bytes(), file


def test_reuses_a_complete_dataset_and_completes_another(tmp_path, capsys):
    out = toy_coco.draw(tmp_path / "toy", seed=1, sizes=(3, 1, 1))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    capsys.readouterr()
    toy_coco.draw(out, seed=1, sizes=(3, 1, 1))
    assert "already" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    lost = next((out / "images" / "train2014").iterdir())
    kept = lost.read_bytes()
    lost.unlink()
    toy_coco.draw(out, seed=1, sizes=(3, 1, 1))
    assert lost.read_bytes() == kept
    toy_coco.draw(out, seed=2, sizes=(2, 1, 1))  # a smaller set leaves no old pictures
    assert len(list((out / "images" / "train2014").iterdir())) == 2


def test_an_interrupted_drawing_is_not_a_dataset(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(toy_coco, "write_annotations", stop)
    with pytest.raises(KeyboardInterrupt):
        toy_coco.draw(tmp_path / "toy", sizes=(1, 1, 1))
    monkeypatch.undo()
    assert not list((tmp_path / "toy").rglob("*.json"))
    toy_coco.draw(tmp_path / "toy", sizes=(1, 1, 1))
    assert len(load(tmp_path / "toy", "captions_train2014")["annotations"]) == 5


def test_another_dataset_is_never_overwritten(tmp_path):
    real = tmp_path / "coco" / "annotations" / "captions_train2014.json"
    real.parent.mkdir(parents=True)
    real.write_text('{"info": {"description": "COCO 2014 Dataset"}}', encoding="utf-8")
    with pytest.raises(ValueError, match="belongs to another dataset"):
        toy_coco.draw(tmp_path / "coco", sizes=(1, 1, 1))
    assert "COCO 2014" in real.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="at least 1"):
        toy_coco.draw(tmp_path / "other", sizes=(1, 0, 1))
