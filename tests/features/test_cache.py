"""Features are what the plain float32 encoder says, computed once, whatever interrupts it."""

import json
import shutil

import numpy as np
import pytest
import torch
from tests.helpers import EMBED, ROOT, write_data
from PIL import Image
from torchvision import models

from captioning.features import cache as features
import toy_coco
from captioning.models.backbone import TOY_WEIGHTS, Backbone
from captioning.data.coco import CaptionSet, Photo, read_captions
from captioning.features.cache import FeatureCache, extract_features, transform_of
from captioning.evaluation.scores import evaluate
from model import EncoderCNN
from captioning.data.photos import read_photo
from captioning.inference.serialization import load_pair
from captioning.inference.search import greedy
from captioning.features.fast_network import fast_network, fold_batchnorm, in_parallel

IMAGENET = ROOT / "../shared/weights/resnet50_imagenet_fp16.pth"


@pytest.fixture
def pooled(weights) -> EncoderCNN:
    return EncoderCNN(EMBED, weights=str(weights))


@torch.no_grad()
def plain(encoder, captions, grid=False) -> torch.Tensor:
    """(N, P, D): each photo alone through the encoder's own float32 network."""
    encoder.backbone.grid = grid
    transform = transform_of(encoder)
    images = [transform(read_photo(photo.path)) for photo in captions.photos]
    return torch.cat([encoder.backbone(image[None]) for image in images])


def cosine(one, other) -> float:
    pairs = (torch.as_tensor(np.array(x)).float().flatten(1) for x in (one, other))
    return torch.nn.functional.cosine_similarity(*pairs).min().item()


@pytest.fixture
def looked_at(monkeypatch) -> list:
    """The names of the photos that `extract_features` decodes from here on."""
    seen = []

    def note(path, **options):
        seen.append(path.name)
        return read_photo(path, **options)

    monkeypatch.setattr(features, "read_photo", note)
    return seen


# --- what is stored --------------------------------------------------------------------------


def test_with_a_second_look_training_has_windows_and_use_has_both_looks(data, weights, tmp_path):
    encoder = EncoderCNN(EMBED, weights=str(weights), grid=True, tta=True)
    once = EncoderCNN(EMBED, weights=str(weights), grid=True)
    captions = read_captions(data, "train")
    options = {"grid": True, "device": "cpu", "precision": "float32"}
    windows = extract_features(encoder, captions, tmp_path, views=2, **options)
    plain_windows = extract_features(once, captions, tmp_path, views=2, **options)
    assert windows.folder == plain_windows.folder  # nothing is computed twice
    both = extract_features(encoder, captions, tmp_path, **options)
    assert both.array.shape[1:3] == (1, 32)
    expected = plain(encoder, captions, grid=True)
    assert cosine(both.array[:, 0], expected) > 0.999
    assert both.folder != extract_features(once, captions, tmp_path, **options).folder


@pytest.mark.parametrize("grid", [False, True])
def test_features_are_what_the_plain_encoder_says(pooled, data, tmp_path, grid):
    captions = read_captions(data, "train")
    store = extract_features(pooled, captions, tmp_path, grid=grid, precision="float32", device="cpu")
    expected = plain(pooled, captions, grid)
    assert store.array.shape == (12, 1, 9 if grid else 1, 128)
    assert store.array.dtype == np.float16
    assert not store.unreadable
    assert cosine(store.array[:, 0], expected) > 0.99999
    rounding = (torch.as_tensor(np.array(store.array[:, 0])).float() - expected).abs().max()
    assert rounding < 2e-3 * expected.abs().max()
    stored = np.load(store.folder / "features.npy", mmap_mode="r")
    assert stored.shape == ((12, 1, 9, 128) if grid else (12, 1, 128))


def photo_set(paths) -> CaptionSet:
    return CaptionSet([Photo(i, path) for i, path in enumerate(paths)], [], [])


@pytest.mark.parametrize("grid", [False, True])
def test_half_precision_hardly_turns_the_features_of_a_trained_network(data, tmp_path, grid):
    encoder = EncoderCNN(EMBED, weights=str(TOY_WEIGHTS))
    captions = read_captions(data, "train")
    store = extract_features(encoder, captions, tmp_path, grid=grid, device="cpu")
    assert cosine(store.array[:, 0], plain(encoder, captions, grid)) > 0.999


@pytest.mark.skipif(not IMAGENET.is_file(), reason=f"{IMAGENET} is not here")
def test_nor_do_large_jpegs_decoded_at_reduced_scale(tmp_path):
    """Real photographs and ImageNet's weights, each photo at its size and three times as large."""
    encoder = EncoderCNN(EMBED, weights=str(IMAGENET))
    paths = sorted(ROOT.glob("../shared/data/coco/**/*.jpg"))[:3]
    for path in paths[:2]:
        with Image.open(path) as photo:
            large = photo.convert("RGB").resize((3 * photo.width, 3 * photo.height))
        paths.append(tmp_path / path.name)
        large.save(paths[-1], quality=92)
    store = extract_features(encoder, photo_set(paths), tmp_path, device="cpu")
    assert cosine(store.array[:, 0], plain(encoder, photo_set(paths))) > 0.999


def test_nor_the_score_of_a_trained_captioner(tmp_path):
    """CIDEr of the shipped LSTM, on features in half precision and in float32."""
    toy_coco.draw(tmp_path, 0, (1, 1, 300))
    pair = [ROOT / "models" / "toy-lstm" / f"{part}.pkl" for part in ("encoder", "decoder")]
    encoder, decoder, vocab = load_pair(*pair)
    test = read_captions(tmp_path, "test")
    scores = []
    for precision in ("auto", "float32"):
        store = extract_features(encoder, test, tmp_path / precision, precision=precision, device="cpu")
        with torch.no_grad():
            seen = encoder.embed(torch.from_numpy(store.array[:, 0].copy()).float())
        said = zip(test.photos, greedy(decoder, seen).tolist(), strict=True)
        captions = {photo.id: vocab.decode(words) for photo, words in said}
        scores.append(evaluate(test.references(), captions)["CIDEr"])
    assert scores[0] == pytest.approx(scores[1], abs=0.5)
    assert scores[0] > 150  # they are captions of these pictures


def test_views_keep_augmentation_alive_and_view_0_is_the_plain_one(pooled, data, tmp_path):
    captions = read_captions(data, "val")
    one = extract_features(pooled, captions, tmp_path / "1", precision="float32", device="cpu")
    store = extract_features(pooled, captions, tmp_path / "3", views=3, precision="float32", device="cpu")
    assert store.array.shape == (6, 3, 1, 128)
    assert store.views == 3
    assert cosine(store.array[:, 0], one.array[:, 0]) > 0.99999
    for view in (1, 2):
        assert cosine(store.array[:, view], store.array[:, 0]) < 0.9999
    assert cosine(store.array[:, 1], store.array[:, 2]) < 0.9999
    again = extract_features(pooled, captions, tmp_path / "again", views=3, precision="float32")
    assert np.array_equal(again.array, store.array)


def test_a_batch_size_changes_rounding_only(pooled, data, tmp_path):
    captions = read_captions(data, "train")
    stores = [
        extract_features(pooled, captions, tmp_path, precision="float32", device="cpu", batch_size=size)
        for size in (1, 5, 16)
    ]
    assert len({store.folder for store in stores}) == 3
    assert min(cosine(store.array, stores[0].array) for store in stores) > 0.99999


def test_the_resident_features_are_those_on_disk_which_nobody_changes(pooled, data, tmp_path):
    store = extract_features(pooled, read_captions(data, "val"), tmp_path, device="cpu")
    to_device = store.to_device(torch.device("cpu"))
    assert np.array_equal(to_device.numpy(), store.array)
    to_device += 1
    assert not np.array_equal(to_device.numpy(), store.array)


# --- reused, rebuilt -------------------------------------------------------------------------


def test_what_was_computed_is_reused(pooled, data, tmp_path, looked_at):
    captions = read_captions(data, "train")
    store = extract_features(pooled, captions, tmp_path, device="cpu")
    assert sorted(looked_at) == sorted(photo.path.name for photo in captions.photos)
    looked_at.clear()
    again = extract_features(pooled, captions, tmp_path, device="cpu")
    assert not looked_at
    assert again.folder == store.folder
    assert np.array_equal(again.array, store.array)


def test_another_job_is_computed_anew(weights, pooled, data, tmp_path, looked_at):
    captions = read_captions(data, "train")

    def folder(encoder=pooled, captions=captions, **options) -> str:
        looked_at.clear()
        store = extract_features(encoder, captions, tmp_path, device="cpu", **options)
        assert looked_at
        return store.folder.name

    jobs = [folder(), folder(views=2), folder(grid=True), folder(captions=captions.head(7))]
    shrunk = EncoderCNN(EMBED, weights=str(weights))
    shrunk.backbone.transform["crop"] = 40
    jobs.append(folder(shrunk))
    other = EncoderCNN(EMBED, weights=str(weights))
    with torch.no_grad():
        other.backbone.network.layer4[2].conv3.weight[0] += 1e-2
    jobs.append(folder(other))
    assert len(set(jobs)) == 6
    looked_at.clear()
    extract_features(pooled, captions, tmp_path, device="cpu")
    assert not looked_at  # the first is still there


def test_a_photo_that_changed_on_disk_is_looked_at_again(pooled, tmp_path, looked_at):
    data = write_data(tmp_path / "data")
    first = extract_features(pooled, read_captions(data, "val"), tmp_path / "out", device="cpu")
    folder = data / "images/val2014"
    shutil.copy(data / "images/train2014/photo_003.jpg", folder / "photo_100.jpg")
    looked_at.clear()
    second = extract_features(pooled, read_captions(data, "val"), tmp_path / "out", device="cpu")
    assert looked_at
    assert not np.array_equal(first.array[0], second.array[0])
    assert np.array_equal(first.array[1:], second.array[1:])


LOAD_ERRORS = {
    "index.json": [b"", b"{", b"[]", b'{"job": 7}', b'{"job": {}, "done": "x", "unreadable": []}'],
    "features.npy": [b"", b"\x93NUMPY", b"cos\nsystem\n(S'true'\ntR."],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name, kinds in LOAD_ERRORS.items() for content in kinds]
)
def test_a_broken_store_is_computed_anew(pooled, data, tmp_path, capsys, name, content):
    captions = read_captions(data, "val")
    store = extract_features(pooled, captions, tmp_path, device="cpu")
    good = (store.folder / "features.npy").read_bytes()
    (store.folder / name).write_bytes(content)
    capsys.readouterr()
    again = extract_features(pooled, captions, tmp_path, device="cpu")
    assert (again.folder / "features.npy").read_bytes() == good
    assert again.done == 6
    assert str(store.folder) in capsys.readouterr().out


# --- interrupted, unreadable -----------------------------------------------------------------


@pytest.mark.parametrize("views", [1, 3])
def test_an_interrupted_extraction_goes_on_with_the_same_bytes(
    pooled, data, tmp_path, monkeypatch, views
):
    captions = read_captions(data, "train")
    options = {"views": views, "batch_size": 3, "device": "cpu"}
    whole = extract_features(pooled, captions, tmp_path / "whole", **options)
    monkeypatch.setattr(features, "SAVE_EVERY", 0.0)  # note the progress after every batch
    for stop in ("photo_004.jpg", "photo_009.jpg"):

        def read(path, stop=stop, **options):
            if path.name == stop:
                raise KeyboardInterrupt
            return read_photo(path, **options)

        monkeypatch.setattr(features, "read_photo", read)
        with pytest.raises(KeyboardInterrupt):
            extract_features(pooled, captions, tmp_path / "cut", **options)
    [folder] = (tmp_path / "cut").iterdir()
    assert 0 < json.loads((folder / "index.json").read_text())["done"] < 12
    read_again = []

    def note(path, **options):
        read_again.append(path.name)
        return read_photo(path, **options)

    monkeypatch.setattr(features, "read_photo", note)
    extract_features(pooled, captions, tmp_path / "cut", **options)
    assert 0 < len(read_again) < 12
    for name in ("features.npy", "index.json"):
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_an_unreadable_photo_is_left_out_and_reported(pooled, tmp_path, capsys):
    data = write_data(tmp_path / "data")
    broken = data / "images/train2014/photo_005.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    captions = read_captions(data, "train")
    store = extract_features(pooled, captions, tmp_path / "out", views=2, device="cpu")
    assert list(store.unreadable) == [5]
    assert str(broken) in store.unreadable[5]
    said = capsys.readouterr().out
    assert "left out 1 unreadable" in said
    assert "photo_005.jpg" in said
    whole = captions.drop_photos({5})
    assert len(whole.captions) == 33
    good = [row for row in range(12) if row != 5]
    assert np.isfinite(store.array[good]).all()
    assert np.abs(store.array[good]).max(axis=(1, 2, 3)).min() > 0
    again = FeatureCache(store.folder)  # the report is kept
    assert again.unreadable == store.unreadable


def test_views_below_one_are_refused(pooled, data, tmp_path):
    with pytest.raises(ValueError, match="views"):
        extract_features(pooled, read_captions(data, "val"), tmp_path, views=0)


# --- the fast network ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@torch.no_grad()
def test_folding_batchnorm_changes_nothing(name):
    torch.manual_seed(0)
    network = Backbone(name, weights=None).network
    images = torch.rand(4, 3, 64, 64)
    network.train()(images)
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold_batchnorm(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    expected = network(images)
    assert (folded(images) - expected).abs().max() < 1e-4 * expected.abs().max()
    fast = fast_network(network, torch.device("cpu"), torch.float32, images=4)
    assert (fast(images) - expected).abs().max() < 1e-4 * expected.abs().max()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])  # the original is unharmed


def test_folding_leaves_batchnorm_that_follows_no_convolution():
    network = models.densenet121(weights=None).features.eval()
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            fold_batchnorm(network)(images), network(images), atol=1e-4, rtol=1e-3
        )


def test_in_parallel_keeps_order_and_stays_only_a_little_ahead():
    asked = []

    def items():
        for i in range(100):
            asked.append(i)
            yield i

    results = in_parallel(lambda i: i * i, items(), threads=2)
    assert next(results) == 0
    assert len(asked) < 20
    assert list(results) == [i * i for i in range(1, 100)]
