"""Bad input, over all methods: handled, or refused with the rule, the value and the remedy."""

import re

import numpy as np
import pytest

import attar
from attar.retrieval.codec import FittedCodec
from attar.stores.score import scores
from tests.retrieval.codecs.methods import DIM, METHODS, Method, documents

SLOW = ("umap", "autoencoder")
quick = [method for method in METHODS if not method.spec.startswith(SLOW)]
every = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.spec)
fast = pytest.mark.parametrize("method", quick, ids=lambda m: m.spec)


def usable(codec: FittedCodec, x: np.ndarray) -> None:
    """Codes, scores and decoded documents exist and are finite."""
    codes, query = codec.encode(x), codec.prepare(documents(3, x.shape[1], seed=8))
    levels = codec.layout.unpack(codes)
    for coords, const in zip(query.coords, query.const, strict=True):
        assert np.isfinite(scores(coords, const, levels)).all()
    assert np.isfinite(codec.decode(codes)).all()


@every
def test_too_few_documents_are_refused_with_the_number_that_is_needed(method: Method) -> None:
    recipe = attar.codec(method.spec)
    needed = recipe.min_rows(DIM)
    if needed == 1:
        usable(recipe.fit(documents(1)), documents(1))
        return
    with pytest.raises(ValueError, match=rf"at least {needed} training vectors, got {needed - 1}"):
        recipe.fit(documents(needed - 1))


@fast
def test_constant_dimensions(method: Method) -> None:
    x = documents()
    x[:, [0, 5, 23]] = [0.0, 0.25, -0.1]
    usable(attar.codec(method.spec).fit(x), x)


@fast
def test_rank_deficient_data(method: Method) -> None:
    x = (documents()[:, :3] @ documents(3)).astype(np.float32)
    usable(attar.codec(method.spec).fit(x), x)


@fast
def test_duplicates_get_the_same_code(method: Method) -> None:
    x = np.repeat(documents(2), 100, axis=0)
    codec = attar.codec(method.spec).fit(x)
    usable(codec, x)
    decoded = codec.decode(codec.encode(x))
    np.testing.assert_allclose(decoded[:100], decoded[:1].repeat(100, 0), atol=1e-6)


@fast
def test_a_huge_outlier_is_refused_or_leaves_the_others_alone(method: Method) -> None:
    x = documents()
    codec = attar.codec(method.spec).fit(x)
    alone = codec.decode(codec.encode(x[:5]))
    outlier = x.copy()
    outlier[7] *= np.float32(1e6)
    try:
        decoded = codec.decode(codec.encode(outlier))
    except ValueError as error:
        assert re.search(r"row 7.*remove the outlier", str(error))
    else:
        np.testing.assert_allclose(decoded[:5], alone, atol=1e-6)


@fast
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8])
def test_other_real_types_mean_the_same_as_their_float32_values(
    method: Method, dtype: type
) -> None:
    x = (documents() * 100).astype(dtype)
    codec, same = (attar.codec(method.spec).fit(a) for a in (x, x.astype(np.float32)))
    for name, array in codec.encode(x).fields.items():
        np.testing.assert_array_equal(array, same.encode(x.astype(np.float32)).fields[name])


@fast
def test_permuting_the_documents_permutes_the_hits(method: Method) -> None:
    x, q = documents(60), documents(4, seed=6)
    codec = attar.codec(method.spec).fit(documents())
    order = np.random.default_rng(3).permutation(len(x))
    straight, shuffled = codec.encode(x), codec.encode(x)[order]
    query = codec.prepare(q)
    for coords, const in zip(query.coords, query.const, strict=True):
        one = scores(coords, const, codec.layout.unpack(straight))
        two = scores(coords, const, codec.layout.unpack(shuffled))
        np.testing.assert_array_equal(one[order], two)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pq5x4", ["multiple of 5, got 24", "pq4x4"]),
        ("pq6x13", ["1 to 12 bits"]),
        ("eden9", ["1 to 8 bits, got 9"]),
        ("rabitq0", ["1 to 9 bits, got 0"]),
        ("turboquant5", ["1, 2, 3, 4 or 8 bits, got 5"]),
        ("float4_e2m1:g1", ["at least two dimensions, got 1"]),
        ("truncate0", ["at least one dimension"]),
        ("kpca150%", ["at most 100 %"]),
        ("umap25", ["between 1 and d = 24", "umap24"]),
        ("int3", ["Unknown part 'int3'"]),
        ("sq5", ["Unknown part 'sq5'"]),
    ],
)
def test_impossible_recipes_are_refused_with_the_rule(spec: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        attar.codec(spec).fit(documents())
    for word in words:
        assert word in str(caught.value)


def test_a_broken_faiss_index_in_a_codec_file_is_refused() -> None:
    codec = attar.codec("sq8").fit(documents())
    content = bytearray(codec.dump())
    place = bytes(content).rindex(codec.layout.content[:4])
    content[place : place + 4] = b"nope"
    with pytest.raises(ValueError, match="index that faiss"):
        attar.load_codec(bytes(content))
