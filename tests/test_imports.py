"""The layout: modules import only what stands before them, and each stays short.

Imports are read from the source, so those inside functions count as well.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import ROOT

FOLDERS = ("captioning", "recipes", "tools", "benchmarks")
COURSE = {"vocabulary", "data_loader", "model"}  # read first, and the only ones below commands
MAX_LINES, MAX_ROOT_FILES = 300, 10
# Each stage may import its own modules and those of the stages before it.
STAGES: list[set[str]] = [
    {"captioning"},  # files, device, distributed ...: the modules directly in the folder
    {"vocabulary"},
    {"captioning.data"},
    {"data_loader"},
    {"captioning.models"},
    {"model"},
    {"captioning.features"},
    {"captioning.evaluation"},
    {"captioning.inference"},  # a memory ranks captions by a score
    {"captioning.training", "captioning.page"},  # neither imports the other
]
NO_TORCH = [
    "vocabulary",
    "captioning.files",
    "captioning.data.coco",
    "captioning.evaluation.scores",
    "captioning.evaluation.baselines",
]


@cache
def modules() -> dict[str, Path]:
    """Return {dotted name: file} of all modules but the tests."""
    paths = [
        *ROOT.glob("*.py"),
        *(path for name in FOLDERS for path in ROOT.glob(f"{name}/**/*.py")),
    ]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return {name.removesuffix(".__init__"): path for path, name in sorted(names.items())}


@cache
def imported_names(module: str) -> frozenset[str]:
    """Return the dotted names that a module imports, wherever in its source."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {part if part in modules() else str(node.module) for part in parts}
    return frozenset(found)


def imports_of(module: str) -> set[str]:
    """Return the modules of this project that a module imports."""
    return set(imported_names(module) & modules().keys())


def part_of(module: str) -> str:
    """Return the folder of a module in captioning/, or the name of a module at the root."""
    return module.rpartition(".")[0] or module


def rank(module: str) -> int | None:
    """Return the number of a module's stage; None outside the stages."""
    return next((i for i, stage in enumerate(STAGES) if part_of(module) in stage), None)


COMMANDS = {name for name in modules() if "." not in name} - COURSE - set(FOLDERS)


def test_the_modules_are_found():
    assert {"train", "vocabulary", "captioning.files", "captioning.training.config"} <= set(
        modules()
    )
    assert "captioning.training.config" in imports_of("train")
    assert {"train", "caption", "prepare"} <= COMMANDS
    assert rank("captioning.files") == 0
    assert rank("captioning.training.config") == len(STAGES) - 1
    assert rank("captioning.toy.scenes") is None


def test_no_circle_of_imports():
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in finished:
            for imported in sorted(imports_of(module)):
                visit(imported, (*path, module))
            finished.add(module)

    for module in modules():
        visit(module, ())


def test_a_stage_imports_only_itself_and_stages_before_it():
    wrong = []
    for module in modules():
        own = rank(module)
        if own is None:
            continue
        for imported in imports_of(module):
            of_import = rank(imported)
            same_part = part_of(imported) == part_of(module)
            if not same_part and (of_import is None or of_import >= own):
                wrong.append(f"{module} imports {imported}")
    assert not wrong


def test_the_package_imports_only_the_course_modules_of_the_root():
    for module in modules():
        if module.startswith("captioning"):
            assert {name for name in imports_of(module) if "." not in name} <= COURSE, module


def test_the_drawn_scenes_need_nothing_but_files():
    for module in modules():
        if module.startswith("captioning.toy."):
            others = {name for name in imports_of(module) if part_of(name) != "captioning.toy"}
            assert others <= {"captioning.files"}, module


def test_nothing_below_imports_a_command_and_no_command_another():
    below = [name for name in modules() if name.startswith("captioning") or name in COURSE]
    for module in [*below, *COMMANDS]:
        assert not imports_of(module) & COMMANDS, module
        assert not {name.split(".")[0] for name in imports_of(module)} & set(FOLDERS[1:]), module


def test_recipes_and_tools_do_not_import_tests():
    for module in modules():
        assert not any(name.split(".")[0] == "tests" for name in imported_names(module)), module


def test_words_and_scores_need_no_torch():
    for module in NO_TORCH:
        assert not any(name.split(".")[0] == "torch" for name in imported_names(module)), module
    code = f"import sys, {', '.join(NO_TORCH)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=300).returncode == 0


def test_the_root_has_few_files():
    assert len(list(ROOT.glob("*.py"))) <= MAX_ROOT_FILES


@pytest.mark.parametrize("module", modules())
def test_a_module_is_short_and_a_package_file_empty(module):
    text = modules()[module].read_text(encoding="utf-8")
    if modules()[module].name == "__init__.py":
        assert not text
    assert len(text.splitlines()) <= MAX_LINES
