import json
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import attar
from attar.stores.disk import catalog
from attar.stores.errors import (
    EncoderMismatchError,
    NotAStoreError,
    StoreError,
    StoreLockedError,
)
from attar.stores.store import Store
from tests.stores.worlds import DIM, Words, content, documents, names, reopen


def small(path, n=5, spec="float32", **options):
    store = Store.create(path, attar.codec(spec), **options)
    store.add(names(n), documents(n), texts=[f"text {i}" for i in range(n)])
    return store


def test_documents_come_back(tmp_path):
    ids = ["a", "../../etc/passwd", "nul\x00byte", "'; DROP TABLE documents; --", "ü" * 3000]
    texts = ["x", None, "", "tab\tnul\x00", "\U0001f600"]
    notes = [{"a": [1, {"b": None}]}, None, {}, {"t": True, "f": 1.5, "s": "é"}, {"big": 10**30}]
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        store.add(ids, documents(5), texts, notes)
        store.close()
    with reopen(tmp_path / "s") as store:
        records = store.get([ids[3], "missing", *ids[:3], ids[4]])
        assert [r.id for r in records] == [ids[3], *ids[:3], ids[4]]
        by_id = {r.id: r for r in records}
        assert [by_id[i].text for i in ids] == texts
        assert [by_id[i].metadata for i in ids] == notes
        assert [r.id for r in store.iter(batch=2)] == ids
        assert len(store) == 5
        assert ids[1] in store
        assert "missing" not in store


def test_vectors_come_back_and_inputs_stay(tmp_path):
    x = documents(9)
    before = x.copy()
    with Store.create(tmp_path / "s", attar.codec("float32"), metric="ip") as store:
        store.add(names(9), x)
        assert (x == before).all()
        assert (store.vectors(["d4", "d0", "d4"]) == x[[4, 0, 4]]).all()
        assert all((r.vector == x[i]).all() for i, r in enumerate(store.iter(2, vectors=True)))
        with pytest.raises(ValueError, match="'nope' does not"):
            store.vectors(["d1", "nope"])


def test_upsert_replaces_whole_documents(tmp_path):
    with small(tmp_path / "s", 4, metric="ip") as store:
        x = documents(2, seed=9)
        store.upsert(["d1", "new"], x, metadata=[None, {"k": 1}])
        assert len(store) == 5
        (d1,) = store.get(["d1"])
        assert d1.text is None
        assert (store.vectors(["d1", "new"]) == x).all()
        assert store.search(x[0], k=5, filter={"k": 1}).ids.tolist() == [["new"]]
        store.upsert(["new"], x[1:], metadata=[{"k": 2}])
        assert store.search(x[0], k=5, filter={"k": 1}).ids.shape == (1, 0)


def test_delete_says_how_many_and_forgets(tmp_path):
    with small(tmp_path / "s") as store:
        assert store.delete(["d1", "d3", "unknown", "d1"]) == 2
        assert store.delete(["d1"]) == 0
        assert store.delete([]) == 0
        assert [r.id for r in store.iter()] == ["d0", "d2", "d4"]
        store.add(["d1"], documents(1))
        assert len(store) == 4
    with reopen(tmp_path / "s") as store:
        assert sorted(store.search(documents(1), k=9).ids[0]) == ["d0", "d1", "d2", "d4"]


@pytest.mark.parametrize("originals", [False, True])
def test_single_adds_leave_few_files(tmp_path, originals):
    x = documents(300)
    with Store.create(tmp_path / "s", attar.codec("int8"), keep_originals=originals) as store:
        for i in range(300):
            store.add([f"d{i}"], x[i : i + 1])
        info = store.info()
        assert info["segments"] <= 7 * 3
        assert info["disk"]["segment_files"] == info["segments"] * (1 + originals)
        assert sorted(store.search(x[:1], k=300).ids[0]) == sorted(names(300))
        assert [r.id for r in store.iter()] == names(300)


def test_compact_gives_the_space_back_and_changes_no_answer(tmp_path):
    x, queries = documents(500), documents(5, seed=1)
    options = {"metric": "l2", "keep_originals": True}
    with Store.create(tmp_path / "s", attar.codec("int8").fit(x), **options) as store:
        for start in range(0, 500, 50):
            store.add(names(500)[start : start + 50], x[start : start + 50])
        store.delete(names(500)[::3])
        store.upsert(["d1"], x[:1])
        before, size = store.search(queries, k=20), store.info()["disk"]
        store.compact()
        after, shrunk = store.search(queries, k=20), store.info()["disk"]
        assert (before.ids == after.ids).all()
        assert before.scores.tobytes() == after.scores.tobytes()
        assert shrunk["codes"] < 0.8 * size["codes"]
        assert store.info()["segments"] == 1
        assert store.info()["deleted"] == 0
        store.add(["later"], x[:1])
        assert len(store) == 334
    with reopen(tmp_path / "s", "w") as store:
        assert store.search(queries, k=20).ids.shape == (5, 20)
        store.compact()
        assert store.info()["segments"] == 1


def test_recipe_serves_exact_floats_until_it_is_fitted(tmp_path):
    x, queries = documents(400), documents(7, seed=1)
    recipe = attar.codec("pca50%+float8_e4m3")
    with Store.create(tmp_path / "s", recipe, train_at=300) as store:
        store.add(names(200), x[:200])
        store.delete(["d5"])
        assert store.info()["serving"] == "float32"
        assert not store.info()["fitted"]
        unit = x[:200] / np.linalg.norm(x[:200], axis=1, keepdims=True)
        got = store.vectors(["d7"])[0]
        np.testing.assert_allclose(got, unit[7], rtol=1e-6)
    with reopen(tmp_path / "s", "w") as store:
        store.add(names(400)[200:], x[200:])
        info = store.info()
        assert info["fitted"]
        assert info["serving"] == "pca50%+float8_e4m3"
        assert info["bytes_per_vector"] == DIM // 2
        assert info["segments"] == 1
        assert len(store) == 399
        hits = store.search(queries, k=5)
    with reopen(tmp_path / "s") as store:
        assert store.search(queries, k=5).scores.tobytes() == hits.scores.tobytes()


def test_the_fit_sees_the_documents_that_hash_lowest(tmp_path, monkeypatch):
    from attar.stores import growth
    from attar.stores.sample import id_hash

    monkeypatch.setattr(growth, "FIT_ROWS", 40)
    monkeypatch.setattr(
        growth,
        "sample",
        lambda ids, seed: np.sort(np.argsort([id_hash(i, seed) for i in ids])[:40]),
    )
    x = documents(100)
    chosen = sorted(range(100), key=lambda i: id_hash(f"d{i}", 3))[:40]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = attar.codec("pca4+float32").fit(unit[sorted(chosen)], seed=3)
    with Store.create(tmp_path / "s", attar.codec("pca4+float32"), train_at=90, seed=3) as store:
        store.add(names(60), x[:60])
        store.add(names(100)[60:], x[60:])
        got = store.vectors(names(100))
    np.testing.assert_allclose(got, expected.decode(expected.encode(unit)), atol=1e-5)


def test_encoder_embeds_and_is_recognised(tmp_path):
    texts = ["red fish", "blue fish", "green tea"]
    with Store.create(tmp_path / "s", attar.codec("float32"), encoder=Words()) as store:
        store.add(["r", "b", "g"], texts=texts)
        assert store.search(text="red fish", k=1).ids[0, 0] == "r"
        assert store.search(text=["green tea", "blue fish"], k=1).ids[:, 0].tolist() == ["g", "b"]
        assert store.search(text=[], k=1).ids.shape == (0, 1)
        with pytest.raises(ValueError, match="'x' has none"):
            store.add(["x"], texts=[None])
    with reopen(tmp_path / "s", encoder=Words()) as store:
        assert store.search(text="red fish", k=1).ids[0, 0] == "r"
        assert store.info()["encoder"] == "words"
    with pytest.raises(EncoderMismatchError, match="words-12-.*other.*words-12-other"):
        reopen(tmp_path / "s", encoder=Words(salt="other", name="other"))
    with pytest.raises(EncoderMismatchError, match="Probe texts.*liar"):
        reopen(tmp_path / "s", encoder=Words(salt="x", name="liar", fingerprint="words-12-"))
    with pytest.raises(EncoderMismatchError, match="12 dimensions.*13"):
        reopen(tmp_path / "s", encoder=Words(dim=13, fingerprint="words-12-"))
    with pytest.raises(EncoderMismatchError, match="words-12-.*got mine"):
        reopen(tmp_path / "s", fingerprint="mine")
    reopen(tmp_path / "s", fingerprint="words-12-").close()


def test_manifest_and_progress_ride_on_commits(tmp_path):
    manifest = {"source": "abc", "seed": 1}
    with Store.create(tmp_path / "s", attar.codec("int8"), manifest=manifest) as store:
        store.add(["a"], documents(1), progress={"line": 17})
        with pytest.raises(ValueError, match="exist already"):
            store.add(["a"], documents(1), progress={"line": 99})
        store.add(["b"], documents(1))
    with reopen(tmp_path / "s", "w") as store:
        assert store.manifest == manifest
        assert store.progress == {"line": 17}
        store.set_progress({"done": True})
    with reopen(tmp_path / "s") as store:
        assert store.progress == {"done": True}


BAD_DOCUMENTS = [
    ((["a"], [[np.nan] * DIM]), ValueError, r"finite.*row 0 \(id 'a'\)"),
    ((["a", "b"], [[1] * DIM, [np.inf] * DIM]), ValueError, r"finite.*row 1 \(id 'b'\)"),
    ((["a", "b"], [[1] * DIM, [0] * DIM]), ValueError, r"all zero; row 1 \(id 'b'\)"),
    ((["a"], [[1e30] * DIM]), ValueError, "norm of at most"),
    ((["a"], [[1] * (DIM + 1)]), ValueError, "12 dimensions, got 13"),
    ((["a"], [1] * DIM), ValueError, r"\[n d\]"),
    ((["a"], [[1] * DIM] * 2), ValueError, "1 ids, 2 rows"),
    ((["a"], [["x"] * DIM]), TypeError, "numbers"),
    ((["a"], [[1, 2], [3]]), TypeError, "numbers"),
    ((["a"], None), ValueError, "no encoder"),
    (([], np.zeros((0, DIM))), ValueError, "at least one"),
    ((["a", "a"], [[1] * DIM] * 2), ValueError, "'a' comes twice"),
    ((["d1"], [[1] * DIM]), ValueError, "'d1'. Use upsert"),
    (([1], [[1] * DIM]), TypeError, r"entry 0 is 1 \(int\)"),
    (([""], [[1] * DIM]), ValueError, "not empty"),
    ((["\ud800"], [[1] * DIM]), ValueError, "lone surrogates"),
    (("ab", [[1] * DIM] * 2), TypeError, r"write \[id\]"),
    ((["a"], [[1] * DIM], ["\udfff"]), ValueError, "the text of id 'a'"),
    ((["a"], [[1] * DIM], [7]), TypeError, "is int"),
    ((["a"], [[1] * DIM], "t"), TypeError, "texts is a list"),
    ((["a"], [[1] * DIM], ["t", "u"]), ValueError, "1 ids, 2 texts"),
    ((["a"], [[1] * DIM], None, [[1]]), TypeError, "JSON object"),
    ((["a"], [[1] * DIM], None, [{"x": float("nan")}]), ValueError, "id 'a'"),
    ((["a"], [[1] * DIM], None, [{"x": {1: 2}}]), ValueError, "key 1"),
    ((["a"], [[1] * DIM], None, [{"x": b"raw"}]), ValueError, "id 'a'"),
    ((["a"], [[1] * DIM], None, [{"x": "\ud800"}]), ValueError, "id 'a'"),
]


def test_bad_documents_say_the_rule_and_change_nothing(tmp_path):
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    cases = [*BAD_DOCUMENTS, ((["a"], [[1] * DIM], None, [deep]), ValueError, "100 deep")]
    with small(tmp_path / "s") as store:
        before = content(tmp_path / "s")
        for arguments, error, says in cases:
            for verb in (store.add, store.upsert):
                if verb == store.upsert and "upsert" in says:
                    continue
                with pytest.raises(error, match=says):
                    verb(*arguments)
        assert content(tmp_path / "s") == before
        assert len(store) == 5


def test_bad_folders(tmp_path):
    with pytest.raises(NotAStoreError, match="is not a folder"):
        reopen(tmp_path / "nothing")
    (tmp_path / "plain").mkdir()
    for mode in "rw":
        with pytest.raises(NotAStoreError, match="has none"):
            reopen(tmp_path / "plain", mode)
    assert list((tmp_path / "plain").iterdir()) == []
    with pytest.raises(FileExistsError, match="overwrite=True"):
        small(tmp_path / "plain")
    with pytest.raises(NotAStoreError, match="replaces stores only"):
        small(tmp_path / "plain", overwrite=True)
    with pytest.raises(FileNotFoundError, match="inside a folder"):
        small(tmp_path / "no" / "where")
    connection = sqlite3.connect(tmp_path / "plain" / "catalog.sqlite")
    connection.execute("CREATE TABLE t(x)")
    connection.close()
    with pytest.raises(NotAStoreError, match="not a store's catalog"):
        reopen(tmp_path / "plain")
    with pytest.raises(ValueError, match="mode"):
        reopen(tmp_path / "plain", "a")
    small(tmp_path / "s").close()
    with pytest.raises(TypeError, match="budget"):
        reopen(tmp_path / "s", budget="1MB")
    with pytest.raises(ValueError, match="metric is one of"):
        small(tmp_path / "t", metric="hamming")
    with pytest.raises(TypeError, match="recipe, got str"):
        Store.create(tmp_path / "t", "int8")
    assert not (tmp_path / "t").exists()


def test_a_newer_format_is_refused_by_number(tmp_path):
    small(tmp_path / "s").close()
    connection = sqlite3.connect(tmp_path / "s" / catalog.NAME)
    connection.execute(f"PRAGMA user_version={catalog.FORMAT + 1}")
    connection.close()
    with pytest.raises(StoreError) as caught:
        reopen(tmp_path / "s")
    says = f"format {catalog.FORMAT + 1}; this release knows up to {catalog.FORMAT}"
    assert says in str(caught.value)


def test_overwrite_replaces_the_store_whole(tmp_path):
    small(tmp_path / "s").close()
    with Store.create(tmp_path / "s", attar.codec("int8"), overwrite=True) as store:
        assert len(store) == 0
        with pytest.raises(StoreLockedError):
            Store.create(tmp_path / "s", attar.codec("int8"), overwrite=True)
        store.add(["x"], documents(1))
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
    with reopen(tmp_path / "s") as store:
        assert len(store) == 1


def test_one_writer_many_readers(tmp_path):
    with small(tmp_path / "s") as writer, reopen(tmp_path / "s") as reader:
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()}.*timeout"):
            reopen(tmp_path / "s", "w")
        with pytest.raises(StoreLockedError, match="waited 0.1"):
            reopen(tmp_path / "s", "w", timeout=0.1)
        with pytest.raises(StoreError, match="open for reading"):
            reader.add(["x"], documents(1))
        for i in range(20):
            writer.add([f"n{i}"], documents(1, seed=i))
        writer.delete(["d0", "d1"])
        writer.compact()
        assert len(reader) == 5
        assert sorted(reader.search(documents(1), k=50).ids[0]) == names(5)
        assert [r.text for r in reader.get(["d0", "n1"])] == ["text 0"]
        reader.refresh()
        assert len(reader) == 23
        assert reader.get(["d0"]) == []
    with pytest.raises(StoreError, match="closed"):
        reader.search(documents(1))
    with pytest.raises(StoreError):
        writer.add(["y"], documents(1))


def test_orphans_go_when_a_writer_opens_and_strangers_stay(tmp_path):
    small(tmp_path / "s").close()
    segments = tmp_path / "s" / "segments"
    (segments / "000000000009-codes-00000000.seg").write_bytes(b"half a segment")
    (segments / "notes.txt").write_bytes(b"mine")
    (tmp_path / "s" / "codecs" / f"{'0' * 32}.safetensors.tmp").write_bytes(b"half")
    reopen(tmp_path / "s").close()
    assert len(list(segments.iterdir())) == 3
    reopen(tmp_path / "s", "w").close()
    assert sorted(p.suffix for p in segments.iterdir()) == [".seg", ".txt"]
    assert len(list((tmp_path / "s" / "codecs").iterdir())) == 1


def test_info_counts_every_byte(tmp_path):
    x = documents(50)
    with Store.create(tmp_path / "s", attar.codec("int8").fit(x), metric="l2") as store:
        store.add(names(50), x)
        info = store.info()
        assert info["bytes_per_vector"] == DIM + 2 + 4
        assert info["n"] == 50
        assert info["disk"]["codes"] >= 50 * info["bytes_per_vector"]
        json.dumps(info)


FULL_DISK = """
import resource, sys
import numpy as np
import attar
from attar.stores.store import Store
from tests.stores.worlds import content, documents, names, reopen
from pathlib import Path
path = Path(sys.argv[1])
rng = np.random.default_rng(0)
store = Store.create(path, attar.codec("float32"))
store.add(names(50), documents(50), texts=["first"] * 50)
size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
failed = 0
for limit in (1000, 4000, 9000, 30_000, 70_000, 120_000, 200_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        store.add(names(900, "n"), documents(900), texts=["word " * 40] * 900)
    except OSError as error:
        failed += 1
        assert "Free space" in str(error), error
        assert len(store) == 50
        assert store.search(documents(1), k=60).ids.shape == (1, 50)
    else:
        store.delete(names(900, "n"))
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert failed >= 4, failed
store.close()
store = reopen(path, "w")
assert len(store) == 50
store.add(["after"], documents(1))
store.close()
with reopen(path) as store:
    assert len(store) == 51
assert len(list((path / "segments").iterdir())) == 2
"""


def test_a_full_disk_leaves_the_last_commit(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=False,
        cwd=os.getcwd(),
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("originals", [False, True])
def test_deleted_rows_are_never_more_than_live_ones(tmp_path, originals):
    x = documents(3000)
    options = {"metric": "l2", "keep_originals": originals}
    with Store.create(tmp_path / "s", attar.codec("int8").fit(x), **options) as store:
        for start in range(0, 3000, 1000):
            store.add(names(3000)[start : start + 1000], x[start : start + 1000])
        for start in range(0, 2900, 100):
            store.delete(names(3000)[start : start + 100])
            info = store.info()
            assert info["deleted"] <= info["n"]
        for _ in range(20):
            store.upsert(names(3000)[2900:], x[:100])
            info = store.info()
            assert info["deleted"] <= info["n"] + 64 * info["segments"]
        assert info["disk"]["segment_files"] == info["segments"] * (1 + originals)
        assert (store.vectors(["d2900"]) == store.vectors(["d2900"])).all()
        hits = store.search(x[:3], k=200)
        assert sorted(hits.ids[0]) == names(3000)[2900:]
        assert store.verify().problems == ()


HALF_WRITTEN = """
import resource, sys
from pathlib import Path
import attar
from attar.stores.store import Store
from tests.stores.worlds import documents, names
path = Path(sys.argv[1])
store = Store.create(path, attar.codec("int8"), keep_originals=True)
store.add(names(5), documents(5))
before = sorted(p.name for p in (path / "segments").iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    store.add(names(900, "n"), documents(900))
except OSError as error:
    assert "Free space" in str(error), error
else:
    sys.exit("the originals of 43 kB were written under a limit of 20 kB")
assert sorted(p.name for p in (path / "segments").iterdir()) == before
"""


def test_a_file_that_was_already_written_goes_when_the_next_one_fails(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", HALF_WRITTEN, str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=False,
        cwd=os.getcwd(),
    )
    assert run.returncode == 0, run.stderr
