"""Collections of the real libraries, read whole, from the middle, and refused."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attar
from attar.retrieval.interchange import Collection, open_collection
from attar.stores.transfer.export import export
from tests.retrieval.interchange import peers


def own(path: Path) -> Path:
    with attar.Store.create(path, "float32") as store:
        store.add(peers.IDS, peers.vectors(), peers.TEXTS, peers.NOTES)
    return path


def exported(path: Path) -> Path:
    with attar.open(own(path.with_name("store"))) as store:
        export(store, path, "npy")
    return path


def qdrant_folder(path: Path) -> Path:
    """The local mode of Qdrant's client, as people fill it: integer ids, a flat payload."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(path))
    vectors = models.VectorParams(size=peers.DIM, distance=models.Distance.COSINE)
    client.create_collection("docs", vectors_config=vectors)
    rows = zip(peers.IDS, peers.vectors().tolist(), peers.TEXTS, peers.NOTES, strict=True)
    points = [
        models.PointStruct(id=i, vector=x, payload={"id": name, "text": text, **note})
        for i, (name, x, text, note) in enumerate(rows)
    ]
    client.upsert("docs", points)
    client.close()
    return path


def torch_file(path: Path) -> Path:
    import torch

    torch.save({"embeddings": torch.from_numpy(peers.vectors()), "ids": peers.IDS}, path)
    return path


def safetensors_file(path: Path) -> Path:
    from safetensors.numpy import save_file

    save_file({"embeddings": peers.vectors()}, path)
    return path


MAKERS: dict[str, Any] = {
    "qdrant": qdrant_folder,
    "model.pt": torch_file,
    "model.safetensors": safetensors_file,
    "chroma": peers.make_chroma,
    "lancedb": peers.make_lance,
    "docs.parquet": peers.make_parquet,
    "vectors.npy": peers.make_npy,
    "flat.faiss": peers.make_faiss,
    "store": own,
    "export": exported,
}
BARE = ("vectors.npy", "flat.faiss", "model.safetensors")
NO_TEXTS = (*BARE, "model.pt")


@pytest.fixture(scope="module", params=MAKERS)
def collection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Collection:
    folder = tmp_path_factory.mktemp("peer")
    return open_collection(MAKERS[request.param](folder / request.param))


def test_everything_is_read(collection: Collection, request: pytest.FixtureRequest) -> None:
    bare = request.node.callspec.params["collection"] in BARE
    mute = request.node.callspec.params["collection"] in NO_TEXTS
    assert (collection.count, collection.dim) == (peers.COUNT, peers.DIM)
    assert collection.metric == ("ip" if collection.kind == "faiss" else "cosine")
    batches = list(collection.read(0))
    ids = [name for rows in batches for name in rows.ids]
    assert ids == ([str(i) for i in range(peers.COUNT)] if bare else peers.IDS)
    x = np.concatenate([rows.vectors for rows in batches])
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, peers.vectors(), atol=1e-6)
    texts = [text for rows in batches for text in rows.texts]
    notes = [note for rows in batches for note in rows.metadata]
    assert texts == ([None] * peers.COUNT if mute else peers.TEXTS)
    assert notes == ([None] * peers.COUNT if mute else peers.NOTES)
    assert collection.all_bytes is not None
    assert collection.all_bytes > 4 * x.size


def test_reading_goes_on_from_a_batch(collection: Collection) -> None:
    batches = list(collection.read(0))
    start = len(batches[0].ids)
    rest = [name for rows in collection.read(start) for name in rows.ids]
    assert rest == [name for rows in batches[1:] for name in rows.ids]
    assert list(collection.read(collection.count)) == []


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
def test_the_metric_of_chroma_is_kept(space: str, tmp_path: Path) -> None:
    assert open_collection(peers.make_chroma(tmp_path / "c", space)).metric == space


@pytest.mark.parametrize("kind", ["PCA16,SQ8", "IVF8,Flat", "IDMap,Flat", "HNSW8,SQfp16"])
def test_other_faiss_indexes(kind: str, tmp_path: Path) -> None:
    import faiss

    path = tmp_path / "i.faiss"
    if kind.startswith("IDMap"):
        index = faiss.index_factory(peers.DIM, kind, faiss.METRIC_INNER_PRODUCT)
        index.add_with_ids(peers.vectors(), np.arange(peers.COUNT) + 7000)
        faiss.write_index(index, str(path))
    else:
        peers.make_faiss(path, kind)
    held = open_collection(path)
    rows = next(held.read(0))
    assert rows.ids[:2] == (["7000", "7001"] if kind.startswith("IDMap") else ["0", "1"])
    x, y = rows.vectors, peers.vectors()[: len(rows.ids)]
    cosines = np.einsum("nd,nd->n", x, y) / np.linalg.norm(x, axis=1)
    assert cosines.min() > 0.75


def test_collections_are_named(tmp_path: Path) -> None:
    import chromadb
    from chromadb.config import Settings

    path = peers.make_chroma(tmp_path / "c")
    client = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
    client.create_collection("empty", embedding_function=None)
    with pytest.raises(ValueError, match="docs, empty; none was named"):
        open_collection(path)
    with pytest.raises(ValueError, match="got 'other'"):
        open_collection(path, "other")
    with pytest.raises(ValueError, match="'empty' .* is empty"):
        open_collection(path, "empty")
    assert open_collection(path, "docs").count == peers.COUNT


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "sprung").touch, ())

    folder = tmp_path / "langchain"
    folder.mkdir()
    peers.make_faiss(folder / "index.faiss")
    (folder / "index.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="never read"):
        open_collection(folder)
    np.save(tmp_path / "trap.npy", np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(ValueError, match="no .npy array of numbers"):
        open_collection(tmp_path / "trap.npy")
    assert not (tmp_path / "sprung").exists()


def test_pickles_of_embeddings_are_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "sprung").touch, ())

    (tmp_path / "e.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="could run anything"):
        open_collection(tmp_path / "e.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_table_of_pgvector(dsn: str) -> None:
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as link:
        link.execute("CREATE EXTENSION IF NOT EXISTS vector")
        link.execute("DROP TABLE IF EXISTS items")
        link.execute(
            f"CREATE TABLE items (id text, content text, embedding vector({peers.DIM}), "
            "metadata jsonb, year int)"
        )
        with pytest.raises(ValueError, match="items is empty"):
            open_collection(dsn)
        with link.cursor().copy("COPY items FROM STDIN") as out:
            for i, x in enumerate(peers.vectors()):
                spelled = "[" + ",".join(map(repr, x.tolist())) + "]"
                note = f'{{"number": {i}}}'
                out.write_row((peers.IDS[i], peers.TEXTS[i], spelled, note, 1990 + i % 3))
    held = open_collection(dsn)
    assert (held.kind, held.name, held.count, held.dim) == ("pgvector", "items", 1500, peers.DIM)
    batches = list(held.read(700))
    by_id = {
        name: (x, text, note)
        for rows in batches
        for name, x, text, note in zip(
            rows.ids, rows.vectors, rows.texts, rows.metadata, strict=True
        )
    }
    assert len(by_id) == 800
    x, text, note = by_id["d999"]
    np.testing.assert_allclose(x, peers.vectors()[999], atol=1e-6)
    assert (text, note) == ("text number 999", {"number": 999, "year": 1990 + 999 % 3})
    with pytest.raises(ValueError, match="has the collections items; got 'other'"):
        open_collection(dsn, "other")


def test_a_snapshot_of_qdrant(tmp_path: Path) -> None:
    """The shape of a shard's snapshot: the folder of the segment engine in a tar archive."""
    import tarfile

    from attar.stores.engines import QdrantEdgeEngine
    from attar.stores.transfer.rows import Rows

    with QdrantEdgeEngine(tmp_path / "edge", peers.DIM, "float32") as engine:
        engine.push([Rows(peers.IDS, peers.vectors(), list(peers.TEXTS), list(peers.NOTES))])
    path = tmp_path / "docs.snapshot"
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "edge", arcname=".")
    held = open_collection(path, metric="ip")
    assert (held.count, held.dim, held.metric) == (peers.COUNT, peers.DIM, "ip")
    rows = list(held.read(0))
    assert sorted(name for some in rows for name in some.ids) == sorted(peers.IDS)
    first = rows[0]
    np.testing.assert_allclose(
        first.vectors[0], peers.vectors()[peers.IDS.index(first.ids[0])], atol=1e-6
    )
    (tmp_path / "no.snapshot").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no tar archive"):
        open_collection(tmp_path / "no.snapshot")


def test_servers_that_are_down_say_so() -> None:
    for place in ("http://127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/none"):
        with pytest.raises(ConnectionError, match="Check that the server runs"):
            open_collection(place)


def test_what_is_nothing_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_collection(tmp_path / "nobody")
    with pytest.raises(ValueError, match="a Chroma folder, a LanceDB folder"):
        open_collection(tmp_path)
    (tmp_path / "broken.faiss").write_bytes(b"not an index")
    with pytest.raises(ValueError, match="no index that faiss reads"):
        open_collection(tmp_path / "broken.faiss")
    with pytest.raises(ValueError, match="1500 rows, 2 ids"):
        open_collection(peers.make_npy(tmp_path / "v.npy"), ids=["a", "b"])
