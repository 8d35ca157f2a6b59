"""Text is read whoever wrote it: encodings, line ends, standard input, spellings of a word."""

import io
import os
import sys

import pytest

from captioning.files import read_json, read_json_list
from captioning.scripts import is_unspaced, join_unspaced, nfc, plain_marks
from captioning.text import plural, read_paths, read_text, text_lines
from vocabulary import tokenize

CAPTIONS = {
    "cp1252": ["Ein großer Hund läuft über die grüne Wiese", "Zwei Mädchen spielen Fußball"],
    "cp1250": ["Mały chłopiec biegnie przez łąkę", "Dwie dziewczęta jedzą żółte jabłka"],
    "cp1251": ["Коричневая собака бежит по траве", "Мужчина едет на велосипеде по улице"],
    "gb18030": ["一只棕色的狗在草地上奔跑", "一个男人骑着自行车经过街道"],
    "shift_jis": ["茶色の犬が芝生の上を走っている", "男性が自転車に乗って通りを走る"],
}
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
TEXT = "image,caption\na.jpg,Un chien brun court sur l'herbe, près de l'eau\nb.jpg,犬が走る\n"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", UNICODE)
def test_unicode_is_read_with_and_without_a_mark(tmp_path, capsys, encoding, line_end):
    path = tmp_path / "captions.csv"
    path.write_bytes(TEXT.replace("\n", line_end).encode(encoding))
    assert read_text(path) == TEXT
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("encoding", CAPTIONS)
def test_a_code_page_is_guessed_with_a_note(tmp_path, capsys, encoding):
    english = [f"photo_{i}.jpg,A dog runs on the grass" for i in range(50)]
    foreign = [f"photo_{i}.jpg,{caption}" for i, caption in enumerate(CAPTIONS[encoding])]
    text = "\n".join(["image,caption", *english, *foreign])
    path = tmp_path / "captions.csv"
    path.write_bytes(text.encode(encoding))
    assert read_text(path) == text
    note = capsys.readouterr().err
    assert note.startswith(f"note: {path} is not UTF-8; read as ")
    assert note.count("\n") == 1


def test_a_few_wrong_bytes_in_utf_8_are_refused_with_their_line(tmp_path):
    path = tmp_path / "captions.csv"
    good = "image,caption\n" + "a.jpg,Ein großer Hund läuft über die grüne Wiese\n" * 5
    path.write_bytes(good.encode() + "b.jpg,ein Häuschen\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"captions\.csv, line 7, is not UTF-8 text"):
        read_text(path)
    path.write_bytes(good.encode("utf-16")[:-1])
    with pytest.raises(ValueError, match="is not UTF-16 text"):
        read_text(path)


@pytest.mark.parametrize("data", [b"\0\0", b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1"])
def test_what_is_not_text_is_refused(tmp_path, data):
    (tmp_path / "photo.csv").write_bytes(data)
    with pytest.raises(ValueError, match=r"photo\.csv is not text"):
        read_text(tmp_path / "photo.csv")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv is missing"):
        read_text(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        read_text(tmp_path)


def test_lines_are_numbered_and_end_at_line_ends_only(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a.jpg \n\n b\u2028c.jpg\x85\r\nd.jpg", encoding="utf-8", newline="")
    assert list(text_lines(path)) == [(1, "a.jpg"), (3, "b\u2028c.jpg"), (4, "d.jpg")]


@pytest.mark.parametrize("encoding", [*UNICODE, "cp1252"])
def test_json_in_any_encoding(tmp_path, encoding):
    path = tmp_path / "results.json"
    path.write_bytes('{"caption": "ein Hund läuft über die Straße"}'.encode(encoding))
    assert read_json(path) == {"caption": "ein Hund läuft über die Straße"}
    path.write_bytes('["Zwei Hunde laufen über die Straße"]'.encode(encoding))
    assert read_json_list(path) == ["Zwei Hunde laufen über die Straße"]


def give_stdin(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_standard_input_is_read_as_a_file_is(monkeypatch, encoding):
    give_stdin(monkeypatch, "Grünes Auto.jpg\r\n".encode(encoding))
    assert read_text("-") == "Grünes Auto.jpg\n"
    give_stdin(monkeypatch, "\r\nGrünes Auto.jpg\r\nb.jpg".encode(encoding))
    assert read_paths("-") == ["Grünes Auto.jpg", "b.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_a_list_may_name_files_whose_names_are_not_text(tmp_path, monkeypatch):
    names = [b"caf\xe9.jpg", "Grün.jpg".encode()]
    for name in names:
        open(os.path.join(os.fsencode(tmp_path), name), "wb").close()
    monkeypatch.chdir(tmp_path)
    give_stdin(monkeypatch, b"\n".join(names))
    assert [os.path.exists(name) for name in read_paths("-")] == [True, True]


# --- one spelling of a word ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("The dog\u2019s ball", "The dog's ball"),
        ("It doesn\u02bct move", "It doesn't move"),
        ("l\u2019homme", "l'homme"),
        ("\u201cStop\u201d sign", "Stop sign"),
        ("a dog\u2026 and a cat", "a dog and a cat"),
        ("dog\u2013cat", "dog cat"),
        ("t\u2011shirt", "t-shirt"),
        ("foot\u00adball", "football"),
        ("a\u00a0dog\u202fand\u3000cat", "a dog and cat"),
        ("\u00bfqu\u00e9 hace? \u00a1corre!", "qu\u00e9 hace corre"),
        ("कुत्ता है।", "कुत्ता है"),
        ("\u00cele", "i\u0302le"),
    ],
)  # fmt: skip
def test_a_word_is_one_word_however_it_is_typed(one, other):
    assert tokenize(one) == tokenize(other)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("一只狗，跑！", "一|只|狗|跑"),
        ("犬がボールで遊ぶ。", "犬|が|ボ|ー|ル|で|遊|ぶ"),
        ("สุนัขวิ่ง", "สุ|นั|ข|วิ่|ง"),
        ("一只 dog在跑", "一|只|dog|在|跑"),
        ("한국어는 띄어쓰기가 있다", "한국어는|띄어쓰기가|있다"),
    ],
)
def test_scripts_without_spaces_are_split_into_characters(text, words):
    assert tokenize(text) == words.split("|")
    assert is_unspaced(text) is (text[0] != "한")


def test_characters_are_joined_again_and_other_words_are_not():
    assert join_unspaced("一 只 dog 在 跑") == "一只 dog 在跑"
    assert join_unspaced("a dog runs") == "a dog runs"
    assert not is_unspaced("Кошка на дороге")
    assert plain_marks("a dog") == "a dog"
    assert nfc("e\u0301") == "\u00e9"


def test_counts_agree_with_their_nouns():
    assert [plural(n, "photo") for n in (0, 1, 2, 6000)] == [
        "0 photos",
        "1 photo",
        "2 photos",
        "6,000 photos",
    ]
    assert plural(1, "caption is", "captions are") == "1 caption is"
    assert plural(3, "caption is", "captions are") == "3 captions are"
