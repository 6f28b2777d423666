"""Mixed load from several processes, for the test and for longer runs.

Writers take turns for the lock and each keeps documents of its own; a document's text is a function
of its id and its version, and its vector of the text, so that any reader can tell a torn state.
`python -m tests.stores.load FOLDER MINUTES` runs two writers and eight readers, watching memory.
"""

import multiprocessing
import random
import statistics
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


def write(path, who, wanted, until, report, stop):
    """Hold the lock for some operations, let go, again; reports what must be there at the end."""
    draw, mine, version = random.Random(who), {}, 0
    operations = waits = 0
    while operations < wanted and time.monotonic() < until:
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


def read(path, who, wanted, until, report, stop):
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


def run(path, operations=10**9, writers=2, readers=8, seconds=10**9, every=5.0):
    """Run until a limit; returns (documents that must be there, operations, rounds, memory).

    `memory` is a list per process of its anonymous resident bytes, taken every `every` seconds.
    """
    context = multiprocessing.get_context("spawn")
    report, stop = context.Queue(), context.Event()
    until = time.monotonic() + seconds
    jobs = [(write, who) for who in range(writers)] + [(read, who) for who in range(readers)]
    processes = [
        context.Process(target=work, args=(path, who, operations, until, report, stop))
        for work, who in jobs
    ]
    for process in processes:
        process.start()
    memory = [[] for _ in processes]
    while any(process.is_alive() for process in processes[:writers]):
        processes[0].join(every)
        for series, process in zip(memory, processes, strict=True):
            series += anonymous_bytes(process.pid)
        if not processes[0].is_alive():
            processes[1].join(every)
    stop.set()
    mine, written, rounds = {}, 0, 0
    for _ in processes:
        who, some, count, _ = report.get(timeout=60)
        mine |= some
        written += count if isinstance(who, int) else 0
        rounds += count if isinstance(who, str) else 0
    for process in processes:
        process.join()
        assert process.exitcode == 0, process.exitcode
    return mine, written, rounds, memory


def anonymous_bytes(pid):
    """[RssAnon], or [] of a process that is gone: mapped segments are the page cache's."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")]


def growth(series):
    """Median of the last quarter over that of the second: the first is warming up."""
    quarter = len(series) // 4
    return statistics.median(series[-quarter:]) / statistics.median(series[quarter : 2 * quarter])


def check(path, mine):
    """Nothing lost, nothing invented, everything whole."""
    with reopen(path, "w") as store:
        assert {r.id: r.text for r in store.iter()} == mine
        assert store.verify().problems == ()


def main():
    path, seconds = Path(sys.argv[1]), 60 * float(sys.argv[2])
    Store.create(path, attar.codec("float32")).close()
    mine, written, rounds, memory = run(path, seconds=seconds)
    check(path, mine)
    print(f"{written} operations of 2 writers, {rounds} rounds of 8 readers, nothing lost")
    print("last MB:", *(f"{series[-1] / 2**20:.1f}" for series in memory))
    print("last quarter / second:", *(f"{growth(series):.3f}" for series in memory))


if __name__ == "__main__":
    main()
