"""Reducers: floats to fewer floats. A new one is its file, its line here, its row in the tests."""

from attar.retrieval.reducer import Reducer
from attar.retrieval.reducers.autoencoder import Autoencoder as Autoencoder
from attar.retrieval.reducers.centre import Centre as Centre
from attar.retrieval.reducers.gaussian_projection import GaussianProjection as GaussianProjection
from attar.retrieval.reducers.kernel_pca import KernelPCA as KernelPCA
from attar.retrieval.reducers.pca import PCA as PCA
from attar.retrieval.reducers.rotate import Rotate as Rotate
from attar.retrieval.reducers.sparse_projection import SparseProjection as SparseProjection
from attar.retrieval.reducers.truncate import Truncate as Truncate
from attar.retrieval.reducers.umap import UMAP as UMAP

REDUCERS: tuple[type[Reducer], ...] = (
    PCA,
    KernelPCA,
    UMAP,
    GaussianProjection,
    SparseProjection,
    Autoencoder,
    Truncate,
    Rotate,
    Centre,
)
