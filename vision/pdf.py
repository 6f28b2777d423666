"""Pages of a PDF as images, for retrieval over documents as they look."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from attar.vision.images import ImageError


def pdf_pages(source: str | Path | bytes, dpi: int = 144) -> Iterator[Image.Image]:
    """Render the pages of a PDF one after the other, RGB on white, at `dpi` dots per inch.

    Needs pypdfium2. Raises ImageError for what is no PDF, is damaged, or wants a password.
    """
    try:
        pypdfium2 = importlib.import_module("pypdfium2")
    except ImportError as error:
        raise ImportError(
            "Rendering PDF needs pypdfium2; install it with: pip install pypdfium2"
        ) from error
    if dpi < 1:
        raise ValueError(f"dpi must be positive, got {dpi}.")
    if isinstance(source, str | Path) and not Path(source).exists():
        raise FileNotFoundError(f"No such file: {source}")
    name = "bytes" if isinstance(source, bytes) else str(source)
    try:
        document = pypdfium2.PdfDocument(source)
    except pypdfium2.PdfiumError as error:
        raise ImageError(f"Cannot read {name} as a PDF ({error}).") from error
    try:
        for page in document:
            yield page.render(scale=dpi / 72).to_pil().convert("RGB")
    finally:
        document.close()
