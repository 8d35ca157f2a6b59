"""Photos of every kind: read as they look, or refused in one sentence that names file and cause."""

import io
import itertools
import random
import struct

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from captioning.data import decode
from captioning.data.decode import FORMATS
from captioning.data.photos import PhotoTransform, read_photo, transform_test, transform_train
from tests.odd_exif import ODD_TAGS, TURN, odd_exif

RED, BLUE = (220, 30, 30), (30, 30, 220)


def picture(size=(64, 48), mode="RGB") -> Image.Image:
    """The left half red, the right half blue."""
    photo = Image.new("RGB", size, RED)
    photo.paste(BLUE, (size[0] // 2, 0, *size))
    return photo.convert(mode)


def noise(size=(64, 64), seed=0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def color_at(photo: Image.Image, x: int, y: int) -> np.ndarray:
    return np.asarray(photo)[y, x].astype(int)


def close(color, wanted, within=12) -> bool:
    return np.abs(np.asarray(color) - np.asarray(wanted)).max() <= within


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("photo.jpg", "RGB"),
        ("photo.png", "RGB"),
        ("photo.webp", "RGB"),
        ("photo.bmp", "RGB"),
        ("photo.tif", "RGB"),
        ("photo.png", "P"),
        ("photo.gif", "P"),
        ("photo.png", "RGBA"),
        ("photo.jpg", "CMYK"),
        ("photo.tif", "CMYK"),
        ("jpeg as.png", "RGB"),
    ],
)
def test_every_kind_of_photo_looks_as_it_is(tmp_path, name, mode):
    path = tmp_path / name
    options = {"format": "JPEG"} if "as" in name else {}
    picture(mode=mode).save(path, **options)
    photo = read_photo(path)
    assert photo.mode == "RGB"
    assert photo.size == (64, 48)
    assert close(color_at(photo, 10, 20), RED, within=30)
    assert close(color_at(photo, 54, 20), BLUE, within=30)


def test_gray_of_8_and_of_16_bits_is_the_same_gray(tmp_path):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    Image.fromarray(ramp).save(tmp_path / "8.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(ramp.astype(np.float32) / 252).save(tmp_path / "float.tif")
    eight, sixteen = (np.asarray(read_photo(tmp_path / f"{bits}.png")) for bits in (8, 16))
    assert (eight == ramp[..., None]).all()
    assert np.abs(eight.astype(int) - sixteen).max() <= 1
    assert np.ptp(np.asarray(read_photo(tmp_path / "float.tif"))) == 255


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_values_of_10_to_16_bits_in_16_are_neither_black_nor_coarse(tmp_path, bits, suffix, bands):
    levels = np.random.default_rng(0).random((48, 64, bands))
    levels[..., 3:] = 1  # opaque
    levels[0, 0] = 1
    deep = np.round(levels * (2**bits - 1)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"deep{suffix}"), deep)
    wanted = np.round(levels[..., :3] * 255)[..., ::-1]  # OpenCV's are blue, green, red
    found = np.asarray(read_photo(tmp_path / f"deep{suffix}")).astype(int)
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("white", [1, 255, 4095, 65535, 1e-4, 1e7])
def test_floats_of_any_range_are_scaled_and_those_that_are_not_finite_do_no_harm(tmp_path, white):
    levels = np.random.default_rng(0).random((48, 64)).astype(np.float32)
    gray = levels * np.float32(white)
    gray[5, 5], gray[6, 6], gray[7, 7], gray[8, 8] = np.nan, np.inf, -np.inf, 1e30
    Image.fromarray(gray).save(tmp_path / "float.tif")
    found = np.asarray(read_photo(tmp_path / "float.tif"))[..., 0]
    wanted = np.round(levels * 255).astype(int)
    assert (found[[5, 6, 7, 8], [5, 6, 7, 8]] == [0, 255, 0, 255]).all()
    others = np.isfinite(gray) & (gray < 1e30)
    assert np.abs(found - wanted)[others].max() <= 2
    Image.fromarray(2 * levels - 1).save(tmp_path / "signed.tif")  # as a network's input
    signed = np.asarray(read_photo(tmp_path / "signed.tif"))[..., 0]
    assert np.abs(signed - wanted).max() <= 2
    Image.fromarray(np.full_like(gray, np.nan)).save(tmp_path / "nan.tif")
    refused(tmp_path / "nan.tif", "none of its values is finite")


def test_what_is_transparent_is_white(tmp_path):
    photo = picture(mode="RGBA")
    photo.paste((0, 0, 0, 0), (0, 0, 32, 48))
    photo.save(tmp_path / "photo.png")
    seen = read_photo(tmp_path / "photo.png")
    assert close(color_at(seen, 10, 20), (255, 255, 255))
    assert close(color_at(seen, 54, 20), BLUE)


@pytest.mark.parametrize(("format", "opacity"), [("PNG", 0), ("GIF", 0), ("PNG", b"\0\xff")])
def test_a_transparent_color_of_a_palette_is_white(tmp_path, format, opacity):
    photo = Image.new("P", (64, 48), 1)
    photo.putpalette([0, 0, 0, *BLUE])
    photo.paste(0, (0, 0, 32, 48))
    photo.save(tmp_path / "photo", format, transparency=opacity)
    seen = read_photo(tmp_path / "photo")
    assert close(color_at(seen, 10, 20), (255, 255, 255))
    assert close(color_at(seen, 54, 20), BLUE)


def test_a_photo_that_is_transparent_all_over_is_seen_nevertheless(tmp_path):
    photo = picture(mode="RGBA")
    photo.putalpha(0)  # as some programs write every BMP of 32 bits
    photo.save(tmp_path / "photo.png")
    assert close(color_at(read_photo(tmp_path / "photo.png"), 10, 20), RED)


def test_a_palette_of_8_bits_where_tiff_has_16_is_not_black(tmp_path):
    picture(mode="P").save(tmp_path / "photo.tif")
    content = (tmp_path / "photo.tif").read_bytes()
    colors = np.frombuffer(content[-256 * 6 :], "<u2")
    assert colors.max() > 50_000
    narrow = content[: -256 * 6] + (colors // 256).astype("<u2").tobytes()
    (tmp_path / "photo.tif").write_bytes(narrow)
    assert close(color_at(read_photo(tmp_path / "photo.tif"), 10, 20), RED, within=30)


@pytest.mark.parametrize("name", ODD_TAGS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_stops_nothing_and_the_photo_is_turned_all_the_same(tmp_path, form, name):
    for tags in ([TURN, *ODD_TAGS[name]], [*ODD_TAGS[name], TURN]):
        picture().save(tmp_path / "photo", form, exif=odd_exif(tags))
        upright = read_photo(tmp_path / "photo")
        assert upright.size == (48, 64)
        assert close(color_at(upright, 24, 5), RED, within=30)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        odd_exif([TURN])[:-12],
        odd_exif([(0x0112, 3, 1, b"\x09")]),
        odd_exif([(0x0112, 2, 2, b"6")]),
        odd_exif([(0x0112, 3, 0, b"\6")]),
        odd_exif([(0x0112, 3, 3, b"\xff\xff\xff\xff")]),
    ],
)
def test_an_orientation_that_cannot_be_read_means_upright(tmp_path, exif):
    picture().save(tmp_path / "photo.jpg", exif=exif)
    assert read_photo(tmp_path / "photo.jpg").size == (64, 48)


def test_an_orientation_may_be_an_integer_of_any_type_and_either_byte_order(tmp_path):
    for kind, order in itertools.product("BHLbhl", "<>"):
        number = {"B": 1, "H": 3, "L": 4, "b": 6, "h": 8, "l": 9}[kind]
        exif = odd_exif([(0x0112, number, 1, struct.pack(order + kind, 6))], order)
        picture().save(tmp_path / "photo.jpg", exif=exif)
        assert read_photo(tmp_path / "photo.jpg").size == (48, 64)


def test_a_tiff_is_turned_once_and_needs_no_sound_tag_but_those_of_its_pixels(tmp_path):
    for compression in ("raw", "tiff_lzw"):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[0x0112], tags.tagtype[0x011A], tags[0x011A] = 6, 2, "wide"
        tags.tagtype[0x0128], tags[0x0128] = 3, 3
        picture().save(tmp_path / "photo.tif", tiffinfo=tags, compression=compression)
        upright = read_photo(tmp_path / "photo.tif")
        assert upright.size == (48, 64)
        assert close(color_at(upright, 24, 5), RED)


@pytest.mark.parametrize("segment", [b"\xff\xe0\0\x06JFIF", b"\xff\xe2\0\x08MPF\0\0\0",
                                     b"\xff\xed\0\x12Photoshop 3.0\x008B"])  # fmt: skip
def test_broken_segments_of_a_jpeg_stop_nothing(tmp_path, segment):
    whole = io.BytesIO()
    picture().save(whole, "JPEG")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" + segment + whole.getvalue()[2:])
    assert close(color_at(read_photo(tmp_path / "photo.jpg"), 10, 20), RED, within=30)


@pytest.mark.parametrize("name", [b"pHYs", b"gAMA", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL"])
def test_broken_chunks_of_a_png_stop_nothing(tmp_path, name):
    whole = io.BytesIO()
    picture().save(whole, "PNG")
    content = whole.getvalue()
    for junk in (b"", b"x", b"name\0\7" + bytes(20)):
        chunk = struct.pack(">L", len(junk)) + name + junk + b"\0\0\0\0"  # a wrong check sum too
        (tmp_path / "photo.png").write_bytes(content[:33] + chunk + content[33:])
        assert close(color_at(read_photo(tmp_path / "photo.png"), 10, 20), RED)


@pytest.mark.skipif("AVIF" not in FORMATS, reason="needs Pillow 11.3")
def test_an_avif_is_turned_by_its_container(tmp_path):
    picture().save(tmp_path / "photo.avif", exif=odd_exif([TURN]))
    upright = read_photo(tmp_path / "photo.avif")
    assert upright.size == (48, 64)
    assert close(color_at(upright, 24, 5), RED, within=30)


def test_the_metadata_of_a_photo_is_never_parsed_by_pillow(tmp_path, monkeypatch):
    def fail(*arguments):
        raise AssertionError("EXIF was parsed")

    monkeypatch.setattr(Image.Exif, "load", fail)
    picture().save(tmp_path / "photo.jpg", exif=odd_exif([TURN]))
    assert read_photo(tmp_path / "photo.jpg").size == (48, 64)


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [(1, (64, 48), (5, 24)), (3, (64, 48), (58, 24)), (6, (48, 64), (24, 5)),
     (8, (48, 64), (24, 58)), (2, (64, 48), (58, 24))],
)  # fmt: skip
def test_exif_rotation_is_honored(tmp_path, orientation, size, red_at):
    photo = picture()
    exif = photo.getexif()
    exif[0x0112] = orientation
    photo.save(tmp_path / "photo.jpg", exif=exif)
    upright = read_photo(tmp_path / "photo.jpg")
    assert upright.size == size
    assert close(color_at(upright, *red_at), RED, within=30)


def test_one_pixel_is_a_photo(tmp_path):
    Image.new("RGB", (1, 1), RED).save(tmp_path / "tiny.png")
    image = transform_test(read_photo(tmp_path / "tiny.png", min_side=224))
    assert image.shape == (3, 224, 224)
    assert torch.allclose(image, image[:, :1, :1].expand_as(image))


def test_8000_x_8000_pixels_are_read_at_reduced_scale(tmp_path):
    Image.new("RGB", (8000, 8000), RED).save(tmp_path / "huge.jpg")
    photo = read_photo(tmp_path / "huge.jpg", min_side=224)
    assert photo.size == (1000, 1000)  # JPEG's 1/8
    assert close(color_at(photo, 500, 500), RED)


def test_more_pixels_than_the_limit_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    picture((200, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(decode, "MAX_PIXELS", 19_999)
    with pytest.raises(ValueError, match=r"bomb\.png has 200 x 100 pixels"):
        read_photo(tmp_path / "bomb.png")


def refused(path, cause: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=cause) as error:
        read_photo(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_photo_is_refused_in_one_sentence(tmp_path):
    refused(tmp_path / "none.jpg", "is missing")
    (tmp_path / "empty.jpg").write_bytes(b"")
    refused(tmp_path / "empty.jpg", "is empty")
    (tmp_path / "text.jpg").write_text("a photo of a dog", encoding="utf-8")
    refused(tmp_path / "text.jpg", "is not a photo")
    for head, name in [(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"), (b"\xff\x0a", "JPEG XL")]:
        (tmp_path / "phone.jpg").write_bytes(head + bytes(99))
        refused(tmp_path / "phone.jpg", f"is {name}, which cannot be read here; save it as JPEG")
    (tmp_path / "folder.jpg").mkdir()
    refused(tmp_path / "folder.jpg", "is a folder")
    (tmp_path / "evil.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    refused(tmp_path / "evil.jpg", "is not a photo")  # PostScript is a program


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
def test_a_truncated_photo_is_never_half_gray(tmp_path, form, fraction):
    whole = io.BytesIO()
    noise().save(whole, format=form)
    (tmp_path / "cut").write_bytes(whole.getvalue()[: int(fraction * whole.tell())])
    refused(tmp_path / "cut", "is broken|is not a photo")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of odd tags
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_flipped_bytes_give_a_photo_or_one_sentence(tmp_path, form):
    whole, rng = io.BytesIO(), random.Random(form)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise((24, 24)).save(whole, format=form, exif=exif)
    path = tmp_path / "mutant"
    for _ in range(60):
        mutant = bytearray(whole.getvalue())
        for _ in range(rng.randint(1, 8)):
            mutant[rng.randrange(min(len(mutant), 700))] = rng.randrange(256)
        path.write_bytes(mutant)
        try:
            answer = read_photo(path, min_side=8).mode
        except ValueError as error:
            answer = str(error)
        assert answer == "RGB" or (str(path) in answer and "\n" not in answer)


def test_the_test_transform_shows_the_whole_photo_always_alike():
    photo = noise((90, 60))
    image = transform_test(photo)
    assert image.shape == (3, 224, 224)
    assert image.dtype == torch.float32
    assert torch.equal(image, transform_test(photo))
    assert torch.equal(image, transform_test(photo, seed=7))
    corners = transform_test(picture((90, 60)))[:, [0, -1]][:, :, [0, -1]]
    assert corners[0, 0, 0] > corners[0, 0, 1]  # red on the left, blue on the right:
    assert corners[2, 1, 0] < corners[2, 1, 1]  # nothing cut off, nothing mirrored


def test_values_are_normalized_as_imagenet_was():
    gray = transform_test(Image.new("RGB", (30, 30), (128, 64, 255)))[:, 9, 9]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(gray, (torch.tensor([128, 64, 255]) / 255 - mean) / std)


def test_the_training_transform_varies_and_a_seed_repeats_it():
    photo = noise((300, 300))
    again = [transform_train(photo, seed=(3, "name")) for _ in range(2)]
    assert torch.equal(*again)
    assert len({transform_train(photo, seed=s).sum().item() for s in range(8)}) > 4
    assert len({transform_train(photo).sum().item() for _ in range(8)}) > 1


def test_a_training_crop_is_a_window_of_the_photo_mirrored_half_the_time():
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    ramp = Image.fromarray(ramp)  # the pixel's value is its column
    vary = PhotoTransform(resize=64, crop=48, train=True)
    cuts = [vary.resize_and_crop(ramp, seed)[0, 0].int() for seed in range(200)]
    mirrored = sum(bool(cut[0] > cut[-1]) for cut in cuts)
    assert 70 < mirrored < 130
    assert {int(cut.min()) for cut in cuts} == set(range(17))
    assert all(int(cut.max() - cut.min()) == 47 for cut in cuts)


@pytest.mark.parametrize(
    "wrong", [{"crop": 0}, {"crop": 300}, {"resize": 10**6, "crop": 10**6}, {"crop": 9.5}]
)
def test_an_impossible_transform_is_refused(wrong):
    with pytest.raises(ValueError, match="crop"):
        PhotoTransform(**wrong)
    for colors in ({"mean": [0.5]}, {"std": (0.2, 0.0, 0.2)}, {"std": "red"}):
        with pytest.raises(ValueError, match=r"mean and std|could not convert"):
            PhotoTransform(**colors)
