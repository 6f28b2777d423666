"""A store in cells: the same exact hits, near ones from fewer bytes, files that may be lost."""

import numpy as np
import pytest

import attar
from attar.stores.errors import StoreError
from attar.stores.scan import fast
from tests.stores.cascade.worlds import vectors

N, DIM = 2400, 48


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 500)


def filled(path, n: int = N, metric: str = "cosine", spec: str = "int8"):
    made = attar.Store.create(path, spec, metric=metric)
    x = vectors(n, DIM, seed=3)
    names = [f"d{i:05d}" for i in range(n)]
    made.add(names, x, metadata=[{"even": i % 2 == 0} for i in range(n)])
    return made, x


def asked(x, m: int = 48):
    noise = np.random.default_rng(9).standard_normal((m, x.shape[1])).astype(np.float32)
    return x[100 : 100 + m] + np.float32(0.1) * noise


def same(a, b):
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.scores, b.scores)


def share(found, truth) -> float:
    pairs = zip(found.ids, truth.ids, strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_exact_hits_are_the_same_and_near_ones_are_near(tmp_path, metric):
    made, x = filled(tmp_path / "s", metric=metric)
    with made:
        queries = asked(x)
        truth = made.search(queries, 10)
        assert made.info()["cells"] == 0
        assert made.cluster(32).result() == N
        assert made.info()["cells"] == 32
        same(made.search(queries, 10), truth)
        same(made.search(queries[:1], 10), made.search(queries[:1], 10, impl="numpy"))
        assert share(made.search(queries, 10, exact=False, recall=0.95), truth) >= 0.93
        even = made.search(queries, 10, filter={"even": True})
        assert share(made.search(queries, 10, filter={"even": True}, exact=False), even) >= 0.95


def test_what_was_saved_is_used_by_whoever_opens_the_store(tmp_path, monkeypatch):
    made, x = filled(tmp_path / "s")
    with made:
        made.cluster(16)
        queries = asked(x)
        truth = made.search(queries, 10)
        near = made.search(queries, 10, exact=False, recall=0.9)
    fast._SCANNERS.clear()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a saved sketch was made again")

    monkeypatch.setattr(fast.Cascade, "build", never)
    monkeypatch.setattr(fast.Cascade, "encode", never)
    monkeypatch.setattr(fast, "calibrated", never)
    with attar.open(tmp_path / "s") as store:
        same(store.search(queries, 10), truth)
        same(store.search(queries, 10, exact=False, recall=0.9), near)


def test_later_vectors_go_to_the_cells_that_there_are(tmp_path, monkeypatch):
    made, x = filled(tmp_path / "s", 3000)
    with made:
        made.cluster(16)
        more = vectors(5000, DIM, seed=3)[3000:]
        monkeypatch.setattr(fast.Cascade, "build", None)  # nothing is clustered again
        made.add([f"e{i:05d}" for i in range(2000)], more)
        made.delete([f"d{i:05d}" for i in range(0, 3000, 3)])
        queries = asked(more)
        wanted = made.search(queries, 10, impl="numpy")
        same(made.search(queries, 10), wanted)
        found = made.search(queries, 10, exact=False, recall=0.95)
        assert share(found, wanted) >= 0.9
        assert not any(int(name[1:]) % 3 == 0 for name in found.ids.ravel() if name[0] == "d")
        made.compact()
        same(made.search(queries, 10), wanted)
        assert made.cluster(16).result() == len(made)
        assert len(list((tmp_path / "s" / "index").glob("*.sketch"))) == 1
        assert share(made.search(queries, 10, exact=False, recall=0.95), wanted) >= 0.93


@pytest.mark.parametrize("damage", ["flip", "cut", "other", "empty"])
@pytest.mark.parametrize("suffix", ["sketch", "frame"])
def test_a_damaged_file_is_left_aside(tmp_path, caplog, suffix, damage):
    made, x = filled(tmp_path / "s", 2000)
    queries = asked(x)
    with made:
        truth = made.search(queries, 10)
        made.cluster(16)
    fast._SCANNERS.clear()
    (path,) = (tmp_path / "s" / "index").glob(f"*.{suffix}")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    if damage == "cut":
        content = content[: len(content) // 2]
    if damage == "empty":
        content = bytearray()
    if damage == "other":
        content[20] ^= 1
    path.write_bytes(bytes(content))
    with attar.open(tmp_path / "s") as store:
        same(store.search(queries, 10), truth)
        assert share(store.search(queries, 10, exact=False, recall=0.95), truth) >= 0.93
        assert store.verify().whole
        # Without the native library searches never look at sketches.
        fast.scanner(store.library.snapshot.parts[0]).cascade()
    assert "Store.cluster" in caplog.text


def test_in_the_background_while_the_store_changes(tmp_path):
    made, x = filled(tmp_path / "s")
    queries = asked(x)
    future = made.cluster(24, background=True)
    made.add(["new"], queries[:1])
    assert made.search(queries[0], 1).ids[0, 0] == "new"
    made.close()
    assert future.result() == N
    with attar.open(tmp_path / "s") as store:
        same(store.search(queries, 10), store.search(queries, 10, impl="numpy"))
        assert store.info()["cells"] == 24


def test_bad_input(tmp_path):
    made, x = filled(tmp_path / "s", 600)
    with made:
        for cells in (0, 1, -4, True, 10**6):
            with pytest.raises(ValueError, match="cells lies in 2"):
                made.cluster(cells)
    with attar.open(tmp_path / "s") as store, pytest.raises(StoreError, match="open for reading"):
        store.cluster()
    with attar.Store.create(tmp_path / "empty", "int8") as empty:
        assert empty.cluster().result() == 0
        empty.add(["a"], x[:1])
        assert empty.cluster().result() == 0


def test_cluster_from_the_shell(tmp_path):
    from typer.testing import CliRunner

    from attar.cli.app import app

    made, _ = filled(tmp_path / "s", 1500)
    made.close()
    ran = CliRunner().invoke(app, ["cluster", str(tmp_path / "s"), "--cells", "12"])
    assert ran.exit_code == 0, ran.output
    assert "1,500 vectors in 12 cells" in ran.output
