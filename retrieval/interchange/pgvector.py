"""Tables of PostgreSQL with a column of pgvector."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.interchange.arrays import ID_NAMES, TEXT_NAMES
from attar.retrieval.interchange.collection import Collection, from_row, the_one
from attar.stores.transfer.rows import BATCH, Rows

FORMS = ("vector", "halfvec")
BODIES = (*TEXT_NAMES, "body")
NOTES = ("metadata", "cmetadata", "meta")


def open_pgvector(dsn: str, table: str | None = None, metric: str = "cosine") -> Collection:
    """A table with one column of vectors (vector or halfvec), read through one cursor.

    Columns are found by name: `id`, `text` | `document` | `content` | `body`; a JSON column
    `metadata` | `cmetadata` | `meta` is metadata, and so are all other columns that JSON can write.
    table: its name, with a schema if need be; None where the database has one such table.
    """
    psycopg = require("psycopg", "pgvector")
    try:
        link = psycopg.connect(dsn, autocommit=True)
    except psycopg.OperationalError as error:
        raise ConnectionError(
            f"PostgreSQL does not answer: {str(error).strip()}. Check that the server runs, and "
            "host, user and password."
        ) from error
    found = link.execute(
        "SELECT a.attrelid::regclass::text, a.attname FROM pg_attribute a "
        "JOIN pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE t.typname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0",
        [list(FORMS)],
    ).fetchall()
    name = the_one("PostgreSQL", "that database", sorted({row[0] for row in found}), table)
    columns = [row[1] for row in found if row[0] == name]
    if len(columns) > 1:
        raise ValueError(f"{name} has the vectors {', '.join(columns)}; give a view with one.")
    place = psycopg.sql.Identifier(*name.replace('"', "").split("."))
    names = [
        one.name
        for one in link.execute(_select(psycopg, "SELECT * FROM {} LIMIT 0", place)).description
    ]
    key = next((one for one in ID_NAMES if one in names), None)
    if key is None:
        raise ValueError(f"{name} has the columns {', '.join(names)}; one is named id.")
    shape = link.execute(
        psycopg.sql.SQL(
            "SELECT vector_dims({v}), (SELECT count(*) FROM {t}) FROM {t} LIMIT 1"
        ).format(v=psycopg.sql.Identifier(columns[0]), t=place)
    ).fetchone()
    if shape is None:
        raise ValueError(f"The table {name} is empty; there is nothing to read.")
    size = link.execute("SELECT pg_total_relation_size(%s::regclass)", [name]).fetchone()
    ask = psycopg.sql.SQL("SELECT * FROM {t} ORDER BY {k}").format(
        t=place, k=psycopg.sql.Identifier(key)
    )

    def read() -> Iterator[Rows]:
        # A cursor on the server: nothing is held here but a batch.
        with psycopg.connect(dsn) as own, own.cursor("attar") as cursor:
            cursor.itersize = BATCH
            cursor.execute(ask)
            while rows := cursor.fetchmany(BATCH):
                yield _rows([dict(zip(names, row, strict=True)) for row in rows], key, columns[0])

    all_bytes = int(size[0]) if size else None
    return Collection(
        "pgvector", name, metric, int(shape[0]), int(shape[1]), all_bytes, all_bytes,
        lambda start: from_row(read(), start),
    )  # fmt: skip


def _select(psycopg: Any, text: str, place: Any) -> Any:
    return psycopg.sql.SQL(text).format(place)


def _rows(records: list[dict[str, Any]], key: str, column: str) -> Rows:
    vectors = np.array(
        [
            np.fromstring(str(record.pop(column)).strip("[]"), np.float32, sep=",")
            for record in records
        ]
    )
    ids = [str(record.pop(key)) for record in records]
    body = next((name for name in BODIES if records and name in records[0]), None)
    texts = [None if body is None else record.pop(body) for record in records]
    return Rows(ids, vectors, texts, [_note(record) for record in records])


def _note(record: dict[str, Any]) -> dict[str, Any] | None:
    """Metadata of what is left of a record."""
    note: dict[str, Any] = {}
    for name, value in record.items():
        if name in NOTES and isinstance(value, dict):
            note |= value
        elif isinstance(value, str | int | float | bool):
            note[name] = value
        elif value is not None:
            note[name] = str(value)
    return note or None
