"""A store in a given number of bytes: the same hits, and pages that are let go."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import attar
from attar.stores.disk.segment import Segment
from attar.stores.kernels.exact import (
    Limits,
    Pager,
    exact_levels,
    exact_reach,
    exact_scores,
    exact_top,
    source,
)
from attar.stores.scan import fast
from attar.stores.types import Query
from tests.stores.cascade.worlds import vectors
from tests.stores.kernels.material import make, queries

N, DIM = 12_000, 192


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(fast, "CASCADE_ROWS", 500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("budget") / "s"
    x = vectors(N, DIM, seed=3)
    with attar.Store.create(path, "float16") as made:
        made.add([f"d{i:05d}" for i in range(N)], x)
    return path, x[:12] + np.float32(0.02)


def mapped_bytes(path: Path) -> int:
    """Bytes of the segments' maps that are in memory now."""
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            ours = str(path / "segments") in line
        elif ours and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="madvise and smaps are Linux's")
def test_hits_are_the_same_and_pages_are_let_go(folder):
    path, asked = folder
    fast._SCANNERS.clear()
    with attar.open(path) as store:
        wanted = store.search(asked, 10)
        near = store.search(asked, 10, exact=False)
        assert mapped_bytes(path) > 4e6
    del store
    fast._SCANNERS.clear()
    with attar.open(path, budget="2.2MB") as store:
        for some, exact, impl in (
            (wanted, True, "auto"),
            (wanted, True, "numpy"),
            (near, False, "auto"),
        ):
            found = store.search(asked, 10, exact=exact, impl=impl)
            np.testing.assert_array_equal(found.ids, some.ids)
            np.testing.assert_array_equal(found.scores, some.scores)
            assert mapped_bytes(path) < 1.6e6
        few = store.search(asked[:1], 10, filter={"no": 1})
        assert few.ids.shape == (1, 0)


def test_too_little_says_how_much_it_takes(folder):
    path, _ = folder
    with pytest.raises(ValueError, match=r"budget= holds at least .* for 12,000 vectors"):
        attar.open(path, budget="1MB")
    with pytest.raises(ValueError, match="A size is a number"):
        attar.open(path, budget="much")
    with pytest.raises(TypeError, match="number of bytes"):
        attar.open(path, budget=1.5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="madvise and smaps are Linux's")
@pytest.mark.parametrize("exact", [True, False])
def test_at_no_time_more_is_mapped(folder, monkeypatch, exact):
    """Also while checksums are compared, and while rows that lie far apart are read."""
    path, asked = folder
    fast._SCANNERS.clear()
    seen, release = [], Segment.release

    def looking(segment):
        seen.append(mapped_bytes(path))
        release(segment)

    monkeypatch.setattr(Segment, "release", looking)
    with attar.open(path, budget="2.2MB") as store:
        room = store._library.snapshot.parts[0].segment.room
        for impl in ("auto", "numpy"):
            store.search(asked, 10, exact=exact, impl=impl)
    # The system maps what lies around, too.
    assert max(seen) < max(room, 1 << 20) + (1 << 19)
    assert len(seen) > 12


def test_rows_of_a_file_that_was_replaced(folder, tmp_path, monkeypatch):
    """A newer commit has removed the file; its map lives on and is read some rows at a time."""
    path, _ = folder
    copy = shutil.copytree(path, tmp_path / "copy")
    with attar.open(copy, budget="2.2MB") as store:
        part = store._library.snapshot.parts[0]
        rows = np.random.default_rng(0).integers(0, N, 300)
        wanted = part.codes(rows).fields["code"]
        part.segment.path.unlink()
        released = []
        monkeypatch.setattr(part.segment, "release", lambda: released.append(1))
        np.testing.assert_array_equal(part.codes(rows).fields["code"], wanted)
        assert len(released) == len(rows)


@pytest.mark.parametrize("near", [1, 50])
@pytest.mark.parametrize("name", ["int8", "waterfill", "float8_e4m3:scaled"])
def test_some_rows_at_a_time_give_the_same_bits(name, near):
    layout, codes = make(name, 500, 64, seed=1)
    norms = np.random.default_rng(0).random(500).astype(np.float32)
    released = []

    def taken(rows):
        return codes[rows], norms[rows]

    pager = Pager(70, near, taken, lambda: released.append(1))
    whole = source(layout, codes, norms)
    part = source(layout, codes, norms)
    part = part.__class__(**{**part.__dict__, "pager": pager})
    query = queries(5, 64, seed=2)
    for allowed in (None, np.random.default_rng(1).random(500) < 0.1):
        for k in (1, 10, 400):
            a, b = exact_top(whole, query, k, allowed), exact_top(part, query, k, allowed)
            np.testing.assert_array_equal(a.rows, b.rows)
            np.testing.assert_array_equal(a.scores, b.scores)
            np.testing.assert_array_equal(a.cut, b.cut)
    rows = np.sort(np.random.default_rng(2).integers(-1, 500, (5, 90)), axis=1)
    np.testing.assert_array_equal(exact_scores(whole, query, rows), exact_scores(part, query, rows))
    assert len(released) > 20
    one = Query(query.coords[:1], query.const[:1])
    limits, some = Limits.of(whole, 100.0), rows[0][rows[0] >= 0]
    for floor in (-np.inf, 0.0, 1.0):
        a, b = (exact_reach(x, one, some, floor, limits) for x in (whole, part))
        np.testing.assert_array_equal(a, b)
    for some in (slice(3, 200), slice(480, 900), np.array([499, 0, 7, 7]), slice(0, 0)):
        a, b = exact_levels(whole, some), exact_levels(part, some)
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.factor, b.factor)
