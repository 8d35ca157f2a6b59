"""COCO's JSON is read as pycocotools reads it; broken files are refused in a sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from captioning.data.annotations import read_annotations
from captioning.data.coco import (
    CaptionSet,
    find_split,
    has_split,
    image_ids,
    read_captions,
    read_references,
)
from tests.helpers import write_data, write_split

# --- one split of a dataset ------------------------------------------------------------------


def test_read_captions_is_what_pycocotools_reads(data, capsys):
    coco = pytest.importorskip("pycocotools.coco").COCO(find_split(data, "train")[0])
    captions = read_captions(data, "train")
    assert {p.id: p.path.name for p in captions.photos} == {
        i: image["file_name"] for i, image in coco.imgs.items()
    }
    references = captions.references()
    for image_id in coco.imgs:
        anns = coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        assert references[image_id] == [a["caption"] for a in anns]


@pytest.mark.parametrize("name", ["val", "dev", "valid2014", "Validation", "eval_2017"])
def test_a_split_is_found_by_its_other_names(tmp_path, name):
    write_split(tmp_path, name, 2, first=0)
    assert has_split(tmp_path, "val")
    assert not has_split(tmp_path, "train")
    assert find_split(tmp_path, "val")[1] == tmp_path / "images" / name
    assert len(read_captions(tmp_path, "val").captions) == 6


def test_the_newest_year_is_read_and_a_split_of_another_name_is_noted(tmp_path, capsys):
    for split in ("train2014", "train2017", "train2017_small", "holdout"):
        write_split(tmp_path, split, 2, first=0)
    assert find_split(tmp_path, "train")[1].name == "train2017"
    for _ in range(2):
        read_captions(tmp_path, "train")
    note = capsys.readouterr().err
    assert "captions_holdout.json, captions_train2017_small.json, which is not read" in note
    assert note.count("\n") == 1


def test_a_photo_is_found_however_its_accents_are_stored(tmp_path):
    for stored, listed in (
        ("Gru\u0308n.jpg", "Gr\u00fcn.jpg"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
    ):
        root = write_data(tmp_path / stored)
        (root / "images/train2014/photo_000.jpg").rename(root / "images/train2014" / stored)
        annotations_of(root, named(listed))
        photo = read_captions(root, "train").photos[0]
        assert photo.path.name == stored
        path = root / "annotations/captions_train2014.json"
        assert image_ids(path, [photo.path]) == [0]


def test_a_split_is_found_with_and_without_its_year(data):
    assert find_split(data, "val") == find_split(data, "val2014")
    with pytest.raises(FileNotFoundError, match=r"captions_test\*\.json \(it has: train2014, val"):
        find_split(data, "test")


def test_first_photos_and_without_photos(data):
    captions = read_captions(data, "train")
    first = captions.head(5)
    assert first.photos == captions.photos[:5]
    assert first.captions == captions.captions[:15]
    left = captions.drop_photos({0, 3})
    assert left.photos == captions.photos  # rows keep their meaning
    assert set(left.photo_index) == set(range(12)) - {0, 3}
    assert captions.head(None) is captions
    assert len(captions.head(99).captions) == 36
    with pytest.raises(ValueError, match="num_samples"):
        captions.head(0)


def annotations_of(root, content) -> None:
    path = root / "annotations" / "captions_train2014.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


IMAGES = [{"id": 0, "file_name": "photo_000.jpg"}, {"id": 1, "file_name": "photo_001.jpg"}]
CAPTIONS = [{"image_id": 0, "caption": "a dog"}, {"image_id": 1, "caption": "a cat"}]


def named(name) -> dict:
    return {"images": [{"id": 0, "file_name": name}], "annotations": CAPTIONS[:1]}


def captioned(annotation) -> dict:
    return {"images": IMAGES, "annotations": [annotation]}


NO_LIST = "no list of entries where COCO's format expects one"


def invalid(field: str) -> str:
    return f"entry 1 has no valid `{field}`"


BROKEN = {
    "no JSON": ("{images", "is not JSON"),
    "empty": ("", "is not JSON"),
    "binary": ("\0\0", "is not text"),
    "deep": ("[" * 100_000, "is not JSON"),
    "a list": ([1, 2], "holds a JSON list"),
    "no images": ({"annotations": CAPTIONS}, NO_LIST),
    "no captions": ({"images": IMAGES, "annotations": []}, "has no captions"),
    "no annotations": ({"images": IMAGES}, NO_LIST),
    "nothing": ({"images": [], "annotations": []}, "has no captions"),
    "images null": ({"images": None, "annotations": CAPTIONS}, NO_LIST),
    "images a number": ({"images": 7, "annotations": CAPTIONS}, NO_LIST),
    "images texts": ({"images": ["a.jpg"], "annotations": []}, invalid("id")),
    "annotations null": ({"images": IMAGES, "annotations": None}, NO_LIST),
    "annotations texts": (captioned("a dog"), invalid("image_id")),
    "no file name": ({"images": [{"id": 0}], "annotations": CAPTIONS}, invalid("file_name")),
    "id a list": ({"images": [{"id": [0], "file_name": "a.jpg"}]}, invalid("id")),
    "image_id a list": (captioned({"image_id": [0], "caption": "a"}), invalid("image_id")),
    "image_id a dict": (captioned({"image_id": {}, "caption": "a"}), invalid("image_id")),
    "no image_id": (captioned({"caption": "a dog"}), invalid("image_id")),
    "unknown image_id": (captioned({"image_id": 9, "caption": "a"}), r"does not list \(image_id 9"),
    "caption null": (captioned({"image_id": 0, "caption": None}), invalid("caption")),
    "caption a list": (captioned({"image_id": 1, "caption": ["a"]}), invalid("caption")),
    "same id twice": ({"images": [IMAGES[0]] * 2, "annotations": CAPTIONS[:1]}, "the same id"),
    "missing photo": (named("none.jpg"), r"1 photo \(of 1\) that cannot be found in .*none\.jpg"),
    "up and out": (named("../../secret.jpg"), "not a plain file name"),
    "absolute": (named("/etc/passwd"), "not a plain file name"),
    "windows drive": (named("C:photo.jpg"), "not a plain file name"),
    "windows path": (named("..\\photo.jpg"), "not a plain file name"),
    "dots": (named(".."), "not a plain file name"),
    "no name": (named(""), "not a plain file name"),
    "null byte": (named("a\0.jpg"), "not a plain file name"),
    "name a number": (named(7), invalid("file_name")),
    "name a list": (named(["a.jpg"]), invalid("file_name")),
}


@pytest.fixture(scope="module")
def breakable(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("breakable"))


@pytest.mark.parametrize(("content", "cause"), BROKEN.values(), ids=BROKEN)
def test_a_broken_annotation_file_is_refused_in_one_sentence(breakable, content, cause):
    annotations_of(breakable, content)
    with pytest.raises((ValueError, FileNotFoundError), match=cause) as error:
        read_captions(breakable, "train")
    assert "captions_train2014.json" in str(error.value)
    assert "\n" not in str(error.value)
    annotations_of(breakable, {"images": IMAGES, "annotations": CAPTIONS})
    assert read_captions(breakable, "train").captions == ["a dog", "a cat"]


json_value = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | st.text(max_size=3) | st.just("photo_000.jpg"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "image_id", "file_name", "caption", "images"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@examples(deadline=None, max_examples=100, derandomize=True)
@given(images=json_value, annotations=json_value)
def test_any_json_is_read_or_refused(breakable, images, annotations):
    annotations_of(breakable, {"images": images, "annotations": annotations})
    try:
        read_captions(breakable, "train")
        sentence = "captions_train2014.json is good"
    except (ValueError, FileNotFoundError) as error:
        sentence = str(error)
    assert "captions_train2014.json" in sentence


def test_a_folder_without_data_says_how_to_get_some(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"toy_coco\.py"):
        read_captions(tmp_path / "none", "train")
    with pytest.raises(FileNotFoundError, match="it has: none"):
        read_captions(tmp_path, "train")


def test_union_keeps_photos_of_equal_ids_apart(data):
    train, val = read_captions(data, "train"), read_captions(data, "val")
    assert CaptionSet.union({"one": train}) is train
    both = CaptionSet.union({"one": train, "two": val, "three": train})
    assert len({photo.id for photo in both.photos}) == 12 + 6 + 12
    references = both.references()
    assert references["two:100"] == val.references()[100]
    assert references["one:3"] == references["three:3"] == train.references()[3]


def test_has_split(data, tmp_path):
    assert has_split(data, "train")
    assert not has_split(data, "test")
    assert not has_split(tmp_path, "train")


# --- annotations, references, ids ------------------------------------------------------------


def write(path: Path, content) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_annotations_keep_records_licenses_and_ids_of_text(tmp_path):
    images = [{"id": "x7", "file_name": "a.jpg", "width": 3}, {"id": 8, "file_name": "b.jpg"}]
    captions = [{"image_id": "x7", "caption": "a dog"}, {"image_id": "x7", "caption": " "}]
    content = {"images": images, "annotations": captions, "licenses": [{"id": 3}]}
    path = write(tmp_path / "captions_val.json", content)
    annotations = read_annotations(path)
    assert annotations.images == images
    assert annotations.licenses == [{"id": 3}]
    assert annotations.file_names() == {"x7": "a.jpg", 8: "b.jpg"}
    assert annotations.captions_by_image() == {"x7": ["a dog", " "]}
    assert read_references(path) == ({"x7": ["a dog"]}, {"x7": "a.jpg", 8: "b.jpg"})


def test_only_image_info_may_be_without_captions(tmp_path):
    assert not read_annotations(write(tmp_path / "image_info_test.json", {"images": []})).captions
    with pytest.raises(ValueError, match="no list of entries"):
        read_annotations(write(tmp_path / "captions_test.json", {"images": []}))


def test_references_that_are_broken_are_refused(tmp_path):
    for content, sentence in (
        ({"annotations": []}, NO_LIST),
        ({"images": [], "annotations": []}, "has no captions"),
        ({"images": [{"id": 1}], "annotations": []}, invalid("file_name")),
        ({"images": [], "annotations": [{"image_id": 1, "caption": None}]}, invalid("caption")),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_references(write(tmp_path / "broken.json", content))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_references(tmp_path / "nowhere.json")


def test_image_ids(data, tmp_path):
    paths = [photo.path for photo in read_captions(data, "train").photos]
    assert image_ids(None, paths[:2]) == ["photo_000", "photo_001"]
    annotations = str(data / "annotations/captions_train2014.json")
    assert image_ids(annotations, paths[1:3]) == [1, 2]
    with pytest.raises(ValueError, match=r"does not list other\.jpg \(1 of 2 photos"):
        image_ids(annotations, [paths[0], tmp_path / "other.jpg"])
    for content in ("{}", '{"images": 7}', '{"images": [7]}', '{"images": [{}]}', "[]", "{"):
        (tmp_path / "broken.json").write_text(content)
        with pytest.raises(ValueError, match=r"broken\.json"):
            image_ids(str(tmp_path / "broken.json"), paths)


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["x/one/a.jpg", "x/two/a.jpg", "y/b.jpg"], ["one/a", "two/a", "b"]),
        (["x/a.jpg", "x/two/a.jpg", "x/two/b.jpg"], ["a", "two/a", "b"]),
        (["x/a.jpg", "x/a.png", "x/two/a.png"], ["a.jpg", "a.png", "two/a"]),
        (["x/a.jpg", "./x/a.jpg", "x/b.c.jpg"], ["a", "a", "b.c"]),
    ],
)
def test_photos_of_one_stem_get_ids_that_differ(tmp_path, monkeypatch, paths, ids):
    monkeypatch.chdir(tmp_path)
    assert image_ids(None, [Path(path) for path in paths]) == ids
    assert image_ids(None, [tmp_path / path for path in paths]) == ids


def test_two_photos_of_one_name_are_not_given_one_official_id(data):
    annotations = data / "annotations/captions_train2014.json"
    photo = read_captions(data, "train").photos[0].path
    assert image_ids(annotations, [photo, photo]) == [0, 0]
    with pytest.raises(ValueError, match=r"lists photo_000\.jpg once, but both .*copy/photo_000"):
        image_ids(annotations, [photo, photo.parent / "copy" / photo.name])
