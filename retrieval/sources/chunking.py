"""Long documents to pieces that a model can read, cut where the text allows it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from attar.retrieval.extras import require

Unit = Literal["characters", "tokens"]


@dataclass(frozen=True)
class Chunking:
    """Pieces of at most `size` units, neighbours sharing at most `overlap` of them.

    The cuts are those of semantic-text-splitter: the largest of heading, paragraph, sentence, word
    that fits. White space around a piece is trimmed.

    unit: "characters", or "tokens" of `tokenizer` without its special tokens (a model with a limit
    of 256 that adds two reads pieces of 254 whole).
    tokenizer: path of a tokenizer.json; needed for tokens.
    """

    size: int
    overlap: int = 0
    unit: Unit = "characters"
    tokenizer: str | Path | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"A chunk holds at least one unit, got {self.size}; try 1000.")
        if not 0 <= self.overlap < self.size:
            raise ValueError(
                f"The overlap is at least 0 and less than the size {self.size}, got {self.overlap}."
            )
        if self.unit not in ("characters", "tokens"):
            raise ValueError(f"Chunks count characters or tokens, got {self.unit!r}.")
        if self.unit == "tokens" and self.tokenizer is None:
            raise ValueError(
                "Chunks of tokens need a tokenizer, got none; pass the path of a tokenizer.json "
                "(the encoder's `tokenizer_file`), or count characters."
            )

    @property
    def spec(self) -> str:
        """Canonical string: "1000", "1000/100", "256tokens/32@<hash of the tokenizer>"."""
        overlap = f"/{self.overlap}" if self.overlap else ""
        if self.unit == "characters" or self.tokenizer is None:
            return f"{self.size}{overlap}"
        content = Path(self.tokenizer).read_bytes()
        return f"{self.size}tokens{overlap}@{blake2b(content, digest_size=8).hexdigest()}"

    def cut(self, text: str, markdown: bool = False) -> list[tuple[int, str]]:
        """Pieces as (first character, text); a text without content is one empty piece."""
        pieces: list[tuple[int, str]] = self._splitters[markdown](text)
        return pieces or [(0, "")]

    @cached_property
    def _splitters(self) -> tuple[Callable[[str], Any], Callable[[str], Any]]:
        """For plain text, for Markdown."""
        library = require("semantic_text_splitter", "sources")
        kinds = (library.TextSplitter, library.MarkdownSplitter)
        if self.unit == "characters":
            plain, markdown = (kind(self.size, self.overlap) for kind in kinds)
        else:
            tokenizer = require("tokenizers", "text").Tokenizer.from_file(str(self.tokenizer))
            # A tokenizer that truncates or pads would report sizes that are not the text's.
            tokenizer.no_truncation()
            tokenizer.no_padding()
            plain, markdown = (
                kind.from_huggingface_tokenizer(tokenizer, self.size, self.overlap)
                for kind in kinds
            )
        return plain.chunk_indices, markdown.chunk_indices


def parse_chunking(
    chunk: "str | int | Chunking | None", tokenizer: str | Path | None = None
) -> Chunking | None:
    """Chunking of what people type: 1000, "1000", "1000/100", "256tokens/32"; None stays None."""
    if chunk is None or isinstance(chunk, Chunking):
        return chunk
    found = re.fullmatch(r"(\d+)(tokens)?(?:/(\d+))?", str(chunk))
    if found is None:
        raise ValueError(
            f"A chunk is SIZE, SIZE/OVERLAP, or SIZEtokens/OVERLAP, got {chunk!r}; "
            "for example 1000/100 (characters) or 254tokens/32."
        )
    size, tokens, overlap = found.groups()
    if tokens:
        return Chunking(int(size), int(overlap or 0), "tokens", tokenizer)
    return Chunking(int(size), int(overlap or 0))
