"""Stores made by somebody else: whatever the files say, only declared errors come out."""

import json
import shutil
import sqlite3
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attar
from attar.stores.disk.repair import repair
from attar.stores.disk.seal import Seal, write_seal
from attar.stores.disk.segment import MAGIC, Segment
from attar.stores.disk.verify import verify
from attar.stores.errors import StoreError
from attar.stores.store import Store
from tests.stores.worlds import documents, names, pack_early, reopen


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "whole"
    words = "text of a document that somebody else has put into a store"
    with pytest.MonkeyPatch.context() as patch:
        pack_early(patch.setattr)
        _fill(path, [f"{words} {i}" for i in range(40)])
    return path


def _fill(path, texts):
    with Store.create(path, attar.codec("int8"), metric="l2", text_index=True) as store:
        store.add(names(40), documents(40), texts, [{"n": i} for i in range(40)])
        store.delete(["d3"])
        store.compact()
        assert store._library.texts.newest() == 1


def use(path):
    """Everything a reader does; returns whether it worked."""
    try:
        with reopen(path) as store:
            store.search(documents(2), k=5, filter={"n": {"$gt": 2}})
            list(store.iter(vectors=True))
            store.search(text="text", alpha=0)
            store.info()
    except (StoreError, OSError):
        return False
    return True


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**40), 2**40),
    st.sampled_from([-1, 0, 1, 2**62, -(2**63)]),
    st.floats(),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.sampled_from(["../../etc/passwd", "a.seg", "{}", "[]", "null", '{"shape": [1]}', "codes"]),
)
CELLS = st.sampled_from(
    [
        ("segments", c)
        for c in ("kind file first_row last_row rows codec fingerprint nbytes header_crc".split())
    ]
    + [("meta", "value"), ("documents", "row"), ("documents", "id"), ("documents", "crc")]
    + [("documents", "text"), ("documents", "metadata"), ("tombstones", "row")]
    + [("codecs", "hash"), ("codecs", "spec"), ("attributes", "row")]
    + [("dictionaries", c) for c in ("dictionary", "copy", "crc", "content")]
)


@given(CELLS, VALUES, st.integers(0, 30))
@settings(deadline=None, max_examples=120)
def test_any_cell_of_the_catalog_may_lie(whole, tmp_path_factory, cell, value, which):
    path = tmp_path_factory.mktemp("cell") / "s"
    shutil.copytree(whole, path)
    table, column = cell
    connection = sqlite3.connect(path / "catalog.sqlite")
    keys = {"meta": "key", "codecs": "hash", "attributes": "row"}
    key = keys.get(table, "rowid")
    try:
        found = connection.execute(f"SELECT {key} FROM {table} ORDER BY {key}").fetchall()
        chosen = found[which % len(found)][0] if found else None
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, chosen))
        connection.commit()
    except (sqlite3.Error, OverflowError):
        pass
    finally:
        connection.close()
    write_seal(path, Seal(1), durable=False)
    use(path)
    verify(path)
    try:
        repair(path, attar.load_codec)
    except (StoreError, OSError):
        return
    use(path)


HEADERS = st.recursive(
    st.one_of(st.none(), st.integers(-5, 2**40), st.text(max_size=8), st.just("object")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["kind", "rows", "fields", "name", "dtype", "width", "offset", "nbytes"]
            ),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["codes", "x"]),
        "dtype": st.sampled_from(["uint8", "float32", "object", "O", "U4", "V8", "int8,int8"]),
        "width": st.integers(-3, 40) | st.just(2**50),
        "offset": st.integers(-64, 400),
        "nbytes": st.integers(-3, 400),
    }
)
PLAUSIBLE = st.fixed_dictionaries(
    {
        "kind": st.just("codes"),
        "rows": st.integers(-2, 20) | st.just(2**50),
        "fields": st.lists(FIELDS, max_size=2),
    }
)


@given(HEADERS | PLAUSIBLE, st.binary(max_size=60), st.integers(0, 3), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=200)
def test_any_segment_header_is_read_or_refused(tmp_path_factory, header, tail, blocks, length):
    path = tmp_path_factory.mktemp("segment") / "a.seg"
    text = json.dumps(header).encode()
    size = length if length % 3 == 0 else len(text)
    head = struct.pack("<8sIII", MAGIC, 1, size, blocks) + text + tail[: 4 * blocks]
    content = head.ljust(-(-len(head) // 64) * 64, b"\0") + tail
    path.write_bytes(content)
    crc = zlib.crc32(content[: -(-(20 + size + 4 * blocks) // 64) * 64])
    try:
        segment = Segment(path, len(content), crc)
        segment.verify()
        for field in segment.fields:
            segment.array(field.name)
            segment.take(field.name, np.arange(segment.rows))
    except StoreError:
        return


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=60)
def test_any_catalog_bytes_are_refused(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise")
    (path / "catalog.sqlite").write_bytes(noise)
    with pytest.raises(StoreError):
        reopen(path)
    with pytest.raises(StoreError):
        repair(path)


def test_triggers_and_views_are_refused(whole, tmp_path):
    for statement in (
        "CREATE TRIGGER evil AFTER INSERT ON documents BEGIN DELETE FROM segments; END",
        "CREATE VIEW evil AS SELECT * FROM documents",
        "CREATE TABLE extra(x)",
    ):
        path = tmp_path / "s"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole, path)
        connection = sqlite3.connect(path / "catalog.sqlite")
        connection.execute(statement)
        connection.close()
        write_seal(path, Seal(1), durable=False)
        with pytest.raises(StoreError, match="does not make"):
            reopen(path)


def test_links_and_names_do_not_lead_outside(whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole, path)
    secret = tmp_path / "secret.seg"
    secret.write_bytes(b"secret")
    connection = sqlite3.connect(path / "catalog.sqlite")
    connection.execute("UPDATE segments SET file = '../../secret.seg'")
    connection.commit()
    connection.close()
    write_seal(path, Seal(1), durable=False)
    with pytest.raises(StoreError, match="names a segment"):
        reopen(path)
    assert Path(secret).read_bytes() == b"secret"
