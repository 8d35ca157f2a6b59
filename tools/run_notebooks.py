"""Runs the four notebooks in order, then captions drawn pictures that no one has trained on.

    python -m extras.course              executed copies go to build/course
    python -m extras.course --in-place   renews the notebooks in git, for their authors

Prints the seconds of each notebook, five captions and the scores of the weights just trained.
"""

import argparse
import json
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import metrics
from caption import Captioner
from data_loader import read_captions
from vocabulary import cli_errors, atomic_write

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ("0_Dataset_Exploration", "1_Architecture", "2_Training", "3_Inference")
SHOWN = 5


def execute(path: Path, parameters: str = "", folder: Path = ROOT) -> nbformat.NotebookNode:
    """The notebook at `path` with the outputs of one run in `folder`.

    parameters  Python that is put behind the cell tagged `parameters`, for a smaller run
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
    """Drops what differs from run to run and machine to machine: times, versions, warnings."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)
    return notebook


def merged(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Printed lines that follow each other as one output, however they arrived; no warnings."""
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


def final_captions(data: Path, models: Path) -> None:
    """Captions of the test pictures with the best weights of notebook 2, and their scores."""
    captioner = Captioner.load(models / "best" / "encoder.pkl", models / "best" / "decoder.pkl")
    test = read_captions(data, "test")
    said = captioner.caption_stream([photo.path for photo in test.photos])
    captions = {
        photo.id: found[0].text for photo, (_, found) in zip(test.photos, said, strict=True)
    }
    print(f"\n{SHOWN} of {len(captions)} pictures that were held out:")
    for photo in test.photos[:SHOWN]:
        print(f"  {photo.path.name}  {captions[photo.id]}")
    scores = metrics.evaluate(test.references(), captions)
    print("\nscores on all of them, times 100:")
    print("  " + "  ".join(f"{name} {value:.1f}" for name, value in scores.items()))
    print("\nNotebook 2 has just trained these weights, in a minute; the shipped ones know more:")
    print("README, 'What to expect'. The notebooks as they ran are in build/course. Work in them:")
    print("  source .venv/bin/activate && jupyter lab")
    results = [{"image_id": key, "caption": text} for key, text in captions.items()]
    with atomic_write(ROOT / "build" / "course" / "results.json", "w") as file:
        json.dump(results, file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the four notebooks in order.")
    parser.add_argument("--in-place", action="store_true", help="renew the notebooks in git")
    args = parser.parse_args()
    with cli_errors():
        began = time.monotonic()
        for name in NOTEBOOKS:
            start = time.monotonic()
            executed = execute(ROOT / f"{name}.ipynb")
            where = ROOT if args.applied else ROOT / "build" / "course"
            save(executed, where / f"{name}.ipynb")
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
        print(f"all four: {time.monotonic() - began:.0f} s")
        final_captions(ROOT / "data" / "toy", ROOT / "models")


if __name__ == "__main__":
    main()
