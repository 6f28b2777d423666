"""Models trained to stay compatible against experience replay: AC and AA over seven tasks."""

import time
from typing import Any

import numpy as np

from bench.machine import DATA
from bench.registry import Result, bench
from examples.stationary import ARMS, CAPACITY, MEMORY, REPLACED, TASKS, Data, camvid, digits
from examples.stationary import versions as trained

SEEDS, STEPS = 3, 100


def _row(name: str, data: Data, arm: str, seeds: int, steps: int) -> dict[str, Any]:
    started = time.process_time()
    found = [trained(data, arm, seed, steps) for seed in range(seeds)]
    ac = [each.average_compatibility for each in found]
    aa = [each.average_accuracy for each in found]
    last = [float(each.values[-1, -1]) for each in found]
    return {
        "data": name,
        "arm": arm,
        "AC": round(float(np.mean(ac)), 4),
        "AA": round(100 * float(np.mean(aa)), 2),
        "AC of each seed": [round(each, 3) for each in ac],
        "AA of each seed": [round(100 * each, 2) for each in aa],
        "last model alone": round(100 * float(np.mean(last)), 2),
        "CPU s": round(time.process_time() - started, 1),
        "matrix of the first seed": [
            [round(float(each), 3) for each in row[: i + 1]]
            for i, row in enumerate(found[0].values)
        ],
    }


@bench("compat/stationary", gate="tests/retrieval/compat/test_stationary.py")
def stationary(quick: bool) -> Result:
    """Digits and crops of street photographs, three seeds."""
    seeds, steps = (1, 30) if quick else (SEEDS, STEPS)
    sets = {"digits": digits()}
    if not quick:
        sets["CamVid crops"] = camvid(DATA / "vision" / "camvid")
    rows = [
        _row(name, data, arm, seeds, steps)
        for name, data in sets.items()
        for arm in ARMS
        if arm != "simplex" or name == "digits"
    ]
    best = {(row["data"], row["arm"]): row for row in rows}
    above = {
        name: {what: (best[name, "hoc"][what], best[name, "replay"][what]) for what in ("AC", "AA")}
        for name in sets
    }
    return Result(
        rows,
        {
            "tasks": f"{TASKS}, the first with all classes but six, then one more each",
            "replaced": f"by another architecture at task {REPLACED + 1}",
            "memory": f"{MEMORY} images a class",
            "simplex": f"{CAPACITY} vertices",
            "steps": f"{steps} of 64 a task, twice as many at the replacement",
            "sizes": {
                name: [len(part.y) for part in (data.train, data.gallery, data.queries)]
                for name, data in sets.items()
            },
            "seeds": seeds,
        },
        {
            "above replay": {
                "bar": "AC and AA above experience replay, mean of the seeds",
                "measured": {
                    f"{n} {w}": pair for n, each in above.items() for w, pair in each.items()
                },
                "met": all(a > b for each in above.values() for a, b in each.values()),
            },
            "ten minutes": {
                "bar": "under ten minutes on two cores, in CPU seconds on one",
                "measured": sum(row["CPU s"] for row in rows),
                "met": sum(row["CPU s"] for row in rows) < 1200,
            },
            "CIFAR-like, 7 tasks": {
                "bar": "the published protocol (docs/upgrade.md)",
                "measured": "not measured: no GPU",
                "met": None,
            },
        },
    )
