"""Both models' scores of one set of candidates: those that each store would give."""

from pathlib import Path

import numpy as np
import pytest

import attar
from attar.retrieval.compat.upgrade import Upgrade
from attar.stores.both import both_scores
from attar.stores.upgrading import embedded
from tests.retrieval.compat.models import NEW, OLD, corpus

IDS, TEXTS = corpus(200)
OLD_Q, NEW_Q = OLD.encode_queries(TEXTS[:6]), NEW.encode_queries(TEXTS[:6])


@pytest.fixture(scope="module", params=["int8", "waterfill@8x", "float32"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> attar.Store:
    path: Path = tmp_path_factory.mktemp("both") / "store"
    with attar.Store.create(path, request.param, OLD, train_at=100) as made:
        made.add(IDS[:150], texts=TEXTS[:150])
        made.add(IDS[150:], texts=TEXTS[150:])
        Upgrade.begin(made, OLD, NEW, first=120).run(batch=20, most=40)
        made.delete(IDS[100:110])
        yield made


@pytest.mark.parametrize("scan_new", [False, True])
def test_scores_are_those_of_a_search(store: attar.Store, scan_new: bool) -> None:
    names = store.library.names
    everything = store.search(OLD_Q, len(store))
    found = both_scores(store.library, OLD_Q, NEW_Q, 12, scan_new=scan_new)
    for q, one in enumerate(found):
        known = dict(zip(everything.ids[q], everything.scores[q], strict=True))
        ids = [names(one.slots)[slot] for slot in one.slots.tolist()]
        assert [known[name] for name in ids] == one.old.tolist()
        assert set(everything.ids[q][:12]) <= set(ids)
        if not scan_new:
            assert len(ids) == 12


def test_new_scores_are_known_where_there_is_a_vector(store: attar.Store) -> None:
    there = embedded(store.library)
    assert 0 < len(there) < len(store)
    few = both_scores(store.library, OLD_Q, NEW_Q, 12)
    # All of the new vectors are found by the scan; of few, most are scored one by one.
    every = both_scores(store.library, OLD_Q, NEW_Q, len(store))
    for one, whole in zip(few, every, strict=True):
        assert (np.isnan(one.new) == ~np.isin(one.slots, there)).all()
        assert not np.isnan(one.old).any()
        same = whole.new[np.searchsorted(whole.slots, one.slots)]
        assert np.array_equal(one.new, same, equal_nan=True)
        best = np.sort(whole.new[~np.isnan(whole.new)])[-12:]
        assert np.isin(best, one.new).all()


def test_new_scores_are_those_of_the_new_codes(store: attar.Store) -> None:
    (one, *_) = both_scores(store.library, OLD_Q, NEW_Q, len(store))
    unit = NEW_Q[0] / np.linalg.norm(NEW_Q[0])
    for part in store.library.snapshot.next:
        rows = np.flatnonzero(part.live)
        wanted = part.decoded(rows) @ unit
        got = one.new[np.searchsorted(one.slots, part.slots_of(rows))]
        assert np.allclose(got, wanted, atol=1e-4)


def test_a_filter_that_leaves_nothing_gives_nothing(store: attar.Store) -> None:
    found = both_scores(store.library, OLD_Q, NEW_Q, 5, {"no": "such"})
    assert [len(one.slots) for one in found] == [0] * 6
