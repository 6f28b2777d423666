import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attar
from attar.stores.scan.bound import margins
from attar.stores.scan.exact import Target, scan
from attar.stores.score import lane_dots
from attar.stores.store import Store
from attar.stores.types import Levels
from tests.stores.brute import brute
from tests.stores.worlds import DIM, documents, names, reopen

SPECS = ["float32", "float16", "float8_e4m3:scaled", "int8", "pca50%+float8_e4m3"]


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("spec", SPECS)
def test_search_is_brute_force_bit_for_bit(tmp_path, spec, metric):
    x, queries = documents(700), documents(9, seed=1)
    codec = attar.codec(spec).fit(x / np.linalg.norm(x, axis=1, keepdims=True))
    with Store.create(tmp_path / "s", codec, metric=metric) as store:
        for start in range(0, 700, 90):
            store.add(names(700)[start : start + 90], x[start : start + 90])
        hits = store.search(queries, k=13)
    ids, values = brute(codec, metric, names(700), x, queries, 13)
    assert (hits.ids == ids).all()
    assert hits.scores.tobytes() == values.tobytes()
    with reopen(tmp_path / "s") as store:
        again = store.search(queries, k=13, threads=2)
    assert (again.ids == ids).all()
    assert again.scores.tobytes() == values.tobytes()


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_float32_scores_are_the_metric(tmp_path, metric):
    x, queries = documents(300), documents(5, seed=2)
    with Store.create(tmp_path / "s", attar.codec("float32"), metric=metric) as store:
        store.add(names(300), x)
        hits = store.search(queries, k=300)
    wide, q = x.astype(float), queries.astype(float)
    truth = {
        "cosine": (q @ wide.T)
        / np.linalg.norm(q, axis=1)[:, None]
        / np.linalg.norm(wide, axis=1)[None],
        "ip": q @ wide.T,
        "l2": -((q[:, None] - wide[None]) ** 2).sum(axis=2),
    }[metric]
    for row in range(5):
        rows = [int(name[1:]) for name in hits.ids[row]]
        np.testing.assert_allclose(hits.scores[row], truth[row][rows], rtol=1e-4, atol=1e-4)
        assert (np.diff(hits.scores[row]) <= 0).all()


@given(st.integers(1, 400), st.sampled_from([1, 2, 7]), st.integers(1, 30), st.booleans())
@settings(deadline=None, max_examples=15)
def test_block_size_and_threads_change_no_bit(tmp_path_factory, block, threads, k, coarse):
    path = tmp_path_factory.mktemp("blocks") / "s"
    x = documents(200)
    if coarse:
        x = np.sign(x)  # many equal scores
    with Store.create(path, attar.codec("int8")) as store:
        store.add(names(120), x[:120])
        store.add(names(80, "e"), x[120:])
        store.delete(["d3", "e9"])
        parts = store._library.snapshot.parts
        query = parts[0].codec.prepare(documents(3, seed=5))
        targets = [Target(part, query, part.live) for part in parts]
        whole = scan(targets, 3, k, None)
        cut = scan(targets, 3, k, threads, block_bytes=block * 4 * DIM)
    for a, b in zip(whole, cut, strict=True):
        top = np.sort(a.scores)[::-1][:k]
        assert top.tobytes() == np.sort(b.scores)[::-1][:k].tobytes()
        floor = top[-1]
        assert set(a.slots[a.scores >= floor]) == set(b.slots[b.scores >= floor])


@given(st.integers(1, 70), st.integers(0, 2**32 - 1), st.floats(-12, 12))
@settings(deadline=None, max_examples=40)
def test_margin_covers_any_order_of_summation(dim, seed, power):
    rng = np.random.default_rng(seed)
    y = (rng.normal(size=(20, dim)) * 10.0 ** rng.uniform(-4, 4, dim)).astype(np.float32)
    q = (rng.normal(size=(3, dim)) * 10.0**power).astype(np.float32)
    levels = Levels(y, np.ones(20, np.float32))
    bound = margins(q, np.zeros(3, np.float32), levels, None)
    canonical = np.stack([lane_dots(row, y) for row in q])
    orders = [q @ y.T, np.cumsum(q[:, None] * y[None], axis=2, dtype=np.float32)[:, :, -1]]
    for other in orders:
        assert (np.abs(other.astype(float) - canonical) <= bound).all()


def test_ties_go_by_utf8_bytes_of_the_id(tmp_path):
    ids = ["b", "a", "\U0001f600", "\uffff", "é", "z", "a\x00", "A"]
    x = np.ones((len(ids), DIM), np.float32)
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        store.add(ids, x)
        hits = store.search(x[0], k=5)
    assert list(hits.ids[0]) == sorted(ids, key=str.encode)[:5]


def test_equal_vectors_more_than_k_keep_the_order(tmp_path):
    x = np.ones((3000, DIM), np.float32)
    ids = [f"{(i * 7919) % 3000:04d}" for i in range(3000)]
    with Store.create(tmp_path / "s", attar.codec("float16")) as store:
        store.add(ids, x)
        assert list(store.search(x[:1], k=4).ids[0]) == ["0000", "0001", "0002", "0003"]


def test_permuting_documents_permutes_nothing(tmp_path):
    x, queries = documents(400), documents(4, seed=3)
    order = np.random.default_rng(0).permutation(400)
    codec = attar.codec("int8").fit(x)
    results = []
    for name, rows in (("a", np.arange(400)), ("b", order)):
        with Store.create(tmp_path / name, codec) as store:
            store.add([names(400)[i] for i in rows], x[rows])
            results.append(store.search(queries, k=20))
    assert (results[0].ids == results[1].ids).all()
    assert results[0].scores.tobytes() == results[1].scores.tobytes()


def test_edges(tmp_path):
    x = documents(6)
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        empty = store.search(x[:2], k=3)
        assert empty.ids.shape == empty.scores.shape == (2, 0)
        store.add(names(6), x, metadata=[{"n": i} for i in range(6)])
        assert store.search(x[0], k=100).ids.shape == (1, 6)
        assert store.search(np.zeros((0, DIM)), k=4).ids.shape == (0, 4)
        assert store.search([], k=9).scores.shape == (0, 6)
        assert store.search(x, k=2, filter={"n": 77}).ids.shape == (6, 0)
        wide = np.asfortranarray(np.repeat(x.astype(np.float64), 2, axis=0))[::2]
        assert (store.search(wide, k=3).ids == store.search(x, k=3).ids).all()
        assert store.search(x, k=3).ids.dtype == object
        assert store.search(x, k=3).scores.dtype == np.float32
        store.delete(names(6))
        assert store.search(x, k=3).ids.shape == (6, 0)
        assert len(store) == 0


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_filters_and_deletions_mask_exactly(tmp_path, share):
    n = 600
    x, queries = documents(n), documents(6, seed=4)
    codec = attar.codec("int8").fit(x)
    rng = np.random.default_rng(1)
    chosen = rng.random(n) < share
    dead = {f"d{i}" for i in rng.choice(n, 100, replace=False)}
    with Store.create(tmp_path / "s", codec) as store:
        store.add(names(n), x, metadata=[{"chosen": bool(c)} for c in chosen])
        assert store.delete(dead) == len(dead)
        hits = store.search(queries, k=8, filter={"chosen": True})
    allowed = {f"d{i}" for i in np.flatnonzero(chosen)} - dead
    ids, values = brute(codec, "cosine", names(n), x, queries, 8, allowed)
    assert (hits.ids == ids).all()
    assert hits.scores.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"k": 0}, ValueError, "at least 1"),
        ({"k": 2.5}, TypeError, "whole number"),
        ({"k": True}, TypeError, "whole number"),
        ({"vector": np.full(DIM, np.nan)}, ValueError, "finite"),
        ({"vector": np.full(DIM, np.inf)}, ValueError, "finite"),
        ({"vector": np.full(DIM, 1e300)}, ValueError, "finite"),
        ({"vector": np.zeros(DIM)}, ValueError, "all zero"),
        ({"vector": np.ones(DIM + 1)}, ValueError, "12 dimensions, got 13"),
        ({"vector": np.ones((2, 2, DIM))}, ValueError, r"\[m d\]"),
        ({"vector": ["a"] * DIM}, TypeError, "numbers"),
        ({"vector": np.ones(DIM) * 1j}, TypeError, "numbers"),
        ({"vector": None}, ValueError, "got neither"),
        ({"text": "both"}, ValueError, "index_texts"),
        ({"vector": None, "text": "no encoder"}, ValueError, "encoder"),
        ({"threads": 0}, ValueError, "threads"),
        ({"alpha": 0.5}, ValueError, "text="),
        ({"text": "a", "alpha": 1.5}, ValueError, "alpha is between"),
        ({"offset": -1}, ValueError, "offset"),
        ({"min_score": float("nan")}, ValueError, "min_score"),
        ({"group_size": 2}, ValueError, "group_by"),
        ({"recall": 0.9}, ValueError, "exact=False"),
        ({"impl": "magic"}, ValueError, "impl"),
        ({"filter": {}}, ValueError, "non-empty"),
    ],
)
def test_bad_searches_say_the_rule(tmp_path, arguments, error, says):
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        store.add(names(3), documents(3))
        with pytest.raises(error, match=says):
            store.search(**({"vector": np.ones(DIM)} | arguments))
