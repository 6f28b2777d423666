"""`attar upgrade`: the advice changes nothing; the change can be ended both ways."""

import json
from pathlib import Path

import pytest

import attar
from attar.retrieval.compat.upgrade import Upgrade
from tests.attar.commands import attar_command
from tests.retrieval.compat.models import NEW, OLD, corpus

IDS, TEXTS = corpus(240)
FROM, TO = "tests.retrieval.compat.models:narrow", "tests.retrieval.compat.models:wide"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with attar.Store.create(tmp_path / "store", "int8", attar.encoder(FROM)) as store:
        store.add(IDS, texts=TEXTS)
    return tmp_path / "store"


def test_the_dry_run_advises_and_changes_nothing(folder: Path) -> None:
    with attar.open(folder) as store:
        before = store.commit
    arguments = ("upgrade", folder, "--from", FROM, "--to", TO, "--dry-run")
    shown = attar_command(*arguments)
    assert shown.code == 0 and "Advice: " in shown.out and "hours here" in shown.out
    got = json.loads(attar_command(*arguments, "--json").out)
    assert {each["name"] for each in got["verdict"]["options"]} >= {"stay", "re-embed", "rescore"}
    assert got["of"] == 240 and not got["judged"]
    with attar.open(folder) as store:
        assert store.commit == before and store.info()["upgrade"] is None


def test_stop_go_on_and_commit(folder: Path) -> None:
    arguments = ("upgrade", folder, "--from", FROM, "--to", TO)
    with attar.open(folder, mode="w") as store:
        Upgrade.begin(store, attar.encoder(FROM), attar.encoder(TO), first=50)
    part = attar_command(*arguments, "--most", 30)
    assert part.code == 0 and "80 of 240 embedded" in part.out
    done = attar_command(*arguments, "--commit")
    assert done.code == 0 and "240 documents are" in done.out
    with attar.open(folder, encoder=attar.encoder(TO)) as store:
        assert store.search(NEW.encode_queries(TEXTS[:1]), 1).ids[0, 0] == IDS[0]


def test_rollback_needs_no_model(folder: Path) -> None:
    assert attar_command("upgrade", folder, "--from", FROM, "--to", TO).code == 0
    assert "rolled back" in attar_command("upgrade", folder, "--rollback").out
    with attar.open(folder, encoder=attar.encoder(FROM)) as store:
        assert store.search(OLD.encode_queries(TEXTS[:1]), 1).ids[0, 0] == IDS[0]


def test_refusals_name_the_remedy(folder: Path) -> None:
    assert "--to NAME" in attar_command("upgrade", folder, "--from", FROM).err
    untyped = attar_command("upgrade", folder, "--to", TO)
    assert untyped.code == 2 and "type it yourself" in untyped.err
    both = attar_command("upgrade", folder, "--commit", "--rollback")
    assert both.code == 2 and "give one" in both.err


def test_search_asks_both_models_while_it_runs(folder: Path) -> None:
    with attar.open(folder, mode="w") as store:
        Upgrade.begin(store, attar.encoder(FROM), attar.encoder(TO), first=50)
    with attar.open(folder) as store:
        hits = Upgrade(store, OLD, NEW).search(TEXTS[9], 3, lazy_ms=60_000)
    arguments = ("search", folder, TEXTS[9], "-k", 3, "--json")
    shown = attar_command(*arguments, "--encoder", FROM, "--to", TO)
    found = json.loads(shown.out)
    assert [each["id"] for each in found] == hits.ids[0].tolist()
    assert [each["score"] for each in found] == pytest.approx(hits.scores[0].tolist())
    untyped = attar_command(*arguments, "--encoder", FROM)
    assert untyped.code == 2 and "type it yourself with --to" in untyped.err


def test_search_through_an_adapter_needs_the_new_model_alone(folder: Path) -> None:
    typed = ("--from", FROM, "--to", TO, "--bridge", "bridge", "--side", "document")
    begun = attar_command("upgrade", folder, *typed, "--most", 1)
    assert begun.code == 0 and "document-side" in begun.out
    shown = attar_command("search", folder, TEXTS[9], "--to", TO, "--json")
    assert shown.code == 0 and json.loads(shown.out)[0]["id"] == IDS[9]
    done = attar_command("upgrade", folder, "--to", TO, "--commit")
    assert done.code == 0 and "240 documents are" in done.out
    assert attar_command("search", folder, TEXTS[9], "--to", TO).code == 2
