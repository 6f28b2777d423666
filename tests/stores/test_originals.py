"""Kept originals come back as they came; a store without them says so."""

from pathlib import Path

import numpy as np
import pytest

import attar


def test_originals_come_back_bit_for_bit(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    ids = [f"d{i}" for i in range(50)]
    with attar.Store.create(tmp_path / "s", "int8", keep_originals=True) as store:
        store.add(ids, vectors=x)
        store.upsert(["d3"], vectors=x[4:5])
        store.delete(["d9"])
        np.testing.assert_array_equal(store.vectors(["d7", "d3"], originals=True), x[[7, 4]])
        assert (store.vectors(["d7"]) != x[7]).any()


def test_a_store_without_originals_says_so(tmp_path: Path) -> None:
    with attar.Store.create(tmp_path / "s", "int8") as store:
        store.add(["a"], vectors=[[1.0, 2.0]])
        with pytest.raises(ValueError, match="keep_originals=True"):
            store.vectors(["a"], originals=True)
