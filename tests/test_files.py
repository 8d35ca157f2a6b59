"""Files and errors: written whole or not at all, and every error one readable sentence."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from captioning.files import (
    atomic_write,
    cli_errors,
    exclusive,
    read_json,
    read_json_list,
    readable_write_errors,
    remove_partial_files,
    short_message,
)

# --- writing ---------------------------------------------------------------------------------


def test_atomic_write_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "file.txt"
    with atomic_write(path, "w") as file:
        file.write("old")

    def write_half(file) -> None:
        file.write("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), atomic_write(path, "w") as file:
        write_half(file)
    assert path.read_text(encoding="utf-8") == "old"
    with atomic_write(path, "w") as file:
        file.write("new")
        assert path.read_text(encoding="utf-8") == "old"  # until the block ends
    assert path.read_text(encoding="utf-8") == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_partial_files_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "best").mkdir()
    kept = [tmp_path / name for name in ("encoder-1.pkl", ".hidden", "best/encoder.pkl")]
    partial = [tmp_path / name for name in (".encoder-1.pkl.99.tmp", "best/.encoder.pkl.99.tmp")]
    for path in kept + partial:
        path.touch()
    remove_partial_files(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in partial)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (
            RuntimeError("[enforce fail]\n  StreamWriter failed"),
            "[enforce fail] StreamWriter failed",
        ),
    ],
)
def test_a_full_disk_is_one_sentence_that_says_what_to_do(error, reason):
    with (
        pytest.raises(OSError, match="could not be written") as caught,
        readable_write_errors("models/decoder.pkl"),
    ):
        raise error
    message = str(caught.value)
    assert message.startswith("models/decoder.pkl could not be written (")
    assert reason in message
    assert "free some space" in message
    assert "\n" not in message


# --- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "good", "other", "kind"),
    [(read_json, "{}", "[]", "list, not a dict"), (read_json_list, "[]", "{}", "dict, not a list")],
)
def test_json_is_an_object_or_a_list_as_asked(tmp_path, read, good, other, kind):
    path = tmp_path / "file.json"
    path.write_text(good, encoding="utf-8")
    assert not read(path)
    path.write_text(other, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"file\.json holds a JSON {kind}"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"NaN,", b"[" * 100_000])
@pytest.mark.parametrize("read", [read_json, read_json_list])
def test_a_file_that_is_not_json_is_named_in_one_sentence(tmp_path, read, content):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.json is not JSON .*write it again") as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_json, read_json_list])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"none\.json is missing"):
        read(tmp_path / "none.json")


def test_json_of_another_encoding_is_read_with_a_note(tmp_path, capsys):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "file.json").write_bytes('["ein café, drei Kühe"]'.encode(encoding))
        assert read_json_list(tmp_path / "file.json") == ["ein café, drei Kühe"]
        assert ("is not UTF-8" in capsys.readouterr().err) == (encoding == "cp1252")


def test_a_name_that_is_not_text_survives_writing_and_reading(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    with atomic_write(tmp_path / "file.json", "w") as file:
        json.dump([name], file, ensure_ascii=False)
    assert read_json_list(tmp_path / "file.json") == [name]


# --- one process at a time -------------------------------------------------------------------


def test_a_second_process_is_refused_or_waits(tmp_path, lines_printed):
    lock = tmp_path / "folder" / ".lock"
    entered = []

    def enter() -> None:
        with exclusive(lock, waiting="waiting for the other"):
            entered.append("second")

    with ThreadPoolExecutor(1) as pool:
        with exclusive(lock):
            with pytest.raises(ValueError, match="busy"), exclusive(lock, refusal="busy"):
                pass
            second = pool.submit(enter)
            assert lines_printed.get(timeout=60) == "waiting for the other"
            assert not second.done()
            entered.append("first")
        second.result()
    assert entered == ["first", "second"]


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("too bad"), FileNotFoundError("too bad")])
def test_cli_errors_turns_a_users_mistake_into_a_sentence(error):
    with pytest.raises(SystemExit, match=r"^error: too bad$"), cli_errors():
        raise error


def test_cli_errors_does_not_hide_a_bug():
    with pytest.raises(KeyError), cli_errors():
        raise KeyError("a bug")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")],
)
def test_a_lack_of_memory_is_a_sentence(error):
    with pytest.raises(SystemExit, match="error: there is not enough memory"), cli_errors():
        raise error


def test_an_interrupt_ends_without_a_traceback():
    with pytest.raises(SystemExit, match="what was saved so far is kept"), cli_errors():
        raise KeyboardInterrupt


def test_short_message_is_one_line_of_limited_length():
    assert short_message(ValueError("two\n  lines")) == "two lines"
    assert len(short_message(ValueError("x" * 500))) == 120
    assert short_message(KeyError()) == "KeyError"
