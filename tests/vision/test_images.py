"""Bad input: clear errors or correct pixels."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from attar.vision.adapters import adapt
from attar.vision.images import ImageError, ImageProcessor, open_image
from tests.vision.models import timm_vit

PLAIN = ImageProcessor(8, 8, (0, 0, 0), (1, 1, 1))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 7)])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_extreme_shapes(size, fit):
    x = ImageProcessor(8, 8, (0.5, 0.5, 0.5), (1, 1, 1), fit)(Image.new("RGB", size, "white"))
    assert x.shape == (1, 3, 8, 8)
    assert torch.isfinite(x).all() and x.max() == 0.5


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_modes_become_rgb(mode):
    image = Image.new("RGB", (9, 5), (255, 255, 255)).convert("L").convert("RGB")
    made = image.convert(mode) if mode != "LAB" else Image.new("LAB", (9, 5), (255, 128, 128))
    out = open_image(made)
    assert out.mode == "RGB" and out.size == (9, 5)
    if mode != "LAB":
        assert np.asarray(out).min() >= 254


def test_transparency_lies_on_white():
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    assert np.asarray(open_image(image))[0].tolist() == [[255, 255, 255], [0, 0, 0]]
    palette = Image.new("P", (1, 1), 0)
    palette.info["transparency"] = 0
    assert np.asarray(open_image(palette)).tolist() == [[[255, 255, 255]]]


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    for picture in (ramp, Image.fromarray(ramp), encoded(Image.fromarray(ramp), "PNG")):
        assert np.asarray(open_image(picture))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_are_scaled():
    grey = Image.fromarray(np.array([[0.0, 1.0]], dtype=np.float32))
    assert np.asarray(open_image(grey))[0, :, 0].tolist() == [0, 255]
    assert np.asarray(open_image(torch.ones(2, 2, 3)))[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize(
    ("array", "rule"),
    [
        (np.full((2, 2, 3), np.nan), "finite and in 0..1"),
        (np.full((2, 2, 3), np.inf), "finite and in 0..1"),
        (np.full((2, 2, 3), 200.0), "divide by 255"),
        (np.full((2, 2, 3), -0.1), "finite and in 0..1"),
        (np.zeros((3, 8, 8)), "put the channels last"),
        (np.zeros((0, 8, 3)), "not empty"),
        (np.zeros((2, 2, 3), dtype=np.int64), "uint8, uint16 or float"),
        (np.zeros(5), "image array must be"),
    ],
)
def test_bad_arrays_are_refused(array, rule):
    with pytest.raises(ImageError, match=rule):
        PLAIN(array)


def test_nan_in_a_float_image_is_refused():
    with pytest.raises(ImageError, match="mode F must be finite"):
        open_image(Image.fromarray(np.array([[np.nan]], dtype=np.float32)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_files_are_refused(kind, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    whole = encoded(noise, kind)
    file = tmp_path / "cut.img"
    for end in (4, len(whole) // 2, len(whole) - 300):
        file.write_bytes(whole[:end])
        with pytest.raises(ImageError, match="cut.img as an image"):
            open_image(file)
        with pytest.raises(ImageError, match="bytes as an image"):
            open_image(whole[:end])


def test_files_that_are_no_images(tmp_path):
    file = tmp_path / "notes.png"
    file.write_text("not a picture")
    with pytest.raises(ImageError, match=r"notes\.png as an image"):
        PLAIN(file)
    with pytest.raises(FileNotFoundError):
        PLAIN(tmp_path / "absent.png")
    with pytest.raises(TypeError, match="got dict"):
        open_image({})


def test_exif_rotation_is_undone():
    image = Image.new("RGB", (20, 10), "black")
    image.paste("white", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = open_image(encoded(image, "JPEG", exif=exif, quality=95))
    assert out.size == (10, 20)
    assert np.asarray(out)[:8].mean() > 240 > 20 > np.asarray(out)[12:].mean()


def test_mixed_sizes_make_one_batch():
    x = PLAIN([Image.new("L", (3, 4)), np.zeros((9, 2), np.uint8), Image.new("RGB", (8, 8))])
    assert x.shape == (3, 3, 8, 8)
    assert PLAIN([]).shape == (0, 3, 8, 8)


def test_pad_keeps_the_whole_and_crop_the_centre():
    image = Image.new("RGB", (16, 8), "white")
    padded = ImageProcessor(8, 8, (0.5, 0.5, 0.5), (1, 1, 1), "pad")(image)[0]
    assert padded[:, 0].abs().max() < 0.01 and padded[0, 4].tolist() == [0.5] * 8
    image.paste("black", (0, 0, 4, 8))
    assert ImageProcessor(8, 8, (0, 0, 0), (1, 1, 1), "crop")(image).min() == 1


def test_the_processor_of_a_model_feeds_it():
    vit = adapt(timm_vit())
    processor = ImageProcessor.of(vit)
    x = processor.preprocess(Image.new("RGB", (31, 17), "red"), return_tensors="pt")["pixel_values"]
    assert x.shape == (1, 3, 64, 64) and torch.isfinite(vit(x).patches).all()
    assert x[0, 0, 0, 0].item() == pytest.approx((1 - vit.facts.mean[0]) / vit.facts.std[0])
    with pytest.raises(ValueError, match="multiples of the patch"):
        ImageProcessor.of(vit, height=65)
    with pytest.raises(ValueError, match='fit must be "squash"'):
        ImageProcessor.of(vit, fit="stretch")
