"""Bytes of vectors: sums are constant, rankings are right, what is read is what was kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attar.stores.engines.offset_bytes import OffsetBytes


def vectors(n: int, dim: int, seed: int) -> np.ndarray:
    """Vectors whose largest turned coordinate is 1."""
    z = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return z / np.abs(OffsetBytes(dim).turned(z)).max(axis=1, keepdims=True).astype(np.float32)


shapes = given(st.integers(1, 70), st.integers(0, 2**32 - 1))


@shapes
def test_bytes_of_every_document_have_the_same_sum(dim: int, seed: int) -> None:
    numbers = OffsetBytes(dim)
    u = numbers.documents(vectors(9, dim, seed))
    assert u.shape == (9, dim + 1) and u.dtype == np.uint8
    assert (u.astype(int).sum(axis=1) == 128 * (dim + 1)).all()
    assert u.min() >= 1


@shapes
def test_the_turn_keeps_inner_products(dim: int, seed: int) -> None:
    z, numbers = vectors(5, dim, seed), OffsetBytes(dim)
    y = numbers.turned(z)
    np.testing.assert_allclose(y @ y.T, z @ z.T, atol=1e-5 * dim)
    np.testing.assert_allclose(y.sum(axis=1), 0, atol=1e-5 * dim)


@shapes
def test_scores_are_inner_products_of_what_is_kept(dim: int, seed: int) -> None:
    numbers = OffsetBytes(dim)
    z, q = vectors(20, dim, seed), vectors(1, dim, seed + 1)[0] * 3
    u, (v, a, b) = numbers.documents(z), numbers.query(q)
    got = a * (u.astype(np.int64) @ v.astype(np.int64)) + b
    rounded = numbers.vectors(v)[0] * np.abs(numbers.turned(q[None])).max()
    np.testing.assert_allclose(got, numbers.vectors(u) @ rounded, atol=1e-4 * dim)
    # A coordinate errs by half a step, or by one where it was moved, against its own error.
    assert np.abs(u.astype(int) - 128 - 126 * numbers.turned(z)).max() <= 1 + 1e-9
    far = np.linalg.norm(numbers.vectors(u) - z, axis=1)
    limit = far * np.linalg.norm(q) + np.linalg.norm(rounded - q) * np.linalg.norm(z, axis=1)
    assert (np.abs(got - z @ q) <= limit + far * np.linalg.norm(rounded - q) + 1e-4).all()


@shapes
def test_what_is_read_is_written_again_alike(dim: int, seed: int) -> None:
    numbers = OffsetBytes(dim)
    u = numbers.documents(vectors(7, dim, seed))
    np.testing.assert_array_equal(numbers.documents(numbers.vectors(u)), u)


@pytest.mark.parametrize("dim", [1, 24])
def test_nothing_is_something(dim: int) -> None:
    numbers = OffsetBytes(dim)
    zero = np.zeros((1, dim), np.float32)
    np.testing.assert_array_equal(numbers.vectors(numbers.documents(zero)), zero)
    v, a, b = numbers.query(zero[0])
    assert a * float(numbers.documents(zero)[0].astype(int) @ v) + b == pytest.approx(0, abs=1e-6)
