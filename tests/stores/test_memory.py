"""What a store held for an older commit is let go: segments, their maps, and everything of them."""

import gc
import tracemalloc
import weakref
from pathlib import Path

import attar
from attar import stores
from attar.stores.store import Store
from tests.stores.worlds import Words, documents, names, reopen

N = 120


def changed(store, turn):
    """One turn of a writer that keeps as many documents as it had."""
    some = [f"d{(7 * turn + i) % N}" for i in range(20)]
    store.upsert(some, documents(20, seed=turn), [f"text {turn}"] * 20, [{"n": turn}] * 20)
    store.delete(some[:2])
    store.upsert(some[:2], documents(2, seed=turn), ["again"] * 2)
    if turn % 10 == 9:
        store.compact()


def asked(store, turn):
    """One turn of a reader."""
    store.refresh()
    queries = documents(3, seed=turn)
    store.search(queries, k=5)
    store.search(queries, k=5, filter={"n": {"$gt": turn - 3}})
    store.search(queries[0], k=5, text="text again", alpha=0.5)
    store.get(["d1", "d2"])


def maps_of(path: Path) -> list[str]:
    """Segments of a store that this process has mapped, those without a name left included."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if str(path / "segments") in line]


def test_replaced_segments_and_their_maps_are_let_go_at_once(tmp_path):
    path = tmp_path / "s"
    with Store.create(path, attar.codec("int8"), text_index=True) as store:
        store.add(names(N), documents(N))
        with reopen(path) as reader:
            known = []
            gc.disable()
            try:
                for turn in range(12):
                    changed(store, turn)
                    for one in (store, reader):
                        asked(one, turn)
                        known += [weakref.ref(p.segment) for p in one.library.snapshot.parts]
                alive = {id(ref()) for ref in known if ref() is not None}
                now = [p for one in (store, reader) for p in one.library.snapshot.parts]
                assert alive == {id(part.segment) for part in now}
                assert len(maps_of(path)) == len(now)
                assert not [line for line in maps_of(path) if "deleted" in line]
            finally:
                gc.enable()
    assert len({id(ref) for ref in known}) > 30
    del now, one, store, reader
    assert maps_of(path) == []


def held() -> int:
    """Bytes that code of the stores asked for and that are still there.

    Other threads of this process, such as those that an earlier test's library left, do not count.
    """
    gc.collect()
    mine = tracemalloc.Filter(True, str(Path(stores.__file__).parent / "*"), all_frames=True)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([mine]).traces)


def test_memory_is_flat_over_turns(tmp_path):
    """An hour in seconds: Python's own count of bytes, turn after turn (`bench stores/memory`)."""
    path = tmp_path / "s"
    with Store.create(path, attar.codec("int8"), encoder=Words(), text_index=True) as store:
        store.add(names(N), documents(N), [f"text {i}" for i in range(N)])
        with reopen(path) as reader:
            marks = []
            for turn in range(90):
                changed(store, turn)
                for one in (store, reader):
                    asked(one, turn)
                if turn == 29:
                    tracemalloc.start(8)
                if turn >= 59 and turn % 10 == 9:
                    marks.append(held())
            tracemalloc.stop()
    # From turn 60 to turn 90; one kept segment alone is 2 kB a turn.
    assert marks[-1] - marks[0] < 20_000, marks
