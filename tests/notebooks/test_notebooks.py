"""The four notebooks run in order on a small dataset, and are as short as the course wants them.

    notebooks/   is read from the repository; nothing is executed or written there
    scratch      a copy of what the course ships, with 60 drawn pictures, in which they run

A notebook's measures leave its exercises out: cells tagged exercise, answer-N, check-N, solution-N
or question. `python tests/test_notebooks.py` prints them.
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

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import toy_coco  # noqa: E402
from extras.course import NOTEBOOKS, execute, save  # noqa: E402

OURS = {
    "vocabulary", "data_loader", "model", "features", "train", "caption", "metrics", "toy_coco",
}  # fmt: skip
OTHERS = {
    "numpy", "torch", "torchvision", "matplotlib", "PIL", "cv2", "nltk", "pycocotools", "tqdm",
}  # fmt: skip
FIRST_PARAMETERS = {"data": "data/toy", "weights": "models/resnet50_toy.pth"}
SMALL = {  # whichever of these a notebook's parameters cell sets, it gets for the test
    "data": "data/tiny",
    "num_samples": 40,
    "num_epochs": 1,
    "live_epochs": 1,
    "test_photos": 12,
}
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
            f"90 % under {share_under(lines, 0.9) + 1}, longest {lines[-1]}; {self.words} words, "
            f"{statistics.median(self.bites):g} a paragraph; a figure every "
            f"{self.cells / max(self.figures, 1):.1f} cells; {self.size / 1e6:.2f} MB"
        )


def share_under(numbers: list[int], share: float) -> int:
    """The number that `share` of `numbers` do not exceed."""
    return sorted(numbers)[min(int(share * len(numbers)), len(numbers) - 1)]


def path_of(name: str) -> Path:
    return ROOT / f"{name}.ipynb"


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def is_exercise(cell: nbformat.NotebookNode) -> bool:
    return any(EXERCISE.match(tag) for tag in tags(cell))


def code_of(cell: nbformat.NotebookNode) -> str:
    """The Python of a cell: without lines for IPython (`%config ...`, `!git ...`)."""
    lines = cell.source.splitlines()
    return "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)


def paragraphs(text: str) -> Iterator[str]:
    """The prose of a Markdown cell: no headings, lists, pictures, badges or tags."""
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
    """What a reader reads: without addresses, alt texts and tags."""
    return re.sub(r"<[^>]*>|\]\([^)]*\)|\[!\[.*", " ", text)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    """A copy of what a notebook needs, with a dataset of 60 pictures in data/tiny."""
    folder = tmp_path_factory.mktemp("course")
    copy_course(folder)
    return folder


def copy_course(folder: Path) -> None:
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.ipynb")]:
        shutil.copy(path, folder)
    for name in ("images", "toy", "extras", "benchmarks"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shipped = [ROOT / "models" / "resnet50_toy.pth", *ROOT.glob("models/toy-*/*coder.pkl")]
    for path in shipped:
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    toy_coco.draw(folder / "data" / "tiny", seed=0, sizes=(60, 20, 20))


def parameters_of(notebook: nbformat.NotebookNode) -> dict[str, ast.expr]:
    """What the cell tagged `parameters` sets, in order."""
    (cell,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    return {
        node.targets[0].id: node.value
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Assign)
    }


def smaller(name: str) -> str:
    """Python that makes the parameters that a notebook has small enough for a test."""
    names = parameters_of(nbformat.read(path_of(name), as_version=4))
    return "\n".join(f"{name} = {value!r}" for name, value in SMALL.items() if name in names)


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
        assert share_under(m.code_lines, 0.9) <= 12
        assert max(m.code_lines) <= 25
        assert 1500 <= m.words <= 2500
        assert 20 <= statistics.median(m.bites) <= 50
        assert max(m.bites) <= 75
        assert 4 <= m.cells / m.figures <= 12
        assert m.size <= MOST_BYTES

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
        for cell in nbformat.read(path_of(name), as_version=4).cells:
            if cell.cell_type != "code":
                continue
            for node in ast.walk(ast.parse(code_of(cell))):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    assert not [alias for alias in node.names if alias.name == "*"]
                    modules = [node.module]
                else:
                    continue
                tops = {module.split(".")[0] for module in modules}
                assert tops <= OURS | OTHERS | sys.stdlib_module_names, cell.source

    def test_has_the_spine_of_all_notebooks(self, name):
        cells = nbformat.read(path_of(name), as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert cells[0].source.startswith(f"# {name[0]}. ")
        assert "colab" in cells[0].source
        assert '"google.colab" in sys.modules' in cells[1].source
        for heading in ("What you will be able to do", "Run time", "You can now", "Try it"):
            assert heading in text, f"{heading!r} is missing"

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
