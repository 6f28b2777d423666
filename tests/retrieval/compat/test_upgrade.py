"""Changing the model of a live store: it answers all the time, nothing is lost, all can go back."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import attar
from attar.retrieval.compat.adapter import load_adapter
from attar.retrieval.compat.upgrade import Upgrade, roll_back
from attar.retrieval.encoders import PythonCallable
from attar.stores.disk import catalog
from attar.stores.errors import EncoderMismatchError, NotAStoreError, StoreError
from attar.stores.upgrading import embedded, entry_of
from tests.retrieval.compat.models import NEW, OLD, corpus, wide

IDS, TEXTS = corpus(300)
CODEC = "int8"


def build(path: Path, codec: str = CODEC, **settings: object) -> Path:
    with attar.Store.create(path, codec, OLD, **settings) as store:
        store.add(IDS, texts=TEXTS)
    return path


def answers(store: attar.Store, encoder: object) -> np.ndarray:
    return store.search(encoder.encode_queries(TEXTS[:20]), 5).ids


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build(tmp_path / "store")


def test_a_committed_upgrade_is_a_store_built_with_the_new_model(
    folder: Path, tmp_path: Path
) -> None:
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade.begin(store, OLD, NEW, first=40)
        assert upgrade.progress() == (40, 300)
        assert upgrade.run(batch=64) == 260
        upgrade.commit()
    with attar.Store.create(tmp_path / "fresh", CODEC, NEW) as fresh:
        fresh.add(IDS, texts=TEXTS)
        with attar.open(folder, encoder=NEW) as store:
            assert store.verify().whole and store.info()["upgrade"] is None
            assert store.info()["dim"] == 256 and store.info()["fingerprint"] == "wide-1"
            q = NEW.encode_queries(TEXTS[:30])
            assert (store.search(q, 5).ids == fresh.search(q, 5).ids).all()
            assert np.allclose(store.search(q, 5).scores, fresh.search(q, 5).scores, atol=1e-3)
            assert [r.text for r in store.get(IDS)] == TEXTS
    # The other model is now the one that is refused.
    with pytest.raises(EncoderMismatchError, match="attar upgrade DIR"):
        attar.open(folder, encoder=OLD)


@pytest.mark.parametrize("codec", ["float32", "int8", "pca16+int8", "waterfill@8x"])
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_every_codec_and_metric_goes_there(tmp_path: Path, codec: str, metric: str) -> None:
    folder = build(tmp_path / "store", codec, metric=metric, train_at=100)
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade.begin(store, OLD, NEW, first=280)
        hits = upgrade.search(TEXTS[:5], 3)
        assert hits.ids[:, 0].tolist() == IDS[:5]
        upgrade.run()
        upgrade.commit()
        assert store.verify().whole
        assert answers(store, NEW)[:, 0].tolist() == IDS[:20]


def test_rollback_gives_back_the_very_same_store(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        before, files = answers(store, OLD), sorted(os.listdir(folder / "segments"))
        codecs = sorted(os.listdir(folder / "codecs"))
        upgrade = Upgrade.begin(store, OLD, NEW, first=40)
        upgrade.run(most=100)
        upgrade.rollback()
        assert (answers(store, OLD) == before).all()
        assert sorted(os.listdir(folder / "segments")) == files
        assert sorted(os.listdir(folder / "codecs")) == codecs
        assert store.verify().whole and store.info()["format"] == catalog.FORMAT
        with pytest.raises(StoreError, match="No upgrade"):
            roll_back(store)


def test_it_goes_on_where_it_stopped(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        Upgrade.begin(store, OLD, NEW, first=40).run(most=100)
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade(store, OLD, NEW)
        assert upgrade.progress() == (140, 300)
        assert upgrade.run() == 160


def test_commit_waits_for_the_last_document(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade.begin(store, OLD, NEW, first=40)
        with pytest.raises(StoreError, match="260 of 300 have none"):
            upgrade.commit()


def test_documents_come_and_go_meanwhile(folder: Path) -> None:
    with attar.open(folder, mode="w", encoder=OLD) as store:
        upgrade = Upgrade.begin(store, OLD, NEW, first=200)
        store.delete(IDS[:100])
        store.add(["late"], texts=["A late arrival about quasars."])
        store.upsert([IDS[150]], texts=["Replaced by something on glaciers."])
        assert upgrade.search("late arrival quasars", 1).ids[0, 0] == "late"
        assert upgrade.search("glaciers replaced", 1).ids[0, 0] == IDS[150]
        assert IDS[0] not in upgrade.search(TEXTS[0], 10).ids
        store.compact()
        upgrade.run()
        assert upgrade.progress() == (201, 201)
        upgrade.commit()
        assert store.verify().whole and len(store) == 201
        assert store.search(NEW.encode_queries(["glaciers replaced"]), 1).ids[0, 0] == IDS[150]


def test_kept_originals_are_those_of_the_new_model(tmp_path: Path) -> None:
    folder = build(tmp_path / "store", keep_originals=True)
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade.begin(store, OLD, NEW, first=40)
        upgrade.run(batch=30)
        upgrade.commit()
        assert store.verify().whole
        got = store.vectors(IDS, originals=True)
        assert np.allclose(got, NEW.encode_documents(TEXTS), atol=1e-6)


def test_filters_hold_for_both_models(tmp_path: Path) -> None:
    with attar.Store.create(tmp_path / "store", CODEC, OLD) as store:
        store.add(IDS, texts=TEXTS, metadata=[{"even": i % 2 == 0} for i in range(300)])
        upgrade = Upgrade.begin(store, OLD, NEW, first=150)
        hits = upgrade.search(TEXTS[:20], 10, filter={"even": True}, lazy_ms=0)
        assert all(int(name[1:]) % 2 == 0 for name in hits.ids.ravel())


def test_lazy_vectors_are_kept_by_a_writer_and_noted_by_a_reader(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade.begin(store, OLD, NEW, first=40)
        upgrade.search(TEXTS[7], 5, lazy_ms=0)
        assert len(embedded(store.library)) == 40
        upgrade.search(TEXTS[7], 5, lazy_ms=60_000)
        assert len(embedded(store.library)) > 60
    with attar.open(folder) as reader:
        before = len(embedded(reader.library))
        upgrade = Upgrade(reader, OLD, NEW)
        cold = upgrade.search(TEXTS[200], 5, lazy_ms=60_000)
        warm = upgrade.search(TEXTS[200], 5, lazy_ms=0)
        assert (cold.ids == warm.ids).all() and np.array_equal(cold.scores, warm.scores)
        assert len(embedded(reader.library)) == before
        upgrade.search(TEXTS[250], 5, lazy_ms=0)
    asked = set((folder / "upgrade.queue").read_text().split())
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade(store, OLD, NEW)
        upgrade.run(most=10)
        first = {str(s) for s in embedded(store.library).tolist()}
        assert len(first & asked) >= 10


def test_loading_a_model_is_not_the_price_of_a_document(folder: Path) -> None:
    calls: list[int] = []

    def slow_at_first(texts: list[str]) -> np.ndarray:
        if not calls:
            time.sleep(0.8)
        calls.append(len(texts))
        return wide(texts)

    new = PythonCallable(slow_at_first, name="slow", fingerprint="slow-1")
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade.begin(store, OLD, new, first=2)
        assert entry_of(store.library)["notes"]["ms_per_document"] < 200
        upgrade.search(TEXTS[5], 5)
        assert upgrade.progress()[0] > 2


def test_a_price_that_was_too_high_once_is_forgotten(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade.begin(store, OLD, NEW, first=2)
        upgrade._ms = 250.0
        upgrade.search(TEXTS[5], 5, lazy_ms=200)
        assert upgrade.progress()[0] == 2
        for _ in range(20):
            upgrade.search(TEXTS[5], 5, lazy_ms=200)
        assert upgrade.progress()[0] > 2


def test_order_is_by_need_then_by_doubt() -> None:
    from collections import Counter

    from attar.retrieval.compat.pay_first import pay_first

    slots = np.array([3, 5, 8, 9])
    residual = np.array([0.1, 0.4, 0.2, 0.3], np.float32)
    assert pay_first(slots, Counter({8: 2, 3: 1}), residual).tolist() == [8, 3, 5, 9]


def test_an_adapter_bridge_needs_no_old_model(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        Upgrade.begin(store, OLD, NEW, bridge="bridge")
    with attar.open(folder) as store:
        assert store.verify().whole
        hits = Upgrade(store, None, NEW).search(TEXTS[:10], 5, lazy_ms=0)
        assert (hits.ids[:, 0] == IDS[:10]).mean() > 0.8
        assert store.info()["upgrade"]["bridge"] == "bridge"


def test_a_document_side_bridge_maps_the_old_codes_that_a_query_meets(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        Upgrade.begin(store, None, NEW, bridge="bridge", side="document", first=40)
    with attar.open(folder) as store:
        upgrade = Upgrade(store, None, NEW)
        assert upgrade.how.startswith("document-side")
        hits = upgrade.search(TEXTS[:10], 5, lazy_ms=0)
        assert (hits.ids[:, 0] == IDS[:10]).mean() > 0.8
        # Its scores are those of the mapped codes in the new space.
        adapter = load_adapter(
            store.library.codec_path(store.info()["upgrade"]["adapter"]).read_bytes()
        )
        new = NEW.encode_queries(TEXTS[:1])
        one = upgrade.search_vectors(adapter.back(new), new, 300)
        mapped = adapter.apply(store.vectors(list(one.ids[0])))
        wanted = mapped @ (new[0] / np.linalg.norm(new[0]))
        waiting = set(np.setdiff1d(np.arange(300), embedded(store.library)).tolist())
        rows = [r for r, n in enumerate(one.ids[0]) if int(n[1:]) in waiting]
        gain, shift = entry_of(store.library)["notes"]["scale"]
        assert len(rows) > 100
        assert np.allclose(one.scores[0][rows], gain * wanted[rows] + shift, atol=1e-4)
    with attar.open(folder, mode="w") as store:
        upgrade = Upgrade(store, None, NEW)
        upgrade.run()
        upgrade.commit()
        assert answers(store, NEW)[:, 0].tolist() == IDS[:20]


def test_bridges_and_sides_that_there_are_not(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        with pytest.raises(ValueError, match="A bridge is rescore or bridge"):
            Upgrade.begin(store, OLD, NEW, bridge="ferry")
        with pytest.raises(ValueError, match="its side query or document"):
            Upgrade.begin(store, OLD, NEW, bridge="bridge", side="both")
        with pytest.raises(ValueError, match="A side is an adapter's"):
            Upgrade.begin(store, OLD, NEW, side="query")
        assert store.info()["upgrade"] is None


def test_rescoring_without_the_old_model_is_refused(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        with pytest.raises(ValueError, match="needs the old encoder"):
            Upgrade.begin(store, None, NEW)
        Upgrade.begin(store, OLD, NEW)
        with pytest.raises(EncoderMismatchError, match="none was given"):
            Upgrade(store, None, NEW)
        with pytest.raises(EncoderMismatchError, match="answers only queries of the encoder"):
            Upgrade(store, NEW, NEW)
        with pytest.raises(EncoderMismatchError, match="answers only queries of the encoder"):
            Upgrade(store, OLD, OLD)


def test_while_it_runs_the_new_model_alone_is_refused_and_the_old_one_is_not(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        before = answers(store, OLD)
        Upgrade.begin(store, OLD, NEW)
    with attar.open(folder, encoder=OLD) as store:
        assert (answers(store, OLD) == before).all()
    with pytest.raises(EncoderMismatchError, match="being upgraded to .*Upgrade"):
        attar.open(folder, encoder=NEW)


def test_the_same_model_is_no_upgrade(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        with pytest.raises(ValueError, match="nothing to do"):
            Upgrade.begin(store, OLD, OLD)
        Upgrade.begin(store, OLD, NEW)
        with pytest.raises(StoreError, match="One upgrade at a time"):
            Upgrade.begin(store, OLD, NEW)
        with pytest.raises(StoreError, match="no upgrade of its model"):
            store.reencode(attar.codec("float32"))


def test_a_store_without_texts_says_what_remains(tmp_path: Path) -> None:
    with attar.Store.create(tmp_path / "store", CODEC) as store:
        store.add(IDS, vectors=OLD.encode_documents(TEXTS))
        with pytest.raises(ValueError, match="300 of 300 documents have none. What remains"):
            Upgrade.begin(store, OLD, NEW)


def test_a_release_that_knows_no_upgrades_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with attar.open(folder, mode="w") as store:
        Upgrade.begin(store, OLD, NEW)
    connection = sqlite3.connect(folder / catalog.NAME)
    assert connection.execute("PRAGMA user_version").fetchone() == (catalog.UPGRADING,)
    connection.close()
    # Releases before this one compared with their own number only.
    monkeypatch.setattr(catalog, "UPGRADING", catalog.FORMAT)
    with pytest.raises(NotAStoreError, match="has store format 1002; this release knows up"):
        attar.open(folder)


def test_repair_gives_the_upgrade_up_and_keeps_the_store(folder: Path) -> None:
    from attar.stores.disk.repair import repair

    with attar.open(folder, mode="w") as store:
        before = answers(store, OLD)
        Upgrade.begin(store, OLD, NEW)
    repair(folder, attar.load_codec)
    with attar.open(folder, mode="w", encoder=OLD) as store:
        assert store.info()["upgrade"] is None and store.verify().whole
        assert (answers(store, OLD) == before).all()


def test_a_backup_holds_both_models(folder: Path, tmp_path: Path) -> None:
    with attar.open(folder, mode="w") as store:
        Upgrade.begin(store, OLD, NEW, first=40)
        store.backup(tmp_path / "copy")
    with attar.open(tmp_path / "copy", mode="w") as copy:
        upgrade = Upgrade(copy, OLD, NEW)
        assert upgrade.progress() == (40, 300)
        upgrade.run()
        upgrade.commit()


def test_quality_never_falls_below_the_worse_model(folder: Path) -> None:
    """Share of documents that are found by their second sentence, while the upgrade goes on."""
    asked = [text.split(". ")[1] for text in TEXTS[:150]]

    def found(ids: np.ndarray) -> float:
        return float((ids[:, :5] == np.array(IDS[:150], object)[:, None]).any(axis=1).mean())

    with attar.open(folder, mode="w") as store:
        old = found(store.search(OLD.encode_queries(asked), 5).ids)
        upgrade = Upgrade.begin(store, OLD, NEW, first=40)
        during = []
        while upgrade.run(batch=32, most=65):
            during.append(found(upgrade.search(asked, 5, lazy_ms=0).ids))
        upgrade.commit()
        new = found(store.search(NEW.encode_queries(asked), 5).ids)
    slack = 2 * np.sqrt(0.25 / 150)
    assert len(during) >= 4 and min(during) >= min(old, new) - slack


WRITER = """
import sys, attar
from attar.retrieval.compat.upgrade import Upgrade
from tests.retrieval.compat.models import NEW, OLD
with attar.open(sys.argv[1], mode="w", timeout=10) as store:
    print("open", flush=True)
    going = store.info()["upgrade"]
    upgrade = Upgrade(store, OLD, NEW) if going else Upgrade.begin(store, OLD, NEW, first=20)
    print("begun", flush=True)
    upgrade.run(lambda done, total: print(done, flush=True), batch=4)
    upgrade.commit()
    print("committed", flush=True)
"""


def test_kill_at_any_moment_loses_nothing(folder: Path) -> None:
    """Real kills, on the way and around the commit; what was said to be done is done."""
    draw = np.random.default_rng(9)
    acknowledged, kills, committed = 0, 0, False
    with attar.open(folder, encoder=OLD) as store:
        before = answers(store, OLD)
    environment = os.environ | {"ATTAR_TEST_SLOW": "0.002"}
    while not committed and kills < 8:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert writer.stdout is not None
        lines = []
        for _ in range(int(draw.integers(0, 12)) if kills < 6 else 1000):
            line = writer.stdout.readline()
            lines.append(line)
            if not line:
                break
        time.sleep(float(draw.uniform(0, 0.02)))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        kills += 1
        committed = "committed" in [line.strip() for line in lines]
        done = [int(line) for line in lines if line.strip().isdigit()]
        acknowledged = max([acknowledged, *done])
        with attar.open(folder, mode="w", timeout=10) as store:
            assert store.verify().whole
            assert [r.text for r in store.get(IDS)] == TEXTS
            if store.info()["fingerprint"] == "wide-1":
                committed = True
                assert answers(store, NEW)[:, 0].tolist() == IDS[:20]
                continue
            assert (answers(store, OLD) == before).all()
            if store.info()["upgrade"]:
                assert len(embedded(store.library)) >= acknowledged
            else:
                assert not acknowledged
    assert committed and kills >= 4
