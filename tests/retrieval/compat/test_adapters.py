"""Laws of adapters, one test a law, for every method."""

import numpy as np
import pytest

from attar.retrieval.compat import Kronecker, anchor_drift, choose_bridge
from attar.retrieval.compat.adapter import load_adapter
from attar.retrieval.compat.choosing import QUERY, SIDES, fit_bridge
from attar.retrieval.compat.graded import best_rows, ndcg
from tests.retrieval.compat.methods import ADAPTERS, clusters, turned, unit

OLD, NEW = clusters(600, 24), turned(clusters(600, 24), 36)
every = pytest.mark.parametrize("name", ADAPTERS)


@every
def test_output_is_unit_and_input_untouched(name: str) -> None:
    before = NEW.copy()
    fitted = ADAPTERS[name].fit(NEW, OLD)
    out = fitted.apply(NEW[:50])
    assert out.shape == (50, 24) and out.dtype == np.float32
    assert np.allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)
    assert np.array_equal(NEW, before)


@every
def test_load_of_dump_is_equal(name: str) -> None:
    fitted = ADAPTERS[name].fit(OLD, NEW, seed=3)
    again = load_adapter(fitted.dump())
    assert again.spec == fitted.spec and again.dump() == fitted.dump()
    assert np.array_equal(again.apply(OLD), fitted.apply(OLD))


@every
def test_fit_is_the_same_every_time(name: str) -> None:
    assert ADAPTERS[name].fit(OLD, NEW, seed=3).dump() == ADAPTERS[name].fit(OLD, NEW, 3).dump()


@every
def test_it_finds_the_way_between_turned_spaces(name: str) -> None:
    """Held-out documents come out nearest to themselves: always for maps that can turn freely."""
    fitted = ADAPTERS[name].fit(NEW[:400], OLD[:400])
    found = best_rows(fitted.apply(NEW[400:]) @ OLD[400:].T, 1)[:, 0]
    right = float((found == np.arange(200)).mean())
    assert right > 0.95


@every
@pytest.mark.parametrize("side", SIDES)
def test_compressed_codes_change_little(name: str, side: str) -> None:
    rough = unit(OLD + 0.02 * np.random.default_rng(0).standard_normal(OLD.shape))
    grades = [{row: 1} for row in range(400, 600)]
    values = [
        ndcg(best_rows(fit_bridge(name, side, x[:400], NEW[:400]).scores(NEW[400:], x)), grades)
        for x in (OLD, rough)
    ]
    assert abs(values[0].mean() - values[1].mean()) < 0.06


@every
def test_queries_mapped_back_ask_the_same(name: str) -> None:
    """Up to a constant a query, for what is linear; the network only nearly."""
    fitted = ADAPTERS[name].fit(OLD, NEW)
    back, there = fitted.back(NEW[:5]) @ OLD.T, NEW[:5] @ fitted.moved(OLD).T
    apart = (there - back) - (there - back).mean(axis=1, keepdims=True)
    assert np.abs(apart).max() < (0.5 if name == "residual-mlp" else 1e-4)
    assert np.corrcoef(there[0], back[0])[0, 1] > (0.95 if name == "residual-mlp" else 0.999)


def test_a_rotation_is_found_exactly() -> None:
    new = turned(OLD, 24)
    assert np.allclose(ADAPTERS["procrustes"].fit(new, OLD).apply(new), OLD, atol=1e-4)


def test_a_kronecker_product_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    w = np.kron(*(np.linalg.qr(rng.standard_normal((k, k)))[0] for k in (4, 6)))
    new = np.asarray(OLD @ w, np.float32)
    fitted = Kronecker(terms=2).fit(new, OLD)
    assert float((fitted.apply(new) * OLD).sum(axis=1).min()) > 0.99
    assert fitted.side_bytes < 4 * w.size / 2


def test_the_chosen_bridge_is_the_best_at_retrieval() -> None:
    bridge, quality = choose_bridge(OLD, NEW, names=("procrustes", "kronecker"), sides=(QUERY,))
    assert bridge.name == "procrustes"
    assert quality["procrustes", QUERY] > quality["kronecker", QUERY]


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 32; got 31 and 31. Embed more"):
        ADAPTERS["ridge"].fit(NEW[:31], OLD[:31])
    with pytest.raises(ValueError, match="got 40 and 39"):
        ADAPTERS["ridge"].fit(NEW[:40], OLD[:39])


def test_foreign_files_are_refused() -> None:
    with pytest.raises(ValueError, match="adapter file"):
        load_adapter(b"nothing of the kind")


def test_drift_tells_turned_from_unrelated() -> None:
    same = anchor_drift(OLD, NEW)
    other = anchor_drift(OLD, unit(np.random.default_rng(5).standard_normal((600, 36))))
    assert same.drift < 0.01 and not same.unrelated
    assert other.drift > 0.9 and other.unrelated
