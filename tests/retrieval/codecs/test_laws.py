"""Laws that every codec keeps, one test each, over the table of methods."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import attar
from attar.retrieval.codec import Codec
from attar.retrieval.quantizers import QUANTIZERS
from attar.retrieval.reducers import REDUCERS
from attar.stores.score import scores
from tests.retrieval.codecs.methods import DIM, METHODS, Method, documents

every = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.spec)
bounded = pytest.mark.parametrize(
    "method", [m for m in METHODS if m.bound is not None], ids=lambda m: m.spec
)


def test_every_exported_method_has_a_row() -> None:
    codecs = [Codec.parse(method.spec) for method in METHODS]
    used = {type(part) for codec in codecs for part in (*codec.reducers, codec.quantizer)}
    assert used == {*REDUCERS, *QUANTIZERS}


@every
def test_spec_round_trips(method: Method) -> None:
    codec = attar.codec(method.spec)
    assert Codec.parse(str(codec)) == codec
    assert str(Codec.parse(str(codec))) == str(codec)


@every
def test_bytes_per_vector_is_what_the_codes_take(method: Method) -> None:
    x = documents(method.rows)
    codec = attar.codec(method.spec).fit(x)
    assert codec.encode(x).nbytes == codec.bytes_per_vector * len(x)
    if method.bytes_per_vector:
        assert codec.bytes_per_vector == method.bytes_per_vector


@bounded
def test_decode_is_within_the_bound(method: Method) -> None:
    x = documents(method.rows)
    codec = attar.codec(method.spec).fit(x)
    error = np.abs(codec.decode(codec.encode(x)) - x).max(axis=1)
    # A raw cast has a smallest subnormal; below it the error is absolute.
    assert (error <= method.bound * np.abs(x).max(axis=1) + 2**-10 * (method.bound > 0.01)).all()


@every
def test_score_is_the_inner_product_with_the_decoded_document(method: Method) -> None:
    x, q = documents(method.rows), documents(7, seed=1)
    codec = attar.codec(method.spec).fit(x)
    codes, query = codec.encode(x), codec.prepare(q)
    levels = codec.layout.unpack(codes)
    got = np.stack([scores(c, k, levels) for c, k in zip(query.coords, query.const, strict=True)])
    if method.linear:
        np.testing.assert_allclose(got, q @ codec.decode(codes).T, atol=2e-5)


@every
def test_saved_and_loaded_codec_is_equal_bit_for_bit(method: Method) -> None:
    x, q = documents(method.rows), documents(5, seed=2)
    codec = attar.codec(method.spec).fit(x)
    again = attar.load_codec(codec.dump())
    assert again.dump() == codec.dump()
    assert (again.spec, again.dim, again.norm) == (codec.spec, codec.dim, codec.norm)
    for name, array in codec.encode(x).fields.items():
        np.testing.assert_array_equal(again.encode(x).fields[name], array)
    np.testing.assert_array_equal(again.prepare(q).coords, codec.prepare(q).coords)
    np.testing.assert_array_equal(again.prepare(q).const, codec.prepare(q).const)


@every
def test_fitting_twice_gives_the_same_bytes(method: Method) -> None:
    x = documents(method.rows)
    assert attar.codec(method.spec).fit(x, seed=3).dump() == (
        attar.codec(method.spec).fit(x, seed=3).dump()
    )


@every
def test_rows_are_encoded_independently(method: Method) -> None:
    x = documents(method.rows)
    codec = attar.codec(method.spec).fit(x)
    whole, part = codec.encode(x), codec.encode(x[10:25])
    y = codec.layout.unpack(whole).y[10:25]
    np.testing.assert_allclose(codec.layout.unpack(part).y, y, atol=0.13 * np.abs(y).max())
    sliced = codec.layout.unpack(whole[10:25]).y
    np.testing.assert_array_equal(sliced, y)


@every
def test_inputs_are_not_changed_and_may_be_any_real_array(method: Method) -> None:
    x = documents(method.rows)
    x.flags.writeable = False
    codec = attar.codec(method.spec).fit(x)
    wide = np.zeros((len(x), 2 * DIM))
    wide[:, ::2] = x
    for same in (x.astype(np.float64), wide[:, ::2], np.asfortranarray(x)):
        for name, array in codec.encode(x).fields.items():
            np.testing.assert_array_equal(codec.encode(same).fields[name], array)


@every
def test_no_document_gives_no_codes(method: Method) -> None:
    codec = attar.codec(method.spec).fit(documents(method.rows))
    codes = codec.encode(np.empty((0, DIM), np.float32))
    assert len(codes) == 0
    assert codec.decode(codes).shape == (0, DIM)


@pytest.mark.parametrize("spec", ["float8_e4m3:scaled", "float8_e3m4", "int8"])
@settings(max_examples=60, deadline=None)
@given(
    x=arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 33)),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_scaled_codes_bound_the_error_by_the_rows_peak(spec: str, x: np.ndarray) -> None:
    codec = attar.codec(spec).fit(x)
    bound = {"int8": 0.51 / 127, "float8_e4m3:scaled": 2**-4, "float8_e3m4": 2**-5}[spec]
    error = np.abs(codec.decode(codec.encode(x)) - x).max(axis=1)
    # Where a row's float16 scale becomes subnormal; below 2^-100 data are as good as zero.
    tiny = 2.0**-14 * np.abs(x).max() + 2.0**-100
    assert (error <= bound * np.abs(x).max(axis=1) + tiny).all()
