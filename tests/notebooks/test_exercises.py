"""Every exercise's solution passes its check; stubs are "not answered yet"; wrong answers are
refused in words.

Their cells carry tags: `exercise` for the statement, `answer-N` for what the learner writes,
`check-N`, `solution-N` (its ```python blocks redefine what the answer cell defines), and `question`
for questions that are answered in writing. `wrong_answers_<number of the notebook>.py` holds WRONG
and RIGHT: for each exercise common wrong answers, and right answers of different form. A module
without RIGHT tests the wrong ones alone. The variables that exercises need are made in cells tagged
`setup`, which run here once, on a small dataset.
"""

import contextlib
import importlib
import io
import re

import matplotlib
import nbformat
import pytest
import torch

from tests.notebooks.test_notebooks import (
    NOTEBOOKS,
    code_of,
    copy_course,
    path_of,
    smaller,
    tags,
)

FEWEST, FEWEST_QUESTIONS = 6, 2
FEWEST_WRONG, FEWEST_RIGHT = 5, 3  # answers to each exercise, where a module has RIGHT


def tagged(name: str, tag: str) -> list[nbformat.NotebookNode]:
    cells = nbformat.read(path_of(name), as_version=4).cells
    return [cell for cell in cells if tag in tags(cell)]


def numbers_of(name: str) -> list[str]:
    cells = nbformat.read(path_of(name), as_version=4).cells
    found = [re.fullmatch(r"answer-(\d+)", tag) for cell in cells for tag in tags(cell)]
    return [match[1] for match in found if match]


def answers_of(name: str, kind: str) -> dict[str, list[str]]:
    """Return the answers of `kind`, WRONG or RIGHT, to each exercise; none without such a list."""
    module = importlib.import_module(f"tests.notebooks.wrong_answers_{name[0]}")
    return {
        str(number): [answers] if isinstance(answers, str) else list(answers)
        for number, answers in getattr(module, kind, {}).items()
    }


EXERCISES = [(name, number) for name in NOTEBOOKS if path_of(name).exists()
             for number in numbers_of(name)]  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exercises")
    copy_course(folder)
    return folder


@pytest.fixture(scope="module")
def setups(course):
    """Return a function from a notebook's name to the variables that its `setup` cells make."""
    done: dict[str, dict] = {}

    def setup(name: str) -> dict:
        if name not in done:
            names = {"__name__": "__main__"}
            with contextlib.redirect_stdout(io.StringIO()):
                for cell in tagged(name, "setup"):
                    exec(code_of(cell), names)
                    if "parameters" in tags(cell):
                        exec(smaller(name), names)
            done[name] = names
        return dict(done[name])

    matplotlib.use("Agg")
    with contextlib.chdir(course):
        yield setup
    matplotlib.pyplot.close("all")


def verdict(setups, name: str, number: str, answer: str | None = None) -> tuple[bool, str]:
    """Return whether the check of an exercise accepts `answer`, and the words it prints."""
    names = setups(name)
    torch.manual_seed(0)
    printed = io.StringIO()
    (stub,), (check,) = tagged(name, f"answer-{number}"), tagged(name, f"check-{number}")
    with contextlib.redirect_stdout(printed):
        exec(code_of(stub), names)
        if answer is not None:
            exec(answer, names)
        try:
            exec(code_of(check), names)
        except AssertionError as refusal:
            return False, str(refusal)
    return True, printed.getvalue()


def solution_of(name: str, number: str) -> str:
    (cell,) = tagged(name, f"solution-{number}")
    assert "<details>" in cell.source, "the solution is not folded"
    blocks = re.findall(r"```python\n(.*?)```", cell.source, flags=re.DOTALL)
    assert blocks, "the solution has no ```python block"
    return "\n".join(blocks)


@pytest.mark.parametrize(("name", "number"), EXERCISES)
class TestExercise:
    def test_a_stub_is_not_answered_yet(self, setups, name, number):
        passed, said = verdict(setups, name, number)
        assert passed, f"the stub stops the notebook: {said}"
        assert "not answered yet" in said

    def test_the_solution_is_right(self, setups, name, number):
        passed, said = verdict(setups, name, number, solution_of(name, number))
        assert passed, said
        assert "not answered yet" not in said
        assert said.strip(), "the check is silent about a right answer"

    def test_wrong_answers_are_refused_in_a_sentence(self, setups, name, number):
        answers = answers_of(name, "WRONG").get(number)
        assert answers, f"wrong_answers_{name[0]}.py has none for exercise {number}"
        _, right = verdict(setups, name, number, solution_of(name, number))
        for answer in answers:
            passed, said = verdict(setups, name, number, answer)
            assert not passed or said != right, f"accepted:\n{answer}"
            assert "not answered yet" not in said
            assert len(said.split()) >= 5, f"{said!r} helps nobody"

    def test_right_answers_of_other_form_are_accepted(self, setups, name, number):
        for answer in answers_of(name, "RIGHT").get(number, []):
            passed, said = verdict(setups, name, number, answer)
            assert passed, f"refused, {said!r}:\n{answer}"
            assert "not answered yet" not in said
            assert said.strip(), "the check is silent about a right answer"

    def test_has_enough_answers_of_both_kinds(self, name, number):
        right = answers_of(name, "RIGHT")
        if not right:
            pytest.skip(f"wrong_answers_{name[0]}.py has no right answers yet")
        assert len(set(right.get(number, []))) >= FEWEST_RIGHT
        assert len(set(answers_of(name, "WRONG").get(number, []))) >= FEWEST_WRONG


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_there_is_enough_to_try(name):
    assert len(numbers_of(name)) >= FEWEST
    assert len(tagged(name, "question")) >= FEWEST_QUESTIONS
    assert len(numbers_of(name)) == len(set(numbers_of(name)))
    hints = [cell for cell in tagged(name, "exercise") if "<details>" in cell.source]
    assert len(hints) == len(numbers_of(name)), "each exercise has its folded hint"
    for cell in tagged(name, "question"):
        assert "<details>" in cell.source, f"no folded answer: {cell.source[:60]}"
