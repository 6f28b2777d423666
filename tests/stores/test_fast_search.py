"""Searching a store by native kernels: the same hits as numpy's scan, segment sizes and all."""

import numpy as np
import pytest

import attar
from attar.stores.kernels.library import levels
from attar.stores.scan import fast
from tests.stores.cascade.worlds import vectors


def store(path, spec: str, metric: str, n: int):
    made = attar.Store.create(path, spec, metric=metric)
    x = vectors(n, 48, seed=3)
    names = [f"d{i:05d}" for i in np.random.default_rng(4).permutation(n)]
    made.add(names[: n // 3], x[: n // 3], metadata=[{"even": i % 2 == 0} for i in range(n // 3)])
    made.add(names[n // 3 :], x[n // 3 :])
    made.delete(names[::7])
    return made, x[:8] + np.float32(0.01)


def same(a, b):
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("spec", ["int8", "waterfill@8x", "float16"])
def test_native_search_equals_numpy(tmp_path, monkeypatch, spec, metric):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 500)
    made, queries = store(tmp_path / "s", spec, metric, 6000)
    with made:
        for filter in (None, {"even": True}):
            for k in (1, 10, 1000):
                wanted = made.search(queries, k, filter=filter, impl="numpy")
                for impl in ("auto", *levels()):
                    same(made.search(queries, k, filter=filter, impl=impl), wanted)
                same(made.search(queries, k, filter=filter, threads=3), wanted)


def test_ties_are_broken_by_id_however_many_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 300)
    x = np.repeat(vectors(10, 16, seed=0), 100, axis=0)
    with attar.Store.create(tmp_path / "s", "float16") as made:
        made.add([f"{i * 7919 % 1000:03d}" for i in range(1000)], x)
        for k in (3, 90, 150):
            same(made.search(x[::100], k), made.search(x[::100], k, impl="numpy"))


def test_approximate_search_reaches_its_recall(tmp_path, monkeypatch):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 500)
    made, _ = store(tmp_path / "s", "int8", "cosine", 6000)
    noise = np.random.default_rng(9).standard_normal((64, 48)).astype(np.float32)
    queries = vectors(6000, 48, seed=3)[100:164] + 0.1 * noise
    with made:
        truth = made.search(queries, 10)
        found = made.search(queries, 10, exact=False, recall=0.95)
        shared = [len(set(a) & set(b)) for a, b in zip(found.ids, truth.ids, strict=True)]
        assert np.mean(shared) >= 9.3
        known = set(truth.ids.ravel())
        assert set(found.ids.ravel()) & known


def test_what_changes_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 500)
    made, queries = store(tmp_path / "s", "int8", "cosine", 3000)
    with made:
        best = made.search(queries[0], 1).ids[0, 0]
        made.delete([best])
        assert best not in made.search(queries[0], 50).ids
        made.add(["new"], queries[:1])
        assert made.search(queries[0], 1).ids[0, 0] == "new"
        made.compact()
        same(made.search(queries, 10), made.search(queries, 10, impl="numpy"))


def test_arguments_are_checked(tmp_path):
    with attar.Store.create(tmp_path / "s", "float16") as made:
        made.add(["a"], np.ones((1, 4)))
        with pytest.raises(ValueError, match="exact search has recall 1"):
            made.search(np.ones(4), recall=0.9)
        with pytest.raises(ValueError, match="recall lies in"):
            made.search(np.ones(4), exact=False, recall=2)
        with pytest.raises(ValueError, match="impl is one of"):
            made.search(np.ones(4), impl="gpu")
        assert made.search(np.ones(4), k=5, exact=False).ids.shape == (1, 1)
