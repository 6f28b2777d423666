"""The kept matrices: ten bits an entry, read back to the bit, and files of before."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

import attar
from attar.retrieval.basis import Basis
from attar.retrieval.codec import FittedCodec
from attar.stores.types import Codes
from tests.retrieval.waterfill.test_waterfill import embeddings

FORMATS = Path(__file__).parent / "formats"


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_what_is_kept_gives_the_same_values(d: int, e: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(d, e)) * 10.0 ** rng.integers(-9, 9, e)
    basis = Basis.rounded(matrix)
    again = Basis.restore("a", basis.state("a") | {"b": matrix})
    np.testing.assert_array_equal(again.values, basis.values)
    assert again.values.flags.c_contiguous and again.values.dtype == np.float32
    assert sorted(again.state("a")) == sorted(basis.state("a"))
    # Half a cell, of 511 to the largest entry of the column, and float32's own rounding.
    half = np.abs(matrix).max(axis=0, initial=0) / 1022
    assert (np.abs(basis.values - matrix) <= half * 1.001).all()
    kept = sum(array.nbytes for array in basis.state("a").values())
    assert kept == d * e + -(-d * e // 4) + 4 * e


def test_columns_of_zeros_stay() -> None:
    matrix = np.array([[0.0, 1.0], [0.0, -2.0]])
    np.testing.assert_allclose(Basis.rounded(matrix).values, matrix, atol=2 / 1022)


def test_the_order_of_the_given_matrix_does_not_matter() -> None:
    matrix = np.random.default_rng(0).normal(size=(6, 5))
    straight, turned = Basis.rounded(matrix), Basis.rounded(np.asfortranarray(matrix))
    for name, array in straight.state("a").items():
        np.testing.assert_array_equal(turned.state("a")[name], array)
        assert turned.state("a")[name].flags.c_contiguous


@pytest.mark.parametrize(("spec", "grows"), [("waterfill@8x", 1.01), ("waterfill@24x", 1.005)])
def test_ten_bits_cost_nothing_that_can_be_seen(spec: str, grows: float) -> None:
    x, q = embeddings(1500), embeddings(60, seed=1)
    codec = attar.codec(spec).fit(x)
    exact = q @ x.T
    fine = _with_float32(codec, x)
    errors = []
    for fitted in (codec.quantizer, fine):
        levels, query = fitted.layout.unpack(fitted.encode(x)), fitted.prepare(q)
        got = levels.factor * (query.coords @ levels.y.T) + query.const[:, None]
        errors.append(np.sqrt(np.mean((got - exact) ** 2)))
    assert errors[0] < grows * errors[1]


def _with_float32(codec: FittedCodec, x: np.ndarray) -> object:
    """The same codec with matrices that are not rounded."""
    from dataclasses import replace

    from attar.retrieval.weighted_transform import unasked_transform

    whole, kept = unasked_transform(x), codec.quantizer.layout.counts[0]
    pair = {name: getattr(whole, name)[:, :kept] for name in ("analysis", "synthesis")}
    return replace(
        codec.quantizer,
        **{name: Basis(a.astype(np.float32), {"": a}) for name, a in pair.items()},
    )


def test_a_codec_of_format_1_answers_as_it_did() -> None:
    content = (FORMATS / "format1.safetensors").read_bytes()
    codec, truth = attar.load_codec(content), load_file(FORMATS / "truth.safetensors")
    assert b'\\"format\\": 1' in content
    assert codec.dump() == content
    fields = {k.partition(".")[2]: a for k, a in truth.items() if k.startswith("codes.")}
    np.testing.assert_allclose(codec.decode(Codes(fields)), truth["decoded"], rtol=1e-5, atol=1e-7)
    for name, array in codec.encode(truth["x"]).fields.items():
        np.testing.assert_array_equal(array, fields[name])
    query = codec.prepare(truth["q"])
    np.testing.assert_allclose(query.coords, truth["coords"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(query.const, truth["const"], rtol=1e-5, atol=1e-7)


def test_new_files_say_that_older_releases_cannot_read_them() -> None:
    content = attar.codec("waterfill@8x").fit(embeddings(50)).dump()
    assert b'\\"format\\": 2' in content
    assert b'\\"format\\": 1' in attar.codec("pca8+int8").fit(embeddings(50)).dump()
    with pytest.raises(ValueError, match="formats? 1 to 2, got 3"):
        attar.load_codec(content.replace(b'\\"format\\": 2', b'\\"format\\": 3'))
