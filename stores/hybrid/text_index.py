"""BM25 over the texts of a store: an FTS5 table in its catalog, changed in the same transactions.

The table keeps no texts of its own. A question becomes its words, each quoted, joined by OR:
nothing in it is read as query syntax.
"""

import re
import sqlite3
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOKENS = "tokenize='unicode61 remove_diacritics 2'"
TABLE = f"CREATE VIRTUAL TABLE words USING fts5(text, content='', {_TOKENS})"
TABLE_1 = (
    "CREATE VIRTUAL TABLE words USING fts5(text, content='documents', content_rowid='row', "
    f"{_TOKENS})"
)
"""In stores of format 1."""
SHADOWS = (
    "CREATE TABLE 'words_data'(id INTEGER PRIMARY KEY, block BLOB)",
    "CREATE TABLE 'words_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID",
    "CREATE TABLE 'words_docsize'(id INTEGER PRIMARY KEY, sz BLOB)",
    "CREATE TABLE 'words_config'(k PRIMARY KEY, v) WITHOUT ROWID",
)
MOST_WORDS = 256

_WORD = re.compile(r"\w+")


def build(connection: sqlite3.Connection, rows: Iterable[tuple[int, str | None]]) -> None:
    """Make the table from all documents (slot, text)."""
    connection.execute(TABLE)
    insert(connection, rows)


def insert(connection: sqlite3.Connection, rows: Iterable[tuple[int, str | None]]) -> None:
    """Index new documents (slot, text)."""
    connection.executemany("INSERT INTO words(rowid, text) VALUES(?, ?)", rows)


def remove(connection: sqlite3.Connection, rows: Iterable[tuple[int, str | None]]) -> None:
    """Take documents out; FTS5 needs the very text that was indexed."""
    connection.executemany("INSERT INTO words(words, rowid, text) VALUES('delete', ?, ?)", rows)


def match_expression(question: str) -> str:
    """An FTS5 expression for the words of a question; empty when there are none."""
    words = list(dict.fromkeys(_WORD.findall(question)))[:MOST_WORDS]
    return " OR ".join(f'"{word}"' for word in words)


def rank(
    connection: sqlite3.Connection, question: str, limit: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Slots and BM25 scores (higher is better) of the best documents; None ranks all matches."""
    expression = match_expression(question)
    if not expression:
        return np.zeros(0, np.int64), np.zeros(0)
    sql = "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid"
    parameters: tuple[Any, ...] = (expression,)
    if limit is not None:
        sql, parameters = f"{sql} LIMIT ?", (expression, limit)
    rows = connection.execute(sql, parameters).fetchall()
    slots = np.fromiter((slot for slot, _ in rows), np.int64, len(rows))
    return slots, np.fromiter((score for _, score in rows), np.float64, len(rows))
