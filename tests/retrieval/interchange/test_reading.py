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


MAKERS: dict[str, Any] = {
    "chroma": peers.make_chroma,
    "lancedb": peers.make_lance,
    "docs.parquet": peers.make_parquet,
    "vectors.npy": peers.make_npy,
    "flat.faiss": peers.make_faiss,
    "store": own,
    "export": exported,
}
BARE = ("vectors.npy", "flat.faiss")


@pytest.fixture(scope="module", params=MAKERS)
def collection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Collection:
    folder = tmp_path_factory.mktemp("peer")
    return open_collection(MAKERS[request.param](folder / request.param))


def test_everything_is_read(collection: Collection, request: pytest.FixtureRequest) -> None:
    bare = request.node.callspec.params["collection"] in BARE
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
    assert texts == ([None] * peers.COUNT if bare else peers.TEXTS)
    assert notes == ([None] * peers.COUNT if bare else peers.NOTES)
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
