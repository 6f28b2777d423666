"""The text of one file: plain, Markdown, HTML, PDF."""

from pathlib import Path

from attar.retrieval.extras import require
from attar.retrieval.sources.source import SourceError

# What a browser does not show as text.
_UNSEEN = ("script", "style", "template", "noscript")


def plain_text(path: Path) -> str:
    """The file as UTF-8, a byte order mark removed."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"Text is UTF-8, got byte 0x{error.object[error.start]:02x} at position {error.start} "
            f"of {path}; convert the file (iconv -t utf-8)."
        ) from error


def html_text(path: Path) -> str:
    """Title and visible text, one block a line; the encoding is found as browsers find it."""
    soup = require("bs4", "sources").BeautifulSoup(path.read_bytes(), "html.parser")
    for element in soup(_UNSEEN):
        element.decompose()
    lines = (" ".join(line.split()) for line in soup.get_text("\n").splitlines())
    return "\n".join(line for line in lines if line)


def pdf_text(path: Path) -> str:
    """Text of all pages, a form feed between them; SourceError when there is none."""
    library = require("pypdf", "sources")
    try:
        pages = [page.extract_text() for page in library.PdfReader(path).pages]
    # A broken file makes the reader fail in whatever line it reaches, with whatever that raises.
    except Exception as error:
        raise SourceError(
            f"{path} is not a readable PDF ({type(error).__name__}: {error}); repair or decrypt "
            "it, remove it, or pass skip_unreadable=True."
        ) from error
    text = "\f".join(pages)
    if not text.strip():
        raise SourceError(
            f"A PDF has text, got only pictures in {path} (a scan?); run it through OCR, remove "
            "it, or pass skip_unreadable=True."
        )
    # Half a surrogate pair comes from broken font tables, not from the author.
    return text.encode("utf-8", "replace").decode("utf-8")


READERS = {
    ".txt": plain_text,
    ".md": plain_text,
    ".html": html_text,
    ".htm": html_text,
    ".pdf": pdf_text,
}
"""Extension -> reader."""


def text_of(path: Path) -> str:
    """The text of a file, by its extension; SourceError when it cannot be read."""
    return READERS[path.suffix.lower()](path)
