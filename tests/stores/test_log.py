"""The write-ahead log beside readers: SQLite starts it again only when nobody is in it."""

import threading

import pytest

import attar
from attar.stores.disk import catalog, log
from attar.stores.disk.catalog import NAME
from attar.stores.store import Store
from tests.stores.worlds import documents, reopen

NOTES = ["n" * 20_000]
LIMIT = 1 << 20


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A store whose log is folded in from 20 pages on, and waited for from 1 MB on."""
    monkeypatch.setattr(catalog, "LOG_PAGES", 20)
    monkeypatch.setattr(log, "LIMIT", LIMIT)
    Store.create(tmp_path / "s", attar.codec("int8")).close()
    return tmp_path / "s"


@pytest.fixture
def tries(monkeypatch):
    """What each attempt to empty the log came to."""
    outcomes, attempt = [], log._try

    def noted(library):
        outcomes.append(attempt(library))
        return outcomes[-1]

    monkeypatch.setattr(log, "_try", noted)
    return outcomes


def change(writer, times):
    """Sizes of the log after each change."""
    sizes = []
    for i in range(times):
        writer.upsert([f"d{i % 3}"], documents(1, seed=i), NOTES)
        sizes.append((writer.path / f"{NAME}-wal").stat().st_size)
    return sizes


def test_a_reader_that_stays_delays_the_writer_a_few_times_only(path, tries, monkeypatch):
    with reopen(path, "w") as writer:
        writer.add(["first"], documents(1), NOTES)
        assert max(change(writer, 20)) < LIMIT / 2
        monkeypatch.setattr(log, "PATIENCE", 0.2)
        # A wait is several attempts, everything else at most one a change.
        monkeypatch.setattr(log, "PAUSE", 0.01)
        with reopen(path) as reader:
            known, waited, sizes = len(reader), [], []
            while not sizes or sizes[-1] < 5 * LIMIT:
                before = len(tries)
                sizes += change(writer, 1)
                waited.append(len(tries) - before > 1)
            assert len(reader) == known
            # At one, two and four times the limit.
            assert sum(waited) == 3
            assert not any(tries)
        again = change(writer, 3)
    assert again[-1] < LIMIT / 2
    assert not (path / f"{NAME}-wal").exists()


def test_beside_readers_that_refresh_the_log_stays_bounded(path, tries):
    """The writer never pauses by itself, the readers at other times than each other."""
    stop = threading.Event()

    def follow(pause):
        with reopen(path) as reader:
            while not stop.wait(pause):
                reader.refresh()

    readers = [threading.Thread(target=follow, args=(pause,)) for pause in (0.05, 0.11)]
    with reopen(path, "w") as writer:
        writer.add(["first"], documents(1), NOTES)
        for reader in readers:
            reader.start()
        sizes = change(writer, 100)
        stop.set()
        for reader in readers:
            reader.join()
        assert writer.verify().problems == ()
    assert max(sizes) < LIMIT + (1 << 19)
    assert tries.count(True) >= 2
    assert len([a for a, b in zip(sizes, sizes[1:], strict=False) if b < a]) == tries.count(True)


def test_a_writer_that_waits_answers_searches(path, monkeypatch):
    monkeypatch.setattr(log, "PATIENCE", 30.0)
    with reopen(path, "w") as writer, reopen(path) as reader:
        writer.add(["first"], documents(1), NOTES)
        while (path / f"{NAME}-wal").stat().st_size < LIMIT:
            change(writer, 1)
        waits = threading.Thread(target=change, args=(writer, 1))
        waits.start()
        waits.join(0.3)
        assert waits.is_alive()
        assert writer.search(documents(1), k=1).ids.shape == (1, 1)
        assert len(writer.get(["d0"])) == 1
        for _ in range(100):
            reader.refresh()
            waits.join(0.05)
            if not waits.is_alive():
                break
        assert not waits.is_alive()
        assert (path / f"{NAME}-wal").stat().st_size < LIMIT


def test_a_disk_that_refuses_to_fold_does_not_fail_the_change(path, tries, monkeypatch):
    with reopen(path, "w") as writer:
        with reopen(path):
            monkeypatch.setattr(log, "PATIENCE", 0.0)
            writer.add(["first"], documents(1), NOTES)
            change(writer, 30)
        writer._library.connection.execute("BEGIN IMMEDIATE")
        assert log._try(writer._library) is False
        writer._library.connection.execute("ROLLBACK")
        change(writer, 1)
        assert writer.verify().problems == ()
