"""Corpora at URIs and in several files: what one local file gives."""

import json
import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest

from attar.retrieval.sources import SourceError, read_source
from attar.retrieval.sources import reading as reading_module
from attar.retrieval.sources.remote import RemoteSource

COUNT = 30


def lines(first: int, last: int) -> str:
    rows = ({"_id": f"d{i}", "text": f"text {i}", "n": i} for i in range(first, last))
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for number, (first, last) in enumerate([(0, 7), (7, 8), (8, COUNT)]):
        (tmp_path / f"part-{number}.jsonl").write_text(lines(first, last))
    (tmp_path / "whole.jsonl").write_text(lines(0, COUNT))
    return tmp_path


@pytest.mark.parametrize("start", [0, 1, 7, 8, 9, 29, 30])
@pytest.mark.parametrize("chunk", [None, "4"])
def test_several_files_are_one(parts: Path, start: int, chunk: Any) -> None:
    several = read_source(str(parts / "part-*.jsonl"), chunk=chunk)
    whole = read_source(parts / "whole.jsonl", chunk=chunk)
    assert list(several.documents(start)) == list(whole.documents(start))
    assert list(several) == list(whole)
    assert (several.kind, several.chunk) == (whole.kind, whole.chunk)


def test_their_hash_knows_every_part(parts: Path) -> None:
    before = read_source(str(parts / "part-*.jsonl")).hash
    assert read_source(str(parts / "part-*.jsonl")).hash == before
    (parts / "part-1.jsonl").write_text(lines(7, 8).replace("text", "word"))
    assert read_source(str(parts / "part-*.jsonl")).hash != before


def test_what_several_files_may_not_be(parts: Path) -> None:
    with pytest.raises(SourceError, match=r"No file is named like .*none-\*"):
        read_source(str(parts / "none-*.jsonl"))
    (parts / "part-3.jsonl").write_text(lines(3, 4))
    with pytest.raises(SourceError, match="'d3'"):
        list(read_source(str(parts / "part-*.jsonl")))


def test_a_uri_gives_what_the_file_gives(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = fsspec.filesystem("memory")
    storage.put(str(parts), "/corpora/c", recursive=True)
    make = RemoteSource
    cache = tmp_path / "cache"
    monkeypatch.setattr(
        reading_module, "RemoteSource", lambda uri, opened: make(uri, opened, cache)
    )
    whole = read_source(parts / "whole.jsonl")
    remote = read_source("memory://corpora/c/whole.jsonl")
    assert list(remote) == list(whole)
    assert (remote.hash, remote.kind) == (whole.hash, whole.kind)
    copied = pickle.loads(pickle.dumps(remote))
    assert "local" not in copied.__dict__
    assert list(copied.documents(20)) == list(whole.documents(20))
    several = read_source("memory://corpora/c/part-*.jsonl")
    assert list(several) == list(whole)
    # Another version of the file is another copy.
    with storage.open("/corpora/c/whole.jsonl", "w") as file:
        file.write(lines(0, 3))
    assert len(list(read_source("memory://corpora/c/whole.jsonl"))) == 3
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("river")
    (texts / "b.md").write_text("# stone")
    storage.put(str(texts), "/corpora/texts", recursive=True)
    assert list(read_source("memory://corpora/texts")) == list(read_source(texts))


def test_a_uri_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    source = RemoteSource("memory://corpora/nobody.jsonl", read_source, tmp_path)
    with pytest.raises(SourceError, match="look at the URI"):
        list(source)
    with pytest.raises(SourceError, match="cannot be read"):
        list(RemoteSource("nothing://x/y.jsonl", read_source, tmp_path))
    assert not list(tmp_path.iterdir())
