"""A store is a dictionary that survives: random operations against a plain model."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import attar
from attar.stores.store import Store
from tests.stores.worlds import pack_early, reopen

DIM = 5
IDS = [f"id{i}" for i in range(14)]
SOME = st.lists(st.sampled_from(IDS), min_size=1, max_size=6, unique=True)


def vector(seed):
    return np.random.default_rng(seed).normal(size=DIM).astype(np.float32)


class StoreMachine(RuleBasedStateMachine):
    """The model maps an id to (seed of its vector, text, metadata)."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.path = self.root / "s"
        self.model = {}
        self.seed = 0
        self.reader = None

    @initialize(
        spec=st.sampled_from(["float32", "int8", "pca3+float16"]),
        metric=st.sampled_from(["ip", "l2", "cosine"]),
        originals=st.booleans(),
    )
    def start(self, spec, metric, originals):
        self.store = Store.create(
            self.path, attar.codec(spec), metric=metric, keep_originals=originals, train_at=9
        )

    def documents(self, ids):
        seeds = [self.seed + i for i in range(len(ids))]
        self.seed += len(ids)
        texts = [None if s % 4 == 0 else f"text {s}, one of those that are packed" for s in seeds]
        notes = [{"s": s, "odd": bool(s % 2)} if s % 3 else None for s in seeds]
        return np.stack([vector(s) for s in seeds]), seeds, texts, notes

    def put(self, ids, x, seeds, texts, notes):
        rows = zip(ids, seeds, texts, notes, strict=True)
        self.model |= {i: (s, t, n) for i, s, t, n in rows}

    @rule(ids=SOME)
    def add(self, ids):
        rest = self.documents(ids)
        if any(i in self.model for i in ids):
            try:
                self.store.add(ids, rest[0], rest[2], rest[3])
            except ValueError:
                return
            raise AssertionError("an id that exists was added")
        self.store.add(ids, rest[0], rest[2], rest[3])
        self.put(ids, *rest)

    @rule(ids=SOME)
    def upsert(self, ids):
        rest = self.documents(ids)
        self.store.upsert(ids, rest[0], rest[2], rest[3])
        self.put(ids, *rest)

    @rule(ids=SOME)
    def delete(self, ids):
        assert self.store.delete(ids) == sum(i in self.model for i in ids)
        self.model = {i: d for i, d in self.model.items() if i not in ids}

    @rule()
    def compact(self):
        self.store.compact()
        assert self.store.info()["deleted"] == 0

    @rule()
    def reopen(self):
        self.store.close()
        self.store = reopen(self.path, "w")

    @rule()
    def crash(self):
        """What a kill leaves behind is what the files hold now."""
        copy = self.root / f"after-{self.seed}-{len(list(self.root.iterdir()))}"
        shutil.copytree(self.path, copy)
        self.store.close()
        self.path = copy
        self.store = reopen(copy, "w")

    @rule()
    def look_from_outside(self):
        with reopen(self.path) as reader:
            assert {r.id for r in reader.iter()} == set(self.model)

    @rule()
    def verify(self):
        assert self.store.verify().problems == ()

    @invariant()
    def equal(self):
        if not hasattr(self, "store"):
            return
        assert len(self.store) == len(self.model)
        records = {r.id: r for r in self.store.iter(batch=3)}
        assert set(records) == set(self.model)
        for name, (_, text, metadata) in self.model.items():
            assert records[name].text == text
            assert records[name].metadata == metadata

    @rule(seed=st.integers(0, 5), k=st.integers(1, 20))
    def search(self, seed, k):
        hits = self.store.search(vector(seed), k=k) if self.store.dim else None
        if hits is not None:
            assert hits.ids.shape == (1, min(k, len(self.model)))
            assert set(hits.ids[0]) <= set(self.model)
            assert (np.diff(hits.scores[0]) <= 0).all()

    @rule()
    def own_vectors(self):
        """Every vector is the one that was last put there, as closely as the codec keeps it."""
        for name, (seed, _, _) in self.model.items():
            got, x = self.store.vectors([name])[0], vector(seed)
            if not self.store.info()["spec"].startswith("pca"):
                cosine = got @ x / np.linalg.norm(got) / np.linalg.norm(x)
                assert cosine > 0.999

    @rule()
    def filtered(self):
        if self.store.dim:
            hits = self.store.search(vector(0), k=99, filter={"odd": True})
            assert set(hits.ids[0]) == {i for i, d in self.model.items() if (d[2] or {}).get("odd")}

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
        shutil.rmtree(self.root)


@pytest.fixture(autouse=True)
def early(monkeypatch):
    pack_early(monkeypatch.setattr)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(deadline=None, max_examples=25, stateful_step_count=25)
