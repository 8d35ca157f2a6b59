"""The drawn dataset: what COCO's own library makes of it, its truth, and that it never changes."""

import contextlib
import hashlib
import io
import json
import random
import re

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

import toy_coco
from captioning.toy.captions import captions
from captioning.toy.canvas import PALETTE, Canvas, fill, outlines
from captioning.toy.kinds import HELD_OUT, KINDS
from captioning.toy.scenes import scene
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
    instances, said = coco(root, f"instances_{split}"), coco(root, f"captions_{split}")
    assert len(instances.imgs) == len(said.imgs) == size
    assert all(len(said.getAnnIds(imgIds=image)) == 5 for image in said.imgs)
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


def test_the_truth_is_the_same_on_every_machine():
    """Boxes, areas and words come from whole numbers, not from a library's rasteriser."""
    drawn = [scene(0, "train2014", index)[1] for index in range(12)]
    said = [captions(record, random.Random(0)) for record in drawn]
    text = json.dumps([drawn, said]).encode()
    assert hashlib.sha256(text).hexdigest() == GOLDEN


GOLDEN = "bced85382e495b4b8f974f02a5f9cda95c1da35141b01e5bb787af45a47c258e"


def test_what_is_complete_is_reused_and_what_is_not_is_completed(tmp_path, capsys):
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
    toy_coco.draw(out, seed=2, sizes=(2, 1, 1))  # another set in its place leaves nothing behind
    assert len(list((out / "images" / "train2014").iterdir())) == 2


def test_an_interrupted_draw_is_no_dataset(tmp_path, monkeypatch):
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
    with pytest.raises(ValueError, match="not of the drawn dataset"):
        toy_coco.draw(tmp_path / "coco", sizes=(1, 1, 1))
    assert "COCO 2014" in real.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="at least 1"):
        toy_coco.draw(tmp_path / "other", sizes=(1, 0, 1))


def test_captions_are_short_varied_and_well_formed():
    said, words = [], set()
    for index in range(120):
        for caption in captions(scene(5, "words", index)[1], random.Random(index)):
            tokens = re.findall(r"[a-z]+", caption.lower())
            assert 6 <= len(tokens) <= 18, caption
            assert re.fullmatch(r"[A-Z][a-z, ]+\.", caption), caption
            assert not re.search(r"\b(\w+) \1\b|\ba [aeiou]|\ban [^aeiou]|  ", caption), caption
            words.update(tokens)
            said.append(caption)
    assert len(words) >= 120
    assert len(set(said)) >= 0.85 * len(said)


def test_every_kind_can_be_painted_in_every_pose():
    for name, kind in KINDS.items():
        for pose in ("stand", "hold", "held", "ride", "sit", "fly"):
            canvas = Canvas(160, 160)
            canvas.thing = 1
            canvas.place(80, 130, 60)
            kind.paint(canvas, PALETTE[kind.colors[0]], random.Random(0), pose)
            rows, columns = np.nonzero(canvas.ids)
            height, width = np.ptp(rows) / 60, np.ptp(columns) / 60
            assert 0.7 < height < 1.5, name
            assert width == pytest.approx(kind.width / kind.height, rel=0.6), name


def test_fill_takes_the_pixels_whose_centres_are_inside():
    ids = np.zeros((6, 8), np.uint8)
    fill(ids, np.array([(16, 16), (80, 16), (80, 64), (16, 64)]), 1)  # x 1..5, y 1..4
    assert ids.sum() == 12
    assert ids[1:4, 1:5].all()
    triangle = np.zeros((40, 40), np.uint8)
    fill(triangle, np.array([(0, 0), (640, 0), (0, 640)]), 1)
    assert triangle.sum() == 40 * 41 / 2
    fill(ids, np.array([(-500, -500), (900, -500), (200, 900)]), 2)  # beyond every edge
    assert (ids == 2).any()


def test_outlines_go_around_each_part():
    mask = np.zeros((20, 30), bool)
    mask[2:8, 3:13] = mask[12:18, 20:26] = True
    mask[4, 5] = False  # a hole is dropped
    assert len(outlines(mask)) == 2
    first = np.array(outlines(mask)[0]).reshape(-1, 2)
    assert first.min(0).tolist() == [3, 2]
    assert first.max(0).tolist() == [13, 8]
    assert outlines(np.zeros((4, 4), bool)) == []
