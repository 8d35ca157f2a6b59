"""Results of other programs: ids and names as they write them, markers left out."""

import json

import pytest

from captioning.data.coco import read_references
from captioning.data.results import index_names, read_results, strip_markers


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_results_are_matched_by_id_file_name_and_stem(tmp_path):
    names = {11: "p11.jpg", "12": "deep/p12.jpg", 13: "p13.jpg"}
    results = [
        {"image_id": "whatever", "file_name": "p13.jpg", "caption": "c"},
        {"image_id": "p12", "caption": "b"},
        {"image_id": 11, "file_name": "p13.jpg", "caption": "a"},  # the id counts first
    ]
    path = write(tmp_path / "results.json", results)
    found = read_results(path, {image: ["x"] for image in names}, names)
    assert list(found.items()) == [(11, "a"), ("12", "b"), (13, "c")], "in the references' order"


FORMS = {
    "number": 7,
    "text": "7",
    "float": 7.0,
    "float as text": "7.0",
    "COCO's digits": "000000000007",
    "file name": "Grün.jpg",
    "stem": "Grün",
    "path": "images/val/Grün.jpg",
    "Windows path": "C:\\images\\val\\Grün.jpg",
    "decomposed": "Gru\u0308n.jpg",
}


@pytest.mark.parametrize("image_id", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("official", [7, "7", 7.0])
def test_ids_as_other_programs_write_them(tmp_path, image_id, official):
    annotations = write(
        tmp_path / "captions_val.json",
        {
            "images": [{"id": official, "file_name": "Grün.jpg"}, {"id": 8, "file_name": "b.jpg"}],
            "annotations": [
                {"image_id": official, "caption": "a dog"},
                {"image_id": "8", "caption": "a cat"},
            ],
        },
    )
    references, names = read_references(annotations)
    assert references == {7: ["a dog"], 8: ["a cat"]}
    results = [{"image_id": image_id, "caption": "x"}, {"image_id": 8, "caption": "y"}]
    path = write(tmp_path / "results.json", results)
    assert read_results(path, references, names) == {7: "x", 8: "y"}


@pytest.mark.parametrize("image_id", [7.5, float("nan"), float("inf"), True, None, [7]])
def test_what_is_not_an_id_is_refused(tmp_path, image_id):
    path = write(tmp_path / "results.json", [{"image_id": image_id, "caption": "x"}])
    with pytest.raises(ValueError, match="entry 1 has no valid `image_id`"):
        read_results(path, {7: ["x"]}, {})


@pytest.mark.parametrize(
    "caption",
    [
        "a dog", "<start> a dog <end>", "<start>a dog<end>", "a dog <end> <pad> <pad>",
        "<s> a dog </s>", "<BOS> a dog <EOS>", "startseq a dog endseq", "a dog <end> a cat <end>",
    ],
)  # fmt: skip
def test_markers_are_left_out(caption):
    assert strip_markers(caption) == "a dog"


def test_words_that_look_like_markers_stay():
    assert strip_markers("a <unk> starts, he ends it") == "a <unk> starts, he ends it"


def test_results_of_other_images_are_refused_or_left_out(tmp_path):
    results = [{"image_id": 1, "caption": "a"}, {"image_id": 9, "caption": "b"}]
    path = write(tmp_path / "results.json", results)
    with pytest.raises(ValueError, match="1 caption is of photos not in the annotations"):
        read_results(path, {1: ["x"], 2: ["y"]}, {})
    assert read_results(path, {1: ["x"], 2: ["y"]}, {}, partial=True) == {1: "a"}
    for image_id in (1, "1", 1.0):
        write(path, [results[0], {"image_id": image_id, "caption": "c"}])
        with pytest.raises(ValueError, match="two captions of image 1"):
            read_results(path, {1: ["x"]}, {})


def test_a_stem_that_two_photos_share_is_not_guessed(tmp_path):
    names = {1: "one/a.jpg", 2: "two/a.jpg"}
    assert index_names(names) == {"one/a.jpg": 1, "two/a.jpg": 2}
    path = write(tmp_path / "results.json", [{"image_id": "a", "caption": "x"}])
    with pytest.raises(ValueError, match="its first image is 'a'"):
        read_results(path, {1: ["x"], 2: ["y"]}, names)
