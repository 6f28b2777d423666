import json

import numpy as np
import pytest

import attar
from attar.stores.disk.verify import verify
from attar.stores.errors import CorruptStoreError
from attar.stores.store import Store
from attar.stores.transfer.export import export, import_into, read_export
from tests.stores.worlds import content, documents, names, reopen


def filled(path, n=2300, **options):
    """Some documents deleted, some replaced, odd texts."""
    x = documents(n)
    options = {"codec": attar.codec("int8").fit(x), "metric": "ip"} | options
    store = Store.create(path, **options)
    texts = [None if i % 3 else f"text {i}\n\r\u2028é" for i in range(n)]
    notes = [{"n": i, "deep": {"a": [i, None]}} if i % 2 else None for i in range(n)]
    store.add(names(n), x, texts, notes)
    store.delete(["d3", "d4"])
    store.upsert(["d5"], x[:1], ["again"])
    return store


def all_of(store):
    return {r.id: (r.text, r.metadata, r.vector.tobytes()) for r in store.iter(vectors=True)}


def test_backup_while_in_use_is_equal_and_whole(tmp_path):
    queries = documents(5, seed=3)
    with filled(tmp_path / "s", keep_originals=True, text_index=True) as store:
        nbytes = store.backup(tmp_path / "b")
        assert nbytes == sum(p.stat().st_size for p in (tmp_path / "b").rglob("*") if p.is_file())
        with pytest.raises(FileExistsError):
            store.backup(tmp_path / "b")
        before, hits = all_of(store), store.search(queries, k=20)
        store.delete(["d7"])
        store.compact()
    assert verify(tmp_path / "b").whole
    with reopen(tmp_path / "b", "w") as copy:
        assert all_of(copy) == before
        again = copy.search(queries, k=20)
        assert (again.ids == hits.ids).all()
        assert again.scores.tobytes() == hits.scores.tobytes()
        copy.add(["new"], queries[:1])


def test_a_readers_backup_is_of_its_own_commit(tmp_path):
    with filled(tmp_path / "s") as store, reopen(tmp_path / "s") as reader:
        before = all_of(reader)
        for i in range(12):
            store.add([f"n{i}"], documents(1))
        store.delete(["d9"])
        store.compact()
        reader.backup(tmp_path / "b")
    with reopen(tmp_path / "b") as copy:
        assert all_of(copy) == before


def test_a_broken_store_is_not_backed_up(tmp_path):
    filled(tmp_path / "s").close()
    segment = next((tmp_path / "s" / "segments").iterdir())
    raw = bytearray(segment.read_bytes())
    raw[-1] ^= 1
    segment.write_bytes(raw)
    with reopen(tmp_path / "s") as store, pytest.raises(CorruptStoreError, match="changed"):
        store.backup(tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("originals", [True, False])
@pytest.mark.parametrize("form", ["npy", "safetensors", "parquet"])
def test_export_and_import_are_equal(tmp_path, form, originals):
    with filled(tmp_path / "s", keep_originals=originals) as store:
        assert export(store, tmp_path / "out", form) == len(store)
        truth = {r.id: (r.text, r.metadata) for r in store.iter()}
        vectors = store.vectors(list(truth), originals=originals)
        with Store.create(tmp_path / "t", attar.codec("float32"), metric="ip") as other:
            assert import_into(other, tmp_path / "out") == len(store)
            assert {r.id: (r.text, r.metadata) for r in other.iter()} == truth
            assert (other.vectors(list(truth)) == vectors).all()
    if originals:
        assert (vectors[0] == documents(2300)[0]).all()


def test_exports_are_what_their_formats_say(tmp_path):
    from safetensors.numpy import load_file

    with filled(tmp_path / "s", 50) as store:
        for form in ("npy", "safetensors"):
            export(store, tmp_path / form, form)
        truth = store.vectors([r.id for r in store.iter()])
    assert (np.load(tmp_path / "npy" / "vectors.npy") == truth).all()
    tensors = load_file(tmp_path / "safetensors" / "vectors.safetensors")
    assert (tensors["vectors"] == truth).all()


def test_bad_exports_say_the_rule(tmp_path):
    with filled(tmp_path / "s", 20) as store:
        with pytest.raises(ValueError, match="npy, safetensors, parquet"):
            export(store, tmp_path / "x", "pickle")
        export(store, tmp_path / "out", "npy")
        with pytest.raises(FileExistsError):
            export(store, tmp_path / "out", "npy")
        lines = (tmp_path / "out" / "documents.jsonl").read_bytes().splitlines(keepends=True)
        for broken, says in (
            (lines[:-1], "18 vectors and  documents|one of each"),
            ([*lines, lines[0]], "one of each"),
            ([b"nonsense\n", *lines[1:]], "line 1"),
            ([json.dumps([1]).encode() + b"\n", *lines[1:]], "line 1"),
        ):
            (tmp_path / "out" / "documents.jsonl").write_bytes(b"".join(broken))
            with pytest.raises(ValueError, match=says):
                list(read_export(tmp_path / "out"))
        with pytest.raises(ValueError, match="has none of them"):
            list(read_export(tmp_path / "s"))


def test_arrays_are_never_unpickled(tmp_path):
    folder = tmp_path / "evil"
    folder.mkdir()
    np.save(folder / "vectors.npy", np.array([object()]), allow_pickle=True)
    (folder / "documents.jsonl").write_text("")
    with pytest.raises(ValueError, match="Python objects"):
        list(read_export(folder))


@pytest.mark.parametrize("originals", [True, False])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_reencode_is_the_other_codec(tmp_path, metric, originals):
    x, queries = documents(600), documents(6, seed=5)
    options = {"metric": metric, "keep_originals": originals}
    with Store.create(tmp_path / "s", attar.codec("float32"), **options) as store:
        for start in range(0, 600, 100):
            store.add(names(600)[start : start + 100], x[start : start + 100])
        store.delete(["d5"])
        seen = []
        done = store.reencode(attar.codec("int8"), on_progress=lambda *a: seen.append(a))
        assert seen[-1] == (done, done) == (600, 600)
        assert store.info()["spec"] == "int8"
        assert len(store.info()["codecs"]) == 1
        assert len(list((tmp_path / "s" / "codecs").iterdir())) == 1
        assert store.verify().problems == ()
        codec = store._library.codec_of(store._library.meta["codec"])
        hits = store.search(queries, k=10)
    with Store.create(tmp_path / "t", codec, metric=metric) as fresh:
        keep = [i for i in range(600) if i != 5]
        fresh.add([f"d{i}" for i in keep], x[keep])
        truth = fresh.search(queries, k=10)
    assert (hits.ids == truth.ids).all()
    np.testing.assert_allclose(hits.scores, truth.scores, rtol=1e-5, atol=1e-5)


def test_an_interrupted_change_of_codec_serves_both_and_goes_on(tmp_path):
    x = documents(900)
    codec = attar.codec("float16").fit(x)
    with Store.create(tmp_path / "s", codec, metric="ip") as store:
        for start in range(0, 900, 300):
            store.add(names(900)[start : start + 300], x[start : start + 300])

        def stop(done, total):
            raise KeyboardInterrupt

        before = store.search(x[:5], k=9)
        with pytest.raises(KeyboardInterrupt):
            store.reencode(attar.codec("float32"), on_progress=stop)
        assert len(store.info()["codecs"]) == 2
        assert store.search(x[:5], k=9).ids.tolist() == before.ids.tolist()
        store.add(["new"], x[:1])
    with reopen(tmp_path / "s", "w") as store:
        assert store.verify().problems == ()
        assert store.reencode() == 600
        assert store.reencode() == 0
        assert len(store.info()["codecs"]) == 1
        assert store.search(x[:5], k=9).ids.shape == (5, 9)
        with pytest.raises(ValueError, match="12 dimensions"):
            store.reencode(attar.codec("int8").fit(documents(9, 7)))
        store.compact()
        assert len(store) == 901


def test_reencode_needs_enough_documents(tmp_path):
    with (
        Store.create(tmp_path / "s", attar.codec("float32")) as store,
        pytest.raises(ValueError, match="this store has 0"),
    ):
        store.reencode(attar.codec("int8"))


def test_update_changes_texts_and_metadata_alone(tmp_path):
    with filled(tmp_path / "s", 30, text_index=True) as store:
        vectors = store.vectors(["d1", "d2"])
        store.update(["d1", "d2"], metadata=[{"new": 1}, None])
        store.update(["d2"], texts=["fresh words"])
        d1, d2 = store.get(["d1", "d2"])
        assert (d1.text, d1.metadata, d2.text, d2.metadata) == (
            None,
            {"new": 1},
            "fresh words",
            None,
        )
        assert (store.vectors(["d1", "d2"]) == vectors).all()
        assert store.search(vectors[0], filter={"new": 1}).ids.tolist() == [["d1"]]
        assert store.search(vectors[0], filter={"n": 1}).ids.shape == (1, 0)
        assert store.search(text="fresh", alpha=0).ids.tolist() == [["d2"]]
        assert store.verify().problems == ()
        before = content(tmp_path / "s")
        with pytest.raises(ValueError, match="'nope' does not"):
            store.update(["d1", "nope"], texts=["a", "b"])
        with pytest.raises(ValueError, match="neither"):
            store.update(["d1"])
        assert content(tmp_path / "s") == before
