"""Texts and images to float32 vectors. Importing this loads no model and no framework."""

from attar.retrieval.encoders.naming import FORMS, make_encoder
from attar.retrieval.encoders.open_clip import OpenCLIP
from attar.retrieval.encoders.openai_compatible import OpenAICompatible
from attar.retrieval.encoders.precomputed import Precomputed
from attar.retrieval.encoders.python_callable import PythonCallable
from attar.retrieval.encoders.sentence_transformers import SentenceTransformers

__all__ = [
    "FORMS",
    "OpenAICompatible",
    "OpenCLIP",
    "Precomputed",
    "PythonCallable",
    "SentenceTransformers",
    "make_encoder",
]
