"""Damage on disk is detected before a wrong answer, named by verify, and mended by repair."""

import random
import shutil
import sqlite3

import numpy as np
import pytest

import attar
from attar.stores.disk.repair import QUARANTINE, repair
from attar.stores.disk.verify import verify
from attar.stores.errors import CorruptStoreError, StoreError, StoreLockedError
from attar.stores.store import Store
from tests.stores.worlds import DIM, documents, names, pack_early, reopen

N = 150


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A closed store with two segments of each kind, deletions, a fitted codec, packed texts."""
    with pytest.MonkeyPatch.context() as patch:
        pack_early(patch.setattr)
        yield _whole(tmp_path_factory)


def _whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "whole"
    x = documents(N)
    codec = attar.codec("pca50%+float8_e4m3").fit(x)
    with Store.create(path, codec, metric="l2", keep_originals=True) as store:
        store.add(
            names(100),
            x[:100],
            [f"text {i} of the documents that are to be damaged" for i in range(100)],
            [{"n": i} for i in range(100)],
        )
        store.add(names(N)[100:], x[100:])
        store.delete(["d3", "d120"])
        store.compact()
        store.upsert(["d1", "d2"], x[1:3], ["one", "two"])
        kinds = store._library.connection.execute("SELECT DISTINCT typeof(text) FROM documents")
        assert {"blob", "text"} <= {kind for (kind,) in kinds}
    assert verify(path).problems == ()
    return path


def answers(path):
    with reopen(path) as store:
        hits = store.search(documents(4, seed=8), k=20)
        masked = store.search(documents(1), k=9, filter={"n": {"$lt": 30}})
        return (
            hits.ids.tolist(),
            hits.scores.tobytes(),
            masked.ids.tolist(),
            [(r.id, r.text, str(r.metadata)) for r in store.iter(vectors=False)],
            [r.id for r in store.get(names(N))],
            store.vectors(["d5", "d149"]).tobytes(),
            len(store),
        )


def files(path):
    # The lock is empty of meaning and the index of the log is made anew at every first open.
    skipped = ("writer.lock", "catalog.sqlite-shm")
    found = (p for p in path.rglob("*") if p.is_file() and p.stat().st_size)
    return sorted(p for p in found if p.name not in skipped)


def test_every_single_bit_flip_is_caught(whole, tmp_path):
    truth, draw = answers(whole), random.Random(1)
    kinds = [p.relative_to(whole) for p in files(whole)]
    assert len({p.suffix for p in kinds}) == 4  # catalog, witness, segments, codec
    caught = harmless = 0
    for turn in range(160):
        file = kinds[turn % len(kinds)]
        path = tmp_path / "s"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole, path)
        content = bytearray((path / file).read_bytes())
        bit = draw.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        (path / file).write_bytes(content)
        assert not verify(path).whole, (file, bit)
        try:
            assert answers(path) == truth, (file, bit)
            harmless += 1
        except StoreError:
            caught += 1
    # Flips in originals and in padding change no answer of this test, which verify still names.
    assert caught > 90
    assert caught + harmless == 160


def test_every_truncation_is_caught(whole, tmp_path):
    truth, draw = answers(whole), random.Random(2)
    for file in (p.relative_to(whole) for p in files(whole)):
        for share in (0, draw.random(), draw.random(), 1):
            path = tmp_path / "s"
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(whole, path)
            size = (path / file).stat().st_size
            with (path / file).open("r+b") as handle:
                handle.truncate(min(size - 1, int(size * share)))
            try:
                assert not verify(path).whole, (file, share)
                assert answers(path) == truth
            except StoreError:
                continue


def test_a_segment_cut_under_an_open_store_is_an_error_not_a_crash(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    with reopen(path) as store:
        segment = next((path / "segments").glob("*codes*"))
        with segment.open("r+b") as handle:
            handle.truncate(100)
        with pytest.raises(CorruptStoreError, match="100 bytes instead of"):
            store.search(documents(1))
        assert any("100 bytes" in line for line in store.verify().problems)


def test_a_lost_log_is_noticed(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    store = reopen(path, "w")
    store.delete(["d7"])
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    store.close()
    log = copy / "catalog.sqlite-wal"
    content = bytearray(log.read_bytes())
    content[40] ^= 1
    log.write_bytes(content)
    with pytest.raises(CorruptStoreError, match="write-ahead log"):
        reopen(copy)
    assert any("commit" in line for line in verify(copy).problems)
    repair(copy)
    with reopen(copy) as store:
        assert "d7" in store


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 4
    path.write_bytes(content)


def segment(path, kind, largest=True):
    found = sorted((path / "segments").glob(f"*-{kind}-*"), key=lambda p: p.stat().st_size)
    return found[-1 if largest else 0]


def test_repair_of_a_whole_store_keeps_everything(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    truth = answers(path)
    done = repair(path)
    assert (done.lost_ids, done.lost_slots, done.rebuilt, done.quarantined) == ((), (), 0, ())
    assert done.kept == N - 2
    assert answers(path) == truth
    assert verify(path).whole


def test_repair_makes_codes_from_originals(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    truth, broken = answers(path), segment(path, "codes")
    flip(broken, broken.stat().st_size - 1)
    assert any(broken.name in line for line in verify(path).problems)
    done = repair(path, attar.load_codec)
    assert done.rebuilt > 100
    assert done.lost_ids == ()
    assert answers(path) == truth
    assert verify(path).whole
    assert list((path / QUARANTINE).rglob(broken.name))


def test_repair_names_exactly_what_is_lost(tmp_path):
    path, n = tmp_path / "s", 4000
    x = np.random.default_rng(0).normal(size=(n, 400)).astype(np.float32)
    with Store.create(path, attar.codec("float32"), metric="ip") as store:
        store.add(names(n), x)
        store.add(["small"], x[:1] + 1)
    flip(segment(path, "codes"), 3 << 20)
    assert not verify(path).whole
    done = repair(path)
    # One block of a MiB holds 1 MiB / 1600 B = 655.4 rows, so 656 or 657 rows touch it.
    assert len(done.lost_ids) in (656, 657)
    first = min(int(i[1:]) for i in done.lost_ids)
    assert sorted(done.lost_ids) == sorted(names(n)[first : first + len(done.lost_ids)])
    assert verify(path).whole
    with reopen(path, "w") as store:
        assert len(store) == n + 1 - len(done.lost_ids)
        kept = [i for i in names(n) if i not in set(done.lost_ids)]
        rows = [int(i[1:]) for i in kept]
        assert (store.vectors(kept) == x[rows]).all()
        store.add(done.lost_ids, x[: len(done.lost_ids)])


def test_repair_loses_a_segment_without_its_header_and_drops_broken_originals(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    flip(segment(path, "originals"), 30)
    done = repair(path, attar.load_codec)
    assert done.originals_dropped
    assert done.lost_ids == ()
    assert verify(path).whole
    truth = answers(whole)
    assert answers(path) == truth
    flip(segment(path, "codes", largest=False), 30)
    done = repair(path)
    assert done.lost_ids == ("d1", "d2")
    assert verify(path).whole


def test_repair_takes_out_damaged_documents(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    catalog = path / "catalog.sqlite"
    connection = sqlite3.connect(f"file:{catalog}?mode=ro&immutable=1", uri=True)
    ((frame,),) = connection.execute("SELECT text FROM documents WHERE id = 'd42'").fetchall()
    connection.close()
    flip(catalog, catalog.read_bytes().index(frame) + len(frame) - 2)
    with pytest.raises(CorruptStoreError, match="crc32"):
        reopen(path)
    assert any("'d42'" in line for line in verify(path).problems)
    assert repair(path).lost_ids == ("d42",)
    assert verify(path).whole
    with reopen(path) as store:
        assert len(store) == N - 3
        assert store.get(["d42"]) == []


def test_beyond_repair_is_said(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    (codec,) = (path / "codecs").iterdir()
    flip(codec, 500)
    with pytest.raises(CorruptStoreError, match="beyond repair"):
        repair(path)
    with pytest.raises(CorruptStoreError, match="not what was committed"):
        reopen(path).search(np.ones(DIM))


def test_a_catalog_that_cannot_be_opened_is_said(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    (path / "catalog.sqlite-wal").unlink(missing_ok=True)
    (path / "catalog.sqlite-wal").mkdir()
    with pytest.raises(StoreError, match="Make the folder writable"):
        reopen(path)


def test_another_program_that_holds_the_catalog_is_named(tmp_path):
    path = tmp_path / "s"
    with Store.create(path, attar.codec("float32")) as store:
        store.add(["a"], documents(1))
        store._library.connection.execute("PRAGMA busy_timeout=50")
        other = sqlite3.connect(path / "catalog.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError, match="another program"):
            store.add(["b"], documents(1))
        other.execute("ROLLBACK")
        other.close()
        store.add(["b"], documents(1))
        assert len(store) == 2
        assert len(list((path / "segments").iterdir())) == store.info()["segments"]
