"""Rotating documents: near the exact product, whatever else is in the call."""

import numpy as np
import pytest

from attar.stores.kernels.rotation import Rotation, has_tiles

IMPLS = ("auto", "numpy", *(("tiles",) if has_tiles() else ()))
SHAPES = ((1, 1, 1), (3, 33, 17), (64, 32, 32), (65, 64, 48), (257, 100, 40), (40, 31, 96))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("n", "dim", "width"), SHAPES)
def test_within_its_bound_of_the_exact_product(n: int, dim: int, width: int, impl: str) -> None:
    rng = np.random.default_rng([n, dim])
    x = rng.normal(size=(n, dim)).astype(np.float32) * np.float32(3)
    mean, matrix = (rng.normal(size=s).astype(np.float32) for s in (dim, (dim, width)))
    got = Rotation(mean, matrix)(x, impl=impl)
    exact = (x.astype(np.float64) - mean) @ matrix.astype(np.float64)
    assert got.dtype == np.float32
    assert got.shape == (n, width)
    bound = 2.0**-15 * (np.abs(x.astype(np.float64) - mean) @ np.abs(matrix))
    assert (np.abs(got - exact) <= bound + 1e-6).all()


@pytest.mark.skipif(not has_tiles(), reason="no AMX bfloat16 tiles on this machine")
def test_a_row_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(150, 70)).astype(np.float32)
    rotation = Rotation(np.zeros(70, np.float32), rng.normal(size=(70, 50)).astype(np.float32))
    whole = rotation(x, impl="tiles")
    for rows in (slice(0, 1), slice(63, 66), slice(100, 150)):
        np.testing.assert_array_equal(rotation(x[rows], impl="tiles"), whole[rows])
    np.testing.assert_array_equal(rotation(x, impl="tiles", threads=2), whole)
    np.testing.assert_array_equal(rotation(np.asfortranarray(x), impl="tiles"), whole)
    assert rotation(x[:0], impl="tiles").shape == (0, 50)


def test_unknown_ways_are_refused() -> None:
    rotation = Rotation(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="impl is auto, numpy, or tiles"):
        rotation(np.ones((1, 2), np.float32), impl="native")
