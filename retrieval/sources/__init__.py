"""Corpora as they lie on disk, to documents in a fixed order."""

from attar.retrieval.sources.beir import read_qrels, read_queries
from attar.retrieval.sources.chunking import Chunking
from attar.retrieval.sources.delimited import DelimitedSource
from attar.retrieval.sources.folder import FolderSource
from attar.retrieval.sources.jsonl import JsonlSource
from attar.retrieval.sources.npy import NpySource
from attar.retrieval.sources.parquet import ParquetSource
from attar.retrieval.sources.reading import read_source
from attar.retrieval.sources.source import Document, Source, SourceError

__all__ = [
    "Chunking",
    "DelimitedSource",
    "Document",
    "FolderSource",
    "JsonlSource",
    "NpySource",
    "ParquetSource",
    "Source",
    "SourceError",
    "read_qrels",
    "read_queries",
    "read_source",
]
