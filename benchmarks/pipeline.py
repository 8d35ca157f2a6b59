"""From JPEG files to the weights of the third epoch: the usual way against this course's.

    python benchmarks/pipeline.py --data data/flickr8k --weights PATH      last line: NN.N times
    python benchmarks/pipeline.py --backbone resnet50 efficientnet_lite0   both, in one run

On a GPU, at COCO's size: benchmarks/gpu.py.

The naive side is what courses of this kind do: for every caption of every epoch the photo is
decoded, cropped and encoded in float32, one caption length is drawn for each step, Adam updates
the weights. It is timed over a few steps and scaled by the number of captions. The fast side is
the whole of `train.train`: vocabulary, features of every photo, three epochs, saved weights.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from benchmarks.common import RESULTS, machine, rate, report, synchronize, timed, tokenizer
from captioning.data.coco import CaptionSet, read_captions
from captioning.device import get_device
from captioning.inference.serialization import load_pair
from captioning.models.efficientnet_lite import PACKAGE, SIZES
from captioning.training.config import TrainConfig
from captioning.training.losses import caption_loss
from captioning.training.preparation import prepare_split
from model import EncoderCNN, make_decoder
from train import train
from vocabulary import Vocabulary

EPOCHS, BATCH, EMBED, HIDDEN = 3, 128, 256, 512
Network = dict[str, str]  # backbone, weights


def naive_steps(
    captions: CaptionSet, vocab: Vocabulary, network: Network, steps: int, device: torch.device
) -> tuple[float, float, float]:
    """Return captions/s of the usual loop, and photos/s of its network: in the loop, and alone."""
    encoder = EncoderCNN(EMBED, **network).to(device).eval()
    decoder = make_decoder("lstm", embed_size=EMBED, hidden_size=HIDDEN, vocab_size=len(vocab))
    decoder = decoder.to(device)
    optimizer = torch.optim.Adam([*encoder.embed.parameters(), *decoder.parameters()], lr=1e-3)
    expected = encoder.backbone.train_transform
    transform = transforms.Compose(
        [
            transforms.Resize(expected["resize"]),
            transforms.RandomCrop(expected["crop"]),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(expected["mean"], expected["std"]),
        ]
    )
    words_of = tokenizer()
    ids = [vocab.encode(words_of(text)) for text in captions.captions]
    by_length: dict[int, list[int]] = {}
    for row, words in enumerate(ids):
        by_length.setdefault(len(words), []).append(row)
    rng, seconds, images = random.Random(0), 0.0, None
    began = time.perf_counter()
    for step in range(steps + 1):
        if step == 1:  # the first step warms up and is not counted
            synchronize()
            began, seconds = time.perf_counter(), 0.0
        length = len(ids[rng.randrange(len(ids))])
        rows = rng.choices(by_length[length], k=BATCH)
        paths = [captions.photos[captions.photo_index[row]].path for row in rows]
        images = torch.stack([transform(Image.open(p).convert("RGB")) for p in paths]).to(device)
        synchronize()
        start = time.perf_counter()
        with torch.no_grad():
            grid = encoder.backbone(images)
        synchronize()
        seconds += time.perf_counter() - start
        words = torch.tensor([ids[row] for row in rows], device=device)
        logits = decoder(encoder.embed(grid), words[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    synchronize()
    captions_per_second = steps * BATCH / (time.perf_counter() - began)
    with torch.no_grad():
        bare = rate(encoder.backbone.network, BATCH, images)
    return captions_per_second, steps * BATCH / seconds, bare


def fast_run(data: Path, network: Network, out: Path, precision: str = "auto") -> float:
    """Return the seconds of the whole training, from photos and captions on disk to the weights."""
    config = TrainConfig(
        data=str(data),
        decoder="lstm",
        embed_size=EMBED,
        hidden_size=HIDDEN,
        num_epochs=EPOCHS,
        batch_size=BATCH,
        validate_every=0,
        precision=precision,
        out=str(out),
        **network,
    )
    began = time.perf_counter()
    train(config, tokenizer=tokenizer())
    synchronize()
    return time.perf_counter() - began


@torch.no_grad()
def validation_loss(data: Path, network: Network, out: Path) -> float:
    """Return the loss of the last epoch's pair on "val", all in float32."""
    config = TrainConfig(data=str(data), out=str(out), precision="float32", **network)
    device = get_device()
    files = (out / f"{part}-{EPOCHS}.pkl" for part in ("encoder", "decoder"))
    encoder, decoder, vocab = load_pair(*files, network["weights"], device)
    loader, _ = prepare_split(config, encoder, "val", vocab, tokenizer=tokenizer())
    total = words = 0.0
    for inputs, captions, _ in loader.epoch(0):
        loss, count = caption_loss(decoder, loader.encode(inputs), captions)
        total, words = total + loss.item() * count, words + count
    return total / words


def fresh_root(data: Path, folder: Path) -> Path:
    """Return another folder with the same data, but without features."""
    root = folder / "data"
    root.mkdir(parents=True)
    for part in ("annotations", "images"):
        try:
            (root / part).symlink_to((data / part).resolve(), target_is_directory=True)
        except OSError:  # Windows asks for a privilege
            shutil.copytree(data / part, root / part)
    return root


def measure(args: argparse.Namespace, network: Network) -> tuple[float, float]:
    """Print and record the table of a backbone; return the seconds of both sides."""
    device, stages = get_device(), {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        captions = read_captions(args.data, "train")
        words = list(map(tokenizer(), captions.captions))
        vocab = Vocabulary.build(words, 5)
        naive, inside, bare = naive_steps(captions, vocab, network, args.naive_steps, device)
        root = fresh_root(args.data, folder / "fast")
        seconds = fast_run(root, network, folder / "fast-out")
        total = EPOCHS * len(words)
        rows = [
            {
                "side": "naive, scaled",
                "captions/s": f"{naive:.1f}",
                "seconds": f"{total / naive:.0f}",
            },
            {"side": "fast", "captions/s": f"{total / seconds:.0f}", "seconds": f"{seconds:.1f}"},
        ]
        notes = f"naive network {inside:.1f} photos/s, the network alone {bare:.1f} photos/s"
        has_val = any((args.data / "annotations").glob("captions_val*.json"))
        if has_val and not args.no_check:
            plain_root = fresh_root(args.data, folder / "plain")
            with timed(stages, "float32"):
                fast_run(plain_root, network, folder / "plain-out", precision="float32")
            fast_loss, plain_loss = (
                validation_loss(plain_root, network, folder / out)
                for out in ("fast-out", "plain-out")
            )
            notes += (
                f"; validation loss after epoch {EPOCHS}: {fast_loss:.4f}; of a float32 run with "
                f"the same batches, which took {stages['float32']:.0f} s: {plain_loss:.4f} "
                f"({100 * (fast_loss / plain_loss - 1):+.2f} %)"
            )
    title = f"Pipeline: {network['backbone']}, {len(captions.photos):,} photos, "
    report(f"{title}{len(words):,} captions, {EPOCHS} epochs", rows, notes, args.results)
    return total / naive, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/flickr8k"), help="%(default)s")
    parser.add_argument(
        "--backbone", nargs="+", default=["resnet50"], help="one or several (%(default)s)"
    )
    parser.add_argument(
        "--weights",
        default="IMAGENET1K_V1",
        help="of a torchvision backbone; EfficientNet-Lite has those of its package (%(default)s)",
    )
    parser.add_argument(
        "--naive-steps",
        type=int,
        default=3,
        help="number of timed steps of 128 captions (%(default)s)",
    )
    parser.add_argument(
        "--no-check", action="store_true", help="skip the float32 run, which takes minutes"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="page to append the table to (%(default)s)"
    )
    args = parser.parse_args()
    print(machine())
    seconds: dict[str, float] = {}
    for name in args.backbone:
        weights = PACKAGE if name in SIZES else args.weights
        naive, seconds[name] = measure(args, {"backbone": name, "weights": weights})
        for other in list(seconds)[:-1]:
            times = seconds[other] / seconds[name]
            print(f"{name}: {times:.2f} times as fast as {other}, end to end")
        print(
            f"from JPEG files to the weights of epoch {EPOCHS}: {naive / seconds[name]:.1f} times"
        )


if __name__ == "__main__":
    main()
