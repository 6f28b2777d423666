"""The bytes of the waterfill layout: packing, prefixes, and the formula of the levels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.retrieval.levels import TAPS, level_tables
from attar.stores.layouts.waterfill import Waterfill, coarse_start, fine_start
from attar.stores.types import Codes


@st.composite
def layouts(draw: st.DrawFn) -> Waterfill:
    groups = draw(st.integers(1, 6))
    dim = draw(st.integers(8 * groups - 7, 8 * groups))
    widths = sorted(draw(st.lists(st.integers(1, 8), min_size=groups, max_size=groups)))
    counts = tuple(min(8 * sum(w > p for w in widths), dim) for p in range(widths[-1]))
    return Waterfill(counts, *level_tables(len(counts)), TAPS)


def random_codes(layout: Waterfill, n: int, seed: int) -> tuple[Codes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 2 ** (layout.widths - 1), (n, layout.dim)).astype(np.uint8)
    trellis = rng.integers(0, 2, (n, layout.dim)).astype(np.uint8)
    factor = rng.uniform(0.5, 2, (n, 1)).astype(np.float16)
    return Codes({**layout.pack(cells, trellis), "factor": factor}), cells, trellis


@settings(max_examples=80, deadline=None)
@given(layout=layouts(), n=st.integers(0, 9), seed=st.integers(0, 99))
def test_unpack_gives_what_was_packed(layout: Waterfill, n: int, seed: int) -> None:
    codes, cells, trellis = random_codes(layout, n, seed)
    for field in layout.fields:
        assert codes.fields[field.name].shape == (n, field.width)
        assert codes.fields[field.name].dtype == np.dtype(field.dtype)
    got_cells, got_trellis = layout.unpack_bits(codes)
    np.testing.assert_array_equal(got_cells, cells)
    np.testing.assert_array_equal(got_trellis, trellis)


@settings(max_examples=40, deadline=None)
@given(layout=layouts(), seed=st.integers(0, 99))
def test_levels_follow_the_formula(layout: Waterfill, seed: int) -> None:
    codes, cells, trellis = random_codes(layout, 3, seed)
    y = layout.unpack(codes).y
    for row in range(3):
        bits = [*trellis[row], *[0] * 8]
        for j, width in enumerate(layout.widths):
            c1, c0 = (sum(bits[j + k] for k in range(8) if tap >> k & 1) % 2 for tap in TAPS)
            place = 2 ** (width + 1) - 4 + 4 * int(cells[row, j]) + 2 * c1 + c0
            assert y[row, j] == layout.fine[place]


@settings(max_examples=60, deadline=None)
@given(layout=layouts(), seed=st.integers(0, 99))
def test_without_its_last_planes_it_is_a_coarser_code(layout: Waterfill, seed: int) -> None:
    codes, cells, _ = random_codes(layout, 4, seed)
    for dropped in range(1, len(layout.counts)):
        short = layout.without(dropped)
        names = [field.name for field in short.fields]
        y = short.unpack(Codes({name: codes.fields[name] for name in names})).y
        for j, width in enumerate(map(int, layout.widths)):
            if width <= dropped:
                np.testing.assert_array_equal(y[:, j], 0)
                continue
            first = cells[:, j].astype(int) >> (dropped - 1)
            start = coarse_start(width) + 2 ** (width - dropped)
            np.testing.assert_array_equal(y[:, j], layout.coarse[start + first])


def test_bytes_are_the_planes_and_the_factor() -> None:
    layout = Waterfill((21, 16, 8), *level_tables(3), TAPS)
    assert [field.width for field in layout.fields] == [1, 1, 2, 3]
    assert layout.bytes_per_vector == 3 + 2 + 1 + 2
    assert layout.without(1).bytes_per_vector == 2 + 1 + 2


def test_level_tables_are_ascending_symmetric_and_nested() -> None:
    fine, coarse = level_tables(8)
    for width in range(1, 9):
        levels = fine[fine_start(width) : fine_start(width + 1)]
        assert (np.diff(levels) > 0).all()
        np.testing.assert_array_equal(levels, -levels[::-1])
        for bits in range(width):
            start = coarse_start(width) + 2**bits
            cells = coarse[start : start + 2**bits]
            assert (np.diff(cells) > 0).all()
            bounds = levels.reshape(2**bits, -1)
            assert ((bounds[:, 0] <= cells) & (cells <= bounds[:, -1])).all()


@pytest.mark.parametrize("counts", [(), (8, 16), (8, 4), (8, 0), (16,) * 9])
def test_impossible_plane_sizes_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Plane sizes"):
        Waterfill(counts, *level_tables(max(len(counts), 1) % 9 or 1), TAPS)


def test_slices_and_description() -> None:
    layout = Waterfill((16, 8), *level_tables(2), TAPS)
    codes, _, _ = random_codes(layout, 6, 0)
    np.testing.assert_array_equal(layout.unpack(codes[2:5]).y, layout.unpack(codes).y[2:5])
    assert layout.describe()["counts"] == [16, 8]
    assert layout.describe() != layout.without(1).describe()
