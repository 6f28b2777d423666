"""Quantizers: floats to bytes. A new one is its file, its line here, its row in the tests."""

from attar.retrieval.quantizer import Quantizer
from attar.retrieval.quantizers.float import Float as Float
from attar.retrieval.quantizers.int8 import Int8 as Int8

QUANTIZERS: tuple[type[Quantizer], ...] = (Float, Int8)
