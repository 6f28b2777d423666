"""Text rendered to a grey image: deterministic bytes, any Unicode."""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_TAB = 4
_JOINERS = ("\u200d", "\ufe0e", "\ufe0f")
_BREAK = "¶"
_MISSING = "\U0010fffe"


@dataclass(frozen=True)
class Renderer:
    """Renders text on a grid of character cells, black on white.

    font: path of a TrueType or OpenType file, None for the one that Pillow carries. fallbacks:
    further files, tried in order for characters that the font lacks; what none of them has is drawn
    as a box with the code point in it, so that no two characters look alike by accident.
    size: in points; dpi: pixels per inch, size * dpi / 72 pixels per em. line_height: in ems.
    columns: cells per line, a multiple of `patch_columns`; wide characters take two. patch_columns:
    cells of one visual token, which is one line high. flow: draw line breaks as ¶ and go on in the
    same line, so that short lines leave no visual token half empty.
    """

    font: str | None = None
    fallbacks: tuple[str, ...] = ()
    size: float = 10.0
    dpi: float = 72.0
    line_height: float = 1.2
    columns: int = 72
    patch_columns: int = 18
    flow: bool = False

    def __post_init__(self) -> None:
        if min(self.size, self.dpi, self.line_height) <= 0 or self.em < 4:
            raise ValueError(
                f"size, dpi and line_height are above 0 and an em has 4 pixels or more, got {self}."
            )
        if self.patch_columns < 1 or self.columns < 2 or self.columns % self.patch_columns:
            raise ValueError(
                f"columns is a multiple of patch_columns and at least 2, got {self.columns} and "
                f"{self.patch_columns}."
            )
        for file in (self.font, *self.fallbacks):
            if file is not None and not Path(file).is_file():
                raise FileNotFoundError(f"There is no font file {file}.")

    @property
    def em(self) -> int:
        """Pixels per em."""
        return round(self.size * self.dpi / 72)

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a character cell in pixels."""
        return max(4, round(self.line_height * self.em)), max(3, round(0.6 * self.em))

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a visual token in pixels."""
        height, width = self.cell
        return height, width * self.patch_columns

    def places(self, text: str) -> list[int]:
        """Return the patch in which each character of a text is drawn (line breaks: their end)."""
        return self._layout(text)[3]

    def layout(self, text: str) -> tuple[list[tuple[int, int, str]], int, int]:
        """Place characters: (line, column, cluster) of each, then the lines and patches used.

        Combining marks join the character before them; line breaks are kept (but see `flow`), long
        lines wrap.
        """
        return self._layout(text)[:3]

    def _layout(self, text: str) -> tuple[list[tuple[int, int, str]], int, int, list[int]]:
        placed: list[tuple[int, int, str]] = []
        places: list[int] = []
        line = column = end = 0
        for char in text.replace("\n", _BREAK) if self.flow else text:
            if char == "\n":
                line, column = line + 1, 0
            elif char == "\t":
                column += _TAB - column % _TAB
            elif placed and (unicodedata.combining(char) or char in _JOINERS):
                at = placed[-1]
                placed[-1] = (at[0], at[1], at[2] + char)
            else:
                cells = 2 if unicodedata.east_asian_width(char) in "WF" else 1
                if column + cells > self.columns:
                    line, column = line + 1, 0
                placed.append((line, column, char))
                column += cells
                if not char.isspace():
                    end = self._patches_to(line, column - 1)
            places.append(self._patches_to(line, max(0, column - 1)) - 1)
        return placed, line + 1, end, places

    def render(self, text: str) -> Pixels:
        """Return the image of a text: uint8 [lines * cell height, columns * cell width]."""
        from PIL import Image, ImageDraw

        placed, lines, _ = self.layout(text)
        height, width = self.cell
        image = Image.new("L", (self.columns * width, lines * height), 255)
        draw = ImageDraw.Draw(image)
        fonts = _fonts((self.font, *self.fallbacks), self.em)
        for line, column, cluster in placed:
            if cluster.isspace():
                continue
            place = (column * width, line * height)
            font = next((f for f in fonts if _has(f, cluster[0])), None)
            if font is None:
                _box(draw, place, self.cell, ord(cluster[0]))
            else:
                draw.text(place, cluster, fill=0, font=font)
        return np.asarray(image, dtype=np.uint8)

    def patches(self, text: str) -> Pixels:
        """Return the visual tokens of a text: uint8 [m, patch height * patch width], row by row.

        What follows the last character that is not a space is left out; an empty text has none.
        """
        height, width = self.patch
        image = self.render(text)
        rows, columns = image.shape[0] // height, image.shape[1] // width
        grid = image.reshape(rows, height, columns, width).transpose(0, 2, 1, 3)
        _, _, used = self.layout(text)
        return np.ascontiguousarray(grid.reshape(rows * columns, height * width)[:used])

    def _patches_to(self, line: int, column: int) -> int:
        per_line = self.columns // self.patch_columns
        return line * per_line + column // self.patch_columns + 1


@lru_cache(maxsize=16)
def _fonts(files: tuple[str | None, ...], em: int) -> tuple[Any, ...]:
    from PIL import ImageFont

    basic = ImageFont.Layout.BASIC
    return tuple(
        ImageFont.load_default(em) if f is None else ImageFont.truetype(f, em, layout_engine=basic)
        for f in files
    )


@lru_cache(maxsize=1 << 14)
def _has(font: Any, char: str) -> bool:
    """Say whether a font draws this character other than as missing."""
    mask, missing = font.getmask(char), font.getmask(_MISSING)
    return bytes(mask) != bytes(missing) or mask.size != missing.size


def _box(draw: Any, place: tuple[int, int], cell: tuple[int, int], code: int) -> None:
    """Draw a code point as a frame and 21 bits, least significant first, in three columns."""
    x, y = place
    height, width = cell
    draw.rectangle((x, y, x + width - 2, y + height - 2), outline=160)
    rows = max(1, height - 4)
    for bit in range(21):
        if code >> bit & 1:
            down, right = bit % 7, bit // 7
            draw.point((x + 1 + right * max(1, (width - 3) // 3), y + 1 + down * rows // 7), fill=0)
