"""A writer that dies at any moment leaves the last commit, at most one operation more."""

import contextlib
import multiprocessing
import random
import signal
import time

import numpy as np
import pytest

import attar
from attar.stores.store import Store
from tests.stores.worlds import DIM, documents, names, pack_early, reopen

# Forked from a server that has imported everything: a writer starts in milliseconds.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.stores.test_crash"])


def write(path, start, pipe):
    """Do operation after operation and say so after each, until killed."""
    pack_early()
    store = reopen(path, "w", timeout=10)
    pipe.send("open")
    for number in range(start, 10_000):
        operations(store, number)
        pipe.send(number)


def vector(number):
    return np.random.default_rng(number).normal(size=(1, DIM)).astype(np.float32)


def text(word, number):
    """Long enough to be compressed."""
    return f"{word} {number}, and what else is there to say about the document {word} {number}"


def operations(store, number):
    """The operation of this number; what it does depends on nothing else."""
    if number % 11 == 10:
        store.compact()
    elif number % 5 == 4:
        store.delete([f"d{number - 2}"])
    elif number % 5 == 3:
        store.upsert([f"d{number - 3}"], vector(number), [text("again", number)])
    else:
        ids = [f"d{number}", f"e{number}"]
        x = np.concatenate([vector(number), vector(-number % 999)])
        store.add(ids, x, [text("t", number)] * 2, [{"n": number}] * 2)


def expected(count):
    """Texts by id after the first `count` operations."""
    truth = {}
    for number in range(count):
        if number % 11 == 10:
            continue
        if number % 5 == 4:
            truth.pop(f"d{number - 2}", None)
        elif number % 5 == 3:
            truth[f"d{number - 3}"] = text("again", number)
        else:
            truth |= dict.fromkeys([f"d{number}", f"e{number}"], text("t", number))
    return truth


def run_and_kill(path, start, wait_for, delay):
    """Kill a writer `delay` seconds after its `wait_for`-th operation; returns how many it did."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    writer = CONTEXT.Process(target=write, args=(path, start, sender))
    writer.start()
    sender.close()
    assert receiver.recv() == "open"
    said = [receiver.recv() for _ in range(wait_for)]
    time.sleep(delay)
    writer.kill()
    said += drained(receiver)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    return said[-1] + 1 if said else start


def drained(receiver):
    """All messages of a process that has ended, the last one perhaps cut off."""
    said = []
    with contextlib.suppress(EOFError, OSError):
        while True:
            said.append(receiver.recv())
    receiver.close()
    return said


def check(path, acknowledged):
    """Contents are those of the acknowledged operations or of one more; returns how many."""
    with reopen(path, "w", timeout=5) as store:
        got = {r.id: r.text for r in store.iter()}
        count = next((c for c in (acknowledged, acknowledged + 1) if expected(c) == got), None)
        assert count is not None, (acknowledged, len(got))
        if got:
            hits = store.search(vector(0), k=len(got) + 5)
            assert set(hits.ids[0]) == set(got)
        on_disk = len(list((path / "segments").iterdir()))
        assert on_disk == store.info()["segments"] * 2
    return count


@pytest.mark.parametrize("seed", [0])
def test_killed_writers_lose_nothing(tmp_path, seed):
    path = tmp_path / "s"
    Store.create(path, attar.codec("int8"), keep_originals=True).close()
    draw = random.Random(seed)
    done = 0
    for _ in range(8):
        acknowledged = run_and_kill(path, done, draw.randrange(6), draw.uniform(0, 0.03))
        done = check(path, acknowledged)
    assert done > 8


def recode(path, pipe):
    """Change the codec of a store and say how far it is, until killed."""
    store = reopen(path, "w")
    store.reencode(attar.codec("int8"), on_progress=lambda done, total: pipe.send((done, total)))


def test_a_killed_change_of_codec_goes_on(tmp_path):
    path, x = tmp_path / "s", documents(900)
    with Store.create(path, attar.codec("float16").fit(x), metric="ip") as store:
        for first in range(0, 900, 300):
            store.add(names(900)[first : first + 300], x[first : first + 300])
    receiver, sender = CONTEXT.Pipe(duplex=False)
    writer = CONTEXT.Process(target=recode, args=(path, sender))
    writer.start()
    sender.close()
    done, total = receiver.recv()
    writer.kill()
    writer.join()
    done = max([done, *(one for one, _ in drained(receiver))])
    assert total == 900
    with reopen(path, "w") as store:
        assert store.verify().problems == ()
        left = sum(p.row.rows for p in store._library.snapshot.parts if p.codec.spec != "int8")
        assert left in (total - done, max(0, total - done - 300))
        assert store.search(x[:5], k=900).ids.shape == (5, 900)
        assert store.reencode() == left
        assert (store.info()["serving"], len(store.info()["codecs"])) == ("int8", 1)
        assert store.verify().problems == ()
