"""A store with a graph: near hits from few rows, the same exact ones, files that may be lost."""

import numpy as np
import pytest

import attar
from attar.stores.errors import StoreError
from attar.stores.graph.index import GraphIndex
from attar.stores.graph.saved import save_graph
from attar.stores.scan import fast
from attar.stores.types import Hits
from tests.stores.cascade.worlds import vectors
from tests.stores.test_cluster import DIM, asked, filled, same, share

N = 2400


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 500)


@pytest.fixture
def walks(monkeypatch):
    """How many times a graph was walked."""
    counted = []

    def walked(*args):
        counted.append(args)
        return WALKED(*args)

    monkeypatch.setattr(fast, "walked", walked)
    return counted


WALKED = fast.walked


def one_by_one(store, queries, **how):
    hits = [store.search(q, 10, exact=False, **how) for q in queries]
    return Hits(np.concatenate([h.ids for h in hits]), np.concatenate([h.scores for h in hits]))


@pytest.mark.parametrize("spec", ["int8", "waterfill@4x"])
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_near_hits_come_from_the_graph(tmp_path, walks, metric, spec):
    made, x = filled(tmp_path / "s", N, metric, spec)
    with made:
        queries = asked(x)
        truth = made.search(queries, 10)
        assert made.info()["linked"] == 0
        assert made.graph(16).result() == N
        assert made.info()["linked"] == N
        found = one_by_one(made, queries, recall=0.95)
        assert len(walks) == len(queries)
        assert share(found, truth) >= 0.92
        by_name = {
            (i, name): s
            for i, row in enumerate(truth.ids)
            for name, s in zip(row, truth.scores[i], strict=True)
        }
        both = [
            (s, by_name[i, name])
            for i, row in enumerate(found.ids)
            for name, s in zip(row, found.scores[i], strict=True)
            if (i, name) in by_name
        ]
        assert len(both) > 400
        np.testing.assert_array_equal(*zip(*both, strict=True))  # canonical scores
        same(made.search(queries, 10), truth)
        same(
            one_by_one(made, queries[:5], recall=0.95, impl="portable"),
            one_by_one(made, queries[:5], recall=0.95),
        )


def test_what_the_graph_is_not_for_is_left_to_the_sketch(tmp_path, walks, monkeypatch):
    made, x = filled(tmp_path / "s")
    with made:
        made.graph(16)
        queries = asked(x)
        made.search(queries, 10, exact=False)  # a batch
        made.search(queries[:1], 10)  # exact
        made.search(queries[:1], 10, exact=False, recall=1.0)
        assert not walks
        made.search(queries[:8], 10, exact=False)
        assert len(walks) == 1
        even = made.search(queries[:8], 10, filter={"even": True}, exact=False)
        assert len(walks) == 2
        assert share(even, made.search(queries[:8], 10, filter={"even": True})) >= 0.9
        monkeypatch.setattr(fast, "GRAPH_SHARE", 1)
        few = made.search(queries[:8], 10, filter={"even": True}, exact=False)
        assert len(walks) == 2  # half of the rows are left: too few
        assert share(few, made.search(queries[:8], 10, filter={"even": True})) >= 0.9
    with attar.open(tmp_path / "s", budget=8 << 20) as store:
        store.search(queries[:1], 10, exact=False)
    assert len(walks) == 2  # codes stay on disk


def test_deleted_rows_are_walked_through_and_never_found(tmp_path, walks):
    made, x = filled(tmp_path / "s")
    with made:
        made.graph(16)
        gone = {f"d{i:05d}" for i in range(0, N, 3)}
        made.delete(sorted(gone))
        queries = asked(x)
        found = one_by_one(made, queries, recall=0.95)
        assert len(walks) == len(queries)
        assert not gone & set(found.ids.ravel())
        assert share(found, made.search(queries, 10)) >= 0.93


def test_what_was_saved_is_used_and_only_new_segments_are_linked(tmp_path, monkeypatch, walks):
    made, x = filled(tmp_path / "s")
    queries = asked(x)
    with made:
        made.graph(16)
        near = one_by_one(made, queries[:8])
    fast._SCANNERS.clear()
    built = []
    build = GraphIndex.build
    monkeypatch.setattr(
        GraphIndex,
        "build",
        lambda *args: (built.append(len(args[0])), build(*args))[1],
    )
    with attar.open(tmp_path / "s", "w") as store:
        same(one_by_one(store, queries[:8]), near)
        assert store.graph(16).result() == N
        assert not built
        store.add([f"e{i}" for i in range(600)], vectors(3000, DIM, seed=3)[N:])
        assert store.info()["linked"] == N
        walks.clear()
        mixed = one_by_one(store, queries)
        assert len(walks) == len(queries)  # one of the two segments has a graph
        assert share(mixed, store.search(queries, 10)) >= 0.95
        assert store.graph(16).result() == N + 600
        assert built == [600]
        assert store.graph(12).result() == N + 600
        assert sorted(built) == [600, 600, N]
        store.compact()
        assert store.info()["linked"] == 0
        assert store.graph(12).result() == N + 600
        assert len(list((tmp_path / "s" / "index").glob("*.graph"))) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "links", "empty"])
def test_a_damaged_file_is_left_aside(tmp_path, caplog, walks, damage):
    made, x = filled(tmp_path / "s")
    queries = asked(x)
    with made:
        made.graph(16)
        part = made.library.snapshot.parts[0]
        if damage == "links":  # whole by its checksum, and leading out of the graph
            index, known = fast.scanner(part)._graph
            index.graph.links[7, 0] = N
            save_graph(part, index, known)
    fast._SCANNERS.clear()
    (path,) = (tmp_path / "s" / "index").glob("*.graph")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    if damage == "cut":
        content = content[: len(content) // 2]
    if damage == "empty":
        content = bytearray()
    path.write_bytes(bytes(content))
    with attar.open(tmp_path / "s") as store:
        truth = store.search(queries, 10)
        assert share(one_by_one(store, queries), truth) >= 0.95
        assert not walks
    assert ("does not fit" if damage == "links" else "Store.graph") in caplog.text


def test_in_the_background(tmp_path):
    made, x = filled(tmp_path / "s")
    future = made.graph(16, background=True)
    made.add(["new"], asked(x)[:1])
    made.close()
    assert future.result() == N
    with attar.open(tmp_path / "s") as store:
        assert store.info()["linked"] == N


def test_equal_vectors_and_few_of_them(tmp_path):
    with attar.Store.create(tmp_path / "s", "int8") as made:
        x = np.tile(np.eye(1, DIM, dtype=np.float32), (600, 1))
        made.add([f"d{i:03d}" for i in range(600)], x)
        made.graph(8)
        hits = made.search(x[0], 6, exact=False)
        assert len(set(hits.ids[0])) == 6
        assert (hits.scores == hits.scores[0, 0]).all()


def test_bad_input(tmp_path):
    made, x = filled(tmp_path / "s", 600)
    with made:
        for links in (0, 7, 9, 258, -16, True):
            with pytest.raises(ValueError, match="links is an even number from 8 to 256"):
                made.graph(links)
    with attar.open(tmp_path / "s") as store, pytest.raises(StoreError, match="open for reading"):
        store.graph()
    with attar.Store.create(tmp_path / "empty", "int8") as empty:
        assert empty.graph().result() == 0
        empty.add(["a"], x[:1])
        assert empty.graph().result() == 0


def test_graph_from_the_shell(tmp_path):
    from typer.testing import CliRunner

    from attar.cli.app import app

    made, _ = filled(tmp_path / "s", 1500)
    made.close()
    ran = CliRunner().invoke(app, ["graph", str(tmp_path / "s"), "--links", "12"])
    assert ran.exit_code == 0, ran.output
    assert "1,500 vectors linked" in ran.output
