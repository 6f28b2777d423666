"""What single reducers promise beyond the laws that all codecs keep."""

import builtins
import importlib
from typing import Any

import numpy as np
import pytest

import attar
from attar.retrieval import extras
from attar.retrieval.codec import Codec
from tests.retrieval.codecs.methods import documents


def reduced(spec: str, x: np.ndarray, fit: np.ndarray | None = None) -> np.ndarray:
    codec = attar.codec(spec).fit(x if fit is None else fit)
    return codec.layout.unpack(codec.encode(x)).y


def test_kernel_pca_is_what_scikit_learn_computes() -> None:
    from sklearn.decomposition import KernelPCA

    x, new = documents() * 3, documents(20, seed=5)
    model = KernelPCA(6, kernel="cosine").fit(x)
    want = np.abs(model.transform(new))
    codec = attar.codec("kpca6").fit(x)
    got = np.abs(codec.layout.unpack(codec.encode(new)).y) / 3
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_kernel_pca_with_the_cosine_kernel_is_pca_of_unit_vectors() -> None:
    x = documents()
    ours, pca = (np.abs(reduced(spec, x)) for spec in ("kpca6", "pca6"))
    np.testing.assert_allclose(ours, pca, atol=2e-5)


def test_kernel_pca_does_not_see_the_length_of_a_document() -> None:
    x = documents()
    lengths = np.linspace(0.1, 9, len(x), dtype=np.float32)[:, None]
    np.testing.assert_allclose(reduced("kpca6", x * lengths, fit=x), reduced("kpca6", x), atol=1e-5)


def test_truncation_keeps_the_norm_and_the_cosine_of_what_is_kept() -> None:
    x = documents() * np.float32(2)
    z = reduced("truncate10", x)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), np.linalg.norm(x, axis=1), rtol=1e-5)
    np.testing.assert_allclose(z / z[:, :1], x[:, :10] / x[:, :1], rtol=1e-4)


@pytest.mark.parametrize(
    ("spec", "name"),
    [("gaussianrp8", "GaussianRandomProjection"), ("sparserp8", "SparseRandomProjection")],
)
def test_a_random_projection_is_scikit_learns_with_the_norm_kept(spec: str, name: str) -> None:
    from sklearn import random_projection

    x = documents() * np.float32(3)
    model = getattr(random_projection, name)(8, random_state=5).fit(x)
    want = np.asarray(model.transform(x))
    want *= np.linalg.norm(x, axis=1, keepdims=True) / np.linalg.norm(want, axis=1, keepdims=True)
    codec = attar.codec(spec).fit(x, seed=5)
    np.testing.assert_allclose(codec.layout.unpack(codec.encode(x)).y, want, rtol=1e-4, atol=1e-5)


def test_a_rotation_keeps_inner_products_and_depends_on_the_seed() -> None:
    x = documents()
    z = reduced("rotate", x)
    np.testing.assert_allclose(z @ z.T, x @ x.T, atol=1e-5)
    other = attar.codec("rotate").fit(x, seed=1)
    assert np.abs(other.layout.unpack(other.encode(x)).y - z).max() > 0.01


def test_centre_makes_the_mean_of_the_documents_zero() -> None:
    z = reduced("centre", documents())
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)


def test_the_autoencoder_is_no_worse_than_the_linear_map_that_it_starts_from() -> None:
    x = documents(2000)
    codec = attar.codec("autoencoder8").fit(x)
    error = np.square(codec.decode(codec.encode(x)) - x).sum(axis=1).mean()
    basis = np.linalg.svd(x)[2][:8]
    linear = np.square(x - x @ basis.T @ basis).sum(axis=1).mean()
    # The linear map keeps lengths, the latent space does not: it must learn them first.
    assert error <= linear


def test_training_leaves_the_random_state_of_torch_alone() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    attar.codec("autoencoder8").fit(documents(40))
    assert torch.equal(torch.get_rng_state(), before)


def test_umap_places_a_vector_alone_as_among_others() -> None:
    x, new = documents(40), documents(6, seed=3)
    codec = attar.codec("umap4").fit(x)
    together = codec.layout.unpack(codec.encode(new)).y
    alone = np.concatenate([codec.layout.unpack(codec.encode(row[None])).y for row in new])
    np.testing.assert_array_equal(together, alone)


def test_umap_brings_back_its_place_after_loading_and_carries_no_pickle() -> None:
    x, new = documents(40), documents(6, seed=3)
    codec = attar.codec("umap4").fit(x, seed=9)
    content = codec.dump()
    again = attar.load_codec(content)
    for mine, theirs in (
        (codec.encode(new), again.encode(new)),
        (codec.encode(x), again.encode(x)),
    ):
        np.testing.assert_array_equal(mine.fields["code"], theirs.fields["code"])


@pytest.mark.parametrize(
    ("spec", "module", "command"),
    [
        ("umap4", "umap", "pip install 'attar[umap]'"),
        ("autoencoder4", "torch", "pip install 'attar[autoencoder]'"),
    ],
)
def test_a_missing_package_is_named_with_the_command(
    spec: str, module: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr(extras.importlib, "import_module", without)
    with pytest.raises(ModuleNotFoundError) as caught:
        attar.codec(spec).fit(documents(40))
    assert command in str(caught.value)


def test_parsing_imports_no_heavy_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def watched(name: str, *rest: Any, **more: Any) -> Any:
        assert name.split(".")[0] not in ("umap", "torch", "sklearn", "faiss", "numba")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", watched)
    for spec in ("umap50%+int4", "autoencoder8+pq4x8", "kpca5+rabitq4", "rotate+eden4"):
        assert str(Codec.parse(spec)) == spec
