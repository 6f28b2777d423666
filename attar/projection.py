"""What of a store an engine is given: the fewest bytes that keep the store's own ranking.

The basis is the one in which the store's decoded vectors vary most, so that its rotation, scales
and mean are folded into what is pushed and an engine's inner products are right.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attar.retrieval.codec import Codec
from attar.retrieval.interchange.export_faiss import basis_of
from attar.stores.engines.engine import BYTES, check_dtype
from attar.stores.engines.offset_bytes import OffsetBytes
from attar.stores.reading import StoreReading
from attar.stores.sample import id_hash
from attar.stores.transfer.rows import rows_of
from attar.stores.types import Float32

ASKED, K = 100, 10
SHARES = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1)
"""Of the store's dimensions: the sizes that are tried."""
ROOM = 0.9
"""Of the range of uint8 that today's documents fill; the rest is for those of tomorrow."""
PROBED = 16


@dataclass(frozen=True)
class Projection:
    """What an engine is given: gain * (x - mean) basis, in the type dtype.

    mean float32 [d], basis float32 [d e]; overlap: the share of the store's top ten that it keeps.
    """

    mean: Float32
    basis: Float32
    dtype: str
    gain: float
    overlap: float

    @property
    def dim(self) -> int:
        """Dimensions e."""
        return int(self.basis.shape[1])

    def documents(self, x: Float32) -> Float32:
        """Decoded documents [n d] to what is pushed [n e]."""
        return np.asarray(self.gain * ((x - self.mean) @ self.basis), np.float32)

    def mark(self, codec: bytes | None) -> str:
        """What tells this projection, and codes of this codec, from others: a short JSON text."""
        d = len(self.mean)
        probe = np.cos(1.7 * np.arange(d), dtype=np.float32)[None]
        seen = self.documents(probe / np.linalg.norm(probe))[0]
        facts = {
            "of": d,
            "dim": self.dim,
            "dtype": self.dtype,
            "codec": None if codec is None else hashlib.sha256(codec).hexdigest()[:32],
            "probe": [float(np.linalg.norm(seen)), *seen[:PROBED].tolist()],
        }
        return json.dumps(facts)

    def dump(self) -> bytes:
        """The bytes of a safetensors file."""
        from safetensors.numpy import save

        head = {"dtype": self.dtype, "gain": self.gain, "overlap": self.overlap}
        arrays = {"mean": self.mean, "basis": np.ascontiguousarray(self.basis)}
        return bytes(save(arrays, {"projection": json.dumps(head)}))

    @classmethod
    def load(cls, content: bytes) -> "Projection":
        """Read what `dump` wrote; anything else is a ValueError."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(content)
            size = int.from_bytes(content[:8], "little")
            head = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["projection"])
            return cls(arrays["mean"], arrays["basis"], **head)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"This is no projection that `dump` wrote: {error}.") from error


def same(mark: str, other: str) -> bool:
    """Whether two marks say the same, up to the last bits of a projection."""
    first, second = json.loads(mark), json.loads(other)
    a, b = (np.array(one.pop("probe")) for one in (first, second))
    if first != second or a.shape != b.shape:
        return False
    return bool(np.allclose(a, b, rtol=0, atol=1e-3 * a[0]))


def project(
    store: StoreReading, keep: float = 0.98, types: Sequence[str] = ("float16",)
) -> Projection:
    """The projection of fewest bytes that keeps the share `keep` of the store's top ten.

    types: those that the engine stores; every one is tried at every size (1/8 … 1 of the store's
    dimensions), fewest bytes first, with up to 100 documents as queries, themselves left out. If
    none keeps enough it is the last. turbo4 and turbo8 are judged by attar's own TurboQuant.
    An l2 store is refused: engines here score by inner product.
    """
    if store.metric == "l2" or store.dim is None or len(store) <= K:
        raise ValueError(
            f"An engine is given more than {K} documents under cosine or ip; this store has "
            f"{len(store)} and the metric {store.metric}."
        )
    if not 0 < keep <= 1:
        raise ValueError(f"keep is a share, above 0 and at most 1, got {keep}.")
    if not types:
        raise ValueError("types names at least one type that the engine stores, got none.")
    for name in types:
        check_dtype(name, tuple(BYTES))
    mean, basis = basis_of(store, None)
    names: list[str] = []
    parts = []
    for rows in rows_of(store, False):
        names += rows.ids
        parts.append(((rows.vectors - mean) @ basis).astype(np.float16))
    z = np.concatenate(parts)
    asked = sorted(names, key=lambda name: id_hash(name, 0))[:ASKED]
    queries = store.vectors(asked)
    judge = _Judge(store, names, asked, queries)
    sizes = {min(z.shape[1], max(1, round(store.dim * share))) for share in SHARES}
    tried = sorted(
        (size * BYTES[kind], types.index(kind), size) for size in sizes for kind in types
    )
    for _, place, size in tried:
        kept = z[:, :size].astype(np.float32)
        one = Projection(mean, basis[:, :size], types[place], _gain(kept, types[place]), 0.0)
        scores = _scores(one, kept, queries @ one.basis)
        found = replace(one, overlap=judge.overlap(scores))
        if found.overlap >= keep:
            break
    return found


class _Judge:
    """The store's own top ten of documents that ask, themselves left out."""

    def __init__(
        self, store: StoreReading, names: list[str], asked: list[str], queries: Float32
    ) -> None:
        places = {name: row for row, name in enumerate(names)}
        exact = store.search(queries, K + 1).ids
        self._own = [places[name] for name in asked]
        # The asker may be missing from its own best eleven.
        self._truth = [
            {places[one] for one in [one for one in row if one != name][:K]}
            for row, name in zip(exact, asked, strict=True)
        ]

    def overlap(self, scores: Float32) -> float:
        """Mean share of the top ten in scores [asked n]."""
        shares = []
        for row, own in enumerate(self._own):
            scores[row, own] = -np.inf
            best = np.argpartition(-scores[row], K)[:K]
            shares.append(len(set(best.tolist()) & self._truth[row]) / K)
        return float(np.mean(shares))


def _gain(z: Float32, dtype: str) -> float:
    if dtype != "uint8":
        return 1.0
    largest = float(np.abs(OffsetBytes(z.shape[1]).turned(z)).max())
    return ROOM / largest if largest > 0 else 1.0


def _scores(one: Projection, z: Float32, asked: Float32) -> Float32:
    """What an engine of that type scores, [asked n]."""
    if one.dtype == "uint8":
        numbers = OffsetBytes(one.dim)
        u = numbers.documents(one.gain * z).astype(np.float32)
        spelled: list[Any] = [numbers.query(q) for q in asked]
        return np.stack([a * (u @ v.astype(np.float32)) + b for v, a, b in spelled])
    if one.dtype in ("turbo4", "turbo8"):
        codec = Codec.parse(f"turboquant{one.dtype[5:]}").fit(z)
        z = codec.decode(codec.encode(z))
    return np.asarray(asked @ z.T, np.float32)
