"""The four notebooks run in order on a small dataset, and are as short as the course wants them.

The notebooks in the repository are only read. They run in a scratch folder, a copy of what the
course ships, with 60 drawn training pictures.

A notebook's measures leave its exercises out: cells tagged exercise, answer-N, check-N, solution-N
or question. `python -m tests.notebooks.test_notebooks` prints them.
"""

import ast
import re
import shutil
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

import toy_coco
from tests.helpers import ROOT
from tools.run_notebooks import BADGE, IN_COLAB, NOTEBOOKS, execute, repository_address, save

OURS = {"vocabulary", "data_loader", "model", "train", "caption", "metrics", "toy_coco"}
MOST_OF_PACKAGE = 3  # modules of captioning/ that one notebook may import
OTHERS = {
    "numpy", "torch", "torchvision", "matplotlib", "PIL", "cv2", "nltk", "pycocotools", "tqdm",
    "ipywidgets",
}  # fmt: skip
FIRST_PARAMETERS = {"data": "data/toy", "weights": "models/resnet50_toy.pth"}
SMALL_RUN = {"data": "data/tiny", "num_samples": 40, "num_epochs": 1}  # parameters for the test
EXERCISE = re.compile(r"(exercise|question|(answer|check|solution)-\d+)$")
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|home|root|tmp|Users|usr|opt)/\w|[A-Z]:\\\\?\w")
MOST_BYTES = 1_000_000


@dataclass
class Measures:
    cells: int
    code_lines: list[int]  # of each code cell
    words: int  # of prose
    bites: list[int]  # words of each paragraph of prose
    figures: int
    size: int  # bytes on disk

    def __str__(self) -> str:
        lines = sorted(self.code_lines)
        return (
            f"{self.cells} cells, code lines: median {statistics.median(lines):g}, "
            f"90 % under {quantile(lines, 0.9) + 1}, longest {lines[-1]}; {self.words} words, "
            f"{statistics.median(self.bites):g} a paragraph; a figure every "
            f"{self.cells / max(self.figures, 1):.1f} cells; {self.size / 1e6:.2f} MB"
        )


def quantile(numbers: list[int], fraction: float) -> int:
    """Return the number that `fraction` of `numbers` do not exceed."""
    return sorted(numbers)[min(int(fraction * len(numbers)), len(numbers) - 1)]


def path_of(name: str) -> Path:
    return ROOT / f"{name}.ipynb"


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def is_exercise(cell: nbformat.NotebookNode) -> bool:
    return any(EXERCISE.match(tag) for tag in tags(cell))


def code_of(cell: nbformat.NotebookNode) -> str:
    """Return the Python of a cell, without lines for IPython (`%config ...`, `!git ...`)."""
    lines = cell.source.splitlines()
    return "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)


def paragraphs(text: str) -> Iterator[str]:
    """Yield the prose of a Markdown cell, without headings, lists, pictures, badges and tags."""
    text = re.sub(r"<img[^>]*>|<a id=[^>]*></a>|\[!\[.*", "", text)
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for part in re.split(r"\n\s*\n", text):
        lines = [
            line for line in part.splitlines() if not re.match(r"\s*(#|[-*] |\d+\. |\|)", line)
        ]
        prose = re.sub(r"\]\([^)]*\)", "]", " ".join(lines)).strip()
        if prose:
            yield prose


def measure(path: Path) -> Measures:
    cells = [c for c in nbformat.read(path, as_version=4).cells if not is_exercise(c)]
    code = [cell for cell in cells if cell.cell_type == "code"]
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    bites = [len(paragraph.split()) for text in prose for paragraph in paragraphs(text)]
    drawn = sum(
        any(kind.startswith("image/") for kind in output.get("data", {}))
        for cell in code
        for output in cell.outputs
    )
    return Measures(
        cells=len(cells),
        code_lines=[len([x for x in cell.source.splitlines() if x.strip()]) for cell in code],
        words=sum(len(re.findall(r"\w[\w'-]*", text)) for text in map(plain, prose)),
        bites=bites,
        figures=drawn + sum(text.count("<img") for text in prose),
        size=path.stat().st_size,
    )


def plain(text: str) -> str:
    """Return the visible text, without addresses, alt texts and tags."""
    return re.sub(r"<[^>]*>|\]\([^)]*\)|\[!\[.*", " ", text)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    """Copy what a notebook needs to a folder, with a dataset of 60 pictures in data/tiny."""
    folder = tmp_path_factory.mktemp("course")
    copy_course(folder)
    return folder


def copy_course(folder: Path) -> None:
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.ipynb")]:
        shutil.copy(path, folder)
    for name in ("captioning", "recipes", "tools", "docs", "benchmarks", "images"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shipped = [ROOT / "models" / "resnet50_toy.pth"]
    shipped += [*ROOT.glob("models/toy-*/*coder.pkl"), *ROOT.glob("models/photos/*coder.pkl")]
    for path in shipped:
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    toy_coco.draw(folder / "data" / "tiny", seed=0, sizes=(60, 20, 20))


def parameters_of(notebook: nbformat.NotebookNode) -> dict[str, ast.expr]:
    """Return the assignments of the cell tagged `parameters`, in order."""
    (cell,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    return {
        node.targets[0].id: node.value
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Assign)
    }


def smaller(name: str) -> str:
    """Return Python that makes a notebook's parameters small enough for a test."""
    names = parameters_of(nbformat.read(path_of(name), as_version=4))
    return "\n".join(f"{name} = {value!r}" for name, value in SMALL_RUN.items() if name in names)


def imported(source: str) -> set[str]:
    """Return the names of all modules that Python source imports, none of them with a star."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not [alias for alias in node.names if alias.name == "*"]
            modules.add(node.module)
    return modules


def test_the_notebooks_run_in_order(scratch):
    before = {path.name: path.read_bytes() for path in ROOT.glob("*.ipynb")}
    for name in NOTEBOOKS:
        path = scratch / f"{name}.ipynb"
        executed = execute(path, smaller(name), folder=scratch)
        code = [cell for cell in executed.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        save(executed, scratch / "executed" / f"{name}.ipynb")
    assert before == {path.name: path.read_bytes() for path in ROOT.glob("*.ipynb")}


@pytest.mark.parametrize("name", NOTEBOOKS)
class TestNotebook:
    def test_is_short_and_even(self, name):
        m = measure(path_of(name))
        print(f"\n{name}: {m}")
        assert 45 <= m.cells <= 80
        assert 3 <= statistics.median(m.code_lines) <= 5.5
        assert quantile(m.code_lines, 0.9) <= 12
        assert max(m.code_lines) <= 25
        assert 1500 <= m.words <= 2500
        assert 20 <= statistics.median(m.bites) <= 50
        assert max(m.bites) <= 75
        assert 4 <= m.cells / m.figures <= 12
        assert m.size <= MOST_BYTES

    def test_every_code_cell_fits_a_screen(self, name):
        code = [
            c for c in nbformat.read(path_of(name), as_version=4).cells if c.cell_type == "code"
        ]
        longest = max(code, key=lambda cell: len(cell.source.splitlines()))
        assert len(longest.source.splitlines()) <= 25, longest.id  # blank lines and exercises count

    def test_was_run_once_in_order_without_an_error(self, name):
        cells = nbformat.read(path_of(name), as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        outputs = [output for cell in code for output in cell.outputs]
        assert not [output for output in outputs if output.output_type == "error"]
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        assert not [kind for kind in kinds if "widget" in kind]

    def test_names_no_place_on_a_machine(self, name):
        for cell in nbformat.read(path_of(name), as_version=4).cells:
            texts = [cell.source]
            for output in cell.get("outputs", []):
                texts.append(output.get("text", ""))
                data = output.get("data", {})
                texts += [data[kind] for kind in data if kind.startswith("text/")]
            for text in texts:
                found = MACHINE_PATH.search(text)
                assert not found, f"cell {cell.id} says {found[0]}"

    def test_imports_what_the_course_allows(self, name):
        of_package = set()
        for cell in nbformat.read(path_of(name), as_version=4).cells:
            if cell.cell_type != "code":
                continue
            modules = imported(code_of(cell))
            ours = {module for module in modules if module.split(".")[0] == "captioning"}
            of_package |= ours
            tops = {module.split(".")[0] for module in modules - ours}
            assert tops <= OURS | OTHERS | sys.stdlib_module_names, cell.source
        assert len(of_package) <= MOST_OF_PACKAGE, sorted(of_package)

    def test_has_the_spine_of_all_notebooks(self, name):
        cells = nbformat.read(path_of(name), as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert cells[0].source.startswith(f"# {name[0]}. ")
        for heading in ("What you will be able to do", "Run time", "You can now", "Try it"):
            assert heading in text, f"{heading!r} is missing"

    def test_opens_in_colab_where_pyproject_has_an_address(self, name):
        cells = nbformat.read(path_of(name), as_version=4).cells
        if address := repository_address():
            repository = address.removesuffix("/").removesuffix(".git")
            assert BADGE in cells[0].source
            assert repository.removeprefix("https://github.com/") in cells[0].source
            assert IN_COLAB in cells[1].source
            assert f"git clone --quiet --depth 1 {repository}\n" in cells[1].source
        else:
            text = "\n".join(cell.source for cell in cells)
            assert not re.search(r"colab|git clone", text)

    def test_begins_its_parameters_like_all_notebooks(self, name):
        found = parameters_of(nbformat.read(path_of(name), as_version=4))
        first = {key: ast.literal_eval(found[key]) for key in list(found)[:2]}
        assert first == FIRST_PARAMETERS

    def test_links_lead_somewhere(self, name):
        text = path_of(name).read_text(encoding="utf-8")
        anchors = set(re.findall(r'<a id=\\"([\w-]+)\\">', text))
        assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors
        for target in re.findall(r"\]\((\w[\w/.-]*\.(?:ipynb|md|py))\)", text):
            assert (ROOT / target).exists(), f"{target} is not here"
        for source in re.findall(r'<img src=\\"([^"\\]+)\\"', text):
            assert (ROOT / source).exists(), f"{source} is not here"

    def test_describes_its_pictures_in_words(self, name):
        for cell in nbformat.read(path_of(name), as_version=4).cells:
            for tag in re.findall(r"<img[^>]*>", cell.source):
                alt = re.search(r'alt="([^"]*)"', tag)
                assert alt, f"{tag} has no alt text"
                assert len(alt[1].split()) > 10, f"{tag} is not described"


if __name__ == "__main__":
    for name in NOTEBOOKS:
        print(f"{name}: {measure(path_of(name))}")
