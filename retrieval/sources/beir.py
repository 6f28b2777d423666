"""Test collections in BEIR layout (Thakur et al., arXiv 2104.08663): queries and judgements.

corpus.jsonl[.gz]   {"_id", "title", "text"}     text to embed: (title + " " + text).strip()
queries.jsonl[.gz]  {"_id", "text"}
qrels/<split>.tsv   query-id, corpus-id, score, under a header
"""

from pathlib import Path

from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.content import decoded, numbered_lines
from attar.retrieval.sources.fields import valid_id, valid_text
from attar.retrieval.sources.jsonl import JsonlSource, json_objects
from attar.retrieval.sources.source import SourceError


def find_jsonl(folder: Path, stem: str) -> Path | None:
    """`<stem>.jsonl` or `<stem>.jsonl.gz` in a folder."""
    files = (folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz")
    return next((file for file in files if file.is_file()), None)


def beir_corpus(corpus: Path, chunking: Chunking | None) -> JsonlSource:
    """The corpus of a BEIR folder, given its corpus.jsonl[.gz]."""
    return JsonlSource(corpus, ("title", "text"), "_id", chunking, kind="beir")


def read_queries(path: str | Path) -> dict[str, str]:
    """Query id -> text, from a BEIR folder or a .jsonl[.gz] of {"_id", "text"}."""
    place = Path(path)
    file = find_jsonl(place, "queries") if place.is_dir() else place
    if file is None or not file.is_file():
        raise SourceError(
            f"Queries are a BEIR folder or a queries.jsonl[.gz], got {place}; look at the path."
        )
    queries: dict[str, str] = {}
    for number, record in json_objects(file):
        where = f"{file}:{number}"
        name, text = valid_id(record.get("_id", record.get("id")), where), record.get("text")
        if not isinstance(text, str):
            raise SourceError(f"A query has its text in field 'text', got {text!r} at {where}.")
        if name in queries:
            raise SourceError(f"Ids are unique, got the query {name!r} again at {where}.")
        queries[name] = valid_text(text, where)
    return queries


def read_qrels(path: str | Path, split: str = "test") -> dict[str, dict[str, int]]:
    """Query id -> document id -> grade, from a BEIR folder, a BEIR .tsv, or a TREC file.

    A BEIR line is `query document grade` between tabs, under a header; a TREC line is
    `query 0 document grade` between blanks. A pair that is judged twice, differently, is an error.
    """
    place = Path(path)
    file = place / "qrels" / f"{split}.tsv" if place.is_dir() else place
    if not file.is_file():
        raise SourceError(
            f"Judgements are a BEIR folder with qrels/{split}.tsv or a file, got {place}; "
            "look at the path and the split."
        )
    qrels: dict[str, dict[str, int]] = {}
    for number, line in numbered_lines(file):
        text = decoded(line, file, number).rstrip("\r\n")
        if not text.strip() or (number == 1 and text.lower().startswith("query-id")):
            continue
        query, document, grade = _judgement(text, f"{file}:{number}")
        if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise SourceError(
                f"A document is judged once a query, got another grade for {document!r} at "
                f"{file}:{number}; remove one."
            )
    return qrels


def _judgement(text: str, place: str) -> tuple[str, str, int]:
    parts = text.split("\t") if "\t" in text else text.split()
    if len(parts) == 4:
        del parts[1]
    try:
        query, document, grade = parts
        return query, document, int(grade)
    except ValueError as error:
        raise SourceError(
            f"A judgement is query, document and a whole number, got {text[:80]!r} at {place}; "
            "separate them by tabs."
        ) from error
