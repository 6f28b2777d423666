"""Sketch scan: candidates from 4-bit codes of the leading coordinates, and bounds on the rest."""

import numpy as np
from numpy.typing import NDArray

from attar.stores.kernels.library import native_level, thread_count
from attar.stores.kernels.sketch import native, reference
from attar.stores.kernels.sketch.codes import NOWHERE as NOWHERE
from attar.stores.kernels.sketch.codes import ROWS16 as ROWS16
from attar.stores.kernels.sketch.codes import SketchCodes as SketchCodes
from attar.stores.kernels.sketch.codes import empty_codes as empty_codes
from attar.stores.kernels.sketch.plan import Candidates as Candidates
from attar.stores.kernels.sketch.plan import EncodePlan as EncodePlan
from attar.stores.kernels.sketch.plan import Errors as Errors
from attar.stores.kernels.sketch.plan import Promises as Promises
from attar.stores.kernels.sketch.plan import Reach as Reach
from attar.stores.kernels.sketch.plan import SketchQuery as SketchQuery
from attar.stores.kernels.sketch.plan import quantized as quantized
from attar.stores.types import Float32


def sketch_encode(
    a: Float32,
    plan: EncodePlan,
    into: SketchCodes,
    first: int = 0,
    threads: int | None = 1,
    impl: str = "auto",
) -> tuple[Float32, Float32]:
    """Encode coordinates a [n, axes] at position `first`; squared errors [n]: head, body."""
    if native_level(impl) is None:
        return reference.encode(a, plan, into, first)
    return native.encode(a, plan, into, first, thread_count(threads))


def sketch_top(
    codes: SketchCodes,
    query: SketchQuery,
    wanted: int,
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> Candidates:
    """The `wanted` allowed rows of the best head scores for each query, as positions."""
    if query.offsets.shape[1] != codes.cells:
        raise ValueError(
            f"A query knows what each of the {codes.cells} cells promises, got "
            f"{query.offsets.shape[1]}; pass Promises to quantized."
        )
    level = native_level(impl)
    if level is None:
        return reference.top(codes, query, wanted, allowed)
    return native.top(codes, query, wanted, allowed, level, thread_count(threads))


def sketch_select(
    codes: SketchCodes,
    query: SketchQuery,
    found: Candidates,
    kept: int,
    threads: int | None = 1,
    impl: str = "auto",
) -> NDArray[np.int64]:
    """Of each query's candidates the `kept` best by head and body: positions int64 [m kept]."""
    level = native_level(impl)
    if level is None:
        return reference.select(codes, query, found, kept)
    return native.select(codes, query, found, kept, level, thread_count(threads))


def sketch_reach(
    codes: SketchCodes,
    query: SketchQuery,
    errors: Errors,
    floor: Reach,
    allowed: NDArray[np.bool_] | None = None,
    threads: int | None = 1,
    impl: str = "auto",
) -> tuple[NDArray[np.int64], int]:
    """Positions that no bound excludes for ONE wide query, and how many passed the head."""
    if len(query) != 1 or not query.wide:
        raise ValueError("Bounds are for one query of two planes; pass quantized(w, s, wide=True).")
    level = native_level(impl)
    if level is None:
        return reference.reach(codes, query, errors, floor, allowed)
    return native.reach(codes, query, errors, floor, allowed, level, thread_count(threads))
