"""A store whose slots have passed 2^31 and 2^32, as after years of replacing documents."""

import numpy as np
import pytest

import attar
from attar.stores.disk.change import Change
from attar.stores.scan import fast
from tests.stores.cascade.worlds import vectors


@pytest.mark.parametrize("first", [2**31 - 300, 2**32 - 300, 2**40])
def test_slots_beyond_32_bits(tmp_path, monkeypatch, first):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 500)
    x = vectors(1200, 48, seed=3)
    names = [f"d{i:04d}" for i in range(1200)]
    about = [{"i": i} for i in range(1200)]
    with attar.Store.create(tmp_path / "s", "int8") as made:
        made.add(names[:600], x[:600], metadata=about[:600])
        with made.library.writing, Change(made.library, "Skipping slots") as change:
            change.set_meta(next_row=first)
        made.add(names[600:], x[600:], metadata=about[600:])
        made.delete(names[700:710])
        made.upsert(names[:1], x[:1], metadata=about[:1])
    with attar.Store.create(tmp_path / "plain", "int8") as plain:
        plain.add(names, x, metadata=about)
        plain.delete(names[700:710])
        wanted = plain.search(x[::7], 5, filter={"i": {"$gte": 500}})
        whole = plain.search(x[::7], 5)
    with attar.open(tmp_path / "s", "w") as store:
        assert store.library.snapshot.parts[-1].row.last_row >= first + 590
        for _ in range(2):
            for found, expected in (
                (store.search(x[::7], 5, filter={"i": {"$gte": 500}}), wanted),
                (store.search(x[::7], 5), whole),
            ):
                np.testing.assert_array_equal(found.ids, expected.ids)
                np.testing.assert_array_equal(found.scores, expected.scores)
            assert [d.id for d in store.get(["d0650", "d1199"])] == ["d0650", "d1199"]
            assert store.verify().whole
            store.compact()
