"""Codes of every layout at a given size, random but legal, for comparing kernels with numpy."""

import numpy as np

from attar.stores.exact import ExactLayout
from attar.stores.layouts.floats import LOGICAL, STORED, Floats
from attar.stores.layouts.integers import Integers
from attar.stores.layouts.layout import Layout
from attar.stores.layouts.waterfill import Waterfill, coarse_start, fine_start
from attar.stores.types import Codes, Query


def floats(dtype: str, scaled: bool, n: int, dim: int, rng: np.random.Generator):
    x = np.clip(rng.standard_normal((n, dim)) * 4, -15, 15).astype(LOGICAL[dtype])
    fields = {"code": x.view(np.dtype(STORED.get(dtype, "uint8"))).reshape(n, dim)}
    if scaled:
        fields["scale"] = rng.uniform(0.1, 2, (n, 1)).astype(np.float16)
    return Floats(dtype, dim, scaled), Codes(fields)


def integers(scaled: bool, n: int, dim: int, rng: np.random.Generator):
    kind = np.int8 if scaled else np.uint8
    low, high = (-128, 128) if scaled else (0, 256)
    fields = {"code": rng.integers(low, high, (n, dim)).astype(kind)}
    if scaled:
        fields["scale"] = rng.uniform(0.1, 2, (n, 1)).astype(np.float16)
    return Integers(dim, scaled), Codes(fields)


def waterfill(dropped: int, n: int, dim: int, rng: np.random.Generator):
    """Up to eight planes over about `dim` dimensions; `dropped` of them are not kept."""
    eighths = np.sort(rng.integers(1, max(2, dim // 8) + 1, 8))[::-1] * 8
    counts = (dim, *(int(min(c, dim)) for c in eighths[1:]))
    counts = tuple(c if c < dim else dim for c in counts)
    layout = Waterfill(
        counts,
        rng.standard_normal(fine_start(9)).astype(np.float32),
        rng.standard_normal(coarse_start(9)).astype(np.float32),
        (0b101, 0b1011),
    )
    cells = np.stack(
        [rng.integers(0, 1 << (w - 1), n) if n else np.zeros(0, int) for w in layout.widths], axis=1
    ).astype(np.uint8)
    trellis = rng.integers(0, 2, (n, dim)).astype(np.uint8)
    fields = layout.pack(cells, trellis)
    fields["factor"] = rng.uniform(0.5, 2, (n, 1)).astype(np.float16)
    return layout.without(dropped), Codes(fields)


def exact(n: int, dim: int, rng: np.random.Generator):
    return ExactLayout(dim), Codes({"x": rng.standard_normal((n, dim)).astype(np.float32)})


ROWS = {
    "exact": exact,
    **{
        f"{dtype}{':scaled' if scaled else ''}": lambda n, dim, rng, d=dtype, s=scaled: floats(
            d, s, n, dim, rng
        )
        for dtype in LOGICAL
        for scaled in (False, True)
    },
    "int8": lambda n, dim, rng: integers(True, n, dim, rng),
    "uint8": lambda n, dim, rng: integers(False, n, dim, rng),
    "waterfill": lambda n, dim, rng: waterfill(0, n, dim, rng),
    "waterfill:without 3": lambda n, dim, rng: waterfill(3, n, dim, rng),
}


def make(name: str, n: int, dim: int, seed: int) -> tuple[Layout, Codes]:
    return ROWS[name](n, dim, np.random.default_rng(seed))


def queries(m: int, dim: int, seed: int) -> Query:
    rng = np.random.default_rng(seed)
    coords = rng.standard_normal((m, dim)).astype(np.float32)
    return Query(coords, rng.standard_normal(m).astype(np.float32))
