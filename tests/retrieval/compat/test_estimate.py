"""The verdict on a store, and what it refuses or says of encoders and stores that do not fit."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import attar
from attar.retrieval.compat.estimate import Asked, estimate
from attar.retrieval.encoders import PythonCallable
from tests.retrieval.compat.models import NEW, OLD, corpus, narrow

IDS, TEXTS = corpus(240)
QUICK = ("ridge", "procrustes")


def build(path: Path, count: int = 240, texts: bool = True) -> attar.Store:
    store = attar.Store.create(path, "int8", OLD)
    store.add(
        IDS[:count],
        vectors=OLD.encode_documents(TEXTS[:count]),
        texts=TEXTS[:count] if texts else None,
    )
    return store


def scattered(texts: Sequence[str]) -> np.ndarray:
    """Vectors that say nothing: drawn anew for every text."""
    seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "little") for t in texts]
    return np.stack([np.random.default_rng(s).standard_normal(48) for s in seeds]).astype(
        np.float32
    )


def judged(count: int = 240) -> Asked:
    questions = {f"q{i}": text.split(". ")[0] for i, text in enumerate(TEXTS[:count])}
    return Asked(questions, {f"q{i}": {IDS[i]: 1} for i in range(count)})


def test_it_measures_and_changes_nothing(tmp_path: Path) -> None:
    with build(tmp_path / "store") as store:
        before = store.commit
        found = estimate(store, OLD, NEW, adapters=QUICK)
        assert store.commit == before and store.info()["upgrade"] is None
    names = [each.name for each in found.verdict.options]
    assert names == ["stay", "re-embed", "rescore", "bridge", "bridge"]
    assert found.documents == found.of == 240 and not found.judged
    assert found.hours and found.hours > 0 and found.nbytes and found.nbytes >= 240 * 256


def test_the_same_encoder_is_refused(tmp_path: Path) -> None:
    with build(tmp_path / "store") as store:
        with pytest.raises(ValueError, match="same fingerprint.*nothing to upgrade"):
            estimate(store, OLD, OLD)
        # Another name and fingerprint, the same vectors.
        twin = PythonCallable(narrow, name="twin", fingerprint="twin-1")
        with pytest.raises(ValueError, match="same vectors.*nothing to upgrade"):
            estimate(store, OLD, twin)


def test_unrelated_encoders_are_called_so(tmp_path: Path) -> None:
    other = PythonCallable(scattered, name="scattered", fingerprint="scattered-1")
    with build(tmp_path / "store") as store:
        verdict = estimate(store, OLD, other, judged(), adapters=QUICK).verdict
    assert verdict.advice == "stay"
    assert verdict.drift is not None and verdict.drift.unrelated
    assert "The two encoders are unrelated" in verdict.why


def test_without_texts_it_says_what_remains_and_measures_that(tmp_path: Path) -> None:
    with build(tmp_path / "store", texts=False) as store:
        with pytest.raises(ValueError, match="What remains possible is staying, or a query-side"):
            estimate(store, OLD, NEW)
        found = estimate(store, OLD, NEW, judged(), pairs=TEXTS, adapters=QUICK)
    assert {each.name for each in found.verdict.options} == {"stay", "bridge"}
    assert found.hours is None and found.nbytes is None


def test_too_few_questions_and_pairs_are_refused(tmp_path: Path) -> None:
    with build(tmp_path / "small", count=29) as store:
        with pytest.raises(ValueError, match="at least 30 questions.*got 29"):
            estimate(store, OLD, NEW)
    with build(tmp_path / "bare", texts=False) as store:
        with pytest.raises(ValueError, match="at least 32; got 31 and 31"):
            estimate(store, OLD, NEW, judged(), pairs=TEXTS[:31], adapters=QUICK)
    with build(tmp_path / "few", count=60) as store:
        # Enough to ask, too few to fit adapters out of sample: the bridge is left out.
        found = estimate(store, OLD, NEW, adapters=QUICK)
        assert {each.name for each in found.verdict.options} == {"stay", "re-embed", "rescore"}


def test_questions_about_other_documents_do_not_count(tmp_path: Path) -> None:
    asked = judged()
    foreign = replace(asked, qrels={name: {"elsewhere": 1} for name in asked.qrels})
    with build(tmp_path / "store") as store:
        with pytest.raises(ValueError, match="an answer in the store, got 0"):
            estimate(store, OLD, NEW, foreign)
