"""Mixed load from several processes, for the test and for longer runs.

Writers take turns for the lock and each keeps documents of its own; a document's text is a function
of its id and its version, and its vector of the text, so that any reader can tell a torn state.
`python -m tests.stores.load FOLDER OPERATIONS` runs two writers and eight readers.
"""

import multiprocessing
import random
import sys
import time
from pathlib import Path

import numpy as np

import attar
from attar.stores.errors import StoreLockedError
from attar.stores.store import Store
from tests.stores.worlds import reopen

DIM = 8


def vector(text):
    return np.random.default_rng(list(text.encode())).normal(size=DIM).astype(np.float32)


def write(path, who, wanted, report, stop):
    """Hold the lock for some operations, let go, again; reports what must be there at the end."""
    draw, mine, version = random.Random(who), {}, 0
    operations = waits = 0
    while operations < wanted:
        try:
            store = reopen(path, "w", timeout=draw.choice([0, 2]))
        except StoreLockedError:
            waits += 1
            time.sleep(0.01)
            continue
        with store:
            for _ in range(draw.randrange(1, 8)):
                ids = [f"w{who}-{draw.randrange(40)}" for _ in range(3)]
                ids = list(dict.fromkeys(ids))
                version += 1
                action = draw.random()
                if action < 0.25:
                    assert store.delete(ids) == sum(i in mine for i in ids)
                    mine = {i: t for i, t in mine.items() if i not in ids}
                elif action < 0.32:
                    store.compact()
                else:
                    texts = [f"{i} {version}" for i in ids]
                    store.upsert(ids, [vector(t) for t in texts], texts, [{"who": who}] * len(ids))
                    mine |= dict(zip(ids, texts, strict=True))
                operations += 1
        time.sleep(draw.uniform(0, 0.01))
    report.put((who, mine, operations, waits))


def read(path, who, wanted, report, stop):
    """Search, compare every hit with its text, refresh; a snapshot never changes by itself."""
    draw, rounds = random.Random(100 + who), 0
    with reopen(path) as store:
        while rounds < 4 or not stop.is_set():
            if rounds % 3 == 0:
                store.refresh()
            records = {r.id: r for r in store.iter()}
            assert len(store) == len(records)
            if records:
                name = draw.choice(sorted(records))
                text = records[name].text
                hits = store.search(vector(text), k=len(records))
                assert set(hits.ids[0]) == set(records)
                assert hits.ids[0, 0] == name, (hits.ids[0, :3], name)
                found = store.search(vector(text), k=500, filter={"who": 0})
                assert all(i.startswith("w0-") for i in found.ids[0])
                assert {r.id: r.text for r in store.get(list(records))} == {
                    r.id: r.text for r in records.values()
                }
            rounds += 1
    report.put((f"reader {who}", {}, rounds, 0))


def run(path, operations, writers=2, readers=8):
    """Run the load; returns (documents that must be there, operations of writers, of readers)."""
    context = multiprocessing.get_context("spawn")
    report, stop = context.Queue(), context.Event()
    jobs = [(write, who) for who in range(writers)] + [(read, who) for who in range(readers)]
    processes = [
        context.Process(target=work, args=(path, who, operations, report, stop))
        for work, who in jobs
    ]
    for process in processes:
        process.start()
    mine, written, rounds = {}, 0, 0
    for process in processes[:writers]:
        process.join()
    stop.set()
    for process in processes:
        process.join()
        assert process.exitcode == 0, process.exitcode
    for _ in processes:
        who, some, count, _ = report.get(timeout=60)
        mine |= some
        written += count if isinstance(who, int) else 0
        rounds += count if isinstance(who, str) else 0
    return mine, written, rounds


def check(path, mine):
    """Nothing lost, nothing invented, everything whole."""
    with reopen(path, "w") as store:
        assert {r.id: r.text for r in store.iter()} == mine
        assert store.verify().problems == ()


def main():
    path, operations = Path(sys.argv[1]), int(sys.argv[2])
    Store.create(path, attar.codec("float32")).close()
    mine, written, rounds = run(path, operations)
    check(path, mine)
    print(f"{written} operations of 2 writers, {rounds} rounds of 8 readers, nothing lost")


if __name__ == "__main__":
    main()
