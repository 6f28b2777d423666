"""One system in a process of its own, so that memory holds one index at a time.

python -m bench.search.alone TASK, JSON: {"name", "n", "seed", "settings"}. Without
settings: recall and CPU seconds of all of them. With settings (their numbers): times of each.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from attar.stores.types import Float32
from bench.machine import memory_of
from bench.search.arms import overlap, truth_of
from bench.search.building import PANORAMA
from bench.search.generator import documents, queries
from bench.search.prepared import FOLDER, kept
from bench.search.systems import System, opened

ASKED, SINGLE = 256, 64
SLOW = ("faiss SQ8", PANORAMA)
"""They look at every vector in full: timed on fewer queries."""

Point = tuple[Any, float, float]


def sweep(
    system: System, asked: Float32, truth: Any, single: int = SINGLE, recalled: int = ASKED
) -> list[Point]:
    """Of every setting: it, recall over all queries, CPU seconds a query of `single` alone."""
    points = []
    for setting in system.settings:
        recall = overlap(system.search(asked[:recalled], setting, 1), truth[:recalled])
        start = time.process_time()
        for q in asked[:single]:
            system.search(q[None], setting, 1)
        points.append((setting, recall, (time.process_time() - start) / single))
    return points


def jobs(name: str) -> dict[str, tuple[int, int, int]]:
    """What is timed: size of a batch, queries in all, threads."""
    if name in SLOW:
        return {"b1": (1, 8, 1), "b16": (16, 16, 1), "b256": (64, 64, 1), "2 threads": (64, 64, 2)}
    return {
        "b1": (1, 128, 1),
        "b16": (16, 64, 1),
        "b256": (256, 256, 1),
        "2 threads": (256, 256, 2),
    }


def timed(system: System, setting: Any, asked: Float32) -> dict[str, tuple[float, float]]:
    """CPU and wall seconds a query of each job, after one batch that is not timed."""
    times = {}
    for name, (batch, total, threads) in jobs(system.name).items():
        system.search(asked[:batch], setting, threads)
        cpu, wall = time.process_time(), time.perf_counter()
        for first in range(0, total, batch):
            system.search(asked[first : first + batch], setting, threads)
        used = time.process_time() - cpu, time.perf_counter() - wall
        times[name] = used[0] / total, used[1] / total
    return times


def resident_mb() -> int:
    """What this process has in memory now."""
    return round(memory_of()["VmRSS"] / 2**20)


def alone(name: str, n: int, seed: int, settings: list[int] | None = None, rayon: int = 1) -> Any:
    """`main` in a process of its own, with so many threads of rayon, which turbovec uses."""
    task = {"name": name, "n": n, "seed": seed, "settings": settings}
    command = [sys.executable, "-m", "bench.search.alone", json.dumps(task)]
    more = os.environ | {"RAYON_NUM_THREADS": str(rayon)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=more)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print what the task asks for, JSON, as the last line."""
    task = json.loads(sys.argv[1])
    name, n, seed, settings = (task[key] for key in ("name", "n", "seed", "settings"))
    docs = documents(n, FOLDER, seed)
    asked = queries(ASKED, docs, seed)
    truth, _ = kept(f"truth_{n}_{seed}", lambda: truth_of(docs, asked))
    before = resident_mb()
    system = opened(name, n, seed)
    if settings is None:
        few = (8 if name in SLOW else SINGLE, 64 if name == PANORAMA else ASKED)
        points = sweep(system, asked, truth, *few)
        found: Any = {
            "points": [(str(setting), recall, seconds) for setting, recall, seconds in points],
            "one number": all(isinstance(setting, int) for setting in system.settings),
            "B/vec RAM": round(system.ram, 1),
            "resident MB": resident_mb() - before,
            "facts": system.facts,
        }
    else:
        found = [timed(system, system.settings[which], asked) for which in settings]
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
