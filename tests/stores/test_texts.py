"""Compressed texts: what is stored is smaller, what comes back is equal, damage is noticed."""

import random
import shutil
import sqlite3

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import attar
from attar.stores.disk import texts as packing
from attar.stores.disk.repair import repair
from attar.stores.disk.seal import Seal, write_seal
from attar.stores.disk.verify import verify
from attar.stores.errors import CorruptStoreError
from attar.stores.store import Store
from tests.stores.worlds import documents, names, pack_early, reopen

WORDS = "store vector commit reader writer page index query of the a in small memory".split()


def passage(i):
    return " ".join(random.Random(i).choices(WORDS, k=30)) + f" {i}"


def fill(path, n=60, **options):
    store = Store.create(path, attar.codec("float32"), **options)
    for first in range(0, n, 20):
        some = range(first, min(first + 20, n))
        ids = [f"d{i}" for i in some]
        notes = [{"title": passage(-i - 1), "n": i} for i in some]
        store.add(ids, documents(len(ids), seed=first), [passage(i) for i in some], notes)
    return store


def stored(store, column="text"):
    sql = f"SELECT id, {column} FROM documents"
    return dict(store._library.connection.execute(sql).fetchall())


def dictionaries(store):
    sql = "SELECT DISTINCT dictionary FROM dictionaries ORDER BY dictionary"
    return [n for (n,) in store._library.connection.execute(sql)]


@pytest.fixture
def early(monkeypatch):
    pack_early(monkeypatch.setattr)


@pytest.mark.parametrize("indexed", [False, True])
def test_texts_come_back_and_take_less(tmp_path, early, indexed):
    with fill(tmp_path / "s", text_index=indexed) as store:
        # The first adds came before the dictionary; they are packed with it all the same.
        assert all(isinstance(one, bytes) for one in stored(store).values())
        assert all(isinstance(one, bytes) for one in stored(store, "metadata").values())
        plain = sum(len(passage(i)) for i in range(60))
        assert sum(map(len, stored(store).values())) < plain / 2
        for i, record in enumerate(store.iter()):
            assert record.text == passage(i)
            assert record.metadata == {"title": passage(-i - 1), "n": i}
        assert store.verify().problems == ()
        store.upsert(["d1"], documents(1), ["wholly other words"], [{"n": 7}])
        store.update(["d2"], texts=[passage(1000)])
        store.delete(["d3"])
    with reopen(tmp_path / "s") as store:
        found = {r.id: r.text for r in store.get(["d1", "d2", "d3"])}
        assert found == {"d1": "wholly other words", "d2": passage(1000)}
        assert store.search(documents(1), k=5, filter={"n": 7}).ids.shape == (1, 2)
        if indexed:
            assert store.search(text="wholly", alpha=0, k=3).ids.tolist() == [["d1"]]
            assert "d2" in store.search(text="1000", alpha=0, k=3).ids
        assert store.verify().problems == ()


def test_a_small_store_stays_plain(tmp_path):
    with fill(tmp_path / "s") as store:
        assert all(isinstance(one, str) for one in stored(store).values())
        assert dictionaries(store) == []


def test_a_new_dictionary_comes_with_sixteen_times_the_text(tmp_path, early):
    with fill(tmp_path / "s", n=20) as store:
        assert dictionaries(store) == [1]
        before = stored(store)
        n = 20
        while len(dictionaries(store)) < 2:
            some = range(n, n + 100)
            texts = [passage(i) for i in some]
            store.add([f"d{i}" for i in some], documents(100, seed=n), texts)
            n += 100
        meta = store._library.meta
        assert n * 170 > 16 * 20 * 250
        assert meta["trained_at"] == meta["characters"]
        assert {name: stored(store)[name] for name in before} == before
        assert [r.text for r in store.iter()] == [passage(i) for i in range(n)]
        assert store.verify().problems == ()
    with reopen(tmp_path / "s", "w") as store:
        store.add(["last"], documents(1), [passage(5)])
        assert [r.text for r in store.get(["d5", "last"])] == [passage(5)] * 2


def test_nothing_in_common_is_no_error(tmp_path, early):
    noise = random.Random(0)
    texts = ["".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(40)) for _ in range(50)]
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        store.add(names(50), documents(50), texts)
        store.add(["same"], documents(1), ["x" * 1_000_000])
        assert [r.text for r in store.iter()] == [*texts, "x" * 1_000_000]
        # A frame would be a thousand times smaller, which nobody would believe.
        assert isinstance(stored(store)["same"], str)


def press(samples):
    content = packing.train([*samples, *samples], 1)
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE dictionaries(dictionary INTEGER, copy INTEGER, crc INTEGER, content BLOB)"
    )
    packing.write_dictionary(connection, 1, content)
    return packing.compressor(content), packing.Texts(connection)


@pytest.fixture(scope="module")
def pair():
    return press([passage(i) for i in range(400)])


@given(st.text(max_size=400) | st.lists(st.sampled_from(WORDS), max_size=99).map(" ".join))
@settings(deadline=None, max_examples=200)
def test_any_text_survives(pair, text):
    one, texts = pair
    frame = packing.packed(text, one)
    assert texts.unpack(frame) == text
    assert len(frame if isinstance(frame, bytes) else frame.encode()) <= len(text.encode())


@given(st.binary(max_size=80), st.integers(0, 400))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_read_or_refused(pair, noise, bit):
    one, texts = pair
    frame = bytearray(packing.packed(passage(3), one))
    frame[bit // 8 % len(frame)] ^= 1 << bit % 8
    for content in (noise, bytes(frame), bytes(frame) + noise, bytes(frame)[: bit // 8]):
        try:
            assert isinstance(texts.unpack(content), str)
        except CorruptStoreError:
            continue


def test_a_frame_cannot_fill_the_memory(pair):
    form = zstandard.ZstdCompressionParameters(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    bomb = zstandard.ZstdCompressor(compression_params=form).compress(bytes(1 << 30))
    assert len(bomb) < 1 << 20
    with pytest.raises(CorruptStoreError, match="claims 1073741824 bytes"):
        pair[1].unpack(bomb)


def change(path, statement, *values):
    connection = sqlite3.connect(path / "catalog.sqlite")
    connection.execute(statement, values)
    connection.commit()
    connection.close()
    write_seal(path, Seal(1), durable=False)


def test_one_copy_of_a_dictionary_is_enough(tmp_path, early):
    fill(tmp_path / "s").close()
    change(tmp_path / "s", "UPDATE dictionaries SET content = x'00' WHERE copy = 0")
    assert any("copy of dictionary 1" in line for line in verify(tmp_path / "s").problems)
    with reopen(tmp_path / "s") as store:
        assert store.get(["d7"])[0].text == passage(7)
    assert repair(tmp_path / "s").lost_ids == ()
    assert verify(tmp_path / "s").whole
    with reopen(tmp_path / "s") as store:
        assert [r.text for r in store.iter()] == [passage(i) for i in range(60)]


def test_without_a_dictionary_texts_are_lost_and_named(tmp_path, early):
    with fill(tmp_path / "s") as store:
        store.add(["plain"], documents(1), ["short"])
    change(tmp_path / "s", "DELETE FROM dictionaries")
    with reopen(tmp_path / "s") as store:
        assert store.search(documents(1), k=99).ids.shape == (1, 61)
        with pytest.raises(CorruptStoreError, match="Dictionary 1|'d7'"):
            store.get(["d7"])
    assert len(verify(tmp_path / "s").problems) > 60
    assert sorted(repair(tmp_path / "s").lost_ids) == sorted(names(60))
    assert verify(tmp_path / "s").whole


def test_a_failed_commit_trains_again(tmp_path, early):
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        other = sqlite3.connect(tmp_path / "s" / "catalog.sqlite", isolation_level=None)
        store._library.connection.execute("PRAGMA busy_timeout=50")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(attar.stores.errors.StoreLockedError):
            store.add(names(30), documents(30), [passage(i) for i in range(30)])
        other.execute("ROLLBACK")
        other.close()
        store.add(names(30), documents(30), [passage(-i) for i in range(30)])
        assert [r.text for r in store.iter()] == [passage(-i) for i in range(30)]
        assert store.verify().problems == ()
        shutil.copytree(tmp_path / "s", tmp_path / "copy")
    with reopen(tmp_path / "copy") as store:
        assert [r.text for r in store.iter()] == [passage(-i) for i in range(30)]


def test_the_first_dictionary_packs_what_was_plain(tmp_path, early):
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        store.add(["a"], documents(1), [passage(0)])
        assert isinstance(stored(store)["a"], str)
        store.add(names(30), documents(30), [passage(i) for i in range(30)])
        assert isinstance(stored(store)["a"], bytes)
        assert store.get(["a"])[0].text == passage(0)
