"""Tables of captions: any delimiter, and a mistake is refused with the number of its line."""

import pytest

from captioning.data.names import find_file, flat_name, is_plain_name, names_in, relative_name
from captioning.data.table import Row, read_table


def table(tmp_path, text: str) -> dict[str, Row]:
    path = tmp_path / "captions.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return read_table(path, tmp_path)


def test_columns_in_any_order_and_with_any_delimiter(tmp_path):
    for delimiter in ",;\t|":
        rows = [["caption", "more", "Image "], ['"A dog"', "x", "a.jpg"], ["A cat", "", "b/c.jpg"]]
        found = table(tmp_path, "\r\n".join(delimiter.join(row) for row in rows))
        assert {name: row.captions for name, row in found.items()} == {
            "a.jpg": ["A dog"],
            "b/c.jpg": ["A cat"],
        }


def test_blank_lines_and_the_line_of_spreadsheets_are_left_out(tmp_path):
    text = 'sep=;\n\nimage;caption;split\n;;\na.jpg; "A dog; a cat";dev\n\na.jpg;Another\n'
    row = table(tmp_path, text)["a.jpg"]
    assert row.captions == ["A dog; a cat", "Another"]
    assert row.split == "val"
    assert row.origin.endswith("captions.csv, line 5")


def test_a_caption_may_have_two_lines_and_quotes(tmp_path):
    text = 'image,caption\na.jpg,"A sign\nsays ""stop"", it is red"\nb.jpg,A dog 5" tall\n'
    rows = table(tmp_path, text)
    assert rows["a.jpg"].captions == ['A sign\nsays "stop", it is red']
    assert rows["b.jpg"].captions == ['A dog 5" tall']
    assert rows["b.jpg"].origin.endswith("line 4")


MISTAKES = {
    "open to the end": (
        'image,caption\na.jpg,A dog\nb.jpg,"A cat\nc.jpg,A cow\n',
        "line 3, opens a quote that is never closed",
    ),
    "closed three rows later": (
        'image,caption\na.jpg,"A dog\nb.jpg,A cat\nc.jpg,A cow"\n',
        "line 2, opens a quote that is closed in line 4, after other rows",
    ),
    "closed later, image last": (
        'caption,image\n"A dog,a.jpg\nA cat,b.jpg\nA cow",c.jpg\n',
        "line 2, opens a quote that is closed in line 4",
    ),
    "a very long field": (
        'image,caption\na.jpg,A dog\nb.jpg,"' + "A cat\n" * 30_000,
        "line 3, opens a quote that is never closed",
    ),
    "after a quote": ('image,caption\na.jpg,"A dog" runs\n', "line 2, is not CSV"),
    "too many columns": ("image,caption\na.jpg,A dog, a cat\n", "line 2, has too many columns"),
    "a column twice": ("image,caption,caption\na.jpg,x,y\n", "names two columns 'caption'"),
    "no heading": ("a.jpg,A dog\n", "must begin with a line of names"),
    "nothing": ("\n", "must begin with a line of names"),
    "up and out": ("image,caption\na.jpg,x\n../b.jpg,x\n", r"line 3, names a photo '\.\./b\.jpg'"),
    "absolute": ("image,caption\n/etc/passwd,x\n", "line 2, names a photo '/etc/passwd'"),
    "drive": ("image,caption\nD:\\photos\\a.jpg,x\n", r"line 2, names a photo 'D:\\\\photos"),
    "control character": ("image,caption\na\x07.jpg,x\n", r"line 2, names a photo 'a\\x07\.jpg'"),
    "no name": ("image,caption\n,x\n", "line 2, names a photo ''"),
    "a split": ("image,caption,split\na.jpg,x,holiday\n", "line 2, puts a.jpg into 'holiday'"),
    "two splits": (
        "image,caption,split\na.jpg,x,val\na.jpg,y,\na.jpg,y,train\n",
        "line 4, puts a.jpg into two splits",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_mistake_is_refused_with_its_line(tmp_path, text, sentence, line_end):
    with pytest.raises(ValueError, match=sentence) as error:
        table(tmp_path, text.replace("\n", line_end))
    assert "captions.csv" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(tmp_path))


# --- names -----------------------------------------------------------------------------------


def test_paths_inside_the_folder_are_names_with_the_slashes_of_any_system(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    (photos / "beach").mkdir(parents=True)
    inside = [
        "beach/a.jpg", "beach\\a.jpg", "./beach/a.jpg", " beach/a.jpg ",
        str(photos / "beach/a.jpg"), str(photos / "beach/a.jpg").replace("/", "\\"),
    ]  # fmt: skip
    assert {relative_name(path, photos) for path in inside} == {"beach/a.jpg"}
    monkeypatch.chdir(tmp_path)
    relative = photos.relative_to(tmp_path)
    assert relative_name("photos/beach/a.jpg", relative) == "beach/a.jpg"
    (photos / "photos").mkdir()
    (photos / "photos" / "a.jpg").touch()
    assert relative_name("photos/a.jpg", relative) == "photos/a.jpg", "there is such a photo"
    for path in (
        "../a.jpg",
        "beach/../a.jpg",
        str(tmp_path / "a.jpg"),
        "//server/a.jpg",
        "a" * 70_000 + "/",
    ):
        with pytest.raises(ValueError, match="not a plain file name or a path inside"):
            relative_name(path, photos)


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "at 3.04.05\u202fPM.jpg", "写真\u30001.jpg", "👨\u200d👩.jpg", "Gru\u0308n.jpg"],
)
def test_names_that_people_have_are_plain(name):
    assert is_plain_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "C:a", "a\nb", "a\0b", "a\ud800"])
def test_names_that_could_do_harm_are_not(name):
    assert not is_plain_name(name)


def test_a_file_is_found_however_its_accents_are_stored(tmp_path):
    folder = tmp_path / "Bu\u0308ro"
    folder.mkdir()
    (folder / "Gru\u0308n.jpg").touch()
    (folder / "caf\u00e9.jpg").touch()
    for name in (
        "B\u00fcro/Gr\u00fcn.jpg",
        "Bu\u0308ro/Gru\u0308n.jpg",
        "B\u00fcro/cafe\u0301.jpg",
    ):
        assert find_file(tmp_path, name, names_in).is_file()
    missing = find_file(tmp_path, "B\u00fcro/none.jpg", names_in)
    assert not missing.exists()


def test_flat_names_are_composed_short_and_different():
    assert flat_name("beach/Gru\u0308n.jpg") == "beach_Gr\u00fcn.jpg"
    long = [flat_name("写" * 100 + f"{n}.jpeg") for n in range(3)]
    assert len(set(long)) == 3
    assert all(len(name.encode()) <= 180 and name.endswith(".jpeg") for name in long)
