"""attar's own codecs in the segment cache: the cache is a compressed store."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from attar.context.cache.codec import Codes, Floats
from attar.stores.protocols import Codec as FittedCodec
from attar.stores.types import Codes as StoredCodes
from attar.stores.types import Field


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted codec (`attar.retrieval`), on a sample of compressed segments, as a cache codec.

    Its name holds a hash of everything it learnt: a cache is refused to another fit.
    """

    codec: FittedCodec

    @property
    def name(self) -> str:
        """The spec and a hash of the fitted codec."""
        return f"{self.codec.spec}#{blake2b(self.codec.dump(), digest_size=8).hexdigest()}"

    def bytes_per_vector(self, dim: int) -> int:
        """Return the codec's bytes per vector.

        Raises
        ------
        ValueError
            If the codec was fitted on another width.
        """
        if dim != self.codec.dim:
            raise ValueError(
                f"The codec was fitted on width {self.codec.dim}, the cache has {dim}; fit it on "
                "embeddings of this model."
            )
        return self.codec.bytes_per_vector

    def encode(self, x: Floats) -> Codes:
        """[n d] -> [n bytes]: the fields of the layout, in its order."""
        fields = self.codec.encode(x).fields
        rows = [np.ascontiguousarray(fields[f.name]).view(np.uint8) for f in self._fields()]
        return np.concatenate([r.reshape(len(x), -1) for r in rows], axis=1)

    def decode(self, codes: Codes, dim: int) -> Floats:
        """[n bytes] -> [n d]."""
        del dim
        fields, start = {}, 0
        for field in self._fields():
            part = np.ascontiguousarray(codes[:, start : start + field.bytes_per_vector])
            fields[field.name] = part.view(field.dtype).reshape(len(codes), field.width)
            start += field.bytes_per_vector
        return self.codec.decode(StoredCodes(fields))

    def _fields(self) -> tuple[Field, ...]:
        return tuple(self.codec.layout.fields)
