"""Blocks without Ray: cut, read, encoded and adopted as the one-machine build does."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attar
from attar.retrieval.indexing.block_worker import BlockWorker, Task
from attar.retrieval.indexing.blocks import BlockReader, corpus_of, cut_blocks
from attar.retrieval.indexing.build import Plan, Wiring, open_or_create, plan_build, run_build
from attar.retrieval.indexing.ray_engine import RayEngine, parts_of
from attar.retrieval.sources import read_source
from attar.stores.errors import CorruptStoreError
from tests.retrieval.indexing.worlds import COUNT, ENCODER, SAMPLE, contents

WIRING = Wiring(attar.Store.create, attar.Store.open)


def planned(source: Path, out: Path, codec: str = "pca50%+int8", **more: Any) -> Plan:
    reading = {name: more.pop(name) for name in ("chunk",) if name in more}
    encoder = None if source.suffix == ".npy" else attar.encoder(ENCODER)
    return plan_build(read_source(source, **reading), out, attar.codec(codec), encoder, **more)


def here(engine: RayEngine, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> None:
    """The engine's blocks done by two workers of this process, in a shuffled order."""

    def done(self: RayEngine, task: Task) -> Any:
        workers = [BlockWorker(task), BlockWorker(task)]
        numbers = [block.number for block in task.blocks]
        pick = random.Random(seed)
        pick.shuffle(numbers)
        for number in numbers:
            pick.choice(workers)({"block": [number]})
            yield number

    monkeypatch.setattr(RayEngine, "_done", done)
    monkeypatch.setattr(RayEngine, "_start", lambda self, ray: None)


def built(plan: Plan, engine: RayEngine | None = None) -> list[Any]:
    with open_or_create(plan, WIRING) as store:
        (run_build if engine is None else engine.run)(plan, store)
        assert store.progress == {"phase": "done", "next": plan.total}
        assert store.verify().whole
    return contents(plan.out)


@pytest.mark.parametrize("chunk", [None, "30"])
def test_any_order_reads_what_the_source_has(corpus: Path, tmp_path: Path, chunk: Any) -> None:
    plan = planned(corpus, tmp_path / "o", chunk=chunk)
    blocks = cut_blocks(plan)
    everything = list(plan.source)
    inside = [d for d in everything if d.id in plan.sample]
    outside = [d for d in everything if d.id not in plan.sample]
    wanted = inside + outside
    assert [block.slot for block in blocks if block.phase == "sample"] == [0, 32, 64, 96]
    reader = BlockReader(corpus_of(plan))
    for order in (blocks, blocks[::-1], random.Random(1).sample(blocks, len(blocks))):
        for block in order:
            assert reader.documents(block) == wanted[block.slot : block.slot + block.count]
    assert sum(block.count for block in blocks) == len(everything)
    assert max(block.next for block in blocks) == len(everything)


@pytest.mark.parametrize(
    ("codec", "more"),
    [
        ("pca50%+int8", {}),
        ("waterfill@8x", {"metric": "l2", "keep_originals": True}),
        ("float8_e4m3", {"metric": "ip"}),
        ("pca50%+int8", {"chunk": "30"}),
    ],
)
def test_the_result_is_that_of_one_machine(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, more: dict[str, Any]
) -> None:
    here(RayEngine(), monkeypatch)
    alone = built(planned(corpus, tmp_path / "alone", codec, **more))
    many = built(planned(corpus, tmp_path / "many", codec, **more), RayEngine())
    assert many == alone
    assert not parts_of(tmp_path / "many").exists()


def test_vectors_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here(RayEngine(), monkeypatch)
    x = np.random.default_rng(0).standard_normal((200, 24)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    alone = built(planned(tmp_path / "x.npy", tmp_path / "alone", "waterfill@8x"))
    many = built(planned(tmp_path / "x.npy", tmp_path / "many", "waterfill@8x"), RayEngine())
    assert many == alone


def test_either_engine_goes_on_with_what_the_other_began(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = built(planned(corpus, tmp_path / "alone"))
    here(RayEngine(), monkeypatch)
    for stop in (2, 6):
        out = tmp_path / f"stopped-{stop}"
        plan, seen = planned(corpus, out), 0

        def advance(count: int, stop: int = stop) -> None:
            nonlocal seen
            seen += 1
            if seen > stop:
                raise KeyboardInterrupt

        with open_or_create(plan, WIRING) as store, pytest.raises(KeyboardInterrupt):
            run_build(plan, store, advance)
        assert built(planned(corpus, out), RayEngine()) == alone


def test_a_damaged_part_is_refused_and_the_store_stays(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(RayEngine(), monkeypatch)
    plan, original = planned(corpus, tmp_path / "o"), Task.encoded

    def damaged(self: Task, block: Any) -> Any:
        rows = original(self, block)
        path = self.parts / rows[0].file
        path.write_bytes(path.read_bytes()[:-1] + b"\x55")
        return rows

    monkeypatch.setattr(Task, "encoded", damaged)
    with open_or_create(plan, WIRING) as store:
        with pytest.raises(CorruptStoreError, match="build again"):
            RayEngine().run(plan, store)
        assert len(store) == SAMPLE
        assert store.verify().whole
    monkeypatch.setattr(Task, "encoded", original)
    for path in parts_of(plan.out).glob("*.json"):
        if path.name != "manifest.json":
            path.unlink()
    assert len(built(planned(corpus, tmp_path / "o"), RayEngine())) == COUNT


def test_folders_and_sizes_that_make_no_sense_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        RayEngine(0)
    with pytest.raises(ValueError, match="'local', 'ray' or a RayEngine, got 'dask'"):
        attar.build_index(corpus, tmp_path / "o", ENCODER, engine="dask")
    assert not (tmp_path / "o").exists()
    parts_of(tmp_path / "o").mkdir()
    with pytest.raises(FileExistsError, match="is not of a build"):
        attar.build_index(corpus, tmp_path / "o", ENCODER, engine="ray")
