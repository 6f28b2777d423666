"""Codes as the kernels take them: one C struct for every layout that has a native decoder."""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.exact import ExactLayout
from attar.stores.kernels.exact.paging import Pager
from attar.stores.kernels.library import pointer
from attar.stores.layouts.floats import LOGICAL, Floats
from attar.stores.layouts.integers import Integers
from attar.stores.layouts.layout import Layout
from attar.stores.layouts.waterfill import WIDEST, Waterfill
from attar.stores.types import Codes

KINDS = (
    "float32",
    "float16",
    "bfloat16",
    "float8_e4m3",
    "float8_e5m2",
    "float8_e3m4",
    "int8",
    "uint8",
    "waterfill",
)
"""Index = the number of `Kind` in decode.h."""


SPARE = 512
"""Bytes behind a table of single bytes: registers are filled whole."""


class PlanesStruct(ctypes.Structure):
    """`Planes` of decode.h."""

    _fields_ = (
        ("dropped", ctypes.c_int32),
        ("widest", ctypes.c_int32),
        ("counts", ctypes.c_int32 * (WIDEST + 1)),
        ("taps", ctypes.c_uint32 * 2),
        ("plane", ctypes.c_void_p * WIDEST),
        ("fine", ctypes.c_void_p),
        ("coarse", ctypes.c_void_p),
        ("split", ctypes.c_void_p),
        ("split_stride", ctypes.c_int64),
    )


class SourceStruct(ctypes.Structure):
    """`Source` of decode.h."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("rows", ctypes.c_int64),
        ("stride", ctypes.c_int64),
        ("code", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("sqnorm", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("planes", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Source:
    """Codes of one segment together with the C struct that points into them.

    `kept` holds every array whose address the struct has; views of a memory map stay views. With a
    pager the codes stay on disk.
    """

    layout: Layout
    codes: Codes
    sqnorm: NDArray[np.float32] | None
    struct: SourceStruct | None
    kept: tuple[Any, ...]
    pager: Pager | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def native(self) -> bool:
        """Whether the layout has a native decoder."""
        return self.struct is not None


def source(layout: Layout, codes: Codes, sqnorm: NDArray[np.float32] | None = None) -> Source:
    """Point a struct at the arrays; layouts without a native decoder get none."""
    arrays = {name: np.ascontiguousarray(array) for name, array in codes.fields.items()}
    norm = None if sqnorm is None else np.ascontiguousarray(sqnorm, np.float32)
    struct = SourceStruct(width=layout.dim, rows=len(codes), sqnorm=pointer(norm))
    extra: tuple[Any, ...] = ()
    if isinstance(layout, Waterfill):
        extra = (_planes(struct, layout, arrays),)
    elif isinstance(layout, Floats | Integers | ExactLayout):
        extra = (_matrix(struct, layout, arrays),)
    else:
        return Source(layout, codes, norm, None, ())
    scale = arrays.get("scale", arrays.get("factor"))
    struct.scale = pointer(scale)
    return Source(layout, codes, norm, struct, (arrays, norm, *extra))


def struct_of(codes: Source) -> SourceStruct:
    """The C struct of codes that have one."""
    if codes.struct is None:
        raise ValueError(f"{type(codes.layout).__name__} has no native decoder; use impl='numpy'.")
    return codes.struct


def _matrix(
    struct: SourceStruct, layout: Floats | Integers | ExactLayout, arrays: dict[str, NDArray[Any]]
) -> NDArray[np.float32] | None:
    code = arrays["x" if isinstance(layout, ExactLayout) else "code"]
    name = layout.dtype if isinstance(layout, Floats) else str(code.dtype)
    struct.kind = KINDS.index(name)
    struct.code = pointer(code)
    struct.stride = code.strides[0] if len(code) else 0
    if not name.startswith("float8"):
        return None
    table = np.arange(256, dtype=np.uint8).view(LOGICAL[name]).astype(np.float32)
    struct.table = pointer(table)
    return table


def _planes(
    struct: SourceStruct, layout: Waterfill, arrays: dict[str, NDArray[Any]]
) -> tuple[Any, ...]:
    fine = np.ascontiguousarray(layout.fine, np.float32)
    coarse = np.ascontiguousarray(layout.coarse, np.float32)
    planes = PlanesStruct(dropped=layout.dropped, widest=len(layout.counts))
    planes.counts[: len(layout.counts)] = layout.counts
    planes.taps[:] = layout.taps
    for p in range(layout.dropped, len(layout.counts)):
        planes.plane[p] = pointer(arrays[f"plane{p}"]).value
    planes.fine, planes.coarse = pointer(fine), pointer(coarse)
    split = np.zeros((4, len(fine) + SPARE), np.uint8)
    split[:, : len(fine)] = fine.astype("<f4").view(np.uint8).reshape(-1, 4).T
    planes.split, planes.split_stride = pointer(split), split.shape[1]
    struct.kind = KINDS.index("waterfill")
    struct.planes = ctypes.addressof(planes)
    return planes, fine, coarse, split
