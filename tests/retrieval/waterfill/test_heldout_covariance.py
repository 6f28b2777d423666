"""Variances of documents that the fit has not seen."""

import numpy as np
import pytest

from attar.retrieval.heldout_covariance import FLOOR, heldout_covariance


def gaussian(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents [n 40] about a mean, and their covariance."""
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 40)))[0]
    root = basis * np.arange(1, 41) ** -0.7
    return np.random.default_rng(seed).normal(size=(n, 40)) @ root.T + 5 * basis[0], root @ root.T


@pytest.mark.parametrize("n", [30, 60, 120])
def test_its_variances_are_those_of_other_documents(n: int) -> None:
    off, plain = [], []
    for seed in range(8):
        x, true = gaussian(n, seed)
        found, basis = np.linalg.eigh(heldout_covariance(x))
        real = np.einsum("ij,ik,kj->j", basis, true, basis)
        off.append(np.log2(found[10:] / real[10:]))
        plain.append(np.log2(np.maximum(np.linalg.eigvalsh(np.cov(x.T))[10:], 1e-9) / real[10:]))
    assert np.abs(np.mean(off, axis=0)).mean() < 0.35 * np.abs(np.mean(plain, axis=0)).mean()


def test_many_documents_give_their_own_covariance() -> None:
    x, _ = gaussian(20_000, 0)
    np.testing.assert_allclose(heldout_covariance(x), np.cov(x.T), atol=0.01)


def test_directions_that_no_document_shows_keep_a_little() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)) @ np.eye(3, 8)
    values = np.linalg.eigvalsh(heldout_covariance(x))
    np.testing.assert_allclose(values[:5], FLOOR * values.sum() / 8, rtol=0.01)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_documents(n: int) -> None:
    x = np.random.default_rng(2).normal(size=(n, 6))
    found = heldout_covariance(x)
    assert np.linalg.eigvalsh(found)[0] > 0
    np.testing.assert_array_equal(
        heldout_covariance(np.repeat(x[:1], 4, axis=0)), heldout_covariance(x[:1])
    )
