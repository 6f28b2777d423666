"""The trellis search finds the cheapest path, and its distortion is what allocation assumes."""

from itertools import product

import numpy as np
import pytest

from attar.retrieval.levels import DISTORTION, TAPS, level_tables
from attar.stores.kernels.library import LEVELS, levels
from attar.stores.kernels.trellis import quantise
from attar.stores.layouts.waterfill import Waterfill, fine_start
from attar.stores.types import Codes


def decode(layout: Waterfill, cells: np.ndarray, trellis: np.ndarray) -> np.ndarray:
    ones = np.ones((len(cells), 1), np.float16)
    return layout.unpack(Codes({**layout.pack(cells, trellis), "factor": ones})).y


def test_path_is_the_cheapest_of_all() -> None:
    layout = Waterfill((8,), *level_tables(1), TAPS)
    rng = np.random.default_rng(1)
    u = rng.normal(size=(20, 8)).astype(np.float32)
    weight = rng.uniform(0.2, 3, 8).astype(np.float32)
    paths = np.array(list(product((0, 1), repeat=8)), np.uint8)
    every = decode(layout, np.zeros_like(paths), paths)
    best = (weight * (u[:, None] - every) ** 2).sum(axis=2).min(axis=1)
    got = (weight * (u - decode(layout, *quantise(u, layout, weight)[:2])) ** 2).sum(axis=1)
    np.testing.assert_allclose(got, best, rtol=1e-5)


@pytest.mark.parametrize("width", range(1, 9))
def test_distortion_on_gaussian_samples_is_the_tabulated_one(width: int) -> None:
    layout = Waterfill((512,) * width, *level_tables(width), TAPS)
    u = np.random.default_rng(2).normal(size=(300, 512)).astype(np.float32)
    y = decode(layout, *quantise(u, layout, np.ones(512, np.float32))[:2])
    assert np.mean((u - y) ** 2) == pytest.approx(DISTORTION[width], rel=0.04)


@pytest.mark.parametrize("n", [0, 1, 63, 513])
def test_rows_do_not_see_each_other(n: int) -> None:
    layout = Waterfill((40, 16, 8), *level_tables(3), TAPS)
    u = np.random.default_rng(3).normal(size=(n, 40)).astype(np.float32)
    weight = np.linspace(2, 1, 40, dtype=np.float32)
    cells, trellis = quantise(u, layout, weight)[:2]
    assert cells.shape == trellis.shape == (n, 40)
    for row in range(0, n, 97):
        alone = quantise(u[row : row + 1], layout, weight)
        np.testing.assert_array_equal(alone[0][0], cells[row])
        np.testing.assert_array_equal(alone[1][0], trellis[row])


def test_far_outside_the_levels_the_outermost_is_taken() -> None:
    layout = Waterfill((8, 8, 8), *level_tables(3), TAPS)
    u = np.array([[1e8] * 8, [-1e8] * 8, [40.0] * 8], np.float32)
    y = decode(layout, *quantise(u, layout, np.ones(8, np.float32))[:2])
    assert (np.sign(y) == np.sign(u)).all()
    assert (np.abs(y) >= layout.fine[fine_start(3) :][-4]).all()


@pytest.mark.parametrize("impl", LEVELS)
@pytest.mark.parametrize(("n", "dim"), [(1, 1), (1, 40), (63, 7), (100, 88), (513, 200)])
def test_native_search_gives_the_same_bits(impl: str, n: int, dim: int) -> None:
    if impl not in levels():
        pytest.skip(f"no {impl} on this machine")
    rng = np.random.default_rng(n)
    groups = -(-dim // 8)
    widths = np.sort(rng.integers(1, 9, groups))[::-1]
    counts = tuple(min(8 * int(np.sum(widths > p)), dim) for p in range(widths[0]))
    for taps in (TAPS, (0o13, 0o4), (0o203, 0o24), (1, 1)):
        layout = Waterfill(counts, *level_tables(len(counts)), taps)
        u = (rng.normal(size=(n, dim)) * 1.3).astype(np.float32)
        u[0, 0] = 1e9
        weight = rng.uniform(0.1, 4, dim).astype(np.float32)
        gains = np.array([0.84, 1, 1.19, 4], np.float32)
        wanted = quantise(u, layout, weight, gains, impl="numpy")
        for threads in (1, 3):
            got = quantise(u, layout, weight, gains, impl=impl, threads=threads)
            for ours, truth in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(ours, truth)


def test_the_gain_keeps_long_rows_among_the_levels() -> None:
    layout = Waterfill((64,) * 3, *level_tables(3), TAPS)
    weight = np.ones(64, np.float32)
    u = np.random.default_rng(5).normal(size=(200, 64)).astype(np.float32)
    u *= np.repeat([0.5, 1, 2, 4], 50)[:, None].astype(np.float32)
    gains = np.array([0.5, 1, 2, 4], np.float32)
    paths = quantise(u, layout, weight, gains)
    y = layout.levels(paths.cells, paths.trellis)
    assert np.mean(paths.chosen == np.repeat(range(4), 50)) > 0.95
    scaled = u / gains[paths.chosen][:, None]
    np.testing.assert_allclose(paths.along, (scaled * y).sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(paths.power, (y * y).sum(axis=1), rtol=1e-4)
    alone = quantise(u, layout, weight)
    worse = ((u - layout.levels(alone.cells, alone.trellis)) ** 2).sum(axis=1)
    better = ((scaled - y) ** 2).sum(axis=1) * gains[paths.chosen] ** 2
    assert better.sum() < 0.2 * worse.sum()
