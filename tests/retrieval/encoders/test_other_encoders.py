"""PythonCallable and Precomputed: what they accept, and what they refuse."""

import json
import pickle

import numpy as np
import pytest

from attar.retrieval.encoders import Precomputed, PythonCallable


def lengths(texts):
    return [[len(text), 1.0] for text in texts]


def double_lengths(texts):
    return np.array(lengths(texts)) * 2


def test_a_function_becomes_an_encoder():
    encoder = PythonCallable(lengths, fingerprint="v1", query_function=double_lengths)
    assert encoder.encode_documents(["ab", "c"]).tolist() == [[2, 1], [1, 1]]
    assert encoder.encode_queries(("ab",)).tolist() == [[4, 2]]
    assert encoder.encode_documents(["ab"]).dtype == np.float32
    assert (encoder.dim, encoder.fingerprint) == (2, "v1")
    assert encoder.encode_queries([]).shape == (0, 2)


def test_a_function_has_no_fingerprint_of_its_own():
    encoder = PythonCallable(lengths)
    assert encoder.fingerprint == ""
    assert encoder.name == f"{lengths.__module__}:lengths"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ([[1.0, 2.0]], r"expected n = 2, got \[1, 2\]"),
        ([1.0, 2.0], r"expected n = 2, got \[2\]"),
        ([["a"], ["b"]], "real numbers"),
        ([[1.0, 2.0], [np.inf, 0.0]], "infinity in row 1"),
        ([[1.0, 2.0], [1e39, 0.0]], "infinity in row 1"),
        ([[1.0], [2.0]], "keep its dimension, 2, got 1"),
        (np.zeros((2, 0)), r"got \[2, 0\]"),
    ],
)
def test_output_that_breaks_a_rule_names_encoder_and_row(output, message):
    encoder = PythonCallable(lambda texts: [[0.0, 1.0]] if len(texts) == 1 else output, "mine")
    with pytest.raises(ValueError, match=f"Encoder 'mine'.*{message}"):
        encoder.encode_documents(["a", "b"])


def test_a_function_is_callable():
    with pytest.raises(TypeError, match="got str"):
        PythonCallable("text")


@pytest.fixture
def vectors(tmp_path):
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x_ids.json").write_text(json.dumps(list("abcde")))
    return tmp_path / "x.npy", x.astype(np.float32)


def test_precomputed_vectors_are_found_by_id(vectors):
    path, x = vectors
    encoder = Precomputed(path, fingerprint="model 3")
    found = encoder.encode_ids(["d", "a", "d"])
    assert found.dtype == np.float32 and np.array_equal(found, x[[3, 0, 3]])
    assert (encoder.dim, encoder.fingerprint) == (3, "model 3")
    assert isinstance(encoder.vectors, np.memmap)
    with pytest.raises(KeyError, match="5 vectors and none has the id 'f'"):
        encoder.encode_ids(["a", "f"])
    assert np.array_equal(pickle.loads(pickle.dumps(encoder)).encode_ids(["b"]), x[[1]])


def test_precomputed_vectors_cannot_embed_text(vectors):
    encoder = Precomputed(vectors[0])
    with pytest.raises(TypeError, match="vector=…, or attach the encoder"):
        encoder.encode_queries(["text"])
    with pytest.raises(TypeError, match="text of documents"):
        encoder.encode_documents(["text"])


def test_precomputed_rows_are_the_ids_when_there_are_none(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    assert Precomputed(tmp_path / "x.npy").encode_ids(["2"]).tolist() == [[0, 0, 1]]


def test_precomputed_nan_and_wrong_counts_are_named(tmp_path):
    x = np.eye(3, dtype=np.float32)
    x[1, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    encoder = Precomputed(tmp_path / "x.npy", tmp_path / "names.txt")
    assert encoder.encode_ids(["a", "c"]).shape == (2, 3)
    with pytest.raises(ValueError, match="infinity in row 1"):
        encoder.encode_ids(["a", "b"])
    (tmp_path / "names.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match="holds 3 vectors and its ids are 2"):
        Precomputed(tmp_path / "x.npy", tmp_path / "names.txt").encode_ids(["a"])
