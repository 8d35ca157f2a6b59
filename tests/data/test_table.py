"""Tables of captions: any delimiter, and a mistake is refused with the number of its line."""

import pytest

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
