"""Captions photos without PyTorch: `python extras/onnx_caption.py captioner.onnx PHOTO ...`

Needs onnxruntime, numpy and Pillow alone, and the three files that `extras/export.py` wrote.
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
        self.about = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))
        self.start = onnxruntime.InferenceSession(path)
        self.step = onnxruntime.InferenceSession(Path(path).with_suffix(".step.onnx"))

    def caption(self, path: str | Path, max_words: int = 20) -> str:
        """The likeliest next word, again and again."""
        state, said = self.start.run(None, {"images": self.read(path)}), [START]
        while len(said) <= max_words and said[-1] != END:
            inputs = {f"state_{i}": part for i, part in enumerate(state)}
            logits, *state = self.step.run(None, inputs | {"word": np.array(said[-1:])})
            logits[:, [START, UNK, PAD]] = -np.inf  # never words of a caption
            said.append(int(logits.argmax()))
        text = " ".join(self.about["words"][word] for word in said[1:] if word != END)
        return re.sub(self.about["enclitic"], r"\1", text)  # dog 's -> dog's

    def read(self, path: str | Path) -> np.ndarray:
        """The whole photo squashed to a square, scaled as in training: (1, 3, H, W)"""
        how = self.about["transform"]
        photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        photo = photo.resize((how["crop"], how["crop"]), Image.Resampling.BILINEAR)
        pixels = (np.asarray(photo) / 255 - how["mean"]) / how["std"]
        return pixels.transpose(2, 0, 1)[None].astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captioner", help="the .onnx file; the two others lie beside it")
    parser.add_argument("photos", nargs="+")
    args = parser.parse_args()
    captioner = OnnxCaptioner(args.captioner)
    for photo in args.photos:
        print(photo, captioner.caption(photo), sep="\t")
