"""A GPU that decodes JPEG files: what is decoded is as on the CPU, whose decoder stands in here.

`decode_jpeg` of torchvision takes the same list of files for both; only the device differs.
"""

import numpy as np
import pytest
import torch
import torchvision.io
from PIL import Image

from captioning.data.coco import read_captions
from captioning.data.photos import squash
from captioning.features.extraction import extract_features
from captioning.features.views import GpuViewReader
from tests.helpers import write_data
from train import train


@pytest.fixture
def sent(monkeypatch) -> list:
    """Return a list that receives the number of files in each batch that the GPU is to decode."""
    numbers, decode = [], torchvision.io.decode_jpeg

    def record(files, *args, **options):
        numbers.append(len(files))
        return decode(files, *args, **options)

    monkeypatch.setattr(torchvision.io, "decode_jpeg", record)
    return numbers


@pytest.mark.parametrize("views", [1, 3])
def test_features_are_those_of_the_cpu(pooled, data, tmp_path, sent, views):
    captions = read_captions(data, "train")
    options = {"views": views, "device": "cpu", "batch_size": 15}
    expected = extract_features(pooled, captions, tmp_path, **options)
    found = extract_features(pooled, captions, tmp_path, **options, jpeg_decoder="gpu")
    assert sum(sent) == 12
    assert found.folder != expected.folder  # rounding may differ, so they have a key of their own
    assert np.abs(found.array - expected.array).max() < 0.05 * np.abs(expected.array).max()


def test_what_a_gpu_does_not_decode_is_read_by_the_cpu(pooled, tmp_path, sent):
    data = write_data(tmp_path / "data")
    captions = read_captions(data, "train")
    paths = [photo.path for photo in captions.photos]
    photo = Image.open(paths[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(paths[1], "JPEG", exif=exif)  # turned
    photo.convert("CMYK").save(paths[2], "JPEG")
    photo.save(paths[3], "PNG")
    paths[4].write_bytes(paths[4].read_bytes()[:-200])  # cut off
    paths[5].write_bytes(b"")
    photo.resize((2000, 1200)).save(paths[6], "JPEG")
    options = {"device": "cpu", "batch_size": 16}
    expected = extract_features(pooled, captions, tmp_path / "out", **options)
    found = extract_features(pooled, captions, tmp_path / "out", **options, jpeg_decoder="gpu")
    assert sent == [6]
    assert found.unreadable == expected.unreadable
    assert {*found.unreadable} == {4, 5}
    by_the_cpu = [1, 2, 3, 6]
    assert np.array_equal(found.array[by_the_cpu], expected.array[by_the_cpu])


def test_a_batch_that_the_gpu_refuses_is_read_by_the_cpu(pooled, data, tmp_path, monkeypatch):
    def refuse(files, *args):
        raise RuntimeError("one of them is broken")

    monkeypatch.setattr(torchvision.io, "decode_jpeg", refuse)
    captions = read_captions(data, "train")
    expected = extract_features(pooled, captions, tmp_path, device="cpu")
    found = extract_features(pooled, captions, tmp_path, device="cpu", jpeg_decoder="gpu")
    assert np.array_equal(found.array, expected.array)


def test_a_batch_without_jpeg_files(pooled, tmp_path, sent):
    captions = read_captions(write_data(tmp_path / "data"), "train")
    for photo in captions.photos:
        Image.open(photo.path).save(photo.path, "PNG")
    found = extract_features(pooled, captions, tmp_path / "out", device="cpu", jpeg_decoder="gpu")
    assert not sent
    assert not found.unreadable


def test_gray_files_have_three_channels(pooled, tmp_path, sent):
    captions = read_captions(write_data(tmp_path), "train")
    path = captions.photos[0].path
    Image.open(path).convert("L").save(path, "JPEG")
    reader = GpuViewReader(pooled, captions.photos, 2, torch.device("cpu"))
    [crops] = reader.batch(range(1), iter([reader(0)]), {})
    assert sent == [1]
    assert crops.shape == (2, 3, 48, 48)
    assert torch.equal(crops[:, 0], crops[:, 2])


def test_resizing_floats_is_resizing_bytes_within_rounding(data):
    """A GPU resizes floats only: `squash` rounds them."""
    photo = np.array(Image.open(next((data / "images/train2014").glob("*.jpg"))))
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        pixels.float(), (50, 50), mode="bilinear", antialias=True
    )[0]
    assert (resized.round() - squash(pixels, 50).float()).abs().max() <= 1


def test_without_a_gpu_a_sentence(config_of, tmp_path):
    config = config_of(tmp_path, jpeg_decoder="gpu", device="cpu")
    with pytest.raises(ValueError, match="--jpeg-decoder gpu needs a GPU"):
        train(config)
