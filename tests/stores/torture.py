"""Hours of what the tests do for seconds: `python -m tests.stores.torture [--kills N] [--calls]`.

--kills N   N random kills of one writer, contents checked after each
--calls     a kill and a refusal at every single system call of a sequence of operations
"""

import argparse
import random
import tempfile
from pathlib import Path

import attar
from attar.stores.store import Store
from tests.stores.test_crash import check, run_and_kill
from tests.stores.test_syscalls import kill_at, points, refuse_at


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
            kill_at(path, log, call, n)
            total += 1
            if call in ("pwrite64", "fsync", "fdatasync"):
                refuse_at(path, log, call, n)
                total += 1
            if n % 20 == 0 or n == count:
                print(
                    f"{call}: {n} of {count} points, {total} runs so far, nothing lost", flush=True
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.calls:
            calls(Path(folder) / "calls", Path(folder) / "log")
        if options.kills:
            kills(Path(folder) / "kills", options.kills, options.seed)


if __name__ == "__main__":
    main()
