"""Pages of a PDF."""

import io

import numpy as np
import pytest
from PIL import Image

from attar.vision.adapters import adapt
from attar.vision.encoders import PooledImageEncoder
from attar.vision.images import ImageError
from attar.vision.pdf import pdf_pages
from tests.vision.models import timm_vit

pytest.importorskip("pypdfium2")


def a_pdf():
    """Two pages of 100 x 50 points: left half red, then all blue."""
    first, second = Image.new("RGB", (100, 50), "white"), Image.new("RGB", (100, 50), "blue")
    first.paste("red", (0, 0, 50, 50))
    buffer = io.BytesIO()
    first.save(buffer, "PDF", resolution=72, save_all=True, append_images=[second])
    return buffer.getvalue()


def test_pages_look_like_the_document(tmp_path):
    file = tmp_path / "two.pdf"
    file.write_bytes(a_pdf())
    for source in (file, str(file), a_pdf()):
        first, second = pdf_pages(source, dpi=144)
        assert first.size == second.size == (200, 100)
        assert np.abs(np.asarray(first)[50, 20].astype(int) - (255, 0, 0)).max() < 8
        assert np.asarray(first)[50, 180].min() > 247
        assert np.abs(np.asarray(second)[50, 180].astype(int) - (0, 0, 255)).max() < 8


def test_pages_go_into_an_encoder():
    vectors = PooledImageEncoder(adapt(timm_vit())).encode_images(list(pdf_pages(a_pdf(), 72)))
    assert vectors.shape == (2, 48) and not np.allclose(*vectors)


def test_what_is_no_pdf_is_refused(tmp_path):
    whole = a_pdf()
    for broken in (b"", b"not a PDF", whole[: len(whole) // 3]):
        with pytest.raises(ImageError, match="as a PDF"):
            next(pdf_pages(broken))
    with pytest.raises(FileNotFoundError):
        next(pdf_pages(tmp_path / "absent.pdf"))
    with pytest.raises(ValueError, match="dpi must be positive"):
        next(pdf_pages(whole, dpi=0))
