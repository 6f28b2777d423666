"""Packed codes: nothing is lost, nothing is wasted, and the levels are what their names say."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attar
from attar.stores.layouts.packed import KINDS, MINIFLOATS, Packed, level_table
from attar.stores.layouts.packing import (
    pack_bits,
    pack_trits,
    packed_bytes,
    unpack_bits,
    unpack_trits,
)
from attar.stores.types import Codes

ragged = st.tuples(st.integers(0, 5), st.integers(1, 70))


@settings(max_examples=200, deadline=None)
@given(bits=st.integers(1, 8), shape=ragged, seed=st.integers(0, 2**32 - 1))
def test_unpack_bits_undoes_pack_bits(bits: int, shape: tuple[int, int], seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 2**bits, shape).astype(np.uint8)
    packed = pack_bits(codes, bits)
    assert packed.shape == (shape[0], packed_bytes(shape[1], bits))
    np.testing.assert_array_equal(unpack_bits(packed, bits, shape[1]), codes)


@settings(max_examples=100, deadline=None)
@given(bits=st.integers(1, 8), width=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_bits_lie_where_the_formula_says(bits: int, width: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 2**bits, (1, width)).astype(np.uint8)
    stream = "".join(format(byte, "08b")[::-1] for byte in pack_bits(codes, bits)[0])
    for j, code in enumerate(codes[0]):
        assert int(stream[j * bits : (j + 1) * bits][::-1], 2) == code
    assert set(stream[width * bits :]) <= {"0"}


@settings(max_examples=100, deadline=None)
@given(shape=ragged, seed=st.integers(0, 2**32 - 1))
def test_unpack_trits_undoes_pack_trits(shape: tuple[int, int], seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    packed = pack_trits(codes)
    assert packed.shape == (shape[0], -(-shape[1] // 5))
    assert (packed <= 242).all()
    np.testing.assert_array_equal(unpack_trits(packed, shape[1]), codes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 7, 24, 33])
def test_every_code_of_a_layout_survives(kind: str, width: int) -> None:
    table = level_table(kind)
    codes = np.resize(np.arange(len(table)), (len(table), width)).astype(np.uint8)
    layout = Packed(kind, width)
    packed = layout.pack(codes)
    assert packed.shape[1] == layout.fields[0].width
    np.testing.assert_array_equal(layout.codes_of(packed), codes)
    fields = {"code": packed, "factor": np.full((len(codes), 1), 2, np.float16)}
    levels = layout.unpack(Codes(fields))
    np.testing.assert_array_equal(levels.y, table[codes])
    assert (levels.factor == 2).all()


@pytest.mark.parametrize("kind", MINIFLOATS)
def test_float_levels_are_the_numbers_of_the_type(kind: str) -> None:
    x = np.linspace(-9, 9, 4001).astype(np.float32)
    limit = float(ml_dtypes.finfo(MINIFLOATS[kind]).max)
    x = np.clip(x, -limit, limit)
    cast = x.astype(MINIFLOATS[kind]).astype(np.float32)
    from attar.retrieval.quantizers.vector_factor import nearest_levels

    ours = level_table(kind)[nearest_levels(x, level_table(kind))]
    # Ties may go either way; the distance is the same.
    np.testing.assert_array_equal(np.abs(ours - x), np.abs(cast - x))


def test_integer_levels_are_what_the_names_say() -> None:
    assert level_table("ternary").tolist() == [-1, 0, 1]
    assert level_table("int2").tolist() == [-1.5, -0.5, 0.5, 1.5]
    assert level_table("int4").tolist() == [k - 7.5 for k in range(16)]


def test_level_tables_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        level_table("int4")[0] = 1


GAP = {"int4": 1 / 15, "int2": 1 / 3, "ternary": 1 / 2, "float4_e2m1": 1 / 6, "float6_e2m3": 1 / 30}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(GAP)),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([1e-3, 1.0, 50.0]),
    tail=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_angle_to_the_decoded_vector_is_within_the_bound(
    kind: str, shape: tuple[int, int], seed: int, spread: float, tail: float
) -> None:
    rng = np.random.default_rng(seed)
    x = (spread * np.abs(rng.normal(size=shape)) ** tail * rng.choice([-1, 1], shape)).astype("f4")
    codec = attar.codec(kind).fit(x)
    # A row 10^3 times smaller than its neighbours has a subnormal float16 factor.
    usual = np.linalg.norm(x, axis=1) > 1e-3 * np.linalg.norm(x, axis=1).max()
    y = codec.decode(codec.encode(x)).astype(np.float64)[usual]
    z = x.astype(np.float64)[usual]
    size = np.linalg.norm(z, axis=1)
    bound = GAP[kind] * np.sqrt(shape[1]) * np.abs(z).max(axis=1) / size
    sine = np.sqrt(np.clip(1 - ((y * z).sum(1) / (np.linalg.norm(y, axis=1) * size)) ** 2, 0, 1))
    assert (sine <= bound + 1e-6).all()
    # The factor makes the component along the vector exact, up to float16.
    kept = (y * z).sum(1) / size**2
    np.testing.assert_allclose(kept, 1, atol=2e-3)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(MINIFLOATS)),
    group=st.integers(2, 40),
    width=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_group_is_as_exact_as_its_own_peak_allows(
    kind: str, group: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    place = np.arange(width) // group
    x = (rng.normal(size=(4, width)) * 4.0 ** -(place % 4)).astype(np.float32)
    codec = attar.codec(f"{kind}:g{group}").fit(x)
    codes = codec.encode(x)
    assert codes.nbytes == 4 * codec.bytes_per_vector
    levels = codec.layout.unpack(codes)
    # Before the factor: half a gap of the type, and the rounding of the group's scale.
    unit = np.abs(x).max(axis=1, keepdims=True) / (16 * level_table(kind).max())
    table = np.unique(level_table(kind))
    gap = np.diff(table).max() / table.max() / 2
    for g in range(place.max() + 1):
        part = place == g
        peak = np.abs(x[:, part]).max(axis=1)
        error = np.abs(levels.y[:, part] * unit - x[:, part]).max(axis=1)
        assert (error <= peak * (gap * (1 + 2**-4) + 2**-4) + 2**-9 * unit[:, 0] * 8).all()


@pytest.mark.parametrize("kind", KINDS)
def test_zero_vectors_and_tiny_ones_decode_without_surprise(kind: str) -> None:
    x = np.stack([np.zeros(24), np.full(24, 1e-40), np.linspace(-1, 1, 24)]).astype(np.float32)
    codec = attar.codec(kind).fit(x)
    decoded = codec.decode(codec.encode(x))
    assert np.isfinite(decoded).all()
    np.testing.assert_array_equal(decoded[0], 0)
    assert np.abs(decoded[1]).max() < 1e-30
