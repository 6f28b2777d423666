"""LanceDB, in a folder or on object storage: only the URI changes."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from attar.stores.engines.conditions import All, AnyOf, Condition, Leaf, condition
from attar.stores.engines.engine import Engine, check_dtype, in_order, need
from attar.stores.transfer.rows import BATCH, Rows
from attar.stores.types import Float32

KINDS = {"number": (int, float), "string": (str,), "boolean": (bool,)}
ORDERS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
MARK = b"attar"
"""The key of the metadata of the column id that holds the mark."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class LanceEngine(Engine):
    """A table of a LanceDB, made when it does not exist.

    fields: metadata that filters may ask about, name -> number, string or boolean; they become
    columns. All metadata is kept as JSON beside them. options: for `lancedb.connect`, such as
    storage_options.
    """

    def __init__(
        self,
        uri: str,
        table: str,
        dim: int,
        dtype: str = "float16",
        fields: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        lancedb, self._arrow = need("lancedb", "lancedb"), need("pyarrow", "pyarrow")
        self.dim, self.dtype = dim, check_dtype(dtype, self.TYPES)
        self._fields = dict(fields or {})
        for name, kind in self._fields.items():
            if not NAME.fullmatch(name) or kind not in KINDS:
                raise ValueError(
                    f"fields maps names of letters, digits and _ to {', '.join(KINDS)}; got "
                    f"{name!r}: {kind!r}."
                )
        schema = self._schema()
        database = lancedb.connect(str(uri), **options)
        if table in database.list_tables().tables:
            self._table = database.open_table(table)
            if not self._table.schema.equals(schema):
                raise ValueError(
                    f"The table {table!r} of {uri} exists with other columns: "
                    f"{', '.join(f'{f.name} {f.type}' for f in self._table.schema)}. Choose "
                    "another table, or the dim, dtype and fields that it has."
                )
        else:
            self._table = database.create_table(table, schema=schema)

    def _schema(self) -> Any:
        pa = self._arrow
        types = {"number": pa.float64(), "string": pa.string(), "boolean": pa.bool_()}
        item = pa.float16() if self.dtype == "float16" else pa.float32()
        columns = [
            ("id", pa.string()),
            ("body", pa.string()),
            ("meta", pa.string()),
            ("vector", pa.list_(item, self.dim)),
        ]
        return pa.schema(columns + [(f"f_{n}", types[k]) for n, k in self._fields.items()])

    def _checked(self, rows: Rows) -> Rows:
        checked = super()._checked(rows)
        for name, note in zip(checked.ids, checked.metadata, strict=True):
            for field, kind in self._fields.items():
                value = (note or {}).get(field)
                wrong = kind != "boolean" and isinstance(value, bool)
                if field in (note or {}) and (wrong or not isinstance(value, KINDS[kind])):
                    raise ValueError(
                        f"A column holds one type; field {field!r} is declared as {kind}, id "
                        f"{name!r:.80} has {value!r:.80}. Convert it, or leave the field out of "
                        "fields."
                    )
        return checked

    def _existing(self, ids: Sequence[str]) -> set[str]:
        listed = ", ".join(map(_literal, ids))
        found = self._table.search().where(f"id IN ({listed})").select(["id"])
        return set(found.limit(len(ids)).to_arrow().column("id").to_pylist())

    def _insert(self, rows: Rows) -> None:
        pa, schema = self._arrow, self._schema()
        flat = pa.array(rows.vectors.astype(self.dtype).ravel())
        notes = rows.metadata
        meta = [None if m is None else json.dumps(m, ensure_ascii=False) for m in notes]
        columns = [rows.ids, rows.texts, meta, pa.FixedSizeListArray.from_arrays(flat, self.dim)]
        for name, kind in self._fields.items():
            values = [(m or {}).get(name) for m in notes]
            if kind == "number":
                values = [None if v is None else float(v) for v in values]
            columns.append(values)
        self._table.add(pa.table(columns, schema=schema))

    def _ask(
        self, query: Float32, k: int, filter: Mapping[str, Any] | None
    ) -> list[tuple[str, float]]:
        asked = self._table.search(query, vector_column_name="vector").metric("dot")
        if filter is not None:
            asked = asked.where(self._where(condition(filter)), prefilter=True)
        found = asked.select(["id", "_distance"]).limit(k).to_arrow().to_pydict()
        # Lance's distance for dot is 1 - <q, x>.
        ranking = [
            (name, 1.0 - distance)
            for name, distance in zip(found["id"], found["_distance"], strict=True)
        ]
        return sorted(ranking, key=lambda one: (-one[1], one[0].encode()))

    def _where(self, node: Condition) -> str:
        if isinstance(node, All | AnyOf):
            joint = " AND " if isinstance(node, All) else " OR "
            return "(" + joint.join(self._where(part) for part in node.parts) + ")"
        if not isinstance(node, Leaf):
            return f"(NOT {self._where(node.part)})"
        field, operator, value = node.field, node.operator, node.value
        value = value.item() if isinstance(value, np.generic) else value
        if field not in self._fields:
            raise ValueError(
                f"Filters ask about declared fields ({', '.join(self._fields) or 'none'}), got "
                f"{field!r}. Make the table with fields={{{field!r}: …}}."
            )
        if operator == "contains" or value is None:
            what = "$contains" if operator == "contains" else "a comparison with null"
            raise ValueError(f"Columns hold single values; {what} ({field!r}) cannot be asked.")
        if operator == "exists":
            return f"(f_{field} IS NOT NULL)"
        kind = self._fields[field]
        typed = isinstance(value, bool) == (kind == "boolean") and isinstance(value, KINDS[kind])
        if not typed:
            # Comparison is typed: another type never matches.
            return "(FALSE)"
        sign = "=" if operator == "eq" else ORDERS[operator]
        return f"COALESCE(f_{field} {sign} {_literal(value)}, FALSE)"

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents; unknown ids are no error."""
        if ids:
            self._table.delete(f"id IN ({', '.join(map(_literal, ids))})")

    def pull(self) -> Iterator[Rows]:
        """All documents, sorted by id. The ids are held in memory, the rest is read in batches."""
        names = self._table.search().select(["id"]).limit(len(self) or 1).to_arrow()
        ids = sorted(names.column("id").to_pylist(), key=str.encode)
        for start in range(0, len(ids), BATCH):
            yield self.get(ids[start : start + BATCH])

    def get(self, ids: Sequence[str]) -> Rows:
        """Documents by id, in the order of `ids`."""
        listed = ", ".join(map(_literal, ids)) or "''"
        asked = self._table.search().where(f"id IN ({listed})").limit(max(1, len(ids)))
        found = {
            row["id"]: (row["vector"], row["body"], row["meta"] and json.loads(row["meta"]))
            for row in asked.to_arrow().to_pylist()
        }
        return in_order(ids, found, self.dim)

    def _read_mark(self) -> str | None:
        kept = self._table.schema.field("id").metadata or {}
        return kept[MARK].decode() if MARK in kept else None

    def _write_mark(self, mark: str) -> None:
        self._table.update_field_metadata({"path": "id", "metadata": {MARK.decode(): mark}})

    def __len__(self) -> int:
        return int(self._table.count_rows())

    def close(self) -> None:
        """Nothing is held open."""


def _literal(value: object) -> str:
    """A value as SQL: strings quoted, quotes doubled."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(float(str(value)))
