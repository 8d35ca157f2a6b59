"""Caption photos without PyTorch: `python recipes/onnx_caption.py captioner.onnx PHOTO ...`

Needs only onnxruntime, numpy and Pillow, and the three files that recipes/export_onnx.py wrote.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

START, END, UNK, PAD = range(4)


class OnnxCaptioner:
    def __init__(self, path: str | Path):
        self.info = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))
        self.start = onnxruntime.InferenceSession(path)
        self.step = onnxruntime.InferenceSession(Path(path).with_suffix(".step.onnx"))

    def caption(self, path: str | Path, max_words: int = 20) -> str:
        """Return the caption of greedy search."""
        state, words = self.start.run(None, {"images": self.read(path)}), [START]
        while len(words) <= max_words and words[-1] != END:
            inputs = {f"state_{i}": part for i, part in enumerate(state)}
            logits, *state = self.step.run(None, inputs | {"word": np.array(words[-1:])})
            logits[:, [START, UNK, PAD]] = -np.inf  # never words of a caption
            words.append(int(logits.argmax()))
        text = " ".join(self.info["words"][word] for word in words[1:] if word != END)
        return re.sub(self.info["enclitic"], r"\1", text)  # dog 's -> dog's

    def read(self, path: str | Path) -> np.ndarray:
        """Return the whole photo squashed to a square, scaled as in training: (1, 3, H, W)."""
        transform = self.info["transform"]
        photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        photo = photo.resize((transform["crop"], transform["crop"]), Image.Resampling.BILINEAR)
        pixels = (np.asarray(photo) / 255 - transform["mean"]) / transform["std"]
        return pixels.transpose(2, 0, 1)[None].astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captioner", help="the .onnx file; the other two files are beside it")
    parser.add_argument("photos", nargs="+")
    args = parser.parse_args()
    captioner = OnnxCaptioner(args.captioner)
    for photo in args.photos:
        print(photo, captioner.caption(photo), sep="\t")
