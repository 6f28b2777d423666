"""Originals: for their owner only, for a while, and gone when told."""

import pytest

from attar.context import Originals
from attar.context.middleware.originals import original_id


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "sub" / "originals.sqlite"


def test_texts_come_back_to_their_key_only(place):
    store = Originals(place)
    (id,) = store.put(["the text \ud83d".replace("\ud83d", "é")], key="k1", conversation="c1")
    assert id == original_id("the text é")
    assert store.get(id, key="k1") == store.get(id, key="k1", conversation="c1") == "the text é"
    assert store.get(id, key="k2") is None
    assert store.get(id, key="k1", conversation="c2") is None


def test_texts_are_forgotten_after_their_time(place):
    now = [0.0]
    store = Originals(place, ttl=10, clock=lambda: now[0])
    (id,) = store.put(["a"], key="k")
    now[0] = 9.9
    assert store.get(id, key="k") == "a"
    now[0] = 10.0
    assert store.get(id, key="k") is None
    store.put(["b"], key="k")
    assert store.purge() == 1


def test_purge_forgets_a_conversation_a_key_or_all(place):
    store = Originals(place)
    for key in ("k1", "k2"):
        for conversation in ("c1", "c2"):
            store.put(["a", "b"], key=key, conversation=conversation)
    assert store.purge(key="k1", conversation="c1") == 2
    assert store.purge(key="k1") == 2
    assert store.purge() == 4


def test_the_file_is_private_and_holds_no_key(tmp_path):
    path = tmp_path / "o.sqlite"
    store = Originals(path)
    (id,) = store.put(["text"], key="Bearer sk-secret-key")
    assert path.stat().st_mode & 0o777 == 0o600
    store.close()
    assert b"sk-secret-key" not in path.read_bytes()
    assert Originals(path).get(id, key="Bearer sk-secret-key") == "text"
    path.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        Originals(path)


def test_what_is_forgotten_is_gone_from_the_file(tmp_path):
    now = [0.0]
    path = tmp_path / "o.sqlite"
    store = Originals(path, ttl=10, clock=lambda: now[0])
    store.put(["a secret text " * 50], key="k1")
    store.put(["another secret " * 50], key="k2")
    store.put(["a third secret " * 50], key="k3")
    assert store.purge(key="k1") == 1 and store.purge(expired=True) == 0
    now[0] = 10.0
    assert store.purge(key="k2", expired=True) == 1
    store.close()
    left = path.read_bytes()
    assert b"a third secret" in left
    assert b"a secret text" not in left and b"another secret" not in left
    assert not [f for f in tmp_path.iterdir() if f != path]
