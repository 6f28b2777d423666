"""Real engines against a local store over the same reduced vectors: hits, filters, the way back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attar
from attar.engines import Served
from attar.projection import Projection, project
from attar.stores.engines import (
    Engine,
    LanceEngine,
    PgVectorEngine,
    QdrantEdgeEngine,
    QdrantEngine,
)
from attar.stores.engines.engine import need
from attar.stores.transfer.rows import Rows

DIM, COUNT, K = 24, 1200, 10
FIELDS = {"year": "number", "lang": "string", "open": "boolean", "rare": "number"}
Make = Callable[..., Engine]


@pytest.fixture(params=["pgvector", "lancedb", "qdrant-edge", "qdrant"])
def make(request: pytest.FixtureRequest, tmp_path: Path, in_memory: Path) -> Iterator[Make]:
    opened: list[Engine] = []
    table = f"t{abs(hash(str(tmp_path)))}"

    def build(dim: int = DIM, dtype: str = "float16", **options: Any) -> Engine:
        # A folder of Qdrant belongs to one engine at a time.
        for engine in opened if request.param.startswith("qdrant") else ():
            engine.close()
        if request.param == "pgvector":
            dsn = request.getfixturevalue("dsn")
            opened.append(PgVectorEngine(dsn, table, dim, dtype))
        elif request.param == "lancedb":
            options = {"fields": FIELDS} | options
            opened.append(LanceEngine(str(tmp_path / "lance"), "docs", dim, dtype, **options))
        elif request.param == "qdrant":
            opened.append(QdrantEngine(str(in_memory / "qdrant"), "docs", dim, dtype))
        else:
            opened.append(QdrantEdgeEngine(tmp_path / "edge", dim, dtype))
        return opened[-1]

    build.name = request.param  # type: ignore[attr-defined]
    yield build
    for engine in opened:
        engine.close()


def reduced() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((COUNT, 2 * DIM)) * 0.9 ** np.arange(2 * DIM)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return attar.codec("pca50%+float32").fit(x).reducers[0].transform(x.astype(np.float32))


def metadata(i: int) -> dict[str, Any] | None:
    if i % 50 == 0:
        return None
    note: dict[str, Any] = {"year": 1990 + i % 40, "lang": "de en fr".split()[i % 3]}
    note["open"] = i % 2 == 0
    if i % 7 == 0:
        note["rare"] = i / 2
    if i % 5 == 0:
        note["tags"] = ["five", i % 3, True]
        note["who"] = {"name": f"n{i % 4}", "none": None}
    return note


def batches(size: int = 500) -> Iterator[Rows]:
    x = reduced()
    for start in range(0, COUNT, size):
        some = range(start, min(start + size, COUNT))
        yield Rows(
            [f"d'{i}" for i in some],
            x[some.start : some.stop],
            [f"text {i} 'quoted' ü" if i % 3 else None for i in some],
            [metadata(i) for i in some],
        )


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[attar.Store]:
    with attar.Store.create(
        tmp_path_factory.mktemp("local") / "s", "float32", metric="ip"
    ) as store:
        for rows in batches():
            store.add(rows.ids, rows.vectors, rows.texts, rows.metadata)
        yield store


def queries(m: int = 20) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((m, DIM)).astype(np.float32) * 0.3


def overlap(got: Any, want: Any) -> float:
    pairs = zip(got.ids, want.ids, strict=True)
    return float(np.mean([len(set(g) & set(w)) / len(w) for g, w in pairs]))


def test_hits_are_those_of_a_local_store(make: Make, local: attar.Store) -> None:
    engine = make()
    assert engine.push(batches()) == COUNT == len(engine)
    want, got = local.search(queries(), K), engine.search(queries(), K)
    assert overlap(got, want) >= 0.99
    np.testing.assert_allclose(got.scores, want.scores, atol=5e-3)
    assert (np.diff(got.scores, axis=1) <= 0).all()
    # The same vectors at the engine's precision give the same hits, ties aside.
    engine.delete(["d'3", "nobody"])
    assert len(engine) == COUNT - 1
    assert "d'3" not in engine.search(reduced()[3], COUNT).ids[0]


def test_float32_is_the_same_ranking(make: Make, local: attar.Store) -> None:
    engine = make(dtype="float32")
    engine.push(batches())
    want, got = local.search(queries(), K), engine.search(queries(), K)
    assert overlap(got, want) == 1.0
    np.testing.assert_allclose(got.scores, want.scores, atol=1e-5)


EVERYWHERE: list[dict[str, Any]] = [
    {"lang": "de"},
    {"year": 2001},
    {"year": 2001.0},
    {"year": "2001"},
    {"open": True},
    {"open": 1},
    {"lang": {"$ne": "de"}},
    {"year": {"$gt": 2020, "$lte": 2024}},
    {"year": {"$between": [2000, 2003]}},
    {"rare": {"$exists": True}},
    {"rare": {"$exists": False}},
    {"rare": {"$lt": 100}},
    {"lang": {"$in": ["de", "fr"]}, "open": False},
    {"year": {"$nin": [1990, 1991]}},
    {"$or": [{"year": 1995}, {"$and": [{"lang": "en"}, {"open": True}]}]},
    {"$not": {"$or": [{"year": {"$gte": 2000}}, {"rare": {"$exists": True}}]}},
    {"lang": "x' OR 1=1 --"},
]
NESTED: list[dict[str, Any]] = [
    {"tags": {"$contains": "five"}},
    {"tags": {"$contains": 2}},
    {"tags": {"$contains": True}},
    {"tags": "five"},
    {"who.name": "n1"},
    {"who": {"$exists": True}},
    {"who.none": None},
    {"who.none": {"$exists": True}},
    {"rare": {"$ne": None}},
]


def check_filter(engine: Engine, local: attar.Store, filter: dict[str, Any]) -> None:
    q = queries(1)[0]
    want = set(local.search(q, COUNT, filter=filter).ids[0])
    assert set(engine.search(q, COUNT, filter=filter).ids[0]) == want, filter


def test_filters_mean_the_same(make: Make, local: attar.Store) -> None:
    engine = make()
    engine.push(batches())
    for filter in EVERYWHERE:
        check_filter(engine, local, filter)
    if make.name == "lancedb":  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="declared fields .* got 'tags'"):
            engine.search(queries(1), filter=NESTED[0])
        with pytest.raises(ValueError, match="null"):
            engine.search(queries(1), filter={"year": None})
        with pytest.raises(ValueError, match=r"\$contains"):
            engine.search(queries(1), filter={"lang": {"$contains": "d"}})
    else:
        for filter in NESTED:
            check_filter(engine, local, filter)
    if make.name.startswith("qdrant"):  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match=r"orders numbers only; \$gt of 'lang'"):
            engine.search(queries(1), filter={"lang": {"$gt": "en"}})
    else:
        check_filter(engine, local, {"lang": {"$gt": "de", "$lte": "en"}})
    with pytest.raises(ValueError, match=r"\$like"):
        engine.search(queries(1), filter={"lang": {"$like": "d"}})


def test_everything_comes_back(make: Make, tmp_path: Path) -> None:
    engine = make()
    engine.push(batches())
    engine.close()
    pulled = list(make().pull())
    ids = [name for rows in pulled for name in rows.ids]
    assert ids == sorted((f"d'{i}" for i in range(COUNT)), key=str.encode)
    order = [int(name[2:]) for name in ids]
    x = np.concatenate([rows.vectors for rows in pulled])
    np.testing.assert_array_equal(x, reduced()[order].astype(np.float16).astype(np.float32))
    assert [t for rows in pulled for t in rows.texts] == [
        f"text {i} 'quoted' ü" if i % 3 else None for i in order
    ]
    assert [m for rows in pulled for m in rows.metadata] == [metadata(i) for i in order]


def test_an_interrupted_push_goes_on(make: Make) -> None:
    engine = make()

    def broken() -> Iterator[Rows]:
        for number, rows in enumerate(batches(300)):
            if number == 2:
                raise ConnectionError("the line is down")
            yield rows

    with pytest.raises(ConnectionError):
        engine.push(broken())
    assert len(engine) == 600
    assert engine.push(batches(500)) == COUNT - 600
    assert len(engine) == COUNT
    assert engine.push(batches()) == 0


@pytest.mark.parametrize("metric", ["cosine", "ip"])
def test_a_store_is_served_refined(make: Make, tmp_path: Path, metric: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((COUNT, 32)) * 0.85 ** np.arange(32) + 0.3
    ids = [f"d{i}" for i in range(COUNT)]
    with attar.Store.create(tmp_path / "full", "waterfill@8x", metric=metric) as store:
        store.add(ids, x, None, [metadata(i) for i in range(COUNT)])
        store.reencode(attar.codec("waterfill@8x"))
        q = rng.standard_normal((10, 32)).astype(np.float32) * 0.85 ** np.arange(32)
        want = store.search(q, K)
        served = Served.push(store, make, keep=0.8, refine=10)
        assert served.projection.dim < 32
        assert served.projection.overlap >= 0.8
        got = served.search(q, K)
        assert overlap(got, want) >= 0.97
        # What both found has the store's own scores.
        for row in range(len(q)):
            known = dict(zip(want.ids[row], want.scores[row], strict=True))
            for name, score in zip(got.ids[row], got.scores[row], strict=True):
                assert known.get(name, score) == pytest.approx(score, abs=1e-6)
        plain = Served(served.engine, served.projection, store.codec, metric)
        assert overlap(plain.search(q, K), want) >= 0.6
        # Fewer dimensions: scores of another size would be off by more than what is left out.
        off = np.abs(plain.search(q, 1).scores / want.scores[:, :1] - 1)
        assert off.mean() <= 0.03 and off.max() <= 0.08
        narrow = {"year": {"$lt": 1995}}
        assert (
            overlap(served.search(q, K, filter=narrow), store.search(q, K, filter=narrow)) >= 0.97
        )
        pulled = served.engine.get(["d7", "nobody", "d3"])
        assert pulled.ids == ["d7", "d3"]
    with pytest.raises(ValueError, match="under cosine or ip"):
        with attar.Store.create(tmp_path / "l2", "float32", metric="l2") as other:
            other.add(ids[:20], x[:20])
            project(other)


def test_a_store_that_has_grown_needs_the_projection_of_its_push(
    make: Make, tmp_path: Path
) -> None:
    x = np.random.default_rng(3).standard_normal((400, 24)) * 0.9 ** np.arange(24)
    ids = [f"d{i}" for i in range(400)]
    with attar.Store.create(tmp_path / "full", "int8") as store:
        store.add(ids[:300], x[:300])
        first = Served.push(store, make, keep=0.9)
        assert Served.push(store, make, keep=0.9).projection.dim == first.projection.dim
        store.add(ids[300:], x[300:] * [*[1] * 12, *[9] * 12])
        with pytest.raises(ValueError, match="another projection or codec.*pass projection="):
            Served.push(store, lambda _, dtype: make(first.projection.dim, dtype), keep=0.9)
        kept = Projection.load(first.projection.dump())
        served = Served.push(store, make, projection=kept)
        assert len(served.engine) == 400
        # The same projection, but codes now.
        with pytest.raises(ValueError, match="another projection or codec"):
            Served.push(store, make, projection=kept, refine=3)
    with attar.Store.create(tmp_path / "other", "int8") as other:
        other.add(ids[:20], x[:20, :8])
        with pytest.raises(ValueError, match="of 24 dimensions, the store has 8"):
            Served.push(other, make, projection=kept)
    with pytest.raises(ValueError, match="no projection that `dump` wrote"):
        Projection.load(b"junk")


def test_documents_without_a_mark_are_not_taken_for_ours(make: Make) -> None:
    engine = make()
    engine.push(batches())
    with pytest.raises(ValueError, match="1200 documents and no mark"):
        engine.claim("{}")
    engine.delete([name for rows in batches() for name in rows.ids])
    assert engine.claim("it's {mine}") == "it's {mine}"
    engine.close()
    assert make().claim("other") == "it's {mine}"


def test_another_dimension_or_type_is_refused(make: Make) -> None:
    make().push(batches())
    with pytest.raises(ValueError, match="exists"):
        make(dim=DIM + 1)
    with pytest.raises(ValueError, match="exists"):
        make(dtype="float32")
    with pytest.raises(ValueError, match="dtype is one of .*float16, .*float32; got 'int8'"):
        make(dtype="int8")


def test_bad_batches_are_refused_whole(make: Make) -> None:
    engine = make()
    good = next(batches())
    wrong = np.full((1, DIM + 1), 0.5, np.float32)
    with pytest.raises(ValueError, match="24 dimensions"):
        engine.push([Rows(["a"], wrong, [None], [None])])
    huge = np.full((1, DIM), 70000.0, np.float32)
    with pytest.raises(ValueError, match="float16 holds values up to 65504"):
        engine.push([Rows(["a"], huge, [None], [None])])
    with pytest.raises(ValueError, match="twice"):
        engine.push([Rows(["a", "a"], good.vectors[:2], [None] * 2, [None] * 2)])
    assert len(engine) == 0
    assert engine.search(queries(2), K).ids.shape == (2, 0)


def test_mixed_types_in_a_column_are_refused(tmp_path: Path) -> None:
    engine = LanceEngine(str(tmp_path / "l"), "docs", DIM, fields={"year": "number"})
    good = next(batches(2))
    notes: list[dict[str, Any] | None] = [{"year": 1999}, {"year": "soon"}]
    with pytest.raises(ValueError, match="'year' is declared as number, id .* has 'soon'"):
        engine.push([Rows(good.ids, good.vectors, good.texts, notes)])
    assert len(engine) == 0


def test_indexes_of_pgvector_keep_the_hits(dsn: str, local: attar.Store) -> None:
    engine = PgVectorEngine(dsn, "indexed", DIM)
    engine.push(batches())
    want = local.search(queries(), K)
    for kind, least in (("hnsw", 0.95), ("bits", 0.7), ("none", 0.99)):
        engine.index(kind)
        assert overlap(engine.search(queries(), K), want) >= least, kind
    engine.index("hnsw")
    narrow = {"year": 2001, "lang": "de"}
    matches = local.search(queries(1), COUNT, filter=narrow).ids.shape[1]
    assert engine.search(queries(1), K, filter=narrow).ids.shape[1] == min(K, matches)
    # Whoever opens the table next searches with the index that it has.
    for kind in ("hnsw", "bits", "none"):
        engine.index(kind)
        with PgVectorEngine(dsn, "indexed", DIM) as other:
            assert other.indexed == kind
    with pytest.raises(ValueError, match="none, hnsw, bits"):
        engine.index("ivf")
    with pytest.raises(ValueError, match="NUL"):
        engine.push([Rows(["a\0"], reduced()[:1], [None], [None])])
    engine.close()


def test_the_scan_goes_on_until_a_narrow_filter_is_filled(dsn: str, local: attar.Store) -> None:
    engine = PgVectorEngine(dsn, "narrow", DIM)
    engine.push(batches())
    for kind in ("hnsw", "bits"):
        engine.index(kind)
        rare = {"year": 2003, "open": False}
        wanted = local.search(queries(1), COUNT, filter=rare).ids.shape[1]
        assert 10 <= wanted < COUNT / 20
        assert engine.search(queries(1), 10, filter=rare).ids.shape[1] == 10, kind
    engine.close()


def test_limits_of_postgresql_are_said(dsn: str) -> None:
    rows = next(batches(1))
    with PgVectorEngine(dsn, "limits", DIM) as engine:
        long = Rows(["é" * 1301], rows.vectors, [None], [None])
        with pytest.raises(ValueError, match="up to 2,600 bytes; .* has 2,602"):
            engine.push([long])
        engine.push([Rows(["x" + "é" * 1299], rows.vectors, [None], [None])])
        assert len(engine) == 1
    with PgVectorEngine(dsn, "wide", 4001) as engine:
        with pytest.raises(ValueError, match="halfvec takes up to 4,000 dimensions, .* 4,001"):
            engine.index("hnsw")
        engine.index("bits")
    with PgVectorEngine(dsn, "wide32", 2001, "float32") as engine:
        with pytest.raises(ValueError, match="vector takes up to 2,000"):
            engine.index("hnsw")


def test_wrong_credentials_say_so(dsn: str) -> None:
    bad = dsn.replace("postgresql://", "postgresql://nobody:wrong@", 1)
    if "@" in dsn:
        bad = "postgresql://nobody:wrong@" + dsn.split("@", 1)[1]
    with pytest.raises(ConnectionError, match="user and password"):
        PgVectorEngine(bad, "t", DIM)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """Object storage on loopback: moto's S3 in this process."""
    import socket

    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    options = {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_region": "us-east-1",
        "aws_endpoint": f"http://127.0.0.1:{port}",
        "allow_http": "true",
    }
    import boto3

    boto3.client(
        "s3",
        endpoint_url=options["aws_endpoint"],
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    ).create_bucket(Bucket="bucket")
    yield options
    server.stop()


def test_lance_on_object_storage(s3: dict[str, str], local: attar.Store) -> None:
    make = lambda: LanceEngine(  # noqa: E731
        "s3://bucket/lance", "docs", DIM, fields=FIELDS, storage_options=s3
    )
    engine = make()
    assert engine.push(batches()) == COUNT
    want, got = local.search(queries(), K), make().search(queries(), K)
    assert overlap(got, want) >= 0.99
    check_filter(make(), local, {"lang": "de", "open": False})
    engine.delete(["d'3"])
    assert len(make()) == COUNT - 1
    assert make().push(batches()) == 1
    with pytest.raises(ValueError, match="exists with other columns"):
        LanceEngine("s3://bucket/lance", "docs", DIM + 1, storage_options=s3)


def test_a_qdrant_server_that_is_down_says_so() -> None:
    with pytest.raises(ConnectionError, match="Check that the server runs"):
        QdrantEngine("http://127.0.0.1:1", "docs", DIM, timeout=2)


def test_a_server_that_is_down_says_so() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ConnectionError, match="Check that the server runs"):
        PgVectorEngine("postgresql://nobody@127.0.0.1:1/none", "t", DIM)


def test_a_missing_client_names_the_command() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'some-client'"):
        need("no_such_client", "some-client")
