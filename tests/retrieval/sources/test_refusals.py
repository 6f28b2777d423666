"""What bad input gets: the rule, what was got and where, and the remedy."""

import gzip
import json

import numpy as np
import pytest

from attar.retrieval.sources import SourceError, read_qrels, read_queries, read_source
from tests.retrieval.sources.corpora import (
    RECORDS,
    pdf_bytes,
    write_beir,
    write_csv,
    write_folder,
    write_jsonl,
    write_npy,
    write_parquet,
)


def refused(path, message, **options):
    with pytest.raises(SourceError, match=message):
        list(read_source(path, **options))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"_id": "x", "text": ', r"JSON object.*corpus.jsonl:3 .*correct or remove"),
        (b"[1, 2]", r"got a list at .*corpus.jsonl:3"),
        (b'{"_id": "x", "text": "\xff"}', r"UTF-8, got byte 0xff.*corpus.jsonl:3"),
        (b'{"_id": "x"}', r"text in field 'text', got the fields _id at .*corpus.jsonl:3"),
        (b'{"_id": "x", "text": null}', r"text in field 'text'.*corpus.jsonl:3"),
        (b'{"_id": "x", "text": 5}', r"Text is a string, got int in field 'text' .*:3"),
        (b'{"id": "x", "text": "a"}', r"id in field '_id', got the fields id, text at .*:3"),
        (b'{"_id": 5, "text": "a"}', r"non-empty strings, got 5 \(int\) at .*:3; .*in quotes"),
        (b'{"_id": "", "text": "a"}', r"non-empty strings, got '' .*:3"),
        (b'{"_id": "x", "text": "\\ud800"}', r"surrogate pair at character 0 of .*:3"),
        (b'{"_id": "\\udfff", "text": "a"}', r"surrogate pair .*:3"),
        (b'{"_id": "a", "text": "a"}', r"unique, got 'a' at .*jsonl:1 and at .*jsonl:3"),
        (b"[" * 100_000, r"JSON object.*corpus.jsonl:3"),
    ],
)
@pytest.mark.parametrize("as_beir", [False, True])
def test_a_bad_line_is_named(tmp_path, line, message, as_beir):
    path = tmp_path / "corpus.jsonl"
    good = json.dumps(RECORDS[0]).encode()
    path.write_bytes(b"\n".join([good, b"", line, b""]))
    refused(tmp_path if as_beir else path, message)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_corpus_is_an_error(tmp_path, content):
    (tmp_path / "x.jsonl").write_bytes(content)
    refused(tmp_path / "x.jsonl", "at least one document")
    (tmp_path / "x.csv").write_bytes(b"id,text\n" + content)
    refused(tmp_path / "x.csv", "at least one document" if not content else "columns")
    write_npy(tmp_path / "x.npy", n=0)
    refused(tmp_path / "x.npy", "at least one document")
    write_parquet(tmp_path / "x.parquet", [RECORDS[0]])
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "at least one document")


def test_a_broken_gzip_is_named(tmp_path):
    records = [{"_id": str(row), "text": f"text {row * 7919}"} for row in range(2000)]
    path = write_jsonl(tmp_path / "x.jsonl.gz", records)
    path.write_bytes(path.read_bytes()[:-500])
    refused(path, "broken gzip file after line")
    path.write_bytes(b"not gzip")
    refused(path, "broken gzip file after line 0")


def test_chunk_ids_must_not_meet_other_ids(tmp_path):
    records = [{"_id": "a", "text": "x"}, {"_id": "a#0001", "text": "y"}]
    list(read_source(write_jsonl(tmp_path / "x.jsonl", records), chunk=10))
    records[1]["_id"] = "a"
    refused(write_jsonl(tmp_path / "x.jsonl", records), "'a#0001' at .*:1 and at .*:2", chunk=10)


def test_csv_faults_are_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,text\na,b\nc,d,e\n")
    refused(path, r"2 columns of the header, got 3 at .*x.csv:3")
    path.write_text('id,text\na,"b" c\n')
    refused(path, r"x.csv:2 is not CSV")
    path.write_text("id,id,text\na,b,c\n")
    refused(path, "different names")
    path.write_bytes("id,text\na,ü\n".encode("latin-1"))
    refused(path, r"UTF-8, got byte 0xfc.*x.csv:2")
    path.write_text("id,body\na,b\n")
    refused(path, r"'text', got the fields id, body at .*x.csv:2; name the field with text_field")
    write_csv(path, [RECORDS[0], RECORDS[1], RECORDS[0]])
    refused(path, r"unique, got 'a' at .*x.csv:2 and at .*x.csv:5")


def test_parquet_faults_are_named(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [{"id": 1, "text": "a"}])
    refused(path, r"got 1 \(int\) at .*x.parquet, row 0")
    write_parquet(path, [{"id": "a", "text": "a"}, {"id": "b", "text": None}])
    refused(path, r"'text'.*row 1")
    write_parquet(path, [{"id": "a", "text": "a"}] * 4, rows=1)
    refused(path, "unique, got 'a' at .*row 0 and at .*row 1")
    path.write_bytes(b"PAR1 nothing")
    refused(path, "not a Parquet file")


def test_unreadable_files_of_a_folder_are_named_or_skipped(tmp_path):
    folder = write_folder(tmp_path / "files")
    whole = [document.id for document in read_source(folder)]
    (folder / "broken.pdf").write_bytes(pdf_bytes("x")[:40])
    refused(folder, r"broken.pdf is not a readable PDF.*skip_unreadable=True")
    (folder / "broken.pdf").write_bytes(pdf_bytes(""))
    refused(folder, r"only pictures in .*broken.pdf")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    source = read_source(folder, skip_unreadable=True)
    assert [document.id for document in source] == whole
    assert set(source.skipped) == {"broken.pdf", "latin.txt"}
    assert "0xe9" in source.skipped["latin.txt"]
    assert [document.id for document in source.documents(2)] == whole[2:]


def test_vectors_that_are_not_finite_name_row_and_id(tmp_path):
    ids = [f"doc {row}" for row in range(20)]
    path = write_npy(tmp_path / "x.npy", ids=ids)
    x = np.load(path)
    x[13, 1] = np.inf
    np.save(path, x)
    refused(path, r"infinity in row 13 \(id 'doc 13'\)")
    with pytest.raises(SourceError, match="row 13"):
        list(read_source(path).blocks(rows=4))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a"] * 20, "unique, got 'a' in rows 0 and 1"),
        (list(range(20)), "non-empty strings, got 0 in row 0"),
        (["a", "b"], "20 rows and .*x_ids.json has 2 ids"),
        ({"a": 1}, "list of ids, got dict"),
    ],
)
def test_bad_ids_of_vectors_are_named(tmp_path, ids, message):
    refused(write_npy(tmp_path / "x.npy", ids=ids), message)


def test_arrays_that_are_not_vectors_are_refused(tmp_path):
    path = tmp_path / "x.npy"
    for array in (np.zeros(3), np.zeros((2, 3), np.int8), np.zeros((2, 0)), np.zeros((2, 2, 2))):
        np.save(path, array)
        refused(path, r"floats of the shape \[n d\]")
    np.save(path, np.array([["a"]], object), allow_pickle=True)
    refused(path, "not a plain .npy")
    path.write_bytes(b"")
    refused(path, "not a plain .npy")


def test_unknown_kinds_list_the_known_ones(tmp_path):
    for name in ("x.docx", "x.json", "x", "x.parquet.gz"):
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, r"a BEIR folder, a folder of \.txt.*\.jsonl.*\.npy")
    refused(tmp_path / "absent.jsonl", "absent.jsonl, which does not exist")


def test_options_that_do_not_apply_are_refused(tmp_path):
    write_beir(tmp_path / "beir")
    refused(tmp_path / "beir", "read with chunk, got text_field", text_field="body")
    refused(write_npy(tmp_path / "x.npy"), "read with ids, got chunk", chunk=100)
    refused(write_jsonl(tmp_path / "x.jsonl"), "got ids", ids="ids.json")


def test_bad_queries_and_judgements_are_named(tmp_path):
    path = tmp_path / "queries.jsonl"
    write_jsonl(path, [{"_id": "q", "text": "a"}, {"_id": "q", "text": "b"}])
    with pytest.raises(SourceError, match=r"query 'q' again at .*:2"):
        read_queries(path)
    write_jsonl(path, [{"_id": "q"}])
    with pytest.raises(SourceError, match=r"got None at .*:1"):
        read_queries(tmp_path)
    with pytest.raises(SourceError, match=r"qrels/dev.tsv"):
        read_qrels(tmp_path, "dev")
    qrels = tmp_path / "test.tsv"
    for line in ("q1\td1", "q1\td1\thigh", "a b c d e"):
        qrels.write_text(f"query-id\tcorpus-id\tscore\n{line}\n")
        with pytest.raises(SourceError, match=r"test.tsv:2"):
            read_qrels(qrels)
    qrels.write_text("q1\td1\t1\nq1\td1\t2\n")
    with pytest.raises(SourceError, match=r"another grade for 'd1' at .*:2"):
        read_qrels(qrels)


def test_gzip_of_other_tools_is_read(tmp_path):
    first, second = (json.dumps(record).encode() + b"\n" for record in RECORDS[:2])
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(first) + gzip.compress(second))
    assert len(list(read_source(tmp_path / "x.jsonl.gz"))) == 2
