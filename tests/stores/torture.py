"""All of what the tests take a share of: `python -m tests.stores.torture [--kills N] [--calls]`.

--kills N   N random kills of one writer, contents checked after each
--calls     a kill and a refusal at every single system call of a sequence of operations, and a kill
            at every one of a migration from format 1
"""

import argparse
import json
import random
import tempfile
import zipfile
from pathlib import Path

import attar
from attar.stores.store import Store
from tests.stores.test_crash import check, run_and_kill
from tests.stores.test_formats import FORMAT_1, kill_while_migrating
from tests.stores.test_syscalls import CALLS, kill_at, points, refuse_at


def kills(path, count, seed):
    Store.create(path, attar.codec("int8"), keep_originals=True).close()
    draw = random.Random(seed)
    done = 0
    for turn in range(1, count + 1):
        acknowledged = run_and_kill(path, done, draw.randrange(6), draw.uniform(0, 0.03))
        done = check(path, acknowledged)
        if turn % 50 == 0:
            print(f"{turn} kills, {done} operations, nothing lost", flush=True)
    print(f"kills: {turn}, operations: {done}, lost: 0", flush=True)


def calls(path, log):
    total = 0
    for call, count in points(path, log):
        for n in range(1, count + 1):
            kill_at(path, call, n)
            total += 1
            if call in ("pwrite64", "fsync", "fdatasync"):
                refuse_at(path, call, n)
                total += 1
            if n % 20 == 0 or n == count:
                print(
                    f"{call}: {n} of {count} points, {total} runs so far, nothing lost", flush=True
                )


def migrations(path):
    """Kill at the first, second, ... call of each kind until a migration comes to its end."""
    old = path.parent / "format1"
    with zipfile.ZipFile(FORMAT_1) as archive:
        archive.extractall(old)
    truth = json.loads((old / "truth.json").read_text())
    for call in CALLS:
        n = 1
        while kill_while_migrating(old, truth, path, call, n):
            n += 1
        assert n > 1, call
        print(f"migration, {call}: {n - 1} points, whole after each", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.calls:
            calls(Path(folder) / "calls", Path(folder) / "log")
            migrations(Path(folder) / "migrations")
        if options.kills:
            kills(Path(folder) / "kills", options.kills, options.seed)


if __name__ == "__main__":
    main()
