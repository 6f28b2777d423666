"""Shards against the one store that they were cut from: the same hits, bit for bit."""

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import attar
from attar.stores.errors import NotAStoreError, StoreError
from attar.stores.shards import ShardGroup, local_copy, merge, split
from attar.stores.types import Hits

DIM, COUNT = 24, 500


def vectors() -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((COUNT, DIM)) * 0.9 ** np.arange(DIM)
    # Equal documents in different shards: ties must go by id.
    x[400:420] = x[:20]
    return x.astype(np.float32)


def made(path: Path, codec: str = "waterfill@8x", metric: str = "cosine", **more: Any) -> Path:
    x = vectors()
    fitted = attar.codec(codec).fit(x / np.linalg.norm(x, axis=1, keepdims=True))
    with attar.Store.create(path, fitted, metric=metric, **more) as store:
        ids = [f"d{i}" for i in range(COUNT)]
        notes = [{"year": 1990 + i % 30} for i in range(COUNT)]
        store.add(ids, x, [f"text {i}" for i in range(COUNT)], notes)
        store.delete(["d7", "d450"])
    return path


def group(folder: Path) -> ShardGroup:
    return ShardGroup([attar.open(path) for path in sorted(folder.iterdir())])


def same(got: Hits, want: Hits) -> None:
    assert got.ids.tolist() == want.ids.tolist()
    assert got.scores.tobytes() == want.scores.tobytes()


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_group_answers_as_the_store(tmp_path: Path, metric: str, count: int) -> None:
    path = made(tmp_path / "s", metric=metric, keep_originals=metric == "l2", text_index=True)
    q = np.random.default_rng(1).standard_normal((5, DIM))
    with attar.open(path) as store:
        paths = split(store, tmp_path / "shards", count)
        assert len(paths) == count
        with group(tmp_path / "shards") as shards:
            assert len(shards) == len(store)
            for options in (
                {"k": 10},
                {"k": 600},
                {"k": 5, "offset": 7},
                {"k": 30, "filter": {"year": {"$lt": 1995}}},
                {"k": 30, "min_score": float(store.search(q[:1], 12).scores[0, -1])},
            ):
                same(shards.search(q, **options), store.search(q, **options))
            names = ["d3", "d499", "d7", "d420"]
            assert shards.get(names) == store.get(names)
    for one in paths:
        with attar.open(one) as shard:
            assert shard.verify().whole
            assert shard.info()["text_index" if "text_index" in shard.info() else "n"]


def test_a_shard_is_a_store_that_grows(tmp_path: Path) -> None:
    with attar.open(made(tmp_path / "s")) as store:
        paths = split(store, tmp_path / "shards", 2)
    with attar.open(paths[0], "w") as shard:
        before = len(shard)
        shard.upsert(["d0", "new"], vectors()[:2])
        shard.delete(["d1"])
        assert len(shard) == before
        assert shard.verify().whole


def test_scores_that_do_not_compare_are_refused(tmp_path: Path) -> None:
    one = attar.open(made(tmp_path / "a"))
    with pytest.raises(StoreError, match="Shards have one serving"):
        ShardGroup([one, attar.open(made(tmp_path / "b", "int8"))])
    with pytest.raises(StoreError, match="Shards have one metric"):
        ShardGroup([one, attar.open(made(tmp_path / "c", metric="ip"))])
    x = vectors()
    other = attar.codec("waterfill@8x").fit(x[:100] / np.linalg.norm(x[:100], axis=1)[:, None])
    with attar.Store.create(tmp_path / "d", other) as store:
        store.add(["x"], x[:1])
    with pytest.raises(StoreError, match="Shards have one codecs"):
        ShardGroup([one, attar.open(tmp_path / "d")])
    with pytest.raises(ValueError, match="at least one store"):
        ShardGroup([])
    alone = ShardGroup([one])
    for options in ({"alpha": 0.5, "text": "a"}, {"group_by": "year"}):
        with pytest.raises(ValueError, match="answered by one store only"):
            alone.search(x[:1], **options)


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    with attar.open(made(tmp_path / "s")) as store:
        for count in (0, COUNT):
            with pytest.raises(ValueError, match="as many shards at most"):
                split(store, tmp_path / "shards", count)
        (tmp_path / "there").mkdir()
        with pytest.raises(FileExistsError):
            split(store, tmp_path / "there", 2)
    with attar.Store.create(tmp_path / "u", "waterfill@8x") as young:
        young.add(["a", "b"], vectors()[:2])
        with pytest.raises(StoreError, match="one fitted codec"):
            split(young, tmp_path / "shards", 2)
    assert not (tmp_path / "shards").exists()


def test_merging_keeps_the_one_order() -> None:
    a = Hits(np.array([["b", "z"]], object), np.array([[2.0, 1.0]], np.float32))
    b = Hits(np.array([["a", None]], object), np.array([[2.0, -np.inf]], np.float32))
    best = merge([a, b], 2)
    assert best.ids.tolist() == [["a", "b"]]
    assert merge([a, b], 5, offset=1).ids.tolist() == [["b", "z"]]
    with pytest.raises(ValueError, match="at least one store"):
        merge([], 3)


def test_object_storage_is_copied_and_brought_up_to_date(tmp_path: Path) -> None:
    path, cache = made(tmp_path / "s"), tmp_path / "cache"
    remote = fsspec.filesystem("memory")

    def upload() -> None:
        if remote.exists("/bucket/s"):
            remote.rm("/bucket/s", recursive=True)
        remote.put(str(path), "/bucket/s", recursive=True)

    upload()
    url = "memory://bucket/s"
    first = local_copy(url, cache)
    assert local_copy(url, cache) == first
    q = vectors()[:3]
    with attar.open(path) as store, attar.open(first) as copy:
        same(copy.search(q, 10), store.search(q, 10))
    with attar.open(path, "w") as store:
        store.add(["new"], vectors()[:1] * 2)
    upload()
    second = local_copy(url, cache)
    assert second != first
    with attar.open(second) as copy:
        assert "new" in copy
        assert copy.verify().whole
    with attar.open(first) as copy:
        assert "new" not in copy
    with pytest.raises(NotAStoreError, match="no store at memory://bucket/none"):
        local_copy("memory://bucket/none", cache)
    with attar.open(path, "w") as store:
        store.add(["more"], vectors()[:1])
        upload()
        with pytest.raises(StoreError, match="open for writing"):
            local_copy(url, cache)
    assert not list(cache.glob("*/.new-*"))
