"""The Colab badge and the clone cell are written from the address in pyproject.toml."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.run_notebooks import NOTEBOOKS, ROOT, repository_address, set_colab_cells

ADDRESS = "https://github.com/school/captions"


@pytest.fixture
def notebook():
    intro = new_markdown_cell("# 2. Training\n\nA captioner starts by babbling.\n\nWatch it.")
    return new_notebook(cells=[intro, new_code_cell("import torch")])


@pytest.mark.parametrize("address", [ADDRESS, f"{ADDRESS}/", f"{ADDRESS}.git"])
def test_writes_the_badge_and_the_clone_cell(notebook, address):
    set_colab_cells(notebook, "2_Training.ipynb", address)
    nbformat.validate(notebook)
    heading, badge, *rest = notebook.cells[0].source.split("\n\n")
    assert heading == "# 2. Training"
    assert badge.endswith("/github/school/captions/blob/main/2_Training.ipynb)")
    assert rest == ["A captioner starts by babbling.", "Watch it."]
    clone, code = notebook.cells[1:]
    assert f"git clone --quiet --depth 1 {ADDRESS}\n" in clone.source
    assert "%cd captions\n" in clone.source
    assert code.source == "import torch"


def test_replaces_those_of_an_older_address(notebook):
    set_colab_cells(notebook, "2_Training.ipynb", "https://github.com/old/place")
    set_colab_cells(notebook, "2_Training.ipynb", ADDRESS)
    once = nbformat.writes(notebook)
    assert "old/place" not in once
    assert once.count("Open In Colab") == once.count("git clone") == 1
    set_colab_cells(notebook, "2_Training.ipynb", ADDRESS)
    assert nbformat.writes(notebook) == once


def test_removes_both_without_an_address(notebook):
    before = nbformat.writes(notebook)
    set_colab_cells(notebook, "2_Training.ipynb", ADDRESS)
    set_colab_cells(notebook, "2_Training.ipynb", None)
    assert nbformat.writes(notebook) == before


def test_refuses_an_address_that_colab_cannot_open(notebook):
    with pytest.raises(ValueError, match=r"https://github\.com/"):
        set_colab_cells(notebook, "2_Training.ipynb", "https://example.org/school/captions")


@pytest.mark.parametrize(
    ("content", "address"),
    [
        (f'[project.urls]\nRepository = "{ADDRESS}"\n', ADDRESS),
        ('[project]\nname = "captions"\n[project.urls]\n', None),
        ("[tool.ruff]\n", None),
    ],
)
def test_reads_the_address_from_pyproject(tmp_path, content, address):
    path = tmp_path / "pyproject.toml"
    path.write_text(content, encoding="utf-8")
    assert repository_address(path) == address


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebooks_in_git_are_up_to_date(name):
    notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    before = nbformat.writes(notebook)
    set_colab_cells(notebook, f"{name}.ipynb", repository_address())
    assert nbformat.writes(notebook) == before, "run `python -m tools.run_notebooks --in-place`"
