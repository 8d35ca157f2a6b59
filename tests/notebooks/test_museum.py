"""The museum of bugs runs, every symptom shows and every fix holds: its cells assert it."""

from pathlib import Path

import pytest

from tests.helpers import ROOT
from tools.run_notebooks import execute

MUSEUM = ROOT / "docs" / "bug_museum.ipynb"


def test_the_museum_runs(data: Path, weights: Path, run: Path) -> None:
    parameters = {
        "data": data,
        "weights": weights,
        "encoder_file": run / "best" / "encoder.pkl",
        "decoder_file": run / "best" / "decoder.pkl",
    }
    cells = "\n".join(f"{name} = {str(path)!r}" for name, path in parameters.items())
    execute(MUSEUM, f"{cells}\nnum_photos = 6")


def test_at_least_ten_bugs_each_with_a_test() -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = nbformat.read(MUSEUM, as_version=4).cells
    rooms, room = {}, None
    for cell in cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else []:
            if line.startswith("### "):
                room = rooms.setdefault(line, [])
        if room is not None and cell.cell_type == "code":
            room.append(cell.source)
    assert len(rooms) >= 10
    for title, sources in rooms.items():
        has_test = any("assert" in source or "raise AssertionError" in source for source in sources)
        assert has_test, f"{title}: no test that would have caught it"
