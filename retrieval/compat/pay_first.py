"""In which order documents are embedded again: those first whose new vector pays most."""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.compat.adapter import LEAST_PAIRS
from attar.retrieval.compat.procrustes import Procrustes
from attar.stores.types import Float32

JOURNAL = "upgrade.queue"
"""A line a search: slots that had no new vector. Any process that may write appends to it."""

MOST_BYTES = 64 << 20


def pay_first(
    slots: NDArray[np.int64], hits: Counter[int], residual: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Slots [n] by how often searches missed them, then by how uncertain their bridge is.

    FastFill's idea (Jaeckle et al., ICLR 2023): re-embedding a few well-chosen documents gives most
    of the quality. residual: [n], larger is more uncertain.
    """
    wanted = np.array([hits[slot] for slot in slots.tolist()], np.int64)
    return slots[np.lexsort((-residual, -wanted))]


def cycle_residual(old: Float32, new: Float32, documents: Float32) -> NDArray[np.float32]:
    """1 - cosine of documents [n d] and themselves after old -> new -> old; no model is run.

    Both maps (Procrustes) are fitted on pairs old [p d], new [p e]. Where the way there and back
    does not lead home, a bridge is not to be trusted. Zeros when there are too few pairs.
    """
    if len(old) < LEAST_PAIRS:
        return np.zeros(len(documents), np.float32)
    there, back = Procrustes().fit(old, new), Procrustes().fit(new, old)
    returned = back.apply(there.apply(documents))
    norms = np.maximum(np.linalg.norm(documents, axis=1), 1e-12)
    cosine = np.einsum("nd,nd->n", returned, documents) / norms
    return np.asarray(1 - cosine, np.float32)


def note_missing(folder: Path, slots: list[int]) -> None:
    """Append to the journal; a folder that cannot be written costs order, not answers."""
    path = folder / JOURNAL
    try:
        if path.exists() and path.stat().st_size > MOST_BYTES:
            return
        with path.open("a", encoding="ascii") as file:
            file.write(" ".join(map(str, slots)) + "\n")
    except OSError:
        return


def read_missing(folder: Path) -> Counter[int]:
    """Slot -> how many searches missed it; a line that was cut off by a crash is left out."""
    path = folder / JOURNAL
    text = path.read_text("ascii", "replace") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    return Counter(int(word) for word in whole.split() if word.isdigit())
