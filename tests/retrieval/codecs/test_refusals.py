"""What a codec refuses: the rule, what was got, and the remedy."""

import numpy as np
import pytest

import attar
from tests.retrieval.codecs.methods import documents


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("flot32", ["'flot32'", "float8_e4m3", "pca<N>"]),
        ("pca50%+zip", ["'zip'", "Known parts"]),
        ("", ["''", "Known parts"]),
        ("float8_e4m3+pca50%", ["last part", "float8_e4m3"]),
        ("float32:scaled", ["Unknown part"]),
        ("pca0", ["at least one dimension"]),
        ("pca120%", ["100 %"]),
    ],
)
def test_bad_spec_is_refused_with_the_known_parts(spec: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        attar.codec(spec)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_by_row(bad: float) -> None:
    x = documents()
    x[17, 3] = bad
    with pytest.raises(ValueError, match="row 17"):
        attar.codec("int8").fit(x)
    codec = attar.codec("int8").fit(documents())
    with pytest.raises(ValueError, match="row 17"):
        codec.encode(x)
    with pytest.raises(ValueError, match="queries.*row 17"):
        codec.prepare(x)


def test_float64_beyond_float32_is_refused_not_saturated() -> None:
    x = documents().astype(np.float64)
    x[2, 0] = 1e200
    with pytest.raises(ValueError, match="row 2"):
        attar.codec("float32").fit(x)


def test_wrong_shapes_are_refused() -> None:
    codec = attar.codec("float16").fit(documents())
    with pytest.raises(ValueError, match=r"24, got 23"):
        codec.encode(documents(dim=23))
    with pytest.raises(ValueError, match=r"\[n d\].*x\[None, :\]"):
        codec.prepare(documents()[0])
    with pytest.raises(ValueError, match="at least one document"):
        attar.codec("float16").fit(np.empty((0, 4), np.float32))
    with pytest.raises(ValueError, match="real numbers"):
        attar.codec("float16").fit(np.array([["a"]]))


def test_too_few_rows_for_a_basis_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"pca20 needs at least 20 training vectors, got 8"):
        attar.codec("pca20+int8").fit(documents(8))
    with pytest.raises(ValueError, match=r"pca200 must keep between 1 and d = 24"):
        attar.codec("pca200").fit(documents())


def test_degenerate_data_are_handled() -> None:
    same = np.repeat(documents(1), 40, axis=0)
    for spec in ("pca50%+float8_e4m3", "int8:minmax", "pca90%var+int8"):
        codec = attar.codec(spec).fit(same)
        np.testing.assert_allclose(codec.decode(codec.encode(same)), same, atol=1e-2)
    rank_two = (documents(40)[:, :2] @ documents(2)).astype(np.float32)
    codec = attar.codec("pca50%+int8").fit(rank_two)
    np.testing.assert_allclose(codec.decode(codec.encode(rank_two)), rank_two, atol=2e-2)


def test_an_outlier_beyond_the_scale_is_refused_not_corrupted() -> None:
    codec = attar.codec("int8").fit(documents())
    with pytest.raises(ValueError, match="outlier"):
        codec.encode(documents() * np.float32(1e9))


def test_raw_float8_saturates_and_never_gives_nan() -> None:
    x = np.array([[1e4, -1e4, 1.0, 448.0]], np.float32)
    codec = attar.codec("float8_e4m3").fit(x)
    np.testing.assert_array_equal(codec.decode(codec.encode(x)), [[448, -448, 1, 448]])


def test_foreign_codec_files_are_refused() -> None:
    codec = attar.codec("int8:minmax").fit(documents())
    content = codec.dump()
    for broken in (
        b"",
        b"junk",
        content[:-3],
        content.replace(b'\\"format\\": 1', b'\\"format\\": 9'),
    ):
        with pytest.raises(ValueError, match=r"codec file|reads codec files of format"):
            attar.load_codec(broken)
