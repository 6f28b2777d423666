"""Entropy-coded archives: codes, and whole stores, smaller than they are searched."""

from attar.retrieval.archive.packed_codes import PackedCodes as PackedCodes
from attar.retrieval.archive.packed_codes import pack_codes as pack_codes
from attar.retrieval.archive.packed_store import pack as pack
from attar.retrieval.archive.packed_store import unpack as unpack
from attar.retrieval.archive.size import predict_size as predict_size
