"""PostgreSQL with the extension pgvector: one table, half precision by default.

The table has the columns id (text, primary key), body, meta (jsonb) and vector; any SQL client may
use it too. Filters become SQL over `meta`, values always as parameters.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from attar.stores.engines.conditions import All, AnyOf, Condition, Leaf, condition
from attar.stores.engines.engine import Engine, check_dtype, in_order, need
from attar.stores.transfer.rows import BATCH, Rows
from attar.stores.types import Float32

TYPES = {"float16": "halfvec", "float32": "vector"}
INDEXES = ("none", "hnsw", "bits")
ORDERS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
INDEXED = {"halfvec": 4000, "vector": 2000}
"""Dimensions that pgvector's hnsw takes; bits take 64,000."""
ID_BYTES = 2600
"""Of an id: the index of the primary key takes a third of a page."""
RESCORED = 20
"""Candidates of the bit index per hit, rescored with the stored vectors."""


class PgVectorEngine(Engine):
    """A table of a PostgreSQL server, made when it does not exist.

    dsn: a connection string of psycopg. table: its name. dim: dimensions e. dtype: float16
    (halfvec) or float32. Raises ValueError when the table exists with another type or dimension.
    """

    def __init__(self, dsn: str, table: str, dim: int, dtype: str = "float16") -> None:
        psycopg = need("psycopg", "psycopg[binary]")
        self._sql = need("psycopg.sql", "psycopg[binary]")
        self.dim, self.dtype = dim, check_dtype(dtype, self.TYPES)
        self._type = f"{TYPES[dtype]}({dim})"
        self._table = self._sql.Identifier(table)
        try:
            self._link = psycopg.connect(dsn)
        except psycopg.OperationalError as error:
            raise ConnectionError(
                f"PostgreSQL does not answer: {str(error).strip()}. Check that the server runs, "
                "and host, user and password of the dsn."
            ) from error
        try:
            self._make(table)
        except BaseException:
            self._link.close()
            raise

    def _make(self, table: str) -> None:
        with self._link.transaction():
            self._link.execute("CREATE EXTENSION IF NOT EXISTS vector")
            self._run(
                "CREATE TABLE IF NOT EXISTS {table} (id text PRIMARY KEY, body text, meta jsonb, "
                "vector " + self._type + " NOT NULL)"
            )
            has = self._link.execute(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = "
                "'vector' AND attrelid = %s::regclass",
                [self._table.as_string(self._link)],
            ).fetchone()
            self._index = self._found_index()
        if has is None or has[0] != self._type:
            raise ValueError(
                f"The table {table!r} exists with vectors of type {has and has[0]}, asked was "
                f"{self._type}. Choose another table, or the dimension and dtype that it has."
            )

    def _found_index(self) -> str:
        """The kind of index that the table has already."""
        name = self._index_name().strip('"')
        query = "SELECT indexdef FROM pg_indexes WHERE indexname = %s"
        row = self._link.execute(query, [name]).fetchone()
        if row is None:
            return "none"
        return "bits" if "bit_hamming_ops" in row[0] else "hnsw"

    @property
    def indexed(self) -> str:
        """none, hnsw or bits: what `index` built, here or earlier."""
        return self._index

    def _run(self, text: str, *values: Any) -> Any:
        return self._link.execute(self._sql.SQL(text).format(table=self._table), values or None)

    def index(self, kind: str) -> None:
        """Build an index: hnsw over the vectors, bits (hnsw over signs, rescored), or none.

        With an index searches are approximate; filters scan it until k hits are found.
        """
        if kind not in INDEXES:
            raise ValueError(f"An index is one of {', '.join(INDEXES)}; got {kind!r}.")
        if kind == "bits" and self.dtype != "float16":
            raise ValueError("The index of bits is built over float16 vectors.")
        most = INDEXED[TYPES[self.dtype]] if kind == "hnsw" else 64_000
        if kind != "none" and self.dim > most:
            raise ValueError(
                f"pgvector's index {kind} over {TYPES[self.dtype]} takes up to {most:,} "
                f"dimensions, the table has {self.dim:,}. Reduce the vectors, or search without "
                "an index."
            )
        expression = {
            "hnsw": f"(vector {TYPES[self.dtype]}_ip_ops)",
            "bits": f"((binary_quantize(vector)::bit({self.dim})) bit_hamming_ops)",
        }
        with self._link.transaction():
            self._link.execute("DROP INDEX IF EXISTS " + self._index_name())
            if kind != "none":
                self._run(
                    f"CREATE INDEX {self._index_name()} ON {{table}} USING hnsw {expression[kind]}"
                )
            self._index = kind
        with self._link.transaction():
            self._run("ANALYZE {table}")

    def _index_name(self) -> str:
        name: str = self._table.as_string(self._link).strip('"') + "_vector"
        quoted: str = self._sql.Identifier(name).as_string(self._link)
        return quoted

    def _existing(self, ids: Sequence[str]) -> set[str]:
        with self._link.transaction():
            rows = self._run("SELECT id FROM {table} WHERE id = ANY(%s)", list(ids)).fetchall()
        return {row[0] for row in rows}

    def _checked(self, rows: Rows) -> Rows:
        checked = super()._checked(rows)
        for name, text, note in zip(checked.ids, checked.texts, checked.metadata, strict=True):
            if "\0" in name or "\0" in (text or "") or "\\u0000" in json.dumps(note):
                raise ValueError(
                    f"PostgreSQL holds no NUL characters; id {name!r:.80} has one. Remove it."
                )
            if (size := len(name.encode())) > ID_BYTES:
                raise ValueError(
                    f"PostgreSQL's primary key takes ids of up to {ID_BYTES:,} bytes; {name!r:.80} "
                    f"has {size:,}. Use a hash of it."
                )
        return checked

    def _insert(self, rows: Rows) -> None:
        copy = self._sql.SQL("COPY {table} (id, body, meta, vector) FROM STDIN").format(
            table=self._table
        )
        with self._link.transaction(), self._link.cursor() as cursor, cursor.copy(copy) as out:
            for name, text, note, x in zip(
                rows.ids, rows.texts, rows.metadata, rows.vectors, strict=True
            ):
                meta = None if note is None else json.dumps(note, ensure_ascii=False)
                out.write_row((name, text, meta, _spelled(x)))

    def _ask(
        self, query: Float32, k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[str, float]]:
        where, values = ("TRUE", []) if filter is None else _where(condition(filter))
        vector = f"%s::{TYPES[self.dtype]}({self.dim})"
        best = f'ORDER BY vector <#> {vector}, id COLLATE "C" LIMIT %s'
        source, inner = f"{{table}} WHERE {where}", values
        if self._index == "bits":
            near = f"binary_quantize(vector)::bit({self.dim}) <~> binary_quantize({vector})"
            source = f"(SELECT * FROM {{table}} WHERE {where} ORDER BY {near} LIMIT %s) AS near"
            inner = [*values, _spelled(query), RESCORED * k]
        spelled = _spelled(query)
        with self._link.transaction():
            if self._index == "none":
                self._link.execute("SET LOCAL enable_indexscan = off")
            else:
                self._link.execute("SET LOCAL hnsw.iterative_scan = strict_order")
                self._link.execute(
                    f"SET LOCAL hnsw.ef_search = {min(1000, max(100, RESCORED * k))}"
                )
            rows = self._run(
                f"SELECT id, -(vector <#> {vector}) FROM {source} {best}",
                spelled,
                *inner,
                spelled,
                k,
            ).fetchall()
        return [(name, float(score)) for name, score in rows]

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents; unknown ids are no error."""
        with self._link.transaction():
            self._run("DELETE FROM {table} WHERE id = ANY(%s)", list(ids))

    def get(self, ids: Sequence[str]) -> Rows:
        """Documents by id, in the order of `ids`."""
        with self._link.transaction():
            rows = self._run(
                "SELECT id, body, meta, vector::text FROM {table} WHERE id = ANY(%s)", list(ids)
            ).fetchall()
        found = {name: (json.loads(x), body, meta) for name, body, meta, x in rows}
        return in_order(ids, found, self.dim)

    def pull(self) -> Iterator[Rows]:
        """All documents, sorted by the UTF-8 bytes of their ids."""
        last = ""
        while True:
            with self._link.transaction():
                rows = self._run(
                    'SELECT id, body, meta, vector::text FROM {table} WHERE id COLLATE "C" > %s '
                    'ORDER BY id COLLATE "C" LIMIT %s',
                    last,
                    BATCH,
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            vectors = np.array([json.loads(row[3]) for row in rows], np.float32)
            yield Rows([r[0] for r in rows], vectors, [r[1] for r in rows], [r[2] for r in rows])

    def _read_mark(self) -> str | None:
        with self._link.transaction():
            name = self._table.as_string(self._link)
            row = self._link.execute("SELECT obj_description(%s::regclass)", [name]).fetchone()
        mark: str | None = row[0]
        return mark

    def _write_mark(self, mark: str) -> None:
        spelled = self._sql.Literal(mark).as_string(self._link)
        with self._link.transaction():
            self._run(
                f"COMMENT ON TABLE {{table}} IS {spelled.replace('{', '{{').replace('}', '}}')}"
            )

    def __len__(self) -> int:
        with self._link.transaction():
            return int(self._run("SELECT count(*) FROM {table}").fetchone()[0])

    def bytes_on_disk(self) -> int:
        """Table, indexes and what is stored beside them."""
        with self._link.transaction():
            query = "SELECT pg_total_relation_size(%s::regclass)"
            name = self._table.as_string(self._link)
            return int(self._link.execute(query, [name]).fetchone()[0])

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


def _spelled(x: Float32) -> str:
    return "[" + ",".join(map(str, x.tolist())) + "]"


def _where(node: Condition) -> tuple[str, list[Any]]:
    """SQL that is true or false, never null, and its values."""
    if isinstance(node, Leaf):
        return _leaf(node)
    if isinstance(node, All | AnyOf):
        parts = [_where(part) for part in node.parts]
        joint = " AND " if isinstance(node, All) else " OR "
        return "(" + joint.join(p[0] for p in parts) + ")", [v for p in parts for v in p[1]]
    text, values = _where(node.part)
    return f"(NOT {text})", values


def _leaf(leaf: Leaf) -> tuple[str, list[Any]]:
    path, value = leaf.field.split("."), leaf.value
    value = value.item() if isinstance(value, np.generic) else value
    if leaf.operator == "exists":
        return "(meta #> %s IS NOT NULL)", [path]
    if leaf.operator == "eq":
        return "COALESCE(meta #> %s = %s::jsonb, FALSE)", [path, json.dumps(value)]
    if leaf.operator == "contains":
        return (
            "(CASE WHEN jsonb_typeof(meta #> %s) = 'array' THEN meta #> %s @> %s::jsonb "
            "ELSE FALSE END)",
            [path, path, json.dumps([value])],
        )
    sign = ORDERS[leaf.operator]
    if isinstance(value, str):
        cast, kind = f'(meta #>> %s) COLLATE "C" {sign} %s', "string"
    else:
        cast, kind = f"(meta #>> %s)::numeric {sign} %s", "number"
    return (
        f"(CASE WHEN jsonb_typeof(meta #> %s) = '{kind}' THEN {cast} ELSE FALSE END)",
        [path, path, value],
    )
