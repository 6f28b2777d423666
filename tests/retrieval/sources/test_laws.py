"""The laws of `Source`, for every kind."""

import json

import pytest

from attar.retrieval.sources import read_source
from tests.retrieval.sources.corpora import KINDS, RECORDS

CHUNKED = [kind for kind in KINDS if kind != "npy"]


@pytest.fixture(params=KINDS)
def corpus(request, tmp_path):
    return KINDS[request.param](tmp_path)


def test_reading_again_gives_the_same(corpus):
    source = read_source(corpus)
    first = list(source)
    assert len(first) >= 4
    assert first == list(source) == list(read_source(corpus))


def test_reading_from_a_document_on_gives_the_rest(corpus):
    source = read_source(corpus)
    whole = list(source)
    for start in range(len(whole) + 2):
        assert list(source.documents(start)) == whole[start:]


@pytest.mark.parametrize("kind", CHUNKED)
def test_reading_from_a_chunk_on_gives_the_rest(kind, tmp_path):
    source = read_source(KINDS[kind](tmp_path), chunk="20/5")
    whole = list(source)
    assert len(whole) > len(list(read_source(next(iter(_paths(tmp_path))))))
    for start in (0, 1, 3, len(whole) - 1, len(whole)):
        assert list(source.documents(start)) == whole[start:]


def _paths(folder):
    return sorted(folder.iterdir())


def test_ids_are_unique_and_metadata_is_json(corpus):
    documents = list(read_source(corpus))
    assert len({document.id for document in documents}) == len(documents)
    for document in documents:
        json.dumps(document.metadata, allow_nan=False)


def test_the_hash_is_of_the_content(corpus, tmp_path):
    before = read_source(corpus).hash
    assert before == read_source(corpus).hash
    moved = corpus.rename(tmp_path / f"moved{''.join(corpus.suffixes)}")
    assert read_source(moved).hash == before
    file = max(
        (p for p in [moved, *moved.rglob("*")] if p.is_file()), key=lambda p: p.stat().st_size
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert read_source(moved).hash != before


@pytest.mark.parametrize("kind", ["jsonl", "jsonl gz", "csv", "csv gz", "tsv", "parquet"])
def test_tables_and_lines_hold_the_same_documents(kind, tmp_path):
    source = read_source(KINDS[kind](tmp_path), text_field="title,text")
    for document, record in zip(source, RECORDS, strict=True):
        assert document.id == record["_id"]
        assert document.text == f"{record['title']} {record['text']}".strip()
        assert document.metadata["title"] == record["title"]
        assert "text" not in document.metadata and "_id" not in document.metadata
        year = record["year"]
        assert document.metadata.get("year") in (year, str(year or ""))


@pytest.mark.parametrize("kind", ["beir", "beir gz"])
def test_beir_joins_title_and_text(kind, tmp_path):
    source = read_source(KINDS[kind](tmp_path))
    documents = list(source)
    assert source.kind == "beir"
    assert documents[0].text == "Ähren Corn, grown in rows."
    assert documents[0].metadata == {"title": "Ähren", "year": 1999}
    assert documents[2].text == "Third"


def test_other_fields_make_another_hash(tmp_path):
    path = KINDS["jsonl"](tmp_path)
    hashes = {
        read_source(path, text_field=text, id_field=name).hash
        for text in (None, "title", "title,text")
        for name in (None, "title")
    }
    assert len(hashes) == 6
    assert read_source(path, text_field="text").hash == read_source(path).hash
