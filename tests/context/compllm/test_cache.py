"""The segment cache: cached equals fresh, bounded, shared, and sceptical of what it reads."""

import multiprocessing
import sqlite3

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.context.compllm import CompLLM, Float8, Float16, Recipe, SegmentCache, cut
from tests.context.cache_worker import fill
from tests.context.compllm.conftest import make

CODECS = [Float8(), Float16()]


def ids(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(3, 97, (n,), generator=g).tolist()


@pytest.fixture(params=["memory", "disk"])
def place(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "cache"


def vectors(n, seed=0, dim=32):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: c.name)
@pytest.mark.parametrize("variant", ["pooled", "eos"])
def test_cached_equals_fresh(place, codec, variant):
    made = CompLLM(make("llama"), recipe=Recipe(variant=variant, rank=4))
    cache = SegmentCache(32, path=place, codec=codec)
    segments = cut(ids(95)) + cut(ids(30, 1))
    fresh = cache.compress(made, segments)
    assert (cache.hits, cache.misses) == (0, 7)
    cached = cache.compress(made, segments)
    assert (cache.hits, cache.misses) == (7, 7)
    assert torch.equal(fresh, cached)
    exact = made.compress_segments(segments)
    torch.testing.assert_close(cached, exact, rtol=2**-4, atol=1e-3)
    assert torch.equal(cache.compress(made, segments[::-1])[: len(cached) // 99 + 1],
                       cache.compress(made, segments[-1:])[: len(cached) // 99 + 1])  # fmt: skip
    assert cache.compress(made, []).shape == (0, 32)


def test_only_what_is_missing_is_computed(place):
    made = CompLLM(make("llama"), recipe=Recipe(rank=4))
    cache = SegmentCache(32, path=place)
    asked = []
    real = made.compress_segments
    made.compress_segments = lambda segments, **k: (asked.extend(segments), real(segments, **k))[1]
    first, second = cut(ids(60)), cut(ids(40, 2))
    cache.compress(made, first)
    cache.compress(made, [*second, *first, first[0]])
    assert asked == [*first, *second]


def test_a_changed_adapter_misses(place):
    made = CompLLM(make("llama"), recipe=Recipe(rank=4))
    cache = SegmentCache(32, path=place)
    before = cache.compress(made, cut(ids(40)))
    with torch.no_grad():
        made.linear.bias += 0.5 / made.token_size
    after = cache.compress(made, cut(ids(40)))
    assert cache.hits == 0 and cache.misses == 4
    torch.testing.assert_close(after, before + 0.5, atol=0.2, rtol=0)


def test_it_is_bounded_and_forgets_the_least_recently_used(place):
    cache = SegmentCache(32, vectors=10, path=place, codec=Float16(), max_bytes=3 * 640 + 10)
    keys = [cache.key("m", [i]) for i in range(5)]
    for i in range(3):
        cache.put({keys[i]: vectors(10, i)})
    assert set(cache.get(keys[:1])) == {keys[0]}
    cache.put({keys[3]: vectors(10, 3)})
    assert set(cache.get(keys)) == {keys[0], keys[2], keys[3]}
    assert len(cache) == 3 and cache.nbytes <= 3 * 640 + 10
    cache.put({k: vectors(2, 9) for k in keys})
    assert len(cache) == 3 and set(cache.get(keys)) == set(keys[2:])
    cache.purge()
    assert len(cache) == 0 and cache.get(keys) == {}


def test_it_survives_and_is_shared(tmp_path):
    first = SegmentCache(32, path=tmp_path, codec=Float16())
    second = SegmentCache(32, path=tmp_path, codec=Float16())
    key = first.key("m", [1, 2, 3])
    first.put({key: vectors(5)})
    np.testing.assert_array_equal(second.get([key])[key], vectors(5).astype(np.float16))
    first.close()
    assert key in SegmentCache(32, path=tmp_path, codec=Float16()).get([key])


def test_processes_share_it_without_mixing_segments(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(tmp_path, s, 40)) for s in (0, 40)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(120)
    assert [w.exitcode for w in workers] == [0, 0]
    assert (
        len(SegmentCache(32, vectors=10, path=tmp_path, codec=Float16(), max_bytes=40 * 640)) == 40
    )


def test_damage_is_detected_and_computed_again(tmp_path):
    made = CompLLM(make("llama"), recipe=Recipe(rank=4))
    cache = SegmentCache(32, path=tmp_path)
    segments = cut(ids(60))
    fresh = cache.compress(made, segments)
    with (tmp_path / "codes.bin").open("r+b") as file:
        file.seek(cache.slot_bytes + 7)
        byte = file.read(1)
        file.seek(cache.slot_bytes + 7)
        file.write(bytes([byte[0] ^ 1]))
    again = SegmentCache(32, path=tmp_path)
    assert torch.equal(again.compress(made, segments), fresh)
    assert (again.hits, again.misses, again.damaged) == (2, 1, 1)
    assert torch.equal(again.compress(made, segments), fresh) and again.damaged == 1


def test_a_truncated_or_foreign_file_is_detected(tmp_path):
    cache = SegmentCache(32, path=tmp_path, codec=Float16())
    key = cache.key("m", [1])
    cache.put({key: vectors(10)})
    cache.close()
    (tmp_path / "codes.bin").write_bytes(b"")
    again = SegmentCache(32, path=tmp_path, codec=Float16())
    assert again.get([key]) == {} and again.damaged == 1
    again.close()
    with pytest.raises(ValueError, match="use another folder"):
        SegmentCache(32, path=tmp_path, codec=Float8())
    with pytest.raises(ValueError, match="use another folder"):
        SegmentCache(16, path=tmp_path, codec=Float16())
    (tmp_path / "index.sqlite").write_bytes(b"nonsense" * 1000)
    for extra in ("index.sqlite-wal", "index.sqlite-shm"):
        (tmp_path / extra).unlink(missing_ok=True)
    with pytest.raises(ValueError, match="delete the folder"):
        SegmentCache(32, path=tmp_path, codec=Float16())


def test_rows_that_point_outside_are_ignored(tmp_path):
    cache = SegmentCache(32, path=tmp_path)
    key = cache.key("m", [1])
    cache.put({key: vectors(10)})
    with sqlite3.connect(tmp_path / "index.sqlite") as db:
        db.execute("UPDATE segments SET slot = 10000000000")
    assert cache.get([key]) == {}


@pytest.mark.parametrize("shape", [(11, 32), (3, 31)])
def test_what_does_not_fit_a_slot_is_refused(shape):
    cache = SegmentCache(32)
    with pytest.raises(ValueError, match="at most"):
        cache.put({b"k": np.zeros(shape, np.float32)})
    with pytest.raises(ValueError, match="at least one segment"):
        SegmentCache(32, max_bytes=10)
    with pytest.raises(ValueError, match="dim and vectors"):
        SegmentCache(0)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(0, 5), dim=st.sampled_from([1, 7, 64]),
    power=st.integers(-30, 30), codec=st.sampled_from(CODECS),
)  # fmt: skip
def test_codecs_round_trip_within_their_step(seed, n, dim, power, codec):
    x = (np.random.default_rng(seed).normal(size=(n, dim)) * 2.0**power).astype(np.float32)
    codes = codec.encode(x)
    assert codes.shape == (n, codec.bytes_per_vector(dim)) and codes.dtype == np.uint8
    y = codec.decode(codes, dim)
    np.testing.assert_array_equal(codec.decode(codec.encode(y), dim), y)
    if isinstance(codec, Float8):
        largest = np.abs(x).max(axis=1, initial=0.0, keepdims=True)
        assert (np.abs(x - y) <= np.maximum(np.abs(x) / 16, largest / 224 / 512) * 1.001).all()
    elif power <= 12:
        assert (np.abs(x - y) <= np.maximum(np.abs(x) / 2048, 2.0**-25) * 1.001).all()


def test_a_shared_folder_is_for_its_owner_only(tmp_path):
    tmp_path.chmod(0o755)
    cache = SegmentCache(32, path=tmp_path)
    cache.put({cache.key("m", [1]): vectors(3)})
    modes = {f.name: f.stat().st_mode & 0o777 for f in tmp_path.iterdir()}
    assert {"index.sqlite", "codes.bin"} <= set(modes) and set(modes.values()) == {0o600}
