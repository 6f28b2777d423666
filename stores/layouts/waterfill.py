"""Bit planes of the native code: more bits for dimensions that matter more, trellis-coded.

Dimensions are sorted by width: `counts[p] = e_p` of them have more than p bits, so that dimension
j has width w_j = #{p : j < e_p}, between 1 and 8, and e_0 = e. Every e_p is a multiple of 8 or
equals e.

Bytes. Plane p holds bit p of the dimensions 0 … e_p - 1: dimension j is bit j mod 8 (the least
significant is 0) of byte j // 8 of `plane<p>`, uint8 [n ceil(e_p / 8)]; padding bits are zero.
`factor`, float16 [n 1], multiplies the sum. Bytes per vector: sum_p ceil(e_p / 8) + 2.

Levels. A dimension's last bit, t_j = its bit of plane w_j - 1, belongs to the trellis; the bits
before it, most significant first, number a cell v_j < 2^(w_j - 1). Two parities of the following
trellis bits pick one of the four levels of that cell (t beyond the last dimension is zero):

    c1_j = XOR of t_(j+k) over the bits k of taps[0]
    c0_j = XOR of t_(j+k) over the bits k of taps[1]
    y_j  = fine[2^(w+1) - 4 + 4 v_j + 2 c1_j + c0_j]        with w = w_j

so that a code of w bits chooses among 2^(w+1) levels (trellis-coded quantisation: Ungerboeck 1982;
Marcellin and Fischer, IEEE Trans. Commun. 38(1), 1990). Over a whole plane the parities are shifts
and XORs of one bit vector.

Prefix property. The first P planes are a coarser code of the same vectors: dimensions of width at
most P keep their level (their windows reach only dimensions that are no wider), a wider one has
the cell v of its first P bits:

    y_j = coarse[2^w - 2 + 2^P + v]
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
    """Where the 2^w entries of width w begin in `coarse`: entry 2^P + v is cell v of P bits."""
    return (1 << width) - 2


@dataclass(frozen=True, eq=False)
class Waterfill(Layout):
    """The layout that the module describes.

    counts: e_p, non-increasing, all positive, at most 8; fine float32 [fine_start(W + 1)], coarse
    float32 [coarse_start(W + 1)] for W = len(counts); taps: see above; planes: how many are
    present, W unless `prefix` took fewer.
    """

    counts: tuple[int, ...]
    fine: Float32
    coarse: Float32
    taps: tuple[int, int]
    planes: int

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
        if not 1 <= self.planes <= widest:
            raise ValueError(f"A code has 1 to {widest} planes, got {self.planes}.")

    @property
    def dim(self) -> int:
        """Columns of the levels, e; the same for every prefix."""
        return self.counts[0]

    @property
    def fields(self) -> tuple[Field, ...]:
        """`plane0`, `plane1`, … and `factor`."""
        planes = [Field(f"plane{p}", "uint8", -(-self.counts[p] // 8)) for p in range(self.planes)]
        return (*planes, Field("factor", "float16", 1))

    @cached_property
    def widths(self) -> NDArray[np.intp]:
        """Width of every dimension, [e], non-increasing."""
        wider = np.arange(self.dim)[:, None] < np.array(self.counts)
        return np.asarray(wider.sum(axis=1), np.intp)

    def prefix(self, planes: int) -> Self:
        """The layout of the first `planes` planes; prepared queries fit it unchanged."""
        return replace(self, planes=planes)

    def pack(self, cells: NDArray[np.uint8], trellis: NDArray[np.uint8]) -> dict[str, Any]:
        """Cells v [n e] and trellis bits t [n e] to the planes of all bits."""
        bits = (cells.astype(np.uint16) << 1) | trellis
        packed = {}
        for p, count in enumerate(self.counts):
            shift = (self.widths[:count] - 1 - p).astype(np.uint16)
            plane = ((bits[:, :count] >> shift) & 1).astype(np.uint8)
            packed[f"plane{p}"] = np.packbits(plane, axis=1, bitorder="little")
        return packed

    def unpack_bits(self, codes: Codes) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        """Cells v [n e] and trellis bits t [n e]; t is zero where the prefix has lost it."""
        cells = np.zeros((len(codes), self.dim), np.uint16)
        trellis = np.zeros((len(codes), self.dim), np.uint8)
        for p in range(self.planes):
            count, wider = self.counts[p], (*self.counts, 0)[p + 1]
            plane = np.asarray(codes.fields[f"plane{p}"], np.uint8)
            bits = np.unpackbits(plane, axis=1, count=count, bitorder="little")
            cells[:, :wider] = 2 * cells[:, :wider] + bits[:, :wider]
            trellis[:, wider:count] = bits[:, wider:]
        return cells, trellis

    def unpack(self, codes: Codes) -> Levels:
        """Look the levels up; works on the fields of this prefix and ignores further planes."""
        cells, trellis = self.unpack_bits(codes)
        lost = (*self.counts, 0)[self.planes]
        y = np.empty(cells.shape, np.float32)
        starts = 2 ** self.widths[:lost] - 2 + 2**self.planes
        y[:, :lost] = self.coarse[cells[:, :lost] + starts]
        subset = parities(trellis, self.taps)[:, lost:]
        starts = 2 ** (self.widths[lost:] + 1) - 4
        y[:, lost:] = self.fine[4 * cells[:, lost:].astype(np.intp) + subset + starts]
        return Levels(y, np.asarray(codes.fields["factor"])[:, 0].astype(np.float32))

    def describe(self) -> dict[str, Any]:
        """Name, plane sizes, taps, and the hash of the level tables."""
        tables = np.concatenate([self.fine, self.coarse]).astype("<f4").tobytes()
        return {
            "layout": "waterfill",
            "counts": list(self.counts),
            "planes": self.planes,
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
