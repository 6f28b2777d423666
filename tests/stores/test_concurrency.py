import contextlib
import gc
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from pathlib import Path

import numpy as np
import pytest

import attar
from attar.stores.disk import connections, forking
from attar.stores.disk.forking import no_fork
from attar.stores.errors import StoreError
from attar.stores.store import Store
from tests.stores import load
from tests.stores.worlds import documents, names, reopen


def test_writers_and_readers_in_processes(tmp_path):
    Store.create(tmp_path / "s", attar.codec("float32")).close()
    mine, written, rounds, _ = load.run(tmp_path / "s", 25, writers=2, readers=3)
    assert written >= 50
    assert rounds >= 12
    load.check(tmp_path / "s", mine)


@pytest.fixture(params=[0.005, 1e-6], ids=["usual", "hasty"])
def switching(request):
    """How long a thread keeps the interpreter: usually 5 ms; 1 us stirs as free threads would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(request.param)
    yield
    sys.setswitchinterval(before)


def test_threads_share_a_store(tmp_path, switching):
    x = documents(400)
    errors = []
    with Store.create(tmp_path / "s", attar.codec("int8"), metric="ip") as store:
        store.add(names(100), x[:100])

        def search():
            try:
                for i in range(25):
                    hits = store.search(x[i], k=30)
                    assert len(set(hits.ids[0])) == 30
                    store.get(list(hits.ids[0]))
                    assert len(list(store.iter(50, vectors=True))) >= 70
            except BaseException as error:
                errors.append(error)

        def change(first):
            try:
                for i in range(first, first + 25):
                    store.add([f"n{i}"], x[i : i + 1], [f"text of document {i}, again {i}"])
                    store.delete([f"d{i % 100}"])
                    if i % 10 == 0:
                        store.compact()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=search) for _ in range(3)]
        threads += [threading.Thread(target=change, args=(first,)) for first in (100, 225)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(store) == 100
        assert store.verify().problems == ()


def test_a_forked_child_is_told_to_open_its_own(tmp_path):
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        store.add(names(5), documents(5))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                store.search(documents(1))
            except StoreError as error:
                code = 0 if "after the fork" in str(error) else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert store.search(documents(1), k=9).ids.shape == (1, 5)
        child = os.fork()
        if child == 0:
            # The child holds no copy of the parent's lock once the parent lets go.
            threading.Event().wait(20)
            os._exit(0)
        store.close()
        reopen(tmp_path / "s", "w").close()
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_child_that_outlives_a_killed_writer_does_not_hold_its_lock(tmp_path):
    Store.create(tmp_path / "s", attar.codec("float32")).close()
    ends, begun = os.pipe()
    writer = os.fork()
    if writer == 0:
        try:
            store = reopen(tmp_path / "s", "w")
            if (child := os.fork()) != 0:
                os.write(begun, str(child).encode())
            threading.Event().wait(60)
            store.close()
        finally:
            os._exit(0)
    child = int(os.read(ends, 20))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    try:
        # The child may not have run yet.
        reopen(tmp_path / "s", "w", timeout=10).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(ends)
        os.close(begun)


@contextlib.contextmanager
def busy(*steps):
    """Threads that repeat one step each until the block ends."""
    enough, errors = threading.Event(), []

    def repeat(step):
        try:
            while not enough.is_set():
                step()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert errors == []


def end_of_child(doing):
    """What a forked child ends with: 0 if all went well, negative if it hung."""
    child = os.fork()
    if child == 0:
        # By the system: a handler in Python never runs in a child that waits inside SQLite.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        code = 2
        # Whatever it raises, a child never goes on as the test that forked it.
        try:
            doing()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_waits_for_the_thread_inside_which_may_enter_again():
    inside, done = threading.Event(), []

    def stay():
        with no_fork:
            inside.set()
            while not no_fork._forking:
                time.sleep(0.001)
            with no_fork:
                time.sleep(0.1)
                done.append("inside")
        with no_fork:
            done.append("after the fork")

    def child():
        assert done == ["inside"]
        with no_fork:
            pass

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(20)
    assert end_of_child(child) == 0
    thread.join()
    assert done == ["inside", "after the fork"]


def test_a_child_is_free_of_what_its_fork_did_not_wait_for(monkeypatch, caplog):
    monkeypatch.setattr(forking, "PATIENCE", 0.05)
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with no_fork:
            inside.set()
            leave.wait(20)

    def child():
        assert end_of_child(lambda: None) == 0
        assert caplog.text.count("does not wait longer") == 1
        assert not no_fork._inside

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(20)
    assert end_of_child(child) == 0
    leave.set()
    thread.join()


def test_threads_fork_at_once_inside_and_outside():
    ends = []

    def child():
        with no_fork:
            assert len(no_fork._inside) == 1

    def inside():
        with no_fork:
            ends.append(end_of_child(child))

    def outside():
        ends.append(end_of_child(child))

    start = time.monotonic()
    with busy(outside, outside):
        for _ in range(10):
            inside()
    assert set(ends) == {0}
    assert not no_fork._inside
    assert time.monotonic() - start < forking.PATIENCE


def test_every_call_into_sqlite_is_between_forks(tmp_path, monkeypatch):
    entered = []
    own = type(no_fork).__enter__
    monkeypatch.setattr(type(no_fork), "__enter__", lambda self: entered.append(self) or own(self))

    def enters(call):
        entered.clear()
        result = call()
        assert entered
        return result

    connection = enters(lambda: connections.connect(tmp_path / "a", isolation_level=None))
    other = connections.connect(":memory:")
    cursor = enters(lambda: connection.execute("CREATE TABLE a(b)"))
    enters(lambda: connection.executemany("INSERT INTO a VALUES (?)", [(i,) for i in range(9)]))
    enters(lambda: connection.executescript("BEGIN; COMMIT;"))
    enters(lambda: cursor.execute("SELECT b FROM a"))
    assert [enters(lambda: next(cursor)), enters(cursor.fetchone)] == [(0,), (1,)]
    assert [enters(lambda: cursor.fetchmany(1)), len(enters(cursor.fetchall))] == [[(2,)], 6]
    enters(lambda: connection.backup(other))
    for end in (connection.commit, connection.rollback, cursor.close, connection.close):
        enters(end)
    forgotten = [connections.connect(":memory:")]
    forgotten.append(forgotten[0].execute("SELECT 1 UNION SELECT 2"))
    enters(lambda: bool(forgotten.pop()))
    del forgotten[0]
    enters(gc.collect)


def test_nobody_connects_to_sqlite_elsewhere():
    rooms = Path(__file__).parents[2]
    files = [
        f
        for room in ("attar", "stores", "retrieval", "context", "vision")
        for f in (rooms / room).rglob("*.py")
    ]
    assert len(files) > 100
    assert [f.name for f in files if "sqlite3.connect" in f.read_text()] == []


@pytest.fixture
def little_to_collect():
    """A child collects what its test made, not all that a test run has loaded: seconds each."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def refuses_to_work(inherited):
    for use in (
        lambda: list(inherited.iter()),
        lambda: inherited.get(["d0"]),
        inherited.refresh,
    ):
        with pytest.raises(StoreError, match="after the fork"):
            use()
    inherited.close()


@pytest.mark.parametrize("mode", "rw")
def test_forked_children_that_end_leave_the_store_alone(tmp_path, mode, little_to_collect):
    """A child inherits connections in whatever state, and closes them when it ends."""
    path = tmp_path / "s"
    Store.create(path, attar.codec("int8")).close()
    # The only references, for the child to drop.
    stores = {"w": reopen(path, "w"), "r": reopen(path)}
    added = [0]
    stores["w"].add(["d0"], documents(1, seed=0), ["text 0"])
    # A fork in the middle of a first import is Python's own trap; all is imported before.
    stores["w"].search(documents(1))

    def add():
        i = len(added)
        stores["w"].add([f"d{i}"], documents(1, seed=i), [f"text {i}"])
        added.append(i)

    def look():
        with reopen(path) as other:
            texts = [r.text for r in other.iter()]
            assert texts == [f"text {i}" for i in range(len(other))]

    def child():
        refuses_to_work(stores[mode])
        connection = weakref.ref(stores[mode]._library._connection)
        stores.clear()
        gc.collect()
        assert connection() is not None
        with reopen(path) as own:
            own.search(documents(1))

    with busy(add, look):
        # About one in twelve hangs where nothing waits.
        for _ in range(60):
            assert end_of_child(child) == 0
    stores["r"].refresh()
    assert len(stores["r"]) == len(stores["w"]) == len(added) > 0
    assert stores["w"].verify().problems == ()
    stores["w"].close()
    stores["r"].close()
    with reopen(path, "w") as store:
        assert len(store) == len(added)
        assert store.verify().problems == ()


def test_waiting_for_the_lock_gets_it(tmp_path):
    store = Store.create(tmp_path / "s", attar.codec("float32"))
    threading.Timer(0.3, store.close).start()
    with reopen(tmp_path / "s", "w", timeout=20) as other:
        other.add(["a"], np.ones((1, 3)))
    with pytest.raises(StoreError, match="closed|reading"):
        store.add(["b"], np.ones((1, 3)))


def test_few_file_descriptors_are_enough(tmp_path):
    x = documents(200)
    with Store.create(tmp_path / "s", attar.codec("int8")) as store:
        for i in range(100):
            store.add([f"d{i}"], x[i : i + 1])
    before = len(os.listdir("/proc/self/fd"))
    stores = [reopen(tmp_path / "s") for _ in range(4)]
    some = []
    for store in stores:
        assert store.info()["segments"] > 5
        assert store.search(x[:1], k=100).ids.shape == (1, 100)
        part = store._library.snapshot.parts[0]
        some.append(part.read(part.segment.fields[0].name, slice(None)))
        store.close()
    # Catalog, log and its index are gone with the store; maps never had a descriptor.
    assert len(os.listdir("/proc/self/fd")) <= before
    del store, stores, part
    gc.collect()
    assert all((one == some[0]).all() for one in some)  # a view keeps its map
    with pytest.raises(ValueError, match="read-only"):
        some[0][0, 0] = 1


def test_a_copy_of_the_lock_in_a_child_does_not_keep_others_out(tmp_path):
    store = Store.create(tmp_path / "s", attar.codec("float32"))
    copy = os.dup(store._lock._fd)  # what a child holds until its fork hook has run
    store.close()
    reopen(tmp_path / "s", "w").close()
    os.close(copy)
