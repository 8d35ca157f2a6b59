"""Run the four notebooks in order, then caption drawn pictures and photographs that none saw.

    python -m tools.run_notebooks              executed copies are written to build/course
    python -m tools.run_notebooks --in-place   for authors: rewrites the notebooks in git

Prints the seconds of each notebook, five captions and the scores of the weights just trained, and
three captions of photographs by the captioner of photographs that comes with the course.

In place, each notebook also gets a Colab badge and a cell that clones the course on Colab. Both are
made from `Repository` in pyproject.toml, [project.urls]; without an address there is neither.
"""

import argparse
import json
import re
import time
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from captioning.data.album import album
from captioning.data.coco import read_captions
from captioning.evaluation.scores import evaluate
from captioning.files import atomic_write, cli_errors
from captioning.inference.captioner import Captioner
from captioning.inference.serialization import find_pair

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ("0_Dataset_Exploration", "1_Architecture", "2_Training", "3_Inference")
NUM_SHOWN = 5  # captions of drawings to print
COLAB = "https://colab.research.google.com"
BADGE = f"[![Open In Colab]({COLAB}/assets/colab-badge.svg)]"
IN_COLAB = '"google.colab" in sys.modules'
CLONE_CELL = f"""\
import sys
from pathlib import Path

if {IN_COLAB} and not Path("vocabulary.py").exists():
    !git clone --quiet --depth 1 {{address}}
    %cd {{name}}
    %pip install --quiet -r requirements.txt"""


def repository_address(pyproject: Path = ROOT / "pyproject.toml") -> str | None:
    """Return `Repository` of [project.urls], or None where pyproject.toml has no address."""
    content = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    return content.get("project", {}).get("urls", {}).get("Repository")


def set_colab_cells(notebook: nbformat.NotebookNode, file: str, address: str | None) -> None:
    """Write the badge and the clone cell of the repository at `address`, in place of older ones.

    file      name of the notebook in the repository
    address   of a repository on GitHub, or None: the badge and the cell are removed

    Raises ValueError for another host: Colab opens notebooks from GitHub only.
    """
    title, *rest = re.split(r"\n\n+", notebook.cells[0].source)
    rest = [paragraph for paragraph in rest if not paragraph.startswith(BADGE)]
    cells = [cell for cell in notebook.cells[1:] if IN_COLAB not in cell.source]
    if address is not None:
        found = re.fullmatch(r"https://github\.com/([\w.-]+/([\w.-]+?))(\.git)?/?", address)
        if found is None:
            raise ValueError(
                "Repository in pyproject.toml must begin with https://github.com/, because Colab "
                f"opens notebooks from there, not {address}."
            )
        repository, name = found[1], found[2]
        rest.insert(0, f"{BADGE}({COLAB}/github/{repository}/blob/main/{file})")
        source = CLONE_CELL.format(address=f"https://github.com/{repository}", name=name)
        cells.insert(0, nbformat.v4.new_code_cell(source, id="cell-01"))
    notebook.cells[0].source = "\n\n".join([title, *rest])
    notebook.cells[1:] = cells


def execute(path: Path, parameters: str = "", folder: Path = ROOT) -> nbformat.NotebookNode:
    """Run the notebook at `path` in `folder` and return it with its outputs.

    parameters   Python code to add to the cell tagged `parameters`, for a smaller run
    """
    notebook = nbformat.read(path, as_version=4)
    if parameters:
        tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
        tagged[0].source += "\n" + parameters
    client = NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise ValueError(f"{path.name} stopped: {error}") from None
    return tidy(notebook)


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs between runs and machines: times, versions, warnings."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
    return notebook


def merge_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join printed lines that follow each other into one output, and drop warnings."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        printed = output.output_type == "stream"
        if printed and output.name == "stderr":
            continue
        if printed and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    with atomic_write(path, "w") as file:
        nbformat.write(notebook, file)


def caption_test_pictures(data: Path, models: Path, out: Path) -> None:
    """Caption the test pictures with the best weights of notebook 2; print and save the results."""
    captioner = Captioner.load(models / "best" / "encoder.pkl", models / "best" / "decoder.pkl")
    test = read_captions(data, "test")
    stream = captioner.caption_stream([photo.path for photo in test.photos])
    captions = {}
    for photo, (_, found) in zip(test.photos, stream, strict=True):
        if isinstance(found, str):
            raise ValueError(found)
        captions[photo.id] = found[0].text
    print(f"\n{NUM_SHOWN} of {len(captions)} pictures that were held out:")
    for photo in test.photos[:NUM_SHOWN]:
        print(f"  {photo.path.name}  {captions[photo.id]}")
    scores = evaluate(test.references(), captions)
    print("\nscores on all of them, times 100:")
    print("  " + "  ".join(f"{name} {value:.1f}" for name, value in scores.items()))
    print("\nNotebook 2 has just trained these weights in a minute; the shipped ones score higher:")
    print("README, 'What to expect'.")
    results = [{"image_id": key, "caption": text} for key, text in captions.items()]
    with atomic_write(out, "w") as file:
        json.dump(results, file)


def caption_photographs() -> None:
    """Caption photographs that installed packages bring along, with the shipped captioner."""
    captioner = Captioner.load(*find_pair("photos"))
    print("\nphotographs, captioned by models/photos:")
    for photo in album():
        (best,) = captioner.caption([photo.path])[0]
        print(f"  {photo.name:10} {best.text}")
        if best.judgment and not best.judgment.is_familiar:
            print(f"  {'':10} ({best.judgment})")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the four notebooks in order.")
    parser.add_argument("--in-place", action="store_true", help="rewrite the notebooks in git")
    args = parser.parse_args()
    build = ROOT / "build" / "course"
    with cli_errors():
        started = time.monotonic()
        for name in NOTEBOOKS:
            start, path = time.monotonic(), ROOT / f"{name}.ipynb"
            if args.in_place:
                notebook = nbformat.read(path, as_version=4)
                set_colab_cells(notebook, path.name, repository_address())
                save(notebook, path)
            executed = execute(path)
            save(executed, path if args.in_place else build / path.name)
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
        print(f"all four: {time.monotonic() - started:.0f} s")
        caption_test_pictures(ROOT / "data" / "toy", ROOT / "models", build / "results.json")
        caption_photographs()
        print("\nThe executed notebooks are in build/course. To work in them:")
        print("  source .venv/bin/activate && jupyter lab")


if __name__ == "__main__":
    main()
