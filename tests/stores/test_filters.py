"""The filter dialect against a plain reading of it in Python, and against hostile input."""

import json
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attar
from attar.stores.disk.catalog import SCHEMA
from attar.stores.filters.attributes import attributes
from attar.stores.filters.dialect import check_filter, matching
from attar.stores.store import Store
from tests.stores.worlds import DIM, documents, names

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, -1.5, 1.0, 2.0**60]),
    st.sampled_from(["", "a", "b", "ab", "é", "1", "x' OR 1=1 --", "%", "\x00"]),
)
KEYS = st.sampled_from(["k", "l", "m.n", "'; DROP TABLE documents; --", "k\x00", "$x y"])
FIELDS = KEYS.filter(lambda key: not key.startswith("$"))
METADATA = st.dictionaries(
    KEYS,
    st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(KEYS, SCALARS, max_size=2)),
    max_size=4,
)
ORDERED = st.one_of(st.integers(-3, 3), st.floats(-4, 4), st.sampled_from(["a", "b", "é"]))
COMPARISON = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$contains"]), SCALARS),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ORDERED),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, min_size=1, max_size=4)),
    st.tuples(st.just("$between"), st.tuples(st.integers(-3, 0), st.floats(0, 3))),
    st.tuples(st.just("$exists"), st.booleans()),
)
LEAF = st.one_of(
    st.dictionaries(FIELDS, SCALARS, min_size=1, max_size=2),
    st.dictionaries(
        FIELDS, st.lists(COMPARISON, min_size=1, max_size=2).map(dict), min_size=1, max_size=2
    ),
)
FILTERS = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"$and": some}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"$or": some}),
        inner.map(lambda one: {"$not": one}),
    ),
    max_leaves=6,
)


def kind(value):
    if value is None or isinstance(value, bool):
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__


def flat(metadata, prefix=""):
    """All (path, value) pairs; lists and objects are values too."""
    for key, value in (metadata or {}).items():
        yield prefix + key, value
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")


def same(a, b):
    return kind(a) == kind(b) and a == b


def compare(value, operator, wanted):
    if operator in ("$eq", "$ne"):
        return same(value, wanted)
    if operator in ("$in", "$nin"):
        return any(same(value, one) for one in wanted)
    if operator == "$contains":
        return isinstance(value, list) and any(same(item, wanted) for item in value)
    if operator == "$exists":
        return True
    if operator == "$between":
        return compare(value, "$gte", wanted[0]) and compare(value, "$lte", wanted[1])
    if kind(value) != kind(wanted) or isinstance(value, list | dict):
        return False
    a, b = (v.encode() if isinstance(v, str) else v for v in (value, wanted))
    return {"$gt": a > b, "$gte": a >= b, "$lt": a < b, "$lte": a <= b}[operator]


def holds(filter, metadata):
    for key, value in filter.items():
        if key == "$and":
            good = all(holds(one, metadata) for one in value)
        elif key == "$or":
            good = any(holds(one, metadata) for one in value)
        elif key == "$not":
            good = not holds(value, metadata)
        else:
            wanted = value if isinstance(value, dict) else {"$eq": value}
            good = all(field(metadata, key, *pair) for pair in wanted.items())
        if not good:
            return False
    return True


def field(metadata, key, operator, wanted):
    found = any(path == key and compare(v, operator, wanted) for path, v in flat(metadata))
    negated = operator in ("$ne", "$nin") or (operator == "$exists" and not wanted)
    return found != negated


def catalog(all_metadata):
    connection = sqlite3.connect(":memory:")
    for statement in SCHEMA:
        connection.execute(statement)
    for row, metadata in enumerate(all_metadata):
        found = attributes(None if metadata is None else json.dumps(metadata))
        rows = [(*one, row) for one in found]
        connection.executemany("INSERT INTO attributes VALUES(?, ?, ?, ?)", rows)
    return connection


@given(st.lists(st.none() | METADATA, max_size=8), FILTERS)
@settings(deadline=None, max_examples=250)
def test_filters_mean_what_they_say(all_metadata, filter):
    connection = catalog(all_metadata)
    everything = np.arange(len(all_metadata))
    got = matching(filter, connection, lambda: everything).tolist()
    connection.close()
    assert got == [i for i, metadata in enumerate(all_metadata) if holds(filter, metadata)]


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["$and", "$or", "$not", "$in", "$gt", "$where", "k", ""])
            | st.text(max_size=3),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@given(JUNK)
@settings(deadline=None, max_examples=300)
def test_any_junk_is_an_answer_or_a_value_error(filter):
    connection = catalog([{"k": 1}])
    try:
        matching(filter, connection, lambda: np.arange(1))
        check_filter(filter)
    except ValueError as error:
        assert "got" in str(error) or "has" in str(error) or "nest" in str(error)
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        ([], "non-empty object"),
        ({"$where": "1=1"}, r"\$where"),
        ({"$and": []}, "non-empty list"),
        ({"$or": {"a": 1}}, "non-empty list"),
        ({"a": {}}, "empty comparison"),
        ({"a": {"$regex": "x"}}, r"\$regex"),
        ({"a": {"$gt": True}}, "Only numbers and strings"),
        ({"a": {"$gt": None}}, "Only numbers and strings"),
        ({"a": [1]}, r"\$contains"),
        ({"a": {"$eq": {"b": 1}}}, "nested fields a dot"),
        ({"a": float("nan")}, "finite"),
        ({"a": {"$in": "ab"}}, "non-empty list"),
        ({"a": {"$between": [1, "b"]}}, "both"),
        ({"a": {"$between": [1]}}, "1 values"),
        ({"a": {"$exists": 1}}, "true or false"),
        ({1: 2}, "strings"),
        ({"\ud800": 2}, "surrogates"),
        ({"a": "\ud800"}, "surrogates"),
        ({"a": {"$in": list(range(100_001))}}, "at most 100000"),
    ],
)
def test_bad_filters_say_the_rule(filter, says):
    with pytest.raises(ValueError, match=says):
        check_filter(filter)


def test_deep_filters_are_refused_not_a_crash():
    filter = {"a": 1}
    for _ in range(100_000):
        filter = {"$not": filter}
    with pytest.raises(ValueError, match="64 deep"):
        check_filter(filter)


def test_huge_numbers_compare():
    connection = catalog([{"n": 10**400}, {"n": 2**63}, {"n": 2**63 - 1}, {"n": -(10**400)}])
    everything = np.arange(4)

    def ask(filter):
        return matching(filter, connection, lambda: everything).tolist()

    assert ask({"n": {"$gt": 2**62}}) == [0, 1, 2]
    assert ask({"n": {"$lt": 0}}) == [3]
    assert ask({"n": 2**63 - 1}) == [2]
    connection.close()


def test_numpy_values_and_upserts_and_deletes_keep_the_index(tmp_path):
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        notes = [{"n": i, "tags": ["even"] if i % 2 == 0 else []} for i in range(6)]
        store.add(names(6), documents(6), metadata=notes)
        assert search_ids(store, {"n": {"$gte": np.int64(4)}}) == {"d4", "d5"}
        assert search_ids(store, {"tags": {"$contains": "even"}}) == {"d0", "d2", "d4"}
        store.upsert(["d4"], documents(1), metadata=[{"n": 9}])
        store.delete(["d0"])
        assert search_ids(store, {"tags": {"$contains": "even"}}) == {"d2"}
        assert search_ids(store, {"n": {"$ne": 9}}) == {"d1", "d2", "d3", "d5"}
        assert store.verify().whole


def search_ids(store, filter):
    return set(store.search(np.ones(DIM), k=99, filter=filter).ids[0])
