"""Serving reduced vectors from engines that users already run: PostgreSQL, LanceDB, Qdrant.

An engine holds what it is given: vectors [n e], usually already reduced (`pca50%`), with ids, texts
and metadata, in the type that it is asked for. It scores by inner product, so that the reduced
query of an uncentred ranking gives the order that a local store over the same vectors gives.
"""

from attar.stores.engines.engine import Engine as Engine
from attar.stores.engines.lance import LanceEngine as LanceEngine
from attar.stores.engines.pgvector import PgVectorEngine as PgVectorEngine
from attar.stores.engines.qdrant import QdrantEngine as QdrantEngine
from attar.stores.engines.qdrant_edge import QdrantEdgeEngine as QdrantEdgeEngine
