import contextlib
import gc
import os
import signal
import sys
import threading
import traceback

import numpy as np
import pytest

import attar
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


@pytest.mark.parametrize("mode", "rw")
def test_forked_children_that_end_leave_the_store_alone(tmp_path, mode):
    """A child inherits connections in whatever state, and closes them when it ends."""
    path = tmp_path / "s"
    # A child collects what this test made, not all that a test run has loaded: that took seconds.
    gc.collect()
    gc.freeze()
    Store.create(path, attar.codec("int8")).close()
    writer = reopen(path, "w")
    forked = writer if mode == "w" else reopen(path)
    enough, added = threading.Event(), [0]
    writer.add(["d0"], documents(1, seed=0), ["text 0"])
    # A fork in the middle of a first import is Python's own trap; all is imported before.
    writer.search(documents(1))

    def add():
        while not enough.is_set():
            i = len(added)
            writer.add([f"d{i}"], documents(1, seed=i), [f"text {i}"])
            added.append(i)

    thread = threading.Thread(target=add)
    thread.start()
    try:
        for _ in range(30):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                code = 2
                # Whatever it raises, a child never goes on as the test that forked it.
                try:
                    used = 0
                    for use in (
                        lambda: list(forked.iter()),
                        lambda: forked.get(["d0"]),
                        forked.refresh,
                    ):
                        with contextlib.suppress(StoreError):
                            use()
                            used = 1
                    forked.close()
                    forked._library._connection = None
                    del forked, writer
                    gc.collect()
                    with reopen(path) as own:
                        own.search(documents(1))
                    code = used
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            with reopen(path) as other:
                assert [r.text for r in other.iter()] == [f"text {i}" for i in range(len(other))]
    finally:
        enough.set()
        thread.join()
        gc.unfreeze()
    forked.refresh()
    assert len(forked) == len(added) > 0
    assert writer.verify().problems == ()
    writer.close()
    forked.close()
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
