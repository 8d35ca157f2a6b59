"""Export a captioner to ONNX, for programs without PyTorch; checked caption by caption.

    python -m recipes.export_onnx --encoder-file models/toy-lstm/encoder.pkl \\
        --decoder-file models/toy-lstm/decoder.pkl --out captioner.onnx --check PHOTOS

    captioner.onnx        images (B, 3, H, W), normalized -> state_0, state_1 ...: the state of the
                          decoder before the first word
    captioner.step.onnx   word (B,), state_0 ... -> logits (B, V), next_0, next_1 ...
    captioner.json        the words, and how a photo becomes an image

Any B; everything in float32. `recipes/onnx_caption.py` captions photos with these three files,
onnxruntime, numpy and Pillow. `--check` captions photos both ways and prints a table of sizes and
speeds, and how many captions are the same. The files have one backbone, and no
memory: its photos and captions would have to travel with them.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from caption import find_photos
from captioning.data.photos import PhotoTransform, read_photo
from captioning.files import PathLike, atomic_write, cli_errors
from captioning.inference.search import greedy
from captioning.inference.serialization import load_pair
from captioning.models.decoder import Decoder
from model import Encoder, EncoderCNN, EncoderGroup
from vocabulary import ENCLITIC, Vocabulary

try:
    from recipes.onnx_caption import OnnxCaptioner
except ImportError:
    sys.exit("The export needs its own packages: pip install -r requirements-extra.txt")

MAX_WORDS = 20
MIN_TORCH = (2, 14)  # the exporter of 2.11 writes graphs for a single batch size


class Start(nn.Module):
    """images -> state: the encoder and `decoder.start` in one graph."""

    def __init__(self, encoder: EncoderCNN, decoder: Decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.decoder.start(self.encoder(images))


class Step(nn.Module):
    """word, state -> logits, next state: the tuple flattened, without the attention."""

    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, word: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, state, _ = self.decoder.step(word, state)
        return logits, *state


def export(encoder: Encoder, decoder: Decoder, vocab: Vocabulary, out: PathLike) -> list[Path]:
    """Write the three files beside each other; return their paths.

    Raises ValueError where torch is too old, and for several backbones.
    """
    if isinstance(encoder, EncoderGroup):
        raise ValueError(
            "the export is of one backbone, which gets one image; this captioner has several."
        )
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < MIN_TORCH:
        raise ValueError(
            f"the export needs torch {'.'.join(map(str, MIN_TORCH))} or newer, not "
            f"{torch.__version__}: pip install --upgrade torch torchvision"
        )
    out = Path(out)
    step_file, info_file = out.with_suffix(".step.onnx"), out.with_suffix(".json")
    info = {"words": vocab.words, "enclitic": ENCLITIC.pattern}
    info["transform"] = encoder.backbone.transform
    batch = torch.export.Dim.DYNAMIC
    side = encoder.backbone.transform["crop"]
    images = torch.zeros(2, 3, side, side)
    with torch.no_grad():
        state = Start(encoder, decoder)(images)
        for word in range(2):  # a Transformer's state grows: two steps show which sizes change
            before = [part.shape for part in state]
            state = decoder.step(torch.full((2,), word), state)[1]
    grows = [
        {axis: batch for axis in range(part.dim()) if axis == 0 or part.shape[axis] != old[axis]}
        for part, old in zip(state, before, strict=True)
    ]
    names = [f"state_{i}" for i in range(len(state))]
    nexts = [f"next_{i}" for i in range(len(state))]
    write_graph(out, Start(encoder, decoder), (images,), ["images"], names, ({0: batch},))
    word = torch.zeros(2, dtype=torch.long)
    shapes = ({0: batch}, tuple(grows))
    write_graph(
        step_file, Step(decoder), (word, *state), ["word", *names], ["logits", *nexts], shapes
    )
    with atomic_write(info_file, "w") as file:
        json.dump(info, file, ensure_ascii=False)
    return [out, step_file, info_file]


def write_graph(
    path: Path,
    module: nn.Module,
    inputs: tuple,
    names: list[str],
    outputs: list[str],
    shapes: tuple,
) -> None:
    """Write `module` as an ONNX graph; `shapes` names the axes whose sizes may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own parts
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=shapes,
            verbose=False,
        )
    with atomic_write(path) as file:
        file.write(program.model_proto.SerializeToString())


def check(
    encoder: EncoderCNN, decoder: Decoder, vocab: Vocabulary, files: list[Path], photos: list[Path]
) -> tuple[int, str]:
    """Return how many photos get the same caption both ways, and a table of sizes and speeds."""
    onnx = OnnxCaptioner(files[0])
    transform = PhotoTransform(**encoder.backbone.transform)
    start, by_torch = time.perf_counter(), []
    for path in photos:
        with torch.inference_mode():
            features = encoder(transform(read_photo(path, transform.min_side))[None])
        by_torch.append(vocab.decode(greedy(decoder, features, MAX_WORDS)[0].tolist()))
    middle = time.perf_counter()
    by_onnx = [onnx.caption(path) for path in photos]
    end = time.perf_counter()
    same = sum(a == b for a, b in zip(by_torch, by_onnx, strict=True))
    sizes = [path.stat().st_size / 1e6 for path in files]
    parameters = sum(p.numel() for part in (encoder, decoder) for p in part.parameters())
    table = [f"{'':24}{'MB':>8}{'ms a photo':>12}"]
    for name, size, seconds in [
        ("PyTorch, float32", 4 * parameters / 1e6, middle - start),
        ("ONNX Runtime, float32", sum(sizes), end - middle),
    ]:
        table.append(f"{name:24}{size:8.1f}{1000 * seconds / len(photos):12.1f}")
    return same, "\n".join(table)


def readable(photos: list[Path]) -> list[Path]:
    """Return the photos that can be read; print why the others cannot."""
    good = []
    for path in photos:
        try:
            read_photo(path)
            good.append(path)
        except (OSError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
    if not good:
        raise ValueError("none of the photos to check can be read.")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a captioner to ONNX.")
    parser.add_argument("--encoder-file", default="models/toy-lstm/encoder.pkl", help="%(default)s")
    parser.add_argument("--decoder-file", default="models/toy-lstm/decoder.pkl", help="%(default)s")
    parser.add_argument("--weights", help="backbone weights, if not where the encoder file says")
    parser.add_argument("--out", default="build/captioner.onnx", help="%(default)s")
    parser.add_argument("--check", nargs="+", help="caption these photos or folders both ways")
    parser.add_argument(
        "--most", type=int, default=100, help="maximum photos to check (%(default)s)"
    )
    args = parser.parse_args()
    with cli_errors():
        parts = load_pair(args.encoder_file, args.decoder_file, args.weights)
        files = export(*parts, args.out)
        print(*(f"{path}  {path.stat().st_size / 1e6:.1f} MB" for path in files), sep="\n")
        if args.check:
            chosen = find_photos(args.check)[: args.most]
            photos = readable(chosen)
            same, table = check(*parts, files, photos)
            print(table, f"the same caption for {same} of {len(photos)} photos", sep="\n")
            if same < len(photos):
                raise ValueError("some captions differ: do not use these files")
            if len(photos) < len(chosen):
                raise ValueError(f"{len(chosen) - len(photos)} photos could not be checked")


if __name__ == "__main__":
    main()
