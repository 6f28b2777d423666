"""The native walk against numpy's, on graphs of every shape."""

import numpy as np
import pytest

from attar.stores.kernels.library import levels
from attar.stores.kernels.walk import NOWHERE, Graph, Pool, Turn, turned, walk, walk_top
from tests.stores.cascade.worlds import cascade


def made(n: int, g: int, r: int, seed: int = 0, entries: int = 3) -> Graph:
    """Random codes, links to random rows of which some are missing; small values make ties."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4 if seed % 2 else 256, (n, g)).astype(np.uint8)
    links = rng.integers(0, n, (n, r)).astype(np.uint32)
    lengths = rng.integers(0, r + 1, n)
    links[np.arange(r) >= lengths[:, None]] = NOWHERE
    return Graph(codes, links, np.sort(rng.choice(n, min(entries, n), False)).astype(np.uint32))


@pytest.mark.parametrize("impl", levels())
@pytest.mark.parametrize(
    ("n", "g", "r"), [(1, 64, 2), (63, 64, 4), (100, 192, 6), (1000, 128, 16), (4000, 320, 32)]
)
def test_walks_the_same_way_as_numpy(impl, n, g, r):
    for seed in range(4):
        graph = made(n, g, r, seed)
        queries = np.random.default_rng(9).integers(-128, 128, (5, g)).astype(np.int8)
        for window in (1, 7, 100):
            found = walk(graph, queries, window, threads=2, impl=impl)
            np.testing.assert_array_equal(found, walk(graph, queries, window, impl="numpy"))


@pytest.mark.parametrize("impl", levels())
def test_the_widest_bytes_do_not_overflow(impl):
    codes = np.full((2, 64), 255, np.uint8)
    codes[1] = 254
    graph = Graph(codes, np.array([[1], [0]], np.uint32), np.array([1], np.uint32))
    for value, best in ((127, [0, 1]), (-128, [1, 0])):
        query = np.full((1, 64), value, np.int8)
        np.testing.assert_array_equal(walk(graph, query, 2, impl=impl), [best])


def test_a_pool_as_large_as_the_graph_is_a_scan_of_what_is_linked():
    graph = made(500, 64, 24, entries=8)
    query = np.random.default_rng(2).integers(-128, 128, (3, 64)).astype(np.int8)
    reached = np.isin(np.arange(500), graph.entries)
    while True:
        links = graph.links[reached]
        wider = reached.copy()
        wider[links[links != NOWHERE]] = True
        if (wider == reached).all():
            break
        reached = wider
    scores = query.astype(np.int64) @ graph.codes.T.astype(np.int64)
    rows = np.flatnonzero(reached)
    for q in range(3):
        order = rows[np.lexsort((rows, -scores[q, rows]))]
        found = walk(graph, query[q : q + 1], 500)[0]
        np.testing.assert_array_equal(found[: len(order)], order)
        assert (found[len(order) :] == -1).all()


@pytest.mark.parametrize("impl", levels())
@pytest.mark.parametrize("spec", ["int8", "waterfill@4x", "float8_e4m3"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_refined_walks_are_numpys(impl, spec, metric):
    index, query = cascade(spec, metric, 700)
    graph = made(700, 64, 12)
    asked = np.random.default_rng(4).integers(-128, 128, (len(query), 64)).astype(np.int8)
    allowed = np.random.default_rng(5).random(700) < 0.5
    for pool in (Pool(40, 40, 12, 5), Pool(40, 20, 40, 5), Pool(9, 9, 9, 30)):
        for mask in (None, allowed):
            args = (graph, index.source, asked, query, pool, mask)
            found, wanted = walk_top(*args, impl=impl), walk_top(*args, impl="numpy")
            np.testing.assert_array_equal(found.rows, wanted.rows)
            np.testing.assert_array_equal(found.scores, wanted.scores)
            assert mask is None or allowed[found.rows[found.rows >= 0]].all()


def test_arrays_that_are_no_graph_are_refused():
    good = made(10, 64, 4)
    with pytest.raises(ValueError, match="multiple of 64"):
        Graph(good.codes[:, :60], good.links, good.entries)
    with pytest.raises(ValueError, match="Links are rows below 10"):
        Graph(good.codes, np.full((10, 4), 10, np.uint32), good.entries)
    with pytest.raises(ValueError, match=r"Links are \[10 r\]"):
        Graph(good.codes, good.links[:9], good.entries)
    for entries in (np.zeros(0, np.uint32), np.array([10], np.uint32)):
        with pytest.raises(ValueError, match="Entries are one or more rows below 10"):
            Graph(good.codes, good.links, entries)
    with pytest.raises(ValueError, match=r"Queries are \[m 64\]"):
        walk(good, np.zeros((1, 32), np.int8), 4)
    with pytest.raises(ValueError, match="window is at least 1"):
        walk(good, np.zeros((1, 64), np.int8), 0)


@pytest.mark.parametrize("impl", levels())
@pytest.mark.parametrize(("m", "e", "g"), [(1, 1, 64), (3, 100, 64), (2, 768, 192), (4, 1537, 128)])
def test_queries_are_turned_as_by_numpy(impl, m, e, g):
    rng = np.random.default_rng(e)
    matrix = rng.standard_normal((g, e)).astype(np.float32)
    turn = Turn.of(matrix, rng.standard_normal(g).astype(np.float32))
    coords = rng.standard_normal((m, e)).astype(np.float32) * np.float32(3)
    coords[0] = 0
    got = turned(turn, coords, impl)
    np.testing.assert_array_equal(got, turned(turn, coords, "numpy"))
    exact = coords @ matrix.T + turn.constant
    unit = np.abs(exact).max(axis=1, keepdims=True) / 127
    assert np.abs(got - exact / unit).max() < 3  # of 127
