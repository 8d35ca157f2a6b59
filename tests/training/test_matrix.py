"""Every way through a run, on tiny photos: train an epoch, load the pair, caption, score.

The matrix is decoder x features (cached, or photos read in every epoch) x data (one folder or two)
x precision. Of these 40 runs 20 are made, half of the matrix: with each decoder, any two of the
other three choices meet in all four ways. Whether the decoder gets the grid or its mean follows
from its kind. Then come, in bfloat16, the ways through training that only some runs take.

bfloat16 is forced here, as CPUs and GPUs that multiply it choose it by themselves.
"""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import train as train_module
from captioning.data.coco import read_captions
from captioning.device import compute_dtype
from captioning.evaluation.scores import evaluate
from captioning.files import read_json
from captioning.inference.captioner import Captioner
from captioning.safe_load import safe_load
from captioning.training.monitoring import read_history
from model import DECODERS, NEEDS_GRID
from tests.helpers import ROOT, write_data, write_split
from train import train

WORDS = 5  # of a caption: less than most training captions have
TRAIN_IN_BFLOAT16 = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import torch, train
torch.cpu._is_amx_tile_supported = lambda: True
train.main()
"""
CHOICES = itertools.product(DECODERS, ("cached", "photos"), (1, 2), ("float32", "bfloat16"))
MATRIX = [
    choice
    for choice in CHOICES
    if [choice[1] == "photos", choice[2] == 2, choice[3] == "bfloat16"].count(True) in (0, 2)
]


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> list[Path]:
    """Two folders of data with train and val, the first with 4 test photos; no photo is in both."""
    first, second = (tmp_path_factory.mktemp("folder") for _ in range(2))
    write_data(first)  # a drawn photo comes back after 30 numbers
    write_split(first, "test2014", 4, first=26)
    write_split(second, "train2014", 6, first=46)
    write_split(second, "val2014", 4, first=52)
    return [first, second]


@pytest.fixture
def in_bfloat16(monkeypatch):
    """Let this machine compute in bfloat16; oneDNN's LSTM cannot where the hardware does not."""
    has_hardware = compute_dtype(torch.device("cpu")) == torch.bfloat16
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", has_hardware)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert compute_dtype(torch.device("cpu")) == torch.bfloat16


@pytest.fixture
def validations(monkeypatch) -> list[dict]:
    """Return a list that gets, at each validation, its folders, its captions and its precision."""
    seen, validate = [], train_module.validate

    def watched(loader, *args):
        scores, texts = validate(loader, *args)
        paths = [photo.path for photo in loader.captions.photos]
        names = {path.parents[2].name for path in paths}
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        seen.append({"folders": names, "photos": len(paths), "texts": texts, "autocast": dtype})
        return scores, texts

    monkeypatch.setattr(train_module, "validate", watched)
    return seen


def to_tensor(photo: Image.Image) -> torch.Tensor:
    """Return the whole photo as an image of 48 x 48 pixels: a transform of the user's own."""
    pixels = torch.frombuffer(bytearray(photo.resize((48, 48)).tobytes()), dtype=torch.uint8)
    return (pixels.view(48, 48, 3).permute(2, 0, 1) / 255 - 0.5) / 0.25


def check_captions(out: Path, data: Path, weights: Path) -> None:
    """Assert that the best pair captions the test photos, the same twice, and can be scored."""
    captioner = Captioner.load(
        out / "best/encoder.pkl", out / "best/decoder.pkl", str(weights), "cpu"
    )
    photos = read_captions(data, "test")
    paths = [photo.path for photo in photos.photos]
    for beam_size in (3, 1):  # greedy last: after an epoch a beam's best is often the empty caption
        found = captioner.caption(paths, beam_size)
        again = dict(captioner.caption_stream(paths, beam_size=beam_size))
        assert [again[path] for path in paths] == found
        assert all(len(best.words) <= WORDS for (best,) in found)
    assert captioner.decoder.max_words == WORDS
    texts = {photo.id: best.text for photo, (best,) in zip(photos.photos, found, strict=True)}
    assert all(len(text.split()) <= WORDS for text in texts.values())
    assert all(math.isfinite(best.score) for (best,) in found)
    scores = evaluate(photos.references(), texts)
    assert all(math.isfinite(score) for score in scores.values())
    assert scores["BLEU-1"] > 0  # some words are right after one epoch: "a", ".", the commonest


def check_history(out: Path, epochs: int = 1) -> None:
    """Assert finite numbers, and a decoder that predicts better than by chance."""
    history = read_history(out / "history.csv")
    assert len(history) == epochs
    words = len(safe_load(out / "best/decoder.pkl")["words"])
    for row in history:
        assert all(math.isfinite(value) for value in row.values())
        assert row["val_loss"] < math.log(words)


@pytest.mark.parametrize(("decoder", "source", "count", "precision"), MATRIX)
def test_a_run_trains_captions_and_scores(
    config_of, folders, tmp_path, weights, validations, request,
    decoder, source, count, precision,
):  # fmt: skip
    if precision == "bfloat16":
        request.getfixturevalue("in_bfloat16")
    data, cache = tuple(map(str, folders[:count])), tmp_path / "features"
    config = config_of(
        tmp_path / "out",
        data=data,
        decoder=decoder,
        precision="float32" if precision == "float32" else "auto",
        num_epochs=1,
        batch_size=2,
        lr=1e-2,
        max_caption_words=WORDS,
        cache_dir=str(cache),
    )
    train(config, transform=to_tensor if source == "photos" else None)
    check_history(tmp_path / "out")
    (seen,) = validations
    assert seen["folders"] == {folder.name for folder in folders[:count]}
    assert len(seen["texts"]) == seen["photos"] == (6 if count == 1 else 10)
    assert seen["autocast"] == (torch.bfloat16 if precision == "bfloat16" else None)
    specs = [read_json(index)["spec"] for index in cache.glob("*/index.json")]
    cached_splits = 2 * count if source == "cached" else count  # val is always cached
    assert len(specs) == cached_splits
    assert {spec["precision"] for spec in specs} == {precision}
    assert {spec["grid"] for spec in specs} == {decoder in NEEDS_GRID}
    check_captions(tmp_path / "out", folders[0], weights)


@pytest.fixture
def options(in_bfloat16, folders, weights, tmp_path) -> list[str]:
    """Return the command line of a small run on both folders."""
    flags = "--embed-size 16 --hidden-size 24 --batch-size 2 --vocab-threshold 1 --lr 0.01"
    flags += f" --num-epochs 1 --device cpu --max-caption-words {WORDS}"
    paths = ["--data", *folders, "--weights", weights, "--out", tmp_path / "out"]
    paths += ["--cache-dir", tmp_path / "features"]
    return [*flags.split(), *map(str, paths)]


@pytest.mark.parametrize(
    ("flags", "epochs"),
    [
        ("--decoder attention --fine-tune-from layer4 --fine-tune-lr 1e-3", 1),
        ("--decoder transformer --scheduled-sampling 0.5", 1),
        ("--decoder gru --image-input state --scheduled-sampling 0.5", 1),
        ("--decoder attention --tta --views 2 --pca 8 --attention-penalty 2", 1),
        ("--decoder rnn --nonlinearity relu --ema-decay 0.9 --tie-weights --hidden-size 16", 1),
        ("--decoder gru --passes 1 2 --num-layers 2 --frequency-bias", 1),
        ("--num-layers 2 --val-beam-size 2 --schedule plateau --optimizer adamw", 1),
        ("--decoder transformer --self-critical-epochs 1 --self-critical-rounds 2", 4),
        ("--decoder lstm --self-critical-epochs 1 --val-beam-size 2", 2),
    ],
)
def test_an_option_trains_in_bfloat16(options, folders, weights, tmp_path, cli, flags, epochs):
    assert cli(train_module.main, *options, *flags.split()) == 0
    check_history(tmp_path / "out", epochs)
    check_captions(tmp_path / "out", folders[0], weights)


def test_several_decoders_train_in_bfloat16(options, folders, weights, tmp_path, cli):
    assert cli(train_module.main, *options, "--decoder", *DECODERS) == 0
    for kind in DECODERS:
        check_history(tmp_path / "out" / kind)
        check_captions(tmp_path / "out" / kind, folders[0], weights)
    specs = [read_json(index)["spec"] for index in tmp_path.glob("features/*/index.json")]
    assert sum(spec["grid"] for spec in specs) == 4  # two splits of two folders, and their means
    assert len(specs) == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [[], ["--fine-tune-from", "layer4", "--batch-size", "6"]], ids=["cached", "photos"]
)
def test_two_processes_train_in_bfloat16(options, folders, weights, tmp_path, source):
    flags = ["--decoder", "gru", *source]  # whose layer needs no hardware for it
    script = tmp_path / "run.py"
    script.write_text(TRAIN_IN_BFLOAT16, encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ended = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", script, str(ROOT), *options, *flags],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr
    check_history(tmp_path / "out")
    check_captions(tmp_path / "out", folders[0], weights)
