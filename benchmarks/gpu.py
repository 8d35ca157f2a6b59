"""From JPEG files to the weights of the third epoch at COCO's size, on one GPU, in one command.

    python benchmarks/gpu.py                    82,783 photos; 15 GB of disk, in TMPDIR
    python benchmarks/gpu.py --fraction 0.02    a fiftieth of everything, also for a CPU

The files are made first and are not part of the time: drawn scenes with noise, 640 x 480 pixels,
which compress as photographs do, and captions of 10,000 words. Then `train.train` runs as a user
runs it: an LSTM over pooled features, batches of 512. The clock is put around what it calls, and
each stage is compared with what its parts can do alone, which says what bounds it. A GPU decodes
the photos where it does so faster than all cores.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.common import RESULTS, machine, rate, report, timed
from benchmarks.training import training_step
from captioning.data.coco import CaptionSet, read_captions
from captioning.data.photos import read_photo
from captioning.device import compute_dtype, get_device, parallel_map
from captioning.features.cache import transform_of
from captioning.features.fast_network import FastBackbone
from captioning.training import preparation
from captioning.training.config import TrainConfig
from model import EncoderCNN
from toy_coco import draw
from train import train

PHOTOS, CAPTIONS, WORDS = 82_783, 414_113, 10_000  # of COCO 2014
DISTINCT, NOISE, QUALITY = 300, 12, 90  # pictures that are different, and how they are stored
SAMPLE, BATCH = 512, 512  # photos whose decoding is timed alone; captions a step
CPU, GPU = f"{os.cpu_count()} cores decoding", "the GPU decoding"
NETWORK, STEP = "the network", "the decoder's step"


def make_jpegs(source: CaptionSet) -> list[bytes]:
    """Return drawn scenes of 640 x 480 pixels with noise, about 160 kB each, as JPEG files."""
    rng, files = np.random.default_rng(0), []
    for photo in source.photos[:DISTINCT]:
        picture = np.asarray(read_photo(photo.path).resize((640, 480)), dtype=np.float32)
        noisy = (picture + rng.normal(0, NOISE, picture.shape)).clip(0, 255).astype(np.uint8)
        jpeg = cv2.imencode(".jpg", noisy[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        files.append(jpeg.tobytes())
    return files


def make_data(out: Path, fraction: float) -> Path:
    """Write that fraction of COCO's numbers of photos and captions in COCO's layout."""
    source = read_captions(draw(), "train")
    jpegs, rng = make_jpegs(source), random.Random(0)
    photos, captions = (round(fraction * number) for number in (PHOTOS, CAPTIONS))
    images = out / "images" / "train2014"
    images.mkdir(parents=True)
    (out / "annotations").mkdir()
    for number in range(photos):
        (images / f"{number}.jpg").write_bytes(jpegs[number % len(jpegs)])
    entries = []
    for number in range(captions):
        words = source.captions[number % len(source.captions)].split()
        words[rng.randrange(len(words))] = f"word{number % WORDS}"
        entries.append({"id": number, "image_id": number % photos, "caption": " ".join(words)})
    records = [{"id": number, "file_name": f"{number}.jpg"} for number in range(photos)]
    path = out / "annotations" / "captions_train2014.json"
    path.write_text(json.dumps({"images": records, "annotations": entries}), encoding="utf-8")
    return out


def stopwatch(stages: dict[str, float], module: Any, name: str, stage: str) -> None:
    """Put a clock around the function `module.name`; its seconds are added to the stage."""
    function: Callable = getattr(module, name)

    def measured(*args: Any, **options: Any) -> Any:
        with timed(stages, stage):
            return function(*args, **options)

    setattr(module, name, measured)


def decoding_rate(captions: CaptionSet, encoder: EncoderCNN) -> float:
    """Return photos per second that all cores read, decode and squash, without the network."""
    transform = transform_of(encoder)

    def read(path: Path) -> Tensor:
        return transform.resize_and_crop(read_photo(path, transform.min_side))

    paths = [photo.path for photo in captions.photos[:SAMPLE]]
    return rate(lambda: list(parallel_map(read, paths)), len(paths))


def gpu_decoding_rate(captions: CaptionSet) -> float | None:
    """Return photos per second of the GPU's JPEG decoder; None where torchvision has none."""
    from torchvision.io import decode_jpeg, read_file

    files = [read_file(str(photo.path)) for photo in captions.photos[:SAMPLE]]
    try:
        return rate(lambda: decode_jpeg(files, device="cuda"), len(files))
    except RuntimeError:
        return None


def network_rate(encoder: EncoderCNN, device: torch.device) -> float:
    """Return images per second of the frozen network alone, as extraction runs it."""
    size = 16 if device.type == "cpu" else 256
    crop = encoder.backbone.transform["crop"]
    images = torch.randn(size, 3, crop, crop, device=device)
    backbone = FastBackbone(encoder.backbone, device, compute_dtype(device), size, PHOTOS)
    return rate(lambda: backbone(images, False), size)


def rates_alone(data: Path, network: dict[str, Any]) -> dict[str, float]:
    """Return photos/s or captions/s of each part without the others."""
    device, captions = get_device(), read_captions(data, "train")
    encoder = EncoderCNN(1, **network).to(device).eval()
    rates = {CPU: decoding_rate(captions, encoder), NETWORK: network_rate(encoder, device)}
    if device.type == "cuda" and (on_gpu := gpu_decoding_rate(captions)):
        rates[GPU] = on_gpu
    return rates | {STEP: rate(training_step("lstm", WORDS, BATCH, compute_dtype(device)), BATCH)}


def measure(data: Path, network: dict[str, Any], results: Path) -> None:
    """Train three epochs; print and record the seconds of each stage and what bounds it."""
    rates, stages = rates_alone(data, network), {}
    on_gpu = rates.get(GPU, 0) > rates[CPU]
    stopwatch(stages, preparation, "read_split", "captions: read")
    stopwatch(stages, preparation, "tokens_of", "captions: words")
    stopwatch(stages, preparation, "extract_features", "features")
    config = TrainConfig(
        data=str(data), decoder="lstm", num_epochs=3, batch_size=BATCH, validate_every=0,
        vocab_threshold=1, jpeg_decoder="gpu" if on_gpu else "cpu", out=str(data / "out"),
        **network,
    )  # fmt: skip
    began = time.perf_counter()
    history = train(config)
    total = time.perf_counter() - began
    stages |= {f"epoch {row['epoch']}": row["seconds"] for row in history}
    stages["everything else"] = total - sum(stages.values())

    whole = read_captions(data, "train")
    photos, captions = len(whole.photos), len(whole.captions)
    bound = min(NETWORK, GPU if on_gpu else CPU, key=lambda name: rates[name])
    found = {"features": f"{photos / stages['features']:,.0f} photos/s; bound by: {bound}"}
    for row in history:
        speed = captions / row["seconds"]
        part = f"{speed / rates[STEP]:.0%} of what the step alone reaches"
        found[f"epoch {row['epoch']}"] = f"{speed:,.0f} captions/s, {part}"
    rows = [
        {"stage": stage, "seconds": f"{seconds:.1f}", "rate": found.get(stage, "")}
        for stage, seconds in [*stages.items(), ("all", total)]
    ]
    alone = ", ".join(f"{name} {value:,.0f}/s" for name, value in rates.items())
    title = f"{photos:,} photos, {captions:,} captions, {network['backbone']}, LSTM"
    report(f"From JPEG to three epochs: {title}", rows, f"alone: {alone}", results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fraction", type=float, default=1.0,
                        help="fraction of COCO's size (%(default)s)")  # fmt: skip
    parser.add_argument("--backbone", default="resnet50", help="%(default)s")
    parser.add_argument("--weights", help="as for train.py; by default random: they take as long")
    parser.add_argument("--results", type=Path, default=RESULTS,
                        help="page to append the table to (%(default)s)")  # fmt: skip
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        network = {"backbone": args.backbone, "weights": args.weights}
        measure(make_data(Path(scratch) / "coco", args.fraction), network, args.results)


if __name__ == "__main__":
    main()
