"""Which files of a folder are photos: by what they hold; and what is left out is said."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from captioning.data.find_photos import find_photos
from tests.helpers import ROOT


@pytest.fixture
def folder(tmp_path) -> Path:
    """Photos under many names, a folder inside, and files that are not photos."""
    photo = Image.new("RGB", (9, 9))
    for name in ("a.jpg", "b.jfif", "c.JPE", "no suffix", "inner/d.png", "inner/deep/e.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        photo.save(tmp_path / name, {".png": "PNG", ".webp": "WEBP"}.get(Path(name).suffix, "JPEG"))
    (tmp_path / "notes.txt").write_text("BM, my own notes", encoding="utf-8")
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "empty.png").touch()
    return tmp_path


TOP = ["a.jpg", "b.jfif", "c.JPE", "empty.png", "no suffix", "phone.heic"]


def test_photos_are_known_by_their_content_and_what_is_left_out_is_said(folder, capsys):
    found = find_photos([str(folder)])
    assert [path.name for path in found] == TOP  # those that cannot be read get a sentence later
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"note: left out what is not a photo: {folder / '.DS_Store'} and 3 more",
        f"note: left out folders inside {folder}: {folder / 'inner'}; name them too, "
        "or add --recursive to caption.py",
    ]


def test_recursive_finds_the_photos_of_inner_folders(folder, capsys):
    found = find_photos([str(folder)], recursive=True)
    inner = [folder / "inner/d.png", folder / "inner/deep/e.webp"]
    assert found == [*(folder / name for name in TOP), *inner]
    assert "folders" not in capsys.readouterr().err
    assert find_photos([str(folder / "**" / "*.webp")]) == inner[1:]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_recursive_follows_no_link_for_ever(folder, capsys):
    (folder / "inner/link").symlink_to(folder, target_is_directory=True)
    assert len(find_photos([str(folder)], recursive=True)) == len(TOP) + 2
    said = capsys.readouterr().err
    assert f"note: left out folders inside {folder}: {folder / 'inner/link'}\n" in said


def test_a_folder_without_photos_is_an_error(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"has no photos \(JPEG, PNG, "):
        find_photos([str(tmp_path)])


def test_photos_are_found_and_read_without_torch():
    code = "import sys, captioning.data.find_photos; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout == "False\n"
