"""Bit planes of the native code: more bits for dimensions that matter more, trellis-coded.

Dimensions are sorted by width: `counts[p] = e_p` of them have more than p bits, so that dimension
j has width w_j = #{p : j < e_p}, between 1 and 8, and e_0 = e. Every e_p is a multiple of 8 or
equals e.

Bytes. Plane p holds bit p, counted from the least significant, of the dimensions 0 … e_p - 1:
dimension j is bit j mod 8 (the least significant is 0) of byte j // 8 of `plane<p>`, uint8
[n ceil(e_p / 8)]; padding bits are zero. `factor`, float16 [n 1], multiplies the sum. Bytes per
vector: sum_p ceil(e_p / 8) + 2.

Levels. Plane 0 is the trellis: t_j is the last bit of dimension j. The w_j - 1 bits before it are
the number v_j of a cell of four levels, and two parities of the trellis bits from j on pick one of
them (t beyond the last dimension is zero):

    c1_j = XOR of t_(j+k) over the bits k of taps[0]
    c0_j = XOR of t_(j+k) over the bits k of taps[1]
    y_j  = fine[2^(w+1) - 4 + 4 v_j + 2 c1_j + c0_j]        with w = w_j

so that a code of w bits chooses among 2^(w+1) levels (trellis-coded quantisation: Ungerboeck 1982;
Marcellin and Fischer, IEEE Trans. Commun. 38(1), 1990). Over the plane the parities are shifts and
XORs of one bit vector.

Truncation. Without the D least significant planes the rest is a coarser code of the same vectors,
every dimension D bits poorer, which is again what water-filling allots:

    y_j = coarse[2^w - 2 + 2^b + v]        b = max(w - D, 0); v: the first b bits of dimension j
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attar.stores.layouts.layout import Layout
from attar.stores.types import Codes, Field, Float32, Levels

WIDEST = 8


def fine_start(width: int) -> int:
    """Where the 2^(w+1) levels of width w begin in `fine`; also the size of all narrower ones."""
    return (2 << width) - 4


def coarse_start(width: int) -> int:
    """Where the 2^w entries of width w begin in `coarse`: entry 2^b + v is cell v of b bits."""
    return (1 << width) - 2


def check_taps(taps: tuple[int, int]) -> None:
    """Two masks of a window of at most 8 bits: every bit more doubles the states of a search."""
    if not all(0 < tap < 256 for tap in taps):
        raise ValueError(f"Taps of a trellis are two masks of 1 to 255, got {taps}.")


@dataclass(frozen=True, eq=False)
class Waterfill(Layout):
    """The layout that the module describes.

    counts: e_p, non-increasing, all positive, at most 8; fine float32 [fine_start(W + 1)], coarse
    float32 [coarse_start(W + 1)] for W = len(counts); taps: see above; dropped: D, how many of
    the least significant planes are absent.
    """

    counts: tuple[int, ...]
    fine: Float32
    coarse: Float32
    taps: tuple[int, int]
    dropped: int = 0

    def __post_init__(self) -> None:
        widest = len(self.counts)
        if not 1 <= widest <= WIDEST or any(a < b for a, b in pairwise((*self.counts, 1))):
            raise ValueError(f"Plane sizes are 1 to 8 non-increasing counts, got {self.counts}.")
        if any(count % 8 and count != self.counts[0] for count in self.counts):
            raise ValueError(f"Plane sizes are multiples of 8 or all columns, got {self.counts}.")
        sizes = fine_start(widest + 1), coarse_start(widest + 1)
        if (len(self.fine), len(self.coarse)) != sizes:
            raise ValueError(
                f"Level tables of {widest} planes have {sizes} entries, "
                f"got {(len(self.fine), len(self.coarse))}."
            )
        check_taps(self.taps)
        if not 0 <= self.dropped < widest:
            raise ValueError(
                f"Of {widest} planes at most {widest - 1} can be dropped, got {self.dropped}."
            )

    @property
    def dim(self) -> int:
        """Columns of the levels, e; the same for every prefix."""
        return self.counts[0]

    @property
    def fields(self) -> tuple[Field, ...]:
        """`factor`, then `plane<W-1>` … `plane<D>`, the most significant first."""
        planes = reversed(range(self.dropped, len(self.counts)))
        return (
            Field("factor", "float16", 1),
            *(Field(f"plane{p}", "uint8", -(-self.counts[p] // 8)) for p in planes),
        )

    @cached_property
    def widths(self) -> NDArray[np.intp]:
        """Width of every dimension, [e], non-increasing."""
        wider = np.arange(self.dim)[:, None] < np.array(self.counts)
        return np.asarray(wider.sum(axis=1), np.intp)

    @cached_property
    def small_levels(self) -> tuple[NDArray[np.int8], Float32]:
        """`fine` in a byte each, and the unit of every dimension, float32 [e]: y ~ unit * byte."""
        table = np.zeros(len(self.fine), np.int8)
        units = np.ones(len(self.counts) + 1, np.float32)
        for width in range(1, len(self.counts) + 1):
            part = slice(fine_start(width), fine_start(width + 1))
            largest = np.abs(self.fine[part]).max(initial=0)
            units[width] = largest / 127 if largest else 1
            table[part] = np.rint(self.fine[part] / units[width])
        return table, units[self.widths]

    def without(self, dropped: int) -> Self:
        """The layout of all but the `dropped` last planes; prepared queries fit it unchanged."""
        return replace(self, dropped=dropped)

    def pack(
        self, cells: NDArray[np.uint8], trellis: NDArray[np.uint8]
    ) -> dict[str, NDArray[np.generic]]:
        """Cells v [n e] and trellis bits t [n e] to all planes, by name."""
        packed: dict[str, NDArray[np.generic]] = {}
        for p, count in enumerate(self.counts):
            bits = trellis if p == 0 else (cells[:, :count] >> np.uint8(p - 1)) & np.uint8(1)
            packed[f"plane{p}"] = np.packbits(bits, axis=1, bitorder="little")
        return packed

    def unpack_bits(self, codes: Codes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Cells v [n e], bits of dropped planes zero, and trellis bits t [n e]."""
        cells = np.zeros((len(codes), self.dim), np.uint8)
        trellis = np.zeros((len(codes), self.dim), np.uint8)
        for p in range(self.dropped, len(self.counts)):
            plane = np.asarray(codes.fields[f"plane{p}"], np.uint8)
            bits = np.unpackbits(plane, axis=1, count=self.counts[p], bitorder="little")
            if p == 0:
                trellis = bits
            else:
                cells[:, : self.counts[p]] |= bits << np.uint8(p - 1)
        return cells, trellis

    def levels(self, cells: NDArray[np.uint8], trellis: NDArray[np.uint8]) -> Float32:
        """Levels y [n e] of cells v [n e] and trellis bits t [n e] before they are packed."""
        return np.asarray(self.fine[self.places(cells, trellis)])

    def places(self, cells: NDArray[np.uint8], trellis: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Where in `fine` the levels of cells v [n e] and trellis bits t [n e] are."""
        places = cells.astype(np.int32) << 2
        places += parities(trellis, self.taps)
        places += (2 ** (self.widths + 1) - 4).astype(np.int32)
        return places

    def unpack(self, codes: Codes) -> Levels:
        """Look the levels up; planes that are dropped are not looked at."""
        cells, trellis = self.unpack_bits(codes)
        if self.dropped == 0:
            y = self.levels(cells, trellis)
        else:
            places = cells.astype(np.intp) >> (self.dropped - 1)
            starts = 2**self.widths - 2 + 2 ** np.maximum(self.widths - self.dropped, 0)
            y = self.coarse[places + starts]
        return Levels(y, np.asarray(codes.fields["factor"])[:, 0].astype(np.float32))

    def describe(self) -> dict[str, Any]:
        """Name, plane sizes, taps, and the hash of the level tables."""
        tables = np.concatenate([self.fine, self.coarse]).astype("<f4").tobytes()
        return {
            "layout": "waterfill",
            "counts": list(self.counts),
            "dropped": self.dropped,
            "taps": list(self.taps),
            "tables": hashlib.sha256(tables).hexdigest()[:16],
        }


def parities(trellis: NDArray[np.uint8], taps: tuple[int, int]) -> NDArray[np.uint8]:
    """Subset numbers 2 c1 + c0 in 0 … 3, [n e], of trellis bits [n e]."""
    subset = np.zeros(trellis.shape, np.uint8)
    for place, tap in zip((1, 0), taps, strict=True):
        for k in range(tap.bit_length()):
            if tap >> k & 1:
                width = max(trellis.shape[1] - k, 0)
                subset[:, :width] ^= trellis[:, k:] << np.uint8(place)
    return subset
