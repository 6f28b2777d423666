"""Every datatype of Qdrant: rankings, the way back, limits, what a server may answer."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import attar
from attar.engines import Served
from attar.projection import project
from attar.stores.engines import Engine, QdrantEdgeEngine, QdrantEngine, qdrant
from attar.stores.transfer.rows import Rows

DIM, COUNT, K = 24, 1000, 10
LEAST = {
    "turbo4": 0.85,
    "uint8": 0.96,
    "turbo8": 0.98,
    "float16": 0.99,
    "turbo16": 0.99,
    "float32": 1.0,
}


def material(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    spread = 0.93 ** np.arange(DIM)
    x, q = rng.standard_normal((COUNT, DIM)) * spread, rng.standard_normal((30, DIM)) * spread
    length = np.linalg.norm(x, axis=1, keepdims=True) * 2
    return (x / length).astype(np.float32), q.astype(np.float32)


def rows(x: np.ndarray) -> Iterator[Rows]:
    for start in range(0, len(x), 400):
        some = x[start : start + 400]
        ids = [f"d{start + i}" for i in range(len(some))]
        yield Rows(ids, some, [None] * len(ids), [{"n": start + i} for i in range(len(ids))])


@pytest.mark.parametrize("dtype", LEAST)
def test_every_type_ranks_as_the_vectors_do(dtype: str, tmp_path: Path) -> None:
    assert set(LEAST) == set(QdrantEdgeEngine.TYPES)
    x, q = material()
    exact = q @ x.T
    with QdrantEdgeEngine(tmp_path / "edge", DIM, dtype) as engine:
        assert engine.push(rows(x)) == COUNT
        hits = engine.search(q, K)
        best = np.argsort(-exact)[:, :K]
        pairs = zip(hits.ids, best, strict=True)
        overlap = np.mean([len({int(i[1:]) for i in a} & set(b)) / K for a, b in pairs])
        assert overlap >= LEAST[dtype]
        own = np.array([[exact[r, int(i[1:])] for i in row] for r, row in enumerate(hits.ids)])
        np.testing.assert_allclose(hits.scores, own, atol=0.12 if dtype == "turbo4" else 0.02)
        few = engine.search(q[0], COUNT, filter={"n": {"$lt": 50}})
        assert sorted(few.ids[0]) == sorted(f"d{i}" for i in range(50))
    with QdrantEdgeEngine(tmp_path / "edge", DIM, dtype) as engine:
        assert engine.push(rows(x)) == 0
        pulled = list(engine.pull())
        with pytest.raises(OSError, match="One process at a time"):
            QdrantEdgeEngine(tmp_path / "edge", DIM, dtype)
    back = np.concatenate([one.vectors for one in pulled])
    order = [int(name[1:]) for one in pulled for name in one.ids]
    assert np.linalg.norm(back - x[order], axis=1).max() < (0.1 if dtype == "turbo4" else 0.05)
    other = "float32" if dtype != "float32" else "float16"
    with pytest.raises(ValueError, match="exists"):
        QdrantEdgeEngine(tmp_path / "edge", DIM, other)


def test_bytes_move_between_the_engine_and_the_client(tmp_path: Path, in_memory: Path) -> None:
    x, q = material()
    x = x[:300]
    with QdrantEdgeEngine(tmp_path / "edge", DIM, "uint8") as engine:
        engine.push(rows(x))
        hits, pulled = engine.search(q, K), list(engine.pull())
    with QdrantEngine(str(in_memory / "local"), "docs", DIM, "uint8") as client:
        assert client.push(iter(pulled)) == len(x)
        again = client.search(q, K)
    # The same integers, hence the same scores, whoever adds them up.
    np.testing.assert_array_equal(again.ids, hits.ids)
    np.testing.assert_allclose(again.scores, hits.scores, atol=1e-5)
    with pytest.raises(ValueError, match="exists"):
        QdrantEngine(str(in_memory / "local"), "docs", DIM, "float32")


def test_bytes_hold_coordinates_up_to_one(tmp_path: Path) -> None:
    x, _ = material()
    with QdrantEdgeEngine(tmp_path / "edge", DIM, "uint8") as engine:
        x[5] *= 50
        with pytest.raises(ValueError, match="up to 1, after turning; id 'd5' has"):
            engine.push(rows(x))
        assert len(engine) == 0


def test_the_smallest_type_that_keeps_enough_is_chosen(tmp_path: Path) -> None:
    x, q = material()
    x, q = x + 0.05, q + 0.05
    with attar.Store.create(tmp_path / "s", "waterfill@8x", metric="ip") as store:
        store.add([f"d{i}" for i in range(COUNT)], x * 40)
        store.reencode(attar.codec("waterfill@8x"))
        types = QdrantEdgeEngine.TYPES
        sizes = []
        for keep in (0.5, 0.95, 1.0):
            one = project(store, keep, types)
            sizes.append(one.dim * {"turbo4": 0.5, "uint8": 1, "turbo8": 1}.get(one.dtype, 2))
            assert one.overlap >= keep or keep == 1.0
        assert sizes == sorted(sizes) and sizes[0] < sizes[1] <= 2 * DIM
        want = store.search(q, K)
        for dtype, least in (("uint8", 0.9), ("turbo8", 0.95), ("turbo4", 0.75)):

            def make(dim: int, kind: str) -> Engine:
                return QdrantEdgeEngine(tmp_path / kind, dim, kind)

            served = Served.push(store, make, keep=1.0, types=(dtype,))
            got = served.search(q, K)
            pairs = zip(got.ids, want.ids, strict=True)
            overlap = np.mean([len(set(a) & set(b)) / K for a, b in pairs])
            assert overlap >= least, dtype
            # What attar's own stand-in for the type said is what the engine does.
            assert abs(overlap - served.projection.overlap) < 0.1
            np.testing.assert_allclose(got.scores[:, 0], want.scores[:, 0], rtol=0.1, atol=1)
            served.close()
        with pytest.raises(ValueError, match="at least one type"):
            project(store, 0.9, ())


def test_large_documents_go_in_requests_that_servers_take(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, _ = material()
    texts = ["x" * 1000 for _ in range(10)]
    some = Rows([f"d{i}" for i in range(10)], x[:10], list(texts), [None] * 10)
    with QdrantEngine(str(in_memory / "local"), "docs", DIM) as engine:
        sent: list[int] = []
        upsert = engine._client.upsert
        monkeypatch.setattr(
            engine._client,
            "upsert",
            lambda name, points, **how: (sent.append(len(points)), upsert(name, points, **how)),
        )
        monkeypatch.setattr(qdrant, "REQUEST", 6000)
        assert engine.push([some]) == len(engine) == 10
        assert sum(sent) == 10 and max(sent) <= 4 and len(sent) >= 3
        big = Rows(["big"], x[:1], ["x" * 7000], [None])
        with pytest.raises(ValueError, match="up to 6,000 bytes a request; id 'big'"):
            engine.push([big])


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b"Must provide an API key")

    def log_message(self, *what: object) -> None:
        pass


def test_a_wrong_key_of_qdrant_says_so() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ConnectionError, match=r"(?s)401.*Check .* the api_key"):
            url = f"http://127.0.0.1:{server.server_port}"
            QdrantEngine(url, "docs", DIM, api_key="wrong", check_compatibility=False)
    finally:
        server.shutdown()
        server.server_close()
