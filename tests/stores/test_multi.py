"""Documents of several vectors: MaxSim over a store on disk, by every codec, through its life."""

import numpy as np
import pytest

import attar
from attar.stores.multi import MultiStore

D, M = 32, 3
CODECS = ["float32", "float8_e4m3", "float8_e4m3:scaled", "int8", "binary", "waterfill@8x"]


def documents(n, seed=0, m=M):
    x = np.random.default_rng(seed).normal(size=(n, m, D)).astype(np.float32)
    return [f"p{i}" for i in range(n)], x


def expected(store, ids, questions):
    """MaxSim by the formula on what the store gives back."""
    rows = [f"{i}#{j}" for i in ids for j in range(M)]
    y = store.store.vectors(rows).reshape(len(ids), M, -1)
    unit = questions / np.linalg.norm(questions, axis=-1, keepdims=True)
    return np.einsum("aqd,nmd->aqnm", unit, y).max(axis=3).sum(axis=1)


@pytest.mark.parametrize("codec", CODECS)
def test_search_is_maxsim_of_the_codes(codec, tmp_path):
    ids, x = documents(60)
    questions = documents(4, seed=1, m=5)[1]
    with MultiStore.create(tmp_path / "s", attar.codec(codec), M, train_at=100) as store:
        store.add(ids[:40], x[:40])
        store.add(ids[40:], x[40:])
        wanted = expected(store, ids, questions)
        hits = store.search(questions, k=60)
        for a in range(4):
            got = [wanted[a, ids.index(name)] for name in hits.ids[a]]
            np.testing.assert_allclose(hits.scores[a], got, rtol=1e-4, atol=1e-4)
            assert set(hits.ids[a]) == set(ids) and (np.diff(hits.scores[a]) <= 0).all()
        plain = store.search(questions, k=60, impl="numpy")
        np.testing.assert_array_equal(plain.scores, hits.scores)
        np.testing.assert_array_equal(plain.ids, hits.ids)
        one = store.search(questions[2], k=7)
        assert one.ids.tolist() == [hits.ids[2, :7].tolist()] and len(store) == 60


def test_a_store_lives_on(tmp_path):
    """Reopened, deleted from, compacted, filtered: the answers are those of what is left."""
    ids, x = documents(30)
    kinds = [{"kind": i % 3} for i in range(30)]
    with MultiStore.create(tmp_path / "s", attar.codec("int8"), M) as store:
        store.add(ids, x, metadata=kinds)
        with pytest.raises(ValueError, match="exist already"):
            store.add(ids[:1], x[:1])
    with MultiStore(attar.open(tmp_path / "s", mode="w")) as store:
        assert len(store) == 30 and store.search(x[9], k=1).ids[0, 0] == "p9"
        third = store.search(x[9], k=30, filter={"kind": 0}).ids[0].tolist()
        assert third[0] == "p9" and sorted(third) == sorted(ids[::3])
        assert store.delete(["p9", "p4", "absent"]) == 2 and len(store) == 28
        before = store.search(x[10], k=30)
        assert "p9" not in before.ids and before.ids.shape == (1, 28)
        store.store.compact()
        after = store.search(x[10], k=30)
        np.testing.assert_array_equal(after.ids, before.ids)
        store.add(["new"], x[9:10])
        assert store.search(x[9], k=1).ids[0, 0] == "new"
        assert store.store.verify().problems == ()


def test_a_document_may_lie_in_two_segments(tmp_path):
    """As an import in batches leaves it: its score is still the best over all of its rows."""
    ids, x = documents(2)
    rows = [f"{i}#{j}" for i in ids for j in range(M)]
    flat = x.reshape(-1, D)
    with MultiStore.create(tmp_path / "s", attar.codec("float32"), M) as store:
        store.store.add(rows[:4], flat[:4])
        store.store.add(rows[4:], flat[4:])
        assert store.store.info()["segments"] == 2
        for question in flat:
            hits = store.search(question[None], k=2)
            got = [hits.scores[0, hits.ids[0].tolist().index(i)] for i in ids]
            np.testing.assert_allclose(got, expected(store, ids, question[None, None])[0], 1e-5)


def test_ties_go_by_the_document_not_its_rows(tmp_path):
    x = np.ones((3, M, D), np.float32)
    with MultiStore.create(tmp_path / "s", attar.codec("float32"), M) as store:
        store.add(["b", "a b", "a"], x)
        assert store.search(x[0], k=3).ids[0].tolist() == ["a", "a b", "b"]
        assert store.search(np.zeros((0, 2, D)), k=3).ids.shape[0] == 0


def test_what_does_not_fit_is_refused(tmp_path):
    ids, x = documents(4)
    with MultiStore.create(tmp_path / "s", attar.codec("int8"), M) as store:
        assert store.search(x[0]).ids.shape == (1, 0)
        for wrong in (x[:, :2], x[0], x[:3]):
            with pytest.raises(ValueError, match=r"must be \[n m d\] = \[4 3 d\]"):
                store.add(ids, wrong)
        assert len(store) == 0
        with pytest.raises(ValueError, match=r"A question is \[q d\]"):
            store.search(x[0, 0])
    with pytest.raises(ValueError, match="at least 1"):
        MultiStore.create(tmp_path / "t", attar.codec("int8"), 0)
    with attar.Store.create(tmp_path / "u", "int8") as plain:
        with pytest.raises(ValueError, match="holds one vector per id"):
            MultiStore(plain)
