"""Publishers' folders in miniature -> the layout; and a check that finds what was broken."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import prepare
from captioning.data import layout
from captioning.data.annotations import annotation_files
from captioning.data.check import PROBLEMS, check
from captioning.data.coco import has_split, read_captions, read_references
from captioning.data.shards import read_data
from captioning.data.sources import split_by_name
from tests.helpers import ROOT

SHARED = ROOT / "../shared/data"


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (48, 32), mode: str = "RGB") -> None:
    """A photo that is like no other: large random patches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    patches = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(patches).resize(size, Image.Resampling.NEAREST).convert(mode).save(path)


def run(monkeypatch, capsys, *words) -> tuple[int, str, str]:
    """The command line in this process: exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["prepare.py", *map(str, words)])
    status = 0
    try:
        prepare.main()
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    if isinstance(status, str):  # Python prints it and exits with 1
        status, err = 1, err + status + "\n"
    return status, out, err


@pytest.fixture
def flickr8k(tmp_path) -> Path:
    folder = tmp_path / "publisher"
    lists = {"train": ["c.jpg", "a.jpg", "odd_1.jpg"], "dev": ["b.jpg"]}
    for split, names in lists.items():
        text = "".join(f"{name} \r\n" for name in names)
        folder.mkdir(exist_ok=True)
        (folder / f"Flickr_8k.{split}Images.txt").write_text(text, encoding="utf-8", newline="")
    for seed, name in enumerate(["a.jpg", "b.jpg", "c.jpg", "odd_1.jpg", "unlisted.jpg"]):
        draw(folder / "Flicker8k_Dataset" / name, seed)
    lines = [
        f"{name}#{k}\tA {name[0]}  dog\t number {k} .  "
        for name in ("a.jpg", "b.jpg", "c.jpg", "odd_1.jpg.1", "elsewhere.jpg")
        for k in range(5)
    ]
    (folder / "Flickr8k.token.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_flickr8k_becomes_the_layout(tmp_path, flickr8k, monkeypatch, capsys):
    out = tmp_path / "data"
    status, said, err = run(monkeypatch, capsys, "flickr8k", "--from", flickr8k, "--out", out)
    assert status == 0, err
    assert said == "train: 3 photos, 15 captions\nval: 1 photo, 5 captions\n"
    train = json.loads((out / "annotations/captions_train.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in train["images"]] == ["a.jpg", "c.jpg", "odd_1.jpg"]
    assert [image["id"] for image in train["images"]] == [1, 2, 3]
    assert {(image["width"], image["height"]) for image in train["images"]} == {(48, 32)}
    assert train["annotations"][0] == {"id": 1, "image_id": 1, "caption": "A a dog number 0 ."}
    assert not (out / "images/train/unlisted.jpg").exists()
    for name in ("a.jpg", "c.jpg"):
        original = flickr8k / "Flicker8k_Dataset" / name
        assert (out / "images/train" / name).read_bytes() == original.read_bytes()
    val = read_captions(out, "val")
    assert [len(captions) for captions in val.references().values()] == [5]
    assert COCO(out / "annotations/captions_val.json").getImgIds() == [4]
    assert not list(tmp_path.rglob("*.tmp"))


def test_preparing_again_gives_the_same_bytes(tmp_path, flickr8k, monkeypatch, capsys):
    path = tmp_path / "data/annotations/captions_train.json"
    run(monkeypatch, capsys, "flickr8k", "--from", flickr8k, "--out", tmp_path / "data")
    first = path.read_bytes()
    damaged = tmp_path / "data/images/train/a.jpg"
    damaged.write_bytes(b"half")
    run(monkeypatch, capsys, "flickr8k", "--from", flickr8k, "--out", tmp_path / "data")
    assert path.read_bytes() == first
    assert damaged.stat().st_size > 4, "what was damaged is copied again"


def test_an_interrupted_run_leaves_no_annotations(tmp_path, flickr8k, monkeypatch, capsys):
    placed = []

    def stop_at_the_third(source, target, link):
        placed.append(target)
        if len(placed) == 3:
            raise KeyboardInterrupt
        copy_or_link(source, target, link)

    copy_or_link = layout.copy_or_link
    monkeypatch.setattr(layout, "copy_or_link", stop_at_the_third)
    words = ("flickr8k", "--from", flickr8k, "--out", tmp_path / "data")
    status, _, err = run(monkeypatch, capsys, *words)
    assert status == 1
    assert "stopped" in err
    assert not (tmp_path / "data/annotations").exists()
    monkeypatch.setattr(layout, "copy_or_link", copy_or_link)
    assert run(monkeypatch, capsys, *words)[0] == 0


@pytest.mark.skipif(not hasattr(os, "link"), reason="needs hard links")
def test_link_makes_no_second_copy(tmp_path, flickr8k, monkeypatch, capsys):
    out = tmp_path / "data"
    run(monkeypatch, capsys, "flickr8k", "--from", flickr8k, "--out", out, "--link")
    assert (out / "images/val/b.jpg").samefile(flickr8k / "Flicker8k_Dataset/b.jpg")
    words = ("flickr8k", "--from", flickr8k, "--out", out, "--link")
    assert run(monkeypatch, capsys, *words)[0] == 0, "a second run leaves the links alone"


def test_missing_photos_are_refused_or_left_out(tmp_path, flickr8k, monkeypatch, capsys):
    (flickr8k / "Flicker8k_Dataset/a.jpg").unlink()
    (flickr8k / "Flicker8k_Dataset/c.jpg").write_bytes(b"")
    words = ("flickr8k", "--from", flickr8k, "--out", tmp_path / "data")
    status, _, err = run(monkeypatch, capsys, *words)
    assert status == 1
    assert err.splitlines()[-1].startswith("error: Of 4 photos, 1 is missing: ")
    assert "a.jpg" in err
    status, said, err = run(monkeypatch, capsys, *words, "--partial")
    assert status == 0
    assert "train: 1 photo" in said
    assert "left out 1 missing photo, such as: " in err
    assert "left out 1 unreadable photo, such as: " in err
    assert "c.jpg is empty (0 bytes)\n" in err


def test_an_unreadable_photo_gets_the_sentence_of_the_reader(tmp_path, monkeypatch, capsys):
    """A photo of a telephone under the name of a JPEG: its remedy is not to fetch it again."""
    for name in "abc":
        draw(tmp_path / f"photos/{name}.jpg")
    (tmp_path / "photos/b.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    words = own(tmp_path, "image,caption\na.jpg,A dog\nb.jpg,A cat\nc.jpg,A cow\n")
    status, _, err = run(monkeypatch, capsys, *words)
    assert status == 1
    assert "Of 3 photos, 1 is unreadable: " in err
    assert "b.jpg is HEIC, which cannot be read here; save it as JPEG" in err
    assert "captions.csv, line 3" in err
    status, _, err = run(monkeypatch, capsys, *words, "--partial")
    assert status == 0
    assert "save it as JPEG" in err


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("Flickr_8k.trainImages.txt", "../secret.jpg\n", "not a plain file name"),
        ("Flickr_8k.trainImages.txt", "C:\\a.jpg\n", "not a plain file name"),
        ("Flickr_8k.devImages.txt", "a.jpg\n", "a.jpg is listed twice: in train and in val"),
        ("Flickr8k.token.txt", "a.jpg#0\tA dog\nnonsense\n", "line 2: not `photo.jpg#0"),
        ("Flickr8k.token.txt", "zzz.jpg#0\tA dog\n", "No photo has a caption"),
        ("Flickr8k.token.txt", "", "No photo has a caption"),
    ],
)
def test_broken_publishers_files_are_refused(
    tmp_path, flickr8k, monkeypatch, capsys, file, text, sentence
):
    (flickr8k / file).write_text(text, encoding="utf-8")
    words = ("flickr8k", "--from", flickr8k, "--out", tmp_path / "data")
    status, _, err = run(monkeypatch, capsys, *words)
    assert status == 1
    assert sentence in err
    assert not (tmp_path / "data/annotations").exists()


def test_a_wrong_encoding_or_folder_is_refused(tmp_path, flickr8k, monkeypatch, capsys):
    words = ("--out", tmp_path / "data")
    status, _, err = run(monkeypatch, capsys, "flickr8k", "--from", tmp_path, *words)
    assert status == 1
    assert "has no Flicker8k_Dataset" in err
    good = (flickr8k / "Flickr8k.token.txt").read_bytes() + "\na.jpg#9\tÜber Häuser".encode()
    (flickr8k / "Flickr8k.token.txt").write_bytes(good + "\na.jpg#10\tcafé".encode("latin-1"))
    status, _, err = run(monkeypatch, capsys, "flickr8k", "--from", flickr8k, *words)
    assert status == 1
    assert "line 27, is not UTF-8 text" in err
    status, _, err = run(monkeypatch, capsys, "flickr8k", *words)
    assert "Give the folder of the photos with --from" in err
    status, _, err = run(monkeypatch, capsys, "folder", "--csv", tmp_path / "x.csv", *words)
    assert status == 1
    assert "Give the folder of the photos with --from FOLDER." in err
    status, _, err = run(monkeypatch, capsys, "flickr8k", "--from", tmp_path / "none", *words)
    assert status == 1
    assert "none is not a folder" in err


@pytest.mark.parametrize("lists", [False, True])
def test_flickr8k_as_kaggle_has_it(tmp_path, flickr8k, monkeypatch, capsys, lists):
    (flickr8k / "Flicker8k_Dataset").rename(flickr8k / "Images")
    rows = [f'{n}.jpg,"A ""{n}"", dog {k} ."' for n in ("a", "b", "c", "odd_1") for k in range(5)]
    (flickr8k / "captions.txt").write_text("\n".join(["image,caption", *rows]), encoding="utf-8")
    (flickr8k / "Flickr8k.token.txt").unlink()
    for path in flickr8k.glob("*Images.txt") if not lists else ():
        path.unlink()
    out = tmp_path / "data"
    status, said, err = run(monkeypatch, capsys, "flickr8k", "--from", flickr8k, "--out", out)
    assert status == 0, err
    assert ("photos are split by their names" in err) is not lists
    assert sum(int(line.split()[1]) for line in said.splitlines()) == 4
    captions = [c for split in ("train", "val") for c in read_captions(out, split).captions]
    assert 'A "b", dog 0 .' in captions
    assert check(out).fit


def karpathy_file(path: Path, entries: list[dict]) -> Path:
    for entry in entries:
        entry.setdefault("sentences", [{"raw": f"A dog {k}."} for k in range(5)])
    path.write_text(json.dumps({"images": entries}), encoding="utf-8")
    return path


def test_flickr30k_token_csv_and_karpathy(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "publisher"
    names = [f"{n}.jpg" for n in range(20)]
    for seed, name in enumerate(names):
        draw(folder / "flickr30k-images" / name, seed)
    rows = [f"{name}| {k}| A dog {k} ." for name in names for k in range(5)]
    rows[7] = rows[7].replace("| A dog", "   A dog")  # one `|` is forgotten in the real file, too
    table = "\n".join(["image_name| comment_number| comment", *rows])
    (folder / "results.csv").write_text(table, encoding="utf-8")
    words = ("flickr30k", "--from", folder, "--out")
    status, said, err = run(monkeypatch, capsys, *words, tmp_path / "one")
    assert status == 0, err
    assert sum(int(line.split()[1]) for line in said.splitlines()) == 20
    assert sum(int(line.split()[3]) for line in said.splitlines()) == 100
    assert "train:" in said
    assert "val:" in said
    splits = ["train"] * 18 + ["val", "test"]
    entries = [{"filename": n, "split": s} for n, s in zip(names, splits, strict=True)]
    path = karpathy_file(tmp_path / "dataset_flickr30k.json", entries)
    status, said, _ = run(monkeypatch, capsys, *words, tmp_path / "two", "--karpathy-json", path)
    assert said.split("\n")[:3] == [
        "train: 18 photos, 90 captions",
        "val: 1 photo, 5 captions",
        "test: 1 photo, 5 captions",
    ]
    status, _, err = run(monkeypatch, capsys, *words[:1], "--download", "--out", tmp_path / "three")
    assert status == 1
    assert "fill in the form" in err


def official_coco(folder: Path, year: str, names: dict[str, list[str]]) -> None:
    number = 0
    for split, files in names.items():
        images, annotations = [], []
        for name in files:
            number += 7
            draw(folder / f"{split}{year}" / name, number)
            images.append({"id": number, "file_name": name, "width": 48, "height": 32})
            images[-1] |= {"license": 3, "flickr_url": f"http://example.org/{number}"}
            annotations += [
                {"id": 10 * number + k, "image_id": number, "caption": f"A cat {k}\n"}
                for k in range(5)
            ]
        content = {"images": images, "annotations": annotations, "licenses": [{"id": 3}]}
        for kind in ("captions", "instances"):
            path = folder / "annotations" / f"{kind}_{split}{year}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content), encoding="utf-8")


def test_coco_keeps_ids_licenses_and_boxes(tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "publisher", tmp_path / "data"
    official_coco(folder, "2017", {"train": ["1.jpg", "2.jpg"], "val": ["3.jpg"]})
    status, said, err = run(monkeypatch, capsys, "coco", "--from", folder, "--out", out)
    assert status == 0, err
    assert said == "train2017: 2 photos, 10 captions\nval2017: 1 photo, 5 captions\n"
    content = json.loads((out / "annotations/captions_val2017.json").read_text(encoding="utf-8"))
    assert content["licenses"] == [{"id": 3}]
    image = content["images"][0]
    assert (image["id"], image["license"], image["flickr_url"]) == (21, 3, "http://example.org/21")
    assert content["annotations"][0]["caption"] == "A cat 0"
    assert len(COCO(out / "annotations/instances_train2017.json").imgs) == 2
    words = ("coco", "--from", folder, "--out", out, "--split", "2014")
    status, _, err = run(monkeypatch, capsys, *words)
    assert status == 1
    assert "captions_train2014.json" in err


@pytest.mark.parametrize("year", ["2014", "2017"])
def test_cocos_test_photos_have_no_captions(tmp_path, monkeypatch, capsys, year):
    folder, out = tmp_path / "publisher", tmp_path / "data"
    official_coco(folder, year, {"train": ["1.jpg", "2.jpg"], "val": ["3.jpg"]})
    images = [{"id": 500 + n, "file_name": f"t{n}.jpg", "license": 3} for n in range(3)]
    path = folder / f"annotations/image_info_test{year}.json"
    path.write_text(json.dumps({"images": images, "licenses": [{"id": 3}]}), encoding="utf-8")
    words = ("coco", "--from", folder, "--out", out)
    assert "test" not in run(monkeypatch, capsys, *words)[1], "the photos are not there"
    for n in range(3):
        draw(folder / f"test{year}/t{n}.jpg", 500 + n)
    status, said, err = run(monkeypatch, capsys, *words)
    assert status == 0, err
    assert f"test{year}: 3 photos, 0 captions" in said
    assert [photo.id for photo in read_captions(out, "test").photos] == [500, 501, 502]
    assert not has_split(out, "test"), "nothing to score"
    report = check(out)
    assert report.splits[f"test{year}"] == {"photos": 3, "captions": 0}
    assert report.fit
    assert not report.found.get("uncaptioned")
    (out / f"images/test{year}/t0.jpg").write_bytes((out / f"images/val{year}/3.jpg").read_bytes())
    assert len(check(out).found["leaked"]) == 1


@pytest.mark.parametrize("year", ["2014", "2017"])
def test_karpathy_split_of_coco(tmp_path, monkeypatch, capsys, year):
    folder, out = tmp_path / "publisher", tmp_path / "data"
    parts = {"train": [9], "restval": [12], "val": [40], "test": [41]}
    entries = []
    for split, numbers in parts.items():
        for number in numbers:
            place = "train" if split == "train" else "val"
            name = f"COCO_{place}2014_{number:012d}.jpg"
            entries.append({"filename": name, "filepath": f"{place}2014", "split": split})
            entries[-1]["cocoid"] = number
            where = f"{place}2014/{name}" if year == "2014" else f"train2017/{number:012d}.jpg"
            draw(folder / where, number)
    path = karpathy_file(tmp_path / "dataset_coco.json", entries)
    words = ("coco", "--from", folder, "--out", out, "--split", "karpathy")
    status, said, err = run(monkeypatch, capsys, *words, "--karpathy-json", path)
    assert status == 0, err
    assert [line.split(",")[0] for line in said.splitlines()] == [
        "train: 2 photos",
        "val: 1 photo",
        "test: 1 photo",
    ]
    assert list(read_captions(out, "test").references()) == [41]
    assert "--karpathy-json" in run(monkeypatch, capsys, *words)[2]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"filename": "../a.jpg", "split": "train"}, "not a plain file name"),
        ({"filename": "a.jpg", "split": "holiday"}, "into a split 'holiday'"),
        ({"filename": "a.jpg", "split": "train", "sentences": [{"raw": 3}]}, "no valid `raw`"),
        ({"filename": "a.jpg", "split": "train", "sentences": "A dog"}, "no valid `sentences`"),
        ({"filename": "a\ud800.jpg", "split": "train"}, "not a plain file name"),
        ({"split": "train"}, "no valid `filename`"),
        ({"filename": "a.jpg", "split": "train", "cocoid": 10**30}, "is missing"),
    ],
)
def test_hostile_karpathy_files_are_refused(tmp_path, monkeypatch, capsys, entry, sentence):
    path = karpathy_file(tmp_path / "k.json", [entry])
    words = ("coco", "--from", tmp_path, "--out", tmp_path / "data", "--split", "karpathy")
    status, _, err = run(monkeypatch, capsys, *words, "--karpathy-json", path)
    assert status == 1
    assert sentence in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def own(tmp_path: Path, table: str | bytes) -> tuple:
    path = tmp_path / "captions.csv"
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    return ("folder", "--from", tmp_path / "photos", "--csv", path, "--out", tmp_path / "data")


def test_own_folder(tmp_path, monkeypatch, capsys):
    for seed in range(30):
        draw(tmp_path / f"photos/beach/{seed}.png", seed)
    rows = [f'beach/{n}.png,"A dog, number {k}",' for n in range(30) for k in (0, 1)]
    table = "\ufeffImage,Caption,Split\r\n" + "\r\n".join([*rows, "beach\\3.png,Third,test"])
    status, said, err = run(monkeypatch, capsys, *own(tmp_path, table))
    assert status == 0, err
    assert sum(int(line.split()[1]) for line in said.splitlines()) == 30
    test = read_captions(tmp_path / "data", "test")
    assert "A dog, number 1" in test.captions
    three = next(photo for photo in test.photos if photo.path.name == "beach_3.png")
    assert test.references()[three.id] == ["A dog, number 0", "A dog, number 1", "Third"]
    train, val = (read_captions(tmp_path / "data", split) for split in ("train", "val"))
    assert len(train.photos) > len(val.photos) >= 1
    assert check(tmp_path / "data").fit


def test_split_by_name_is_stable_and_never_empty():
    names = [f"{n}.jpg" for n in range(1000)]
    split = split_by_name(names)
    counts = [list(split.values()).count(part) for part in ("train", "val", "test")]
    assert 750 < counts[0] < 850
    assert 70 < counts[1] < 130
    more = split_by_name([*names, *(f"new{n}.jpg" for n in range(500))])
    moved = [name for name in names if more[name] != split[name]]
    assert len(moved) <= 4, "new photos leave the old ones where they are"
    assert sorted(split_by_name(["a", "b"]).values()) == ["train", "val"]
    assert len(split_by_name(["a"])) == 1


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("", "must begin with a line of names"),
        ("photo,text\na.jpg,x\n", "must begin with a line of names"),
        ("image,caption\na.jpg,A dog, and a cat\n", "line 2, has too many columns"),
        ("image,caption\n../a.jpg,x\n", "not a plain file name"),
        ("image,caption\n/etc/passwd,x\n", "not a plain file name"),
        ("image,caption\nC:\\a.jpg,x\n", "not a plain file name"),
        ("image,caption\n,x\n", "not a plain file name"),
        ("image,caption,split\na.jpg,x,holiday\n", "into 'holiday'"),
        ("image,caption,split\na.jpg,x,val\na.jpg,y,train\n", "into two splits"),
        (b"image,caption\na.jpg,x\na.jpg,\xc3\xa9\xc3\xa9 \xe9\n", "line 3, is not UTF"),
        (b"image,caption\na.jpg,\0\n", "is not text"),
        (b'image,caption\na.jpg,"' + b"x" * 200_000 + b'"\n', "line 2, opens a quote"),
        ("image,caption\na.jpg,y\nnone.jpg,x\n", "none.jpg (captions.csv, line 3)"),
        ("image,caption\na.jpg,\n", "No photo has a caption"),
        ("image,caption\nb/c.jpg,x\nb_c.jpg,x\n", "and in val (captions.csv, line 2)"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path, monkeypatch, capsys, table, sentence):
    for name in ("a.jpg", "b/c.jpg", "b_c.jpg"):
        draw(tmp_path / "photos" / name)
    status, _, err = run(monkeypatch, capsys, *own(tmp_path, table))
    assert status == 1
    assert sentence in err.replace(f"{tmp_path}/", "")
    assert err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "data/annotations").exists()


ODD_NAMES = [
    "at 3.04.05\u202fPM.jpg",
    "写真\u30001.jpg",
    "👨\u200d👩.jpg",
    "Gru\u0308n.jpg",
    "é" * 100,
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_odd_names_are_prepared_checked_and_read(tmp_path, monkeypatch, capsys, encoding):
    for seed, name in enumerate(ODD_NAMES):
        draw(tmp_path / "photos" / f"{name}.png", seed)
    rows = [f"{name}.png,A dog" for name in ODD_NAMES]
    rows[3] = "Gr\u00fcn.jpg.png,A dog"  # composed, as the file's name is not
    table = "\r\n".join(["image,caption", *rows])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    status, _, err = run(monkeypatch, capsys, *own(tmp_path, table.encode(encoding)))
    assert status == 0, err
    splits = [
        read_captions(tmp_path / "data", split) for split in annotation_files(tmp_path / "data")
    ]
    photos = [photo for captions in splits for photo in captions.photos]
    assert len(photos) == len(ODD_NAMES)
    assert all(photo.path.is_file() for photo in photos)
    (tmp_path / "data/images/val" / "unlisted \u202f.txt").touch()
    assert run(monkeypatch, capsys, "check", tmp_path / "data")[0] == 0, "a terminal of ASCII"


def test_a_table_on_standard_input(tmp_path, monkeypatch, capsys):
    draw(tmp_path / "photos/a.jpg")
    data = io.BytesIO("image,caption\r\na.jpg,Ein Hund läuft\r\n".encode("utf-16"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    words = ("folder", "--from", tmp_path / "photos", "--csv", "-", "--out", tmp_path / "data")
    assert run(monkeypatch, capsys, *words)[0] == 0
    found = [s for s in ("train", "val", "test") if has_split(tmp_path / "data", s)]
    assert read_captions(tmp_path / "data", found[0]).captions == ["Ein Hund läuft"]


def test_splits_of_an_earlier_preparation_are_set_aside(tmp_path, monkeypatch, capsys):
    for seed in range(9):
        draw(tmp_path / f"photos/{seed}.png", seed)
    rows = "".join(f"{n}.png,A dog {n}\n" for n in range(9))
    assert run(monkeypatch, capsys, *own(tmp_path, "image,caption\n" + rows))[0] == 0
    annotations = tmp_path / "data/annotations"
    (annotations / "instances_val.json").write_text("{}")
    assert has_split(tmp_path / "data", "val")
    rows = rows.replace("\n", ",train\n")
    status, _, err = run(monkeypatch, capsys, *own(tmp_path, "image,caption,split\n" + rows))
    assert status == 0
    assert "captions_val.json.old" in err
    assert not has_split(tmp_path / "data", "val")
    assert [path.name for path in annotations.glob("*.json")] == ["captions_train.json"]
    assert "leaked" not in check(tmp_path / "data").found


def test_captions_without_spaces_are_noted(tmp_path, monkeypatch, capsys):
    draw(tmp_path / "photos/a.jpg")
    status, _, err = run(monkeypatch, capsys, *own(tmp_path, "image,caption\na.jpg,一只狗在跑\n"))
    assert status == 0
    assert "note: 1 caption is in a script without spaces" in err


def test_the_help_shows_what_to_type(monkeypatch, capsys):
    status, said, _ = run(monkeypatch, capsys, "--help")
    assert status == 0
    examples = [line.split() for line in said.splitlines() if line.startswith("    python")]
    assert len(examples) == 2
    for words in examples:
        monkeypatch.setattr(sys, "argv", words[1:])
        assert prepare.parse_args().command == words[2]
    for name in prepare.SOURCES:
        status, said, _ = run(monkeypatch, capsys, name, "--help")
        assert status == 0
        assert "--from FOLDER" in said
        assert "SOURCE" not in said


# --- the check


@pytest.fixture
def data(tmp_path, flickr8k, monkeypatch, capsys) -> Path:
    run(monkeypatch, capsys, "flickr8k", "--from", flickr8k, "--out", tmp_path / "data")
    return tmp_path / "data"


def test_check_of_good_data(data, monkeypatch, capsys):
    status, said, _ = run(monkeypatch, capsys, "check", data)
    assert status == 0
    assert said.splitlines() == [
        "train: 3 photos, 15 captions",
        "val: 1 photo, 5 captions",
        "fit to train on",
    ]


def reencoded(source: Path, target: Path) -> None:
    photo = Image.open(source)
    photo.resize((photo.width * 2, photo.height * 2)).save(target, quality=60)


BREAKS = {
    "missing": lambda train, val: (train / "a.jpg").unlink(),
    "empty": lambda train, val: (train / "a.jpg").write_bytes(b""),
    "broken": lambda train, val: (train / "a.jpg").write_bytes(
        (train / "a.jpg").read_bytes()[:-40]
    ),
    "leaked": lambda train, val: reencoded(train / "a.jpg", val / "b.jpg"),
}


def test_photos_saved_at_half_their_size_are_leaks(tmp_path):
    """All training photos as validation photos, under half size: none may be overlooked."""
    rng = np.random.default_rng(0)
    for name in range(20):
        patches = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        photo = Image.fromarray(patches).resize((640, 480), Image.Resampling.BICUBIC)
        for split, side in (("train", 640), ("val", 320)):
            path = tmp_path / f"images/{split}/{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo.resize((side, side * 3 // 4)).save(path, quality=85)
    for split in ("train", "val"):
        images = [{"id": name, "file_name": f"{name}.jpg"} for name in range(20)]
        captions = [{"image_id": name, "caption": "A dog"} for name in range(20)]
        path = tmp_path / f"annotations/captions_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": captions}))
    report = check(tmp_path)
    assert not report.fit
    assert sorted(report.found["leaked"]) == sorted(
        f"train/{name}.jpg = val/{name}.jpg" for name in range(20)
    )


@pytest.mark.parametrize("kind", BREAKS)
def test_check_finds_broken_photos(data, monkeypatch, capsys, tmp_path, kind):
    BREAKS[kind](data / "images/train", data / "images/val")
    path = tmp_path / "report.json"
    status, said, _ = run(monkeypatch, capsys, "check", data, "--json", path)
    assert status == 1
    assert "NOT fit to train on" in said
    report = json.loads(path.read_text(encoding="utf-8"))
    assert list(report["found"]) == [kind]
    assert "a.jpg" in report["found"][kind][0]
    assert not report["fit"]


def change(data: Path, **fields) -> None:
    path = data / "annotations/captions_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["annotations"][0] |= fields
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("empty caption", {"caption": " . "}),
        ("long caption", {"caption": "very " * 100 + "long"}),
        ("control characters", {"caption": "a dog\x07 runs"}),
        ("wrong encoding", {"caption": "a caf\u00c3\u00a9"}),
        ("wrong encoding", {"caption": "a caf\ufffd"}),
        ("unknown photo", {"image_id": 999}),
        ("bad annotations", {"caption": None}),
    ],
)
def test_check_finds_odd_captions(data, monkeypatch, capsys, kind, fields):
    change(data, **fields)
    status, said, _ = run(monkeypatch, capsys, "check", data)
    assert status == 1
    assert f"problem: 1 {' '.join(PROBLEMS[kind])}\n" in said
    assert list(check(data).found) == [kind]


VERDICTS = {
    "as it is": (lambda content: None, True),
    "ids as text": (lambda content: [i.update(id=str(i["id"])) for i in content["images"]], True),
    "ids as floats": (
        lambda c: [a.update(image_id=a["image_id"] + 0.0) for a in c["annotations"]],
        True,
    ),
    "an id twice": (lambda content: content["images"].append(content["images"][0]), False),
    "an id twice, as text": (
        lambda content: content["images"].append({"id": "1", "file_name": "more.jpg"}),
        False,
    ),
    "no captions": (lambda content: content["annotations"].clear(), False),
    "no photos": (lambda content: content["images"].clear(), False),
    "an unlisted photo": (lambda content: content["annotations"][0].update(image_id=99), False),
    "a fraction": (lambda content: content["annotations"][0].update(image_id=1.5), False),
}


@pytest.mark.parametrize(("change", "good"), VERDICTS.values(), ids=VERDICTS)
def test_check_training_and_scoring_say_the_same(data, monkeypatch, capsys, change, good):
    path = data / "annotations/captions_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")

    def accepts(function, *arguments) -> bool:
        try:
            function(*arguments)
        except ValueError as error:
            return "captions_train.json" not in str(error)
        return True

    verdicts = [
        check(data).fit,
        accepts(read_captions, data, "train"),
        accepts(read_references, path),
        run(monkeypatch, capsys, "check", data)[0] == 0,
    ]
    assert verdicts == [good] * 4


def test_check_notes_what_training_will_do_with_captions(data):
    path = data / "annotations/captions_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["annotations"] = [{"image_id": n, "caption": "一只狗"} for n in (1, 2, 3)]
    path.write_text(json.dumps(content), encoding="utf-8")
    path.with_name("captions_holdout.json").write_text(path.read_text(encoding="utf-8"))
    (data / "images/holdout").symlink_to(data / "images/train")
    found = check(data).found
    assert found["rare words"] == ["train: train with --vocab-threshold 3 or less"]
    assert len(found["unspaced"]) == 6
    assert found["other split"] == ["captions_holdout.json"]
    assert len(found["leaked"]) == 3


def test_check_notes_what_is_good_to_know(data):
    train = data / "images/train"
    draw(train / "a.jpg", 10, mode="L")
    draw(train / "c.jpg", 11, mode="CMYK")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.open(train / "odd_1.jpg")
    photo.load()
    photo.save(train / "odd_1.jpg", exif=exif)
    (train / "more.jpg").write_bytes((train / "a.jpg").read_bytes())
    report = check(data)
    assert report.fit
    assert report.found == {
        "unlisted": ["train/more.jpg"],
        "grayscale": ["train/a.jpg"],
        "CMYK": ["train/c.jpg"],
        "rotated": ["train/odd_1.jpg"],
    }
    path = data / "annotations/captions_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["images"].append({"id": 50, "file_name": "more.jpg"})
    path.write_text(json.dumps(content), encoding="utf-8")
    found = check(data).found
    assert found["uncaptioned"] == ["train/more.jpg"]
    assert found["duplicate"] == ["train/a.jpg = more.jpg"]


def test_check_refuses_names_that_leave_the_folder(data):
    path = data / "annotations/captions_val.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"b.jpg"', '"../train/a.jpg"'), encoding="utf-8")
    report = check(data)
    assert "../train/a.jpg" in report.found["bad annotations"][0]
    path.write_text("{", encoding="utf-8")
    assert "is not JSON" in check(data).found["bad annotations"][0]


def test_check_of_no_data(tmp_path, monkeypatch, capsys):
    status, _, err = run(monkeypatch, capsys, "check", tmp_path)
    assert status == 1
    assert "has no annotations/captions_<split>.json" in err


@pytest.mark.skipif(not (SHARED / "coco").exists(), reason="needs real COCO photographs")
def test_check_of_real_photographs_finds_nothing():
    report = check(SHARED / "coco")
    assert report.splits["val2017"] == {"photos": 79, "captions": 395}
    assert report.fit
    assert not report.found


def test_shards_of_a_prepared_folder(cli, data, tmp_path, capsys):
    out = tmp_path / "shards"
    assert cli(prepare.main, "shards", data, "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["train-00000.tar", "val-00000.tar"]
    assert "train: 3 photos in" in capsys.readouterr().out
    assert read_data(out / "*.tar", "val").captions == read_captions(data, "val").captions
    assert "is not a data folder" in cli(prepare.main, "shards", tmp_path / "x", "--out", out)
