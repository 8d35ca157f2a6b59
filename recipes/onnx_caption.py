"""Caption photos without PyTorch: `python -m recipes.onnx_caption captioner.onnx PHOTO ...`

Needs onnxruntime, numpy and Pillow, the three files that recipes/export_onnx.py wrote and, of this
course, files.py, data/decode.py, data/find_photos.py and data/metadata.py in captioning/.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from captioning.data.decode import read_photo
from captioning.data.find_photos import find_photos
from captioning.files import PathLike, cli_errors, read_json, short_message

START, END, UNK, PAD = range(4)


class OnnxCaptioner:
    """An exported captioner. Raises OSError or ValueError where its files are not those of one."""

    def __init__(self, path: PathLike):
        path = Path(path)
        self.start, self.step = (load(p) for p in (path, path.with_suffix(".step.onnx")))
        self.info = read_json(path.with_suffix(".json"))
        if missing := {"words", "enclitic", "transform"} - set(self.info):
            name = path.with_suffix(".json")
            raise ValueError(f"{name} has no {min(missing)!r}; export the captioner again.")

    def caption(self, path: PathLike, max_words: int = 20) -> str:
        """Return the caption of greedy search; raises as `read_photo` does."""
        state, words = self.start.run(None, {"images": self.read(path)}), [START]
        while len(words) <= max_words and words[-1] != END:
            inputs = {f"state_{i}": part for i, part in enumerate(state)}
            logits, *state = self.step.run(None, inputs | {"word": np.array(words[-1:])})
            logits[:, [START, UNK, PAD]] = -np.inf  # never words of a caption
            words.append(int(logits.argmax()))
        text = " ".join(self.info["words"][word] for word in words[1:] if word != END)
        return re.sub(self.info["enclitic"], r"\1", text)  # dog 's -> dog's

    def read(self, path: PathLike) -> np.ndarray:
        """Return the whole photo squashed to a square, scaled as in training: (1, 3, H, W)."""
        transform = self.info["transform"]
        side = transform["crop"]
        photo = read_photo(path, min_side=2 * side)  # as PhotoTransform wants it
        photo = photo.resize((side, side), Image.Resampling.BILINEAR)
        pixels = (np.asarray(photo) / 255 - transform["mean"]) / transform["std"]
        return pixels.transpose(2, 0, 1)[None].astype(np.float32)


def load(path: Path) -> onnxruntime.InferenceSession:
    """Return the graph in `path`, ready to run."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; recipes/export_onnx.py writes it.")
    try:
        return onnxruntime.InferenceSession(path)
    except Exception as error:  # noqa: BLE001
        raise ValueError(f"{path} cannot be loaded ({short_message(error)}).") from None


def main() -> int:
    """Print a line a photo; return 0 if all photos could be read, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captioner", help="the .onnx file; the other two files are beside it")
    parser.add_argument("photos", nargs="+", help="photos, folders, patterns; - reads a list")
    args = parser.parse_args()
    failed = 0
    with cli_errors():
        captioner = OnnxCaptioner(args.captioner)
        for photo in find_photos(args.photos):
            try:
                text = captioner.caption(photo)
            except (OSError, ValueError) as error:
                print(f"error: {error}", file=sys.stderr)
                failed += 1
            else:
                print(photo, text, sep="\t")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
