"""Packed codes are the codes, bit for bit, whatever they are, and smaller."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import attar
from attar.retrieval.archive import PackedCodes, pack_codes
from attar.stores.types import Codes
from tests.retrieval.codecs.methods import METHODS, Method, documents
from tests.retrieval.waterfill.test_waterfill import embeddings


def assert_same(got: Codes, wanted: Codes) -> None:
    assert set(got.fields) == {name for name, a in wanted.fields.items() if a.shape[1]}
    for name, array in got.fields.items():
        other = np.ascontiguousarray(wanted.fields[name])
        assert array.dtype == other.dtype
        assert array.shape == other.shape
        assert array.tobytes() == other.tobytes()


LAYOUTS = [m for m in METHODS if not attar.codec(m.spec).reducers]


@pytest.mark.parametrize("method", LAYOUTS, ids=lambda m: m.spec)
def test_every_codec_survives(method: Method) -> None:
    x = documents(150)
    codec = attar.codec(method.spec).fit(x)
    codes = codec.encode(x)
    packed = PackedCodes(pack_codes(codes, codec.layout, 64))
    assert len(packed) == len(x)
    assert_same(packed.read(), codes)
    assert_same(packed.read(60, 70), codes[60:70])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint16", "int16", "int64"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_bit_pattern_survives(dtype: str, data: st.DataObject) -> None:
    shape = st.tuples(st.integers(0, 40), st.integers(1, 5))
    kind = np.dtype(f"u{np.dtype(dtype).itemsize}")
    bits = data.draw(arrays(kind, shape, elements=st.integers(0, np.iinfo(kind).max)))
    codes = Codes({"x": bits.view(dtype)})
    assert_same(PackedCodes(pack_codes(codes, None, 16)).read(), codes)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 60), block=st.integers(1, 70))
def test_any_rows_of_any_blocks(seed: int, n: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    codes = Codes({"x": rng.integers(-128, 128, (n, 7)).astype(np.int8)})
    packed = PackedCodes(pack_codes(codes, None, block))
    first = int(rng.integers(0, n))
    last = int(rng.integers(first, n)) + 1
    assert_same(packed.read(first, last), codes[first:last])


def test_one_block_is_decoded_for_one_row() -> None:
    codes = Codes({"x": np.arange(4000, dtype=np.uint8).reshape(1000, 4)})
    content = bytearray(pack_codes(codes, None, 100))
    content[-200:] = bytes(200)
    assert_same(PackedCodes(bytes(content)).read(150, 151), codes[150:151])


def test_illegal_codes_of_a_trellis_fall_back_and_survive() -> None:
    x = embeddings(100)
    codec = attar.codec("waterfill:ec@16x").fit(x)
    fields = dict(codec.encode(x).fields)
    fields["narrow"] = np.random.default_rng(0).integers(-9, 9, fields["narrow"].shape)
    fields["narrow"] = fields["narrow"].astype(np.int8)
    codes = Codes(fields)
    assert_same(PackedCodes(pack_codes(codes, codec.layout)).read(), codes)


def test_sizes() -> None:
    x = embeddings(6000)
    sizes = {}
    for spec in ("waterfill@8x", "float8_e4m3", "bfloat16", "float32", "int8"):
        codec = attar.codec(spec).fit(x[:2000])
        codes = codec.encode(x)
        sizes[spec] = len(pack_codes(codes, codec.layout)) / codes.nbytes
    assert sizes["bfloat16"] < 0.72
    assert sizes["float32"] < 0.87
    assert sizes["float8_e4m3"] < 0.85
    assert sizes["int8"] < 0.95
    assert sizes["waterfill@8x"] < 0.99


def test_knowing_the_trellis_makes_it_smaller() -> None:
    x = embeddings(6000)
    codec = attar.codec("waterfill:ec@16x").fit(x[:2000])
    codes = codec.encode(x)
    assert len(pack_codes(codes, codec.layout)) < 0.75 * len(pack_codes(codes, None))


def test_packing_is_deterministic() -> None:
    x = embeddings(300)
    codec = attar.codec("waterfill@8x").fit(x)
    codes = codec.encode(x)
    assert pack_codes(codes, codec.layout) == pack_codes(codes, codec.layout)


@pytest.mark.parametrize("content", [b"", b"ATTARCOD", b"junk" * 10, b"ATTARCOD\x09" + bytes(40)])
def test_foreign_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="Packed codes"):
        PackedCodes(content)
