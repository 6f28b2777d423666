"""Archives that somebody else wrote: unpacked whole or refused with a sentence, nothing left."""

import json
import random
import shutil

import pytest

import attar
from attar.retrieval.archive.packed_codes import PackedCodes, compress, expand, pack_codes
from attar.retrieval.archive.packed_store import _HEAD, pack, unpack
from tests.stores.worlds import documents, names

VALUES = [None, -1, 0, 1, 1 << 40, 1 << 70, "x", "../../etc/x", "/etc/x", "a\0b", "", [], {}, 1.5]
VALUES += [True, "segment", "file", "commit"]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    x = documents(300)
    with attar.Store.create(folder / "s", attar.codec("waterfill").fit(x)) as store:
        store.add(names(300), x, [f"text {i}" for i in range(300)])
    pack(folder / "s", folder / "a")
    return (folder / "a").read_bytes()


def parts(content):
    magic, version, length = _HEAD.unpack_from(content)
    end = _HEAD.size + length
    return magic, version, json.loads(expand(content[_HEAD.size : end])), content[end:]


def joined(magic, version, table, body):
    text = compress(table if isinstance(table, bytes) else json.dumps(table).encode())
    return _HEAD.pack(magic, version, len(text)) + text + body


def mutant(content, draw):
    kind = draw.randrange(6)
    if kind == 0:
        return content[: draw.randrange(len(content))]
    if kind == 1:
        some = bytearray(content)
        place = draw.randrange(8 * len(some))
        some[place // 8] ^= 1 << place % 8
        return bytes(some)
    magic, version, table, body = parts(content)
    entry = draw.choice(table["files"])
    if kind == 2:
        entry[draw.choice(["path", "size", "sha256", "kind", "nbytes", "codes"])] = draw.choice(
            VALUES
        )
    elif kind == 3:
        del entry[draw.choice(sorted(entry))]
    elif kind == 4:
        table = draw.choice(
            [None, [], {}, {"files": [1]}, {"files": [{}]}, {"files": {}}, b"[" * 10**5]
        )
    else:
        entry["path"] = draw.choice(table["files"])["path"]
    return joined(magic, version, table, body)


def test_mutants_are_unpacked_whole_or_refused(content, tmp_path):
    draw, refused = random.Random(7), 0
    for turn in range(200):
        (tmp_path / "m").write_bytes(mutant(content, draw))
        try:
            unpack(tmp_path / "m", tmp_path / "out")
        except ValueError as error:
            refused += 1
            assert "rchive" in str(error), error
            assert not list(tmp_path.glob("out*"))
            continue
        # What a mutant may change without being seen: nothing but the names of files.
        assert len([p for p in (tmp_path / "out").rglob("*") if p.is_file()]) >= 3, turn
        shutil.rmtree(tmp_path / "out")
    assert 150 < refused < 200
    assert {p.name for p in tmp_path.iterdir()} == {"m"}


@pytest.mark.parametrize("path", ["../out", "/tmp/x", "a/../../b", "", "a\0b", "."])
def test_no_file_lands_outside(content, tmp_path, path):
    magic, version, table, body = parts(content)
    table["files"][0]["path"] = path
    (tmp_path / "m").write_bytes(joined(magic, version, table, body))
    with pytest.raises(ValueError, match="outside of the store"):
        unpack(tmp_path / "m", tmp_path / "in" / "store")
    assert not list(tmp_path.rglob("store*"))


def test_a_bomb_is_not_unfolded(content, tmp_path):
    """A million zeros are forty bytes of zstd: sizes are compared before memory is taken."""
    magic, version, table, _ = parts(content)
    bomb = compress(bytes(1 << 20))
    table["files"] = [{**table["files"][0], "kind": "file", "size": 100, "nbytes": len(bomb)}]
    (tmp_path / "m").write_bytes(joined(magic, version, table, bomb))
    with pytest.raises(ValueError, match="1048576 bytes where 100 fit"):
        unpack(tmp_path / "m", tmp_path / "out")


def test_mutants_of_packed_codes_are_read_or_refused():
    x = documents(300)
    codec = attar.codec("waterfill").fit(x)
    good, draw, refused = pack_codes(codec.encode(x), codec.layout), random.Random(3), 0
    for _ in range(200):
        some = bytearray(good)
        if draw.random() < 0.3:
            some = some[: draw.randrange(len(some))]
        else:
            place = draw.randrange(8 * 400 if draw.random() < 0.5 else 8 * len(some))
            some[place // 8] ^= 1 << place % 8
        try:
            assert len(PackedCodes(bytes(some)).read()) == 300
        except ValueError:
            refused += 1
    assert refused > 60
