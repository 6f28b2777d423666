"""Odd questions to a store: exact or not, one query or a batch, with and without native kernels."""

import numpy as np
import pytest

import attar
from attar.stores.kernels.library import levels
from attar.stores.scan import fast
from tests.stores.cascade.worlds import vectors

N, DIM = 2000, 48
WAYS = [
    pytest.param({"exact": exact, "impl": impl}, id=f"{'exact' if exact else 'near'}-{impl}")
    for exact in (True, False)
    for impl in ("auto", "numpy", *levels()[-1:])
]


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 500)
    with attar.Store.create(tmp_path / "s", "int8") as store:
        metadata = [{"odd": i % 2 == 1} for i in range(N)]
        store.add([f"d{i}" for i in range(N)], vectors(N, DIM, seed=3), metadata=metadata)
        yield store


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("m", [1, 40])
def test_k_beyond_the_store_gives_everything(made, how, m):
    hits = made.search(vectors(m, DIM, seed=5), N + 7, **how)
    assert hits.ids.shape == (m, N)
    assert all(len(set(row)) == N for row in hits.ids)


@pytest.mark.parametrize("how", WAYS)
def test_a_filter_that_matches_nothing_gives_nothing(made, how):
    hits = made.search(vectors(3, DIM, seed=5), 4, filter={"odd": "never"}, **how)
    assert hits.ids.shape == (3, 0)


@pytest.mark.parametrize("how", WAYS)
def test_no_queries_give_no_hits(made, how):
    hits = made.search(np.zeros((0, DIM), np.float32), 4, **how)
    assert len(hits.ids) == len(hits.scores) == 0


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_queries_that_are_not_finite_are_refused(made, how, bad):
    queries = vectors(20, DIM, seed=5)
    queries[7, 3] = bad
    with pytest.raises(ValueError, match=r"finite|NaN|number"):
        made.search(queries, 4, **how)


@pytest.mark.parametrize("how", WAYS)
def test_a_wrong_dimension_is_refused(made, how):
    with pytest.raises(ValueError, match=str(DIM)):
        made.search(np.ones((2, DIM + 1), np.float32), 4, **how)


@pytest.mark.parametrize("how", WAYS)
def test_the_memory_of_queries_does_not_matter(made, how):
    queries = vectors(20, DIM, seed=5)
    wanted = made.search(queries, 4, **how)
    padded = np.zeros((20, 2 * DIM), np.float32)
    padded[:, ::2] = queries
    reversed_rows = np.ascontiguousarray(queries[::-1])[::-1]
    for same in (queries.astype(np.float64), padded[:, ::2], np.asfortranarray(queries),
                 reversed_rows, queries.tolist()):  # fmt: skip
        hits = made.search(same, 4, **how)
        np.testing.assert_array_equal(hits.ids, wanted.ids)
        np.testing.assert_array_equal(hits.scores, wanted.scores)


@pytest.mark.parametrize("how", WAYS)
def test_a_store_whose_documents_are_all_deleted_finds_nothing(made, how):
    made.delete([f"d{i}" for i in range(N)])
    assert made.search(vectors(3, DIM, seed=5), 4, **how).ids.shape == (3, 0)


@pytest.mark.parametrize("how", WAYS)
def test_an_empty_store_finds_nothing(tmp_path, how):
    with attar.Store.create(tmp_path / "empty", "int8") as store:
        assert store.search(np.ones((2, DIM), np.float32), 4, **how).ids.shape == (2, 0)
