"""The Space holds what the page needs: it captions a picture away from the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tools.make_space import NEEDED, README, ROOT, make_space


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("space")
    make_space(folder)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_returns_the_files_it_has_written(tmp_path):
    files = make_space(tmp_path)
    assert sorted(files) == sorted(
        path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()
    )
    assert Path("gradio_main.py") in files
    assert Path("models/toy-lstm/decoder.pkl") in files


def test_the_front_matter_names_the_app(space):
    lines = README.split("---\n")[1].splitlines()
    front_matter = dict(line.split(": ", 1) for line in lines)
    assert front_matter["sdk"] == "gradio"
    assert (space / front_matter["app_file"]).is_file()


def test_the_repository_s_own_readme_has_no_front_matter():
    assert (ROOT / "README.md").read_text(encoding="utf-8").startswith("# ")


def test_captions_a_picture_without_the_repository(space, tmp_path):
    Image.new("RGB", (256, 256), "skyblue").save(tmp_path / "sky.png")
    pair = {part: f"models/toy-lstm/{part}.pkl" for part in ("encoder", "decoder")}
    flags = [word for part, file in pair.items() for word in (f"--{part}-file", file)]
    done = run(space, "caption.py", str(tmp_path / "sky.png"), *flags)
    assert done.returncode == 0, done.stderr
    name, caption = done.stdout.strip().split("\t")
    assert name == "sky.png"
    assert len(caption.split()) > 2


def test_the_page_s_program_starts(space):
    pytest.importorskip("gradio", reason="needs requirements-extra.txt")
    done = run(space, "gradio_main.py", "--help")
    assert done.returncode == 0, done.stderr


def test_a_second_run_replaces_the_first_but_keeps_git(tmp_path):
    make_space(tmp_path)
    (tmp_path / "captioning" / "removed_long_ago.py").touch()
    (tmp_path / ".git").mkdir()
    make_space(tmp_path)
    assert not (tmp_path / "captioning" / "removed_long_ago.py").exists()
    assert (tmp_path / ".git").is_dir()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="Choose another folder with --out"):
        make_space(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_container_gets_the_same_files():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line[1:] for line in lines if line.startswith("!")] == list(NEEDED)
