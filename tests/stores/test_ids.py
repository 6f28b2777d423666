"""Ids are bytes: nothing is folded, cut or read as something else."""

import unicodedata

import pytest

import attar
from attar.stores.store import Store
from tests.stores.worlds import documents, reopen

COMPOSED = "caf\u00e9"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
IDS = [COMPOSED, DECOMPOSED, "\ufb01", "fi", "a\0b", "a\0c", "a", "\0", "x" * 100_000]


def test_ids_that_look_alike_stay_apart(tmp_path):
    texts = [f"text {i}" for i in range(len(IDS))]
    with Store.create(tmp_path / "s", attar.codec("float32"), metric="l2") as store:
        store.add(IDS, documents(len(IDS)), texts)
    with reopen(tmp_path / "s", "w") as store:
        assert {r.id: r.text for r in store.iter()} == dict(zip(IDS, texts, strict=True))
        assert store.search(documents(len(IDS)), k=1).ids[:, 0].tolist() == IDS
        assert store.delete([DECOMPOSED, "a\0b"]) == 2
        assert store.delete(["\0\0", "x" * 99_999]) == 0
        store.compact()
        left = [name for name in IDS if name not in (DECOMPOSED, "a\0b")]
        assert sorted(r.id for r in store.iter()) == sorted(left)
        assert [r.text for r in store.get([COMPOSED])] == ["text 0"]
        assert store.verify().problems == ()


@pytest.mark.parametrize("bad", ["", "\ud800", 3, None])
def test_ids_that_are_no_text_are_refused(tmp_path, bad):
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        with pytest.raises((ValueError, TypeError)):
            store.add(["a", bad], documents(2))
        assert len(store) == 0
