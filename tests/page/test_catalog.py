"""The list of captioners on the page: each once, the best first, under a readable title."""

import os
from pathlib import Path

import pytest

from captioning.page.catalog import find_captioners, title


def write_pair(folder: Path, end: str = "", content: str = "", age: float = 0) -> None:
    """Write files that pass for a pair; `age` in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("encoder", "decoder"):
        path = folder / f"{part}{end}.pkl"
        path.write_text(content or str(path), encoding="utf-8")
        os.utime(path, (1e9 - age, 1e9 - age))


def test_after_the_course_each_captioner_is_listed_once_and_the_best_one_is_first(tmp_path):
    """Notebook 2 writes encoder-1.pkl to encoder-8.pkl and best/ into models/ itself."""
    models = tmp_path / "models"
    for name in ("toy-lstm", "toy-attention"):
        write_pair(models / name)
    for epoch in (1, 2, 10):
        write_pair(models, f"-{epoch}", f"epoch {epoch}")
    write_pair(models / "best", content="epoch 10")
    found = find_captioners(models)
    assert list(found) == ["toy-attention", "toy-lstm", "models"]
    assert found["models"][0] == models / "best" / "encoder.pkl"


def test_the_order_is_photographs_then_the_other_shipped_ones_then_the_newest_run(tmp_path):
    for age, name in enumerate(["zebra", "toy-lstm", "other", "photos", "toy-attention", "apple"]):
        write_pair(tmp_path / name, age=age)
    expected = ["photos", "toy-attention", "toy-lstm", "zebra", "other", "apple"]
    assert list(find_captioners(tmp_path)) == expected


def test_a_copy_is_not_listed_and_the_shipped_name_stays(tmp_path):
    for name in ("a-copy", "toy-lstm"):
        write_pair(tmp_path / name, content="the same")
    assert list(find_captioners(tmp_path)) == ["toy-lstm"]
    (tmp_path / "a-copy/decoder.pkl").write_text("of another length", encoding="utf-8")
    assert list(find_captioners(tmp_path)) == ["toy-lstm", "a-copy"], "only the encoder is the same"


def test_the_best_pair_is_found_else_the_last(tmp_path):
    write_pair(tmp_path / "a" / "best")
    write_pair(tmp_path / "a", "-3")
    for epoch in (9, 10):
        write_pair(tmp_path / "b", f"-{epoch}", age=10)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "encoder-4.pkl").touch()
    found = find_captioners(tmp_path)
    assert list(found) == ["a", "b"], "c has no decoder"
    assert found["a"][0] == tmp_path / "a" / "best" / "encoder.pkl"
    assert found["b"][1] == tmp_path / "b" / "decoder-10.pkl"
    with pytest.raises(FileNotFoundError, match=r"train\.py"):
        find_captioners(tmp_path / "c")


def test_titles_say_what_a_captioner_is(tmp_path):
    write_pair(tmp_path / "toy-lstm")
    write_pair(tmp_path / "mine" / "best", age=1)
    write_pair(tmp_path / "last", "-7", age=2)
    write_pair(tmp_path / "plain", age=3)
    found = find_captioners(tmp_path)
    assert [title(name, pair) for name, pair in found.items()] == [
        "Drawn scenes, LSTM (toy-lstm)",
        "Your training in mine, best epoch",
        "Your training in last, epoch 7",
        "Your training in plain",
    ]
