"""Stores of older formats: read as they are, migrated by the first writer, whole at any moment.

`formats/format1.zip` holds three stores that a release with format 1 wrote, and what they answered:
`closed` (sealed, l2, originals, full-text index), `killed` (the same, in the middle, with its
log), `floats` (a codec that is not fitted yet).
"""

import json
import shutil
import signal
import sqlite3
import zipfile
from pathlib import Path

import pytest

import attar
from attar.stores.disk import catalog, migrate
from attar.stores.disk.repair import repair
from attar.stores.disk.verify import verify
from attar.stores.errors import CorruptStoreError, StoreError, StoreLockedError
from attar.stores.store import Store
from tests.stores.test_syscalls import injected, needs_strace, traced
from tests.stores.test_syscalls import migrate as migrating
from tests.stores.worlds import content, documents, pack_early, reopen

FORMAT_1 = Path(__file__).parent / "formats" / "format1.zip"
STORES = ("closed", "killed", "floats")


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("format1")
    with zipfile.ZipFile(FORMAT_1) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def truth(old):
    return json.loads((old / "truth.json").read_text())


def copy(old, name, tmp_path):
    return Path(shutil.copytree(old / name, tmp_path / name))


def filled(path):
    """Files that say something: not the lock, nor the empty log that a reader may leave."""
    return {n: raw for n, raw in content(path).items() if raw and n != "writer.lock"}


def answers(store):
    hits = store.search(documents(3, seed=9), k=9)
    some = {"even": True, "n": {"$lt": 30}}
    indexed = store._library.meta["text_index"]
    words = store.search(text="quick revised fox", alpha=0, k=9).ids.tolist() if indexed else None
    return {
        "documents": {r.id: [r.text, r.metadata] for r in store.iter()},
        "ids": hits.ids.tolist(),
        "scores": hits.scores.tobytes().hex(),
        "filtered": store.search(documents(1, seed=9), k=9, filter=some).ids.tolist(),
        "words": words,
        "vectors": store.vectors(["d1", "d2"]).tobytes().hex(),
        "commit": store.commit,
        "manifest": store.manifest,
        "progress": store.progress,
    }


@pytest.mark.parametrize("name", STORES)
def test_readers_read_format_1_and_leave_it(old, truth, tmp_path, name):
    path = copy(old, name, tmp_path)
    before = filled(path)
    with reopen(path) as store:
        assert store.info()["format"] == 1
        assert answers(store) == truth[name]
        assert store.verify().problems == ()
        store.backup(tmp_path / "backup")
    assert filled(path) == before
    with reopen(tmp_path / "backup") as store:
        assert answers(store) == truth[name]


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("compressed", [False, True])
def test_the_first_writer_migrates(old, truth, tmp_path, monkeypatch, name, compressed):
    if compressed:
        pack_early(monkeypatch.setattr)
    path = copy(old, name, tmp_path)
    segments = content(path / "segments")
    with reopen(path, "w") as store:
        assert store.info()["format"] == catalog.FORMAT
        assert answers(store) == truth[name]
        kinds = {
            kind
            for (kind,) in store._library.connection.execute(
                "SELECT typeof(text) FROM documents WHERE text NOT NULL"
            )
        }
        assert ("blob" in kinds) == compressed
        assert store.verify().problems == ()
        assert content(path / "segments") == segments
    with reopen(path, "w") as store:
        assert answers(store) == truth[name]
        store.upsert(["d1", "new"], documents(2), ["a quick one", None])
        store.delete(["d3"])
        store.update(["d2"], texts=["revised again"])
        if truth[name]["words"]:
            assert "d1" in store.search(text="quick one", alpha=0, k=3).ids[0]
        assert store.verify().problems == ()
    assert sorted(p.name for p in path.iterdir()) == [
        "catalog.sqlite",
        "codecs",
        "commit",
        "segments",
        "writer.lock",
    ]


def test_readers_hold_a_migration_back(old, truth, tmp_path):
    path = copy(old, "closed", tmp_path)
    with reopen(path) as reader:
        with pytest.raises(StoreLockedError, match="format 1.*Close the readers"):
            reopen(path, "w", timeout=0.2)
        assert answers(reader) == truth["closed"]
    reopen(path, "w").close()


def test_a_reader_that_opens_in_between_follows(old, truth, tmp_path, monkeypatch):
    path = copy(old, "closed", tmp_path)
    plain, readers = migrate.replace_catalog, []

    def replace(folder, meta, fill, before):
        plain(folder, meta, fill, lambda: readers.append(reopen(path)))

    monkeypatch.setattr(migrate, "replace_catalog", replace)
    with reopen(path, "w") as store:
        (reader,) = readers
        with reader:
            assert answers(reader) == truth["closed"]
            assert reader.info()["format"] == 1
            store.add(["new"], documents(1), ["new text"])
            assert "new" not in reader
            reader.refresh()
            assert reader.info()["format"] == catalog.FORMAT
            assert reader.get(["new"])[0].text == "new text"


def test_readers_hold_a_repair_back(tmp_path):
    Store.create(tmp_path / "s", attar.codec("float32")).close()
    with reopen(tmp_path / "s", "w") as store:
        store.add(["a", "b"], documents(2), ["one", "two"])
    with reopen(tmp_path / "s") as reader:
        with pytest.raises(StoreLockedError, match="Close the readers and repair"):
            repair(tmp_path / "s")
        assert len(list(reader.iter())) == 2
    assert repair(tmp_path / "s").kept == 2
    assert verify(tmp_path / "s").whole


def kill_while_migrating(old, truth, path, call, count):
    """One kill, then the store is whole: old or new for readers, new for the next writer."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(old / "killed", path)
    status, _ = traced(migrating, (path,), injected(call, f"signal=SIGKILL:when={count}"))
    assert verify(path).problems == (), (call, count)
    with reopen(path) as store:
        assert answers(store) == truth["killed"], (call, count)
    with reopen(path, "w") as store:
        assert answers(store) == truth["killed"], (call, count)
        assert store.info()["format"] == catalog.FORMAT
    assert not list(path.glob("draft-*"))
    return status == -signal.SIGKILL


@needs_strace
def test_killed_while_migrating(old, truth, tmp_path):
    for call, count in (
        *(("pwrite64", n) for n in (1, 40, 120)),
        *(("fsync", n) for n in (1, 2, 3, 4)),
        *(("fdatasync", n) for n in (2, 9)),
        *(("unlink", n) for n in (2, 3, 7)),
        ("rename", 1),
        ("ftruncate", 3),
    ):
        killed = kill_while_migrating(old, truth, tmp_path / "s", call, count)
        assert killed, (call, count)


def test_damage_is_not_migrated(old, tmp_path):
    path = copy(old, "closed", tmp_path)
    raw = bytearray((path / "catalog.sqlite").read_bytes())
    raw[raw.index(b"revised words") + 2] ^= 1
    (path / "catalog.sqlite").write_bytes(raw)
    before = filled(path)
    with pytest.raises(CorruptStoreError, match="crc32"):
        reopen(path, "w")
    assert filled(path) == before
    assert repair(path).lost_ids == ("d2",)
    with reopen(path, "w") as store:
        assert store.info()["format"] == catalog.FORMAT
        assert store.verify().problems == ()
        assert store.get(["d1"])[0].text == "replaced"


def test_formats_that_never_were_or_are_to_come_are_refused(old, tmp_path):
    for version, says in ((0, "never existed"), (catalog.FORMAT + 1, "pip install --upgrade")):
        path = copy(old, "closed", tmp_path)
        connection = sqlite3.connect(path / catalog.NAME)
        connection.execute(f"PRAGMA user_version={version}")
        connection.close()
        before = filled(path)
        for mode in "rw":
            with pytest.raises(StoreError, match=says):
                reopen(path, mode)
        assert filled(path) == before
        shutil.rmtree(path)
