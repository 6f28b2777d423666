"""Reducers: floats to fewer floats. A new one is its file, its line here, its row in the tests."""

from attar.retrieval.reducer import Reducer
from attar.retrieval.reducers.pca import PCA as PCA

REDUCERS: tuple[type[Reducer], ...] = (PCA,)
