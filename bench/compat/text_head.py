"""Versions of a head on a frozen text encoder: which of them still search the first one's store."""

import time
from typing import Any

import numpy as np

from attar.retrieval.compat import CompatibilityMatrix, DSimplex, SimplexHead
from attar.retrieval.compat.graded import best_rows, ndcg
from attar.retrieval.compat.simplex_head import FittedSimplexHead
from bench.compat.collections import TOKENS, Pair, real
from bench.registry import Result, bench

SETS = ("squad", "scifact")
VERSIONS, HIDDEN, STEPS, SEEDS, CAPACITY = 3, 256, 100, 3, 1280


def _labelled(pair: Pair, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Classes (documents), questions to learn from, their documents, and questions to measure."""
    draw = np.random.default_rng(seed)
    held = draw.random(len(pair.grades)) < 0.5
    learned = np.flatnonzero(~held)
    answers = np.array([next(iter(pair.grades[q])) for q in learned])
    others = draw.permutation(np.setdiff1d(np.arange(len(pair.old_x)), answers))
    known = np.unique(answers)[:CAPACITY]
    known = draw.permutation(np.concatenate([known, others[: CAPACITY - len(known)]]))
    return known, learned, answers, np.flatnonzero(held)


def _replayed(
    x: np.ndarray, labels: np.ndarray, old: FittedSimplexHead | None, hidden: int, seed: int
) -> FittedSimplexHead:
    """The usual way: the head goes on from the old one, under a classifier that learns too."""
    import torch

    torch.manual_seed(seed)
    first = torch.nn.Linear(x.shape[1], CAPACITY - 1, bias=False)
    if old is None:
        torch.nn.init.orthogonal_(first.weight)
    else:
        first.weight.data = torch.from_numpy(old.state["w"].T.copy())
    inner = torch.nn.Linear(x.shape[1], max(hidden, 1))
    outer = torch.nn.Linear(max(hidden, 1), CAPACITY - 1, bias=False)
    torch.nn.init.zeros_(outer.weight)
    classifier = torch.nn.Linear(CAPACITY - 1, CAPACITY)
    parts = [first, classifier, *([inner, outer] if hidden else [])]
    optimizer = torch.optim.Adam([p for part in parts for p in part.parameters()], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    draw = np.random.default_rng(seed)
    for _ in range(STEPS):
        some = draw.integers(0, len(x), 128)
        rows = torch.from_numpy(x[some])
        z = first(rows)
        if hidden:
            z = z + outer(torch.relu(inner(rows)))
        z = SimplexHead.scale * torch.nn.functional.normalize(z, dim=1)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(classifier(z), torch.from_numpy(labels[some])).backward()
        optimizer.step()
        schedule.step()
    state = {"w": first.weight.detach().numpy().T.copy()}
    if hidden:
        state |= {"a": inner.weight.detach().numpy().T.copy()}
        state |= {"bias": inner.bias.detach().numpy(), "b": outer.weight.detach().numpy().T.copy()}
    return FittedSimplexHead(state)


def _versions(pair: Pair, arm: str, seed: int) -> tuple[CompatibilityMatrix, float]:
    """Three heads, each knowing more documents, the last with a hidden layer; and the encoder."""
    known, learned, answers, held = _labelled(pair, seed)
    simplex, heads = DSimplex(CAPACITY), []
    for version in range(VERSIONS):
        classes = known[: len(known) * (version + 1) // VERSIONS]
        mine = np.isin(answers, classes)
        x = np.concatenate([pair.old_x[classes], pair.old_q[learned[mine]]])
        labels = [*classes.tolist(), *answers[mine].tolist()]
        simplex = simplex.allocate(labels)
        hidden, old = HIDDEN if version == VERSIONS - 1 else 0, heads[-1] if heads else None
        if arm == "simplex":
            head = SimplexHead(hidden=hidden, steps=STEPS)
            heads.append(head.fit(x, labels, simplex, old, seed))
        else:
            heads.append(_replayed(x, simplex.targets(labels), old, hidden, seed))
    grades = [pair.grades[q] for q in held]
    stored = [head.apply(pair.old_x) for head in heads]
    asked = [head.apply(pair.old_q[held]) for head in heads]
    rows = [
        [float(ndcg(best_rows(asked[i] @ stored[j].T), grades).mean()) for j in range(i + 1)]
        for i in range(VERSIONS)
    ]
    alone = float(ndcg(best_rows(pair.old_q[held] @ pair.old_x.T), grades).mean())
    return CompatibilityMatrix.of_rows(rows), alone


@bench("compat/text_head", gate="tests/retrieval/compat/test_simplex_head.py")
def text_head(quick: bool) -> Result:
    """Questions and their documents as classes; two collections, three seeds."""
    rows: list[dict[str, Any]] = []
    for name in SETS[:1] if quick else SETS:
        pair = real(name, "minilm", "mpnet")
        for arm in ("replay", "simplex"):
            started = time.process_time()
            both = [_versions(pair, arm, seed) for seed in range(1 if quick else SEEDS)]
            found = [each for each, _ in both]
            mean = np.mean([each.values for each in found], axis=0)
            rows.append(
                {
                    "data": name,
                    "arm": arm,
                    "AC": round(float(np.mean([e.average_compatibility for e in found])), 4),
                    "AA": round(100 * float(np.mean([e.average_accuracy for e in found])), 2),
                    "encoder alone": round(100 * float(np.mean([alone for _, alone in both])), 2),
                    "first in its store": round(100 * float(mean[0, 0]), 2),
                    "last in the first's store": round(100 * float(mean[-1, 0]), 2),
                    "last in its own": round(100 * float(mean[-1, -1]), 2),
                    "CPU s": round(time.process_time() - started, 1),
                }
            )
    arms = {(row["data"], row["arm"]): row for row in rows}
    sets = {row["data"] for row in rows}
    above = {n: (arms[n, "simplex"]["AA"], arms[n, "replay"]["AA"]) for n in sorted(sets)}
    kept = {
        n: arms[n, "simplex"]["last in the first's store"]
        / arms[n, "simplex"]["first in its store"]
        for n in sorted(sets)
    }
    return Result(
        rows,
        {
            "encoder": f"all-MiniLM-L6-v2, frozen, {TOKENS}",
            "classes": f"{CAPACITY} documents, each with the half of its questions",
            "measured": "nDCG@10 of the other half, all documents",
            "versions": "a third, two thirds, all of the classes; the last with a hidden layer",
            "steps": STEPS,
            "seeds": SEEDS,
        },
        {
            "above replay": {
                "bar": "AA above a head that is trained on without the simplex",
                "measured": above,
                "met": all(a > b for a, b in above.values()),
            },
            "searchable": {
                "bar": "the last head keeps 97 % of the first's quality in the first's store",
                "measured": {name: round(value, 4) for name, value in kept.items()},
                "met": min(kept.values()) >= 0.97,
            },
        },
    )
