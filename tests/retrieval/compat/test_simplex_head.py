"""Heads on a frozen text encoder: later versions search what earlier ones stored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import attar
from attar.retrieval.compat import CompatibilityMatrix, DSimplex, SimplexHead, load_head
from attar.retrieval.compat.graded import best_rows
from attar.retrieval.compat.simplex_head import FittedSimplexHead, HeadedEncoder
from attar.stores.errors import EncoderMismatchError
from tests.retrieval.compat.methods import unit
from tests.retrieval.compat.models import NEW, corpus

IDS, TEXTS = corpus(120)
CLASSES, SIMPLEX = 60, DSimplex(64)
HEAD = SimplexHead(steps=80, batch=64, rate=1e-2, scale=20)
_DRAW = np.random.default_rng(3)
_CENTRES = _DRAW.standard_normal((CLASSES, 48))
_NUISANCE = _DRAW.standard_normal((12, 48))


def drawn(classes: int, seed: int) -> np.ndarray:
    """One vector a class, as an encoder gives them: the class is there, and much else."""
    draw = np.random.default_rng(seed)
    much = draw.standard_normal((classes, 12)) @ _NUISANCE
    return unit(_CENTRES[:classes] + 0.4 * much)


ASKED, STORED = drawn(CLASSES, 100), drawn(CLASSES, 200)


def learned(
    classes: int, old: FittedSimplexHead | None = None, hidden: int = 0, seed: int = 0
) -> FittedSimplexHead:
    """A head that knows the first classes, from eight vectors each."""
    x = np.concatenate([drawn(classes, at) for at in range(8)])
    head = replace(HEAD, hidden=hidden)
    order = np.random.default_rng(seed).permutation(CLASSES).tolist() if seed else range(CLASSES)
    return head.fit(x, [*range(classes)] * 8, SIMPLEX.allocate(order), old, seed)


def found(asked: FittedSimplexHead, stored: FittedSimplexHead) -> float:
    """Share of queries that find their class first."""
    scores = asked.apply(ASKED) @ stored.apply(STORED).T
    return float((best_rows(scores, 1)[:, 0] == np.arange(CLASSES)).mean())


def test_later_versions_search_what_earlier_ones_stored() -> None:
    one = learned(30)
    two = learned(45, one)
    three = learned(60, two, hidden=32)
    rows = [[found(one, one)], [found(two, one), found(two, two)]]
    rows.append([found(three, one), found(three, two), found(three, three)])
    report = CompatibilityMatrix.of_rows(rows)
    # Trained by itself a version is as good, and finds nothing in the old store.
    alone = learned(60, seed=5)
    assert report.average_compatibility >= 2 / 3
    assert min(rows[1][0], rows[2][0]) > 0.9 * rows[0][0]
    assert found(alone, alone) > rows[0][0] and found(alone, one) < 0.3 * rows[0][0]


def test_the_contrast_keeps_features_where_they_were() -> None:
    one = learned(30)
    x = np.concatenate([drawn(60, at) for at in range(8)])
    simplex = SIMPLEX.allocate(range(CLASSES))
    kept, bare = (
        replace(HEAD, share=share).fit(x, [*range(60)] * 8, simplex, one) for share in (0.1, 1.0)
    )
    old = one.apply(ASKED)
    near, far = (float((h.apply(ASKED) * old).sum(axis=1).mean()) for h in (kept, bare))
    assert near > far + 0.05


def test_it_learns_what_belongs_together() -> None:
    raw = best_rows(ASKED @ STORED.T, 1)[:, 0] == np.arange(CLASSES)
    one = learned(60)
    assert found(one, one) > raw.mean() + 0.2


def test_a_head_is_a_file_and_the_same_every_time() -> None:
    one, again = learned(30), learned(30)
    assert one.dump() == again.dump()
    back = load_head(one.dump())
    assert np.array_equal(back.apply(ASKED), one.apply(ASKED))
    assert np.allclose(np.linalg.norm(back.apply(ASKED), axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="head's file"):
        load_head(b"nothing of the kind")


def test_what_does_not_fit_together_is_refused() -> None:
    one, x = learned(30), ASKED
    with pytest.raises(ValueError, match="Versions share the encoder and the capacity"):
        HEAD.fit(x, [*range(60)], DSimplex(96).allocate(range(60)), one)
    with pytest.raises(ValueError, match="No vertex is allocated for class 60"):
        HEAD.fit(x, [*range(1, 61)], SIMPLEX.allocate(range(60)))
    with pytest.raises(ValueError, match="Every vector has a label; got 60 and 59"):
        HEAD.fit(x, [*range(59)], SIMPLEX.allocate(range(60)))
    with pytest.raises(ValueError, match="hidden"):
        SimplexHead(hidden=-1)


def test_a_store_knows_the_head_that_made_it(tmp_path: Path) -> None:
    labels, simplex = [*range(120)], DSimplex(128)
    x = NEW.encode_documents(TEXTS)
    few = SimplexHead(steps=5, batch=32)
    one = few.fit(x, labels, simplex.allocate(labels))
    two = few.fit(x, labels, simplex.allocate(labels), one)
    with attar.Store.create(tmp_path / "store", "int8", HeadedEncoder(NEW, one)) as store:
        store.add(IDS, texts=TEXTS)
        hits = store.search(HeadedEncoder(NEW, two).encode_queries(TEXTS), 1)
        assert (hits.ids[:, 0] == IDS).mean() > 0.9
    # Another version is another model: who knows that it fits asks with its vectors.
    with pytest.raises(EncoderMismatchError):
        attar.open(tmp_path / "store", encoder=HeadedEncoder(NEW, two))
