"""What single readers do beyond the laws."""

import datetime
import json
import subprocess
import sys

import numpy as np
import pytest

from attar.retrieval.sources import read_qrels, read_queries, read_source
from tests.retrieval.sources.corpora import (
    write_beir,
    write_csv,
    write_folder,
    write_jsonl,
    write_npy,
    write_parquet,
)


def test_files_of_a_folder_become_documents_by_path(tmp_path):
    source = read_source(write_folder(tmp_path / "files"))
    texts = {document.id: document.text for document in source}
    assert list(texts) == ["b.txt", "page.html", "paper.pdf", "sub/a.md"]
    assert texts["b.txt"] == "Plain text, with a mark in front."
    assert texts["page.html"].split() == "Page Head Seen & read, bold .".split()
    assert texts["paper.pdf"].strip() == "Hello from a page"
    assert texts["sub/a.md"].startswith("# Title")
    assert source.notes == ("1 files that are not .txt .md .html .htm .pdf are left out.",)


def test_one_file_is_a_corpus_of_one(tmp_path):
    folder = write_folder(tmp_path / "files")
    (document,) = read_source(folder / "b.txt")
    assert document.id == "b.txt"


def test_links_to_folders_are_not_followed(tmp_path):
    folder = write_folder(tmp_path / "files")
    (folder / "loop").symlink_to(folder)
    assert len(list(read_source(folder))) == 4


def test_chunks_say_where_they_come_from(tmp_path):
    text = "Älter. " + " ".join(f"Sentence number {n} is here." for n in range(40))
    path = write_jsonl(tmp_path / "x.jsonl", [{"_id": "a", "text": text, "lang": "en"}])
    source = read_source(path, chunk="100/30")
    chunks = list(source)
    assert source.chunk == "100/30"
    assert [chunk.id for chunk in chunks[:2]] == ["a#0001", "a#0002"]
    for chunk in chunks:
        at = chunk.metadata
        assert chunk.text == text[at["chunk_start"] : at["chunk_end"]]
        assert 0 < len(chunk.text) <= 100
        assert (at["chunk_of"], at["lang"]) == ("a", "en")
    starts = [chunk.metadata["chunk_start"] for chunk in chunks]
    ends = [chunk.metadata["chunk_end"] for chunk in chunks]
    assert any(start < end for start, end in zip(starts[1:], ends, strict=False))
    assert "".join(text.split()) == "".join(_joined(text, starts, ends).split())


def _joined(text, starts, ends):
    covered = np.zeros(len(text), bool)
    for start, end in zip(starts, ends, strict=True):
        covered[start:end] = True
    return "".join(np.array(list(text))[covered])


def test_markdown_is_cut_at_headings(tmp_path):
    (tmp_path / "a.md").write_text("# One\n\nFirst words.\n\n# Two\n\nSecond words, a few more.\n")
    texts = [chunk.text for chunk in read_source(tmp_path / "a.md", chunk=40)]
    assert texts == ["# One\n\nFirst words.", "# Two\n\nSecond words, a few more."]


def test_chunks_of_tokens_fit_the_model(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    from attar.retrieval.encoders import SentenceTransformers

    file = SentenceTransformers().tokenizer_file
    text = " ".join(f"Immunoglobulin {n} binds." for n in range(200))
    path = write_jsonl(tmp_path / "x.jsonl", [{"_id": "a", "text": text}])
    source = read_source(path, chunk="32tokens/8", tokenizer=file)
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    sizes = [len(tokenizer.encode(c.text, add_special_tokens=False).ids) for c in source]
    assert 24 < max(sizes) <= 32 and len(sizes) > 40
    assert source.chunk.startswith("32tokens/8@")


@pytest.mark.parametrize("chunk", ["0", "ten", "10/10", "10/11", "5tokens", "-3", "1.5", ""])
def test_chunk_sizes_are_checked(tmp_path, chunk):
    with pytest.raises(ValueError, match="got"):
        read_source(write_jsonl(tmp_path / "x.jsonl"), chunk=chunk)


def test_a_document_without_text_stays_one_chunk(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"_id": "a", "text": " "}, {"_id": "b", "text": "x"}])
    assert [chunk.id for chunk in read_source(path, chunk=5)] == ["a#0001", "b#0001"]


def test_ids_are_found_as__id_or_id(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"id": "a", "text": "x", "_ID": 3}])
    (document,) = read_source(path)
    assert (document.id, document.metadata) == ("a", {"_ID": 3})
    write_jsonl(path, [{"key": "k", "id": "a", "body": "x"}])
    (document,) = read_source(path, id_field="key", text_field="body")
    assert (document.id, document.text, document.metadata) == ("k", "x", {"id": "a"})


def test_csv_fields_may_be_longer_than_the_module_allows(tmp_path):
    text = 'long "text", ' * 20_000
    path = write_csv(tmp_path / "x.csv", [{"id": "a", "text": text}])
    assert next(iter(read_source(path))).text == text.strip()


def test_a_byte_order_mark_is_not_part_of_the_first_field(tmp_path):
    path = write_csv(tmp_path / "x.csv", [{"id": "a", "text": "b"}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [document.id for document in read_source(path)] == ["a"]


def test_parquet_values_become_json(tmp_path):
    record = {
        "id": "a",
        "text": "x",
        "day": datetime.date(2026, 1, 2),
        "score": float("nan"),
        "tags": ["p", "q"],
        "raw": b"\x00",
    }
    (document,) = read_source(write_parquet(tmp_path / "x.parquet", [record]))
    assert document.metadata == {
        "day": "2026-01-02",
        "score": "nan",
        "tags": ["p", "q"],
        "raw": "b'\\x00'",
    }


def test_vectors_are_mapped_and_read_in_blocks(tmp_path):
    ids = [f"doc {row}" for row in range(20)]
    path = write_npy(tmp_path / "x.npy", ids=ids)
    source = read_source(path)
    x = np.load(path)
    assert isinstance(source.vectors, np.memmap) and len(source) == 20 and source.dim == 3
    blocks = list(source.blocks(start=5, rows=4))
    assert [name for names, _ in blocks for name in names] == ids[5:]
    assert np.array_equal(np.concatenate([block for _, block in blocks]), x[5:])
    assert source.notes == ()
    assert source.ids_between(18, 99) == ids[18:]


def test_vectors_of_any_float_become_float32(tmp_path):
    x = np.arange(6).reshape(2, 3)
    for dtype in (np.float16, np.float64):
        np.save(tmp_path / "x.npy", x.astype(dtype))
        ((_, block),) = read_source(tmp_path / "x.npy").blocks()
        assert block.dtype == np.float32 and np.array_equal(block, x)


def test_ids_of_vectors_may_be_given_found_or_counted(tmp_path):
    path = write_npy(tmp_path / "x.npy", n=2)
    source = read_source(path)
    assert [document.id for document in source] == ["0", "1"]
    assert "row numbers" in source.notes[0]
    counted = source.hash
    (tmp_path / "ids.txt").write_text("p\nq\n")
    found = read_source(path)
    assert [document.id for document in found] == ["p", "q"] and found.hash != counted
    (tmp_path / "mine.json").write_text(json.dumps(["r", "s"]))
    given = read_source(path, ids=tmp_path / "mine.json")
    assert given.ids_between(0, 2) == ["r", "s"] and given.hash != found.hash


def test_queries_and_judgements_of_beir(tmp_path):
    folder = write_beir(tmp_path / "beir", gz=True)
    assert read_queries(folder) == {"q1": "corn", "q2": ""}
    expected = {"q1": {"a": 2, "b b": 0}, "q2": {"4": 1}}
    assert read_qrels(folder) == read_qrels(folder / "qrels" / "test.tsv") == expected
    trec = tmp_path / "judged.txt"
    trec.write_text("q1 0 a 2\nq1 0 b 0\nq2 0 4 1\n")
    assert read_qrels(trec) == {"q1": {"a": 2, "b": 0}, "q2": {"4": 1}}


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """100,000 documents of 2 kB (200 MB) are read with less than 60 MB more than none."""
    path = tmp_path / "x.jsonl"
    text = "word " * 400
    with path.open("w") as file:
        for row in range(100_000):
            file.write(f'{{"_id": "document {row}", "text": "{text}"}}\n')
    code = (
        "import resource, sys\n"
        "from attar.retrieval.sources import read_source\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "count = sum(1 for _ in read_source(sys.argv[1]))\n"
        "print(count, peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    count, megabytes = done.stdout.split()
    assert int(count) == 100_000 and float(megabytes) < 60
