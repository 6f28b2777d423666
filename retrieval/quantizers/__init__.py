"""Quantizers: floats to bytes. A new one is its file, its line here, its row in the tests."""

from attar.retrieval.quantizer import Quantizer
from attar.retrieval.quantizers.binary import Binary as Binary
from attar.retrieval.quantizers.eden import EDEN as EDEN
from attar.retrieval.quantizers.faiss_scalar import FaissScalar as FaissScalar
from attar.retrieval.quantizers.float import Float as Float
from attar.retrieval.quantizers.int8 import Int8 as Int8
from attar.retrieval.quantizers.pq import PQ as PQ
from attar.retrieval.quantizers.rabitq import RaBitQ as RaBitQ
from attar.retrieval.quantizers.small_float import SmallFloat as SmallFloat
from attar.retrieval.quantizers.small_int import SmallInt as SmallInt
from attar.retrieval.quantizers.ternary import Ternary as Ternary
from attar.retrieval.quantizers.turboquant import TurboQuant as TurboQuant
from attar.retrieval.quantizers.waterfill import Waterfill as Waterfill
from attar.retrieval.quantizers.waterfill_ec import WaterfillEC as WaterfillEC

QUANTIZERS: tuple[type[Quantizer], ...] = (
    Float,
    Int8,
    SmallFloat,
    SmallInt,
    Ternary,
    Binary,
    FaissScalar,
    PQ,
    RaBitQ,
    EDEN,
    TurboQuant,
    Waterfill,
    WaterfillEC,
)
