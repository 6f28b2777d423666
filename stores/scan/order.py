"""The one order of hits: score descending, then id by its UTF-8 bytes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from attar.stores.scan.exact import Found
from attar.stores.types import Hits

Names = Callable[[NDArray[np.int64]], dict[int, str]]


def ordered(found: list[Found], k: int, names: Names) -> Hits:
    """The k best of each query's candidates; `names` gives ids of slots.

    Every query has at least k candidates, or all of its matches, whose number is then the same.
    """
    cut = [_reaching(one, k) for one in found]
    slots = [one.slots for one in cut]
    ids = names(np.unique(np.concatenate(slots))) if slots else {}
    width = min([k, *(len(one.slots) for one in cut)]) if cut else 0
    names_out = np.empty((len(cut), width), object)
    scores_out = np.empty((len(cut), width), np.float32)
    for q, one in enumerate(cut):
        rows = zip(one.scores.tolist(), one.slots.tolist(), strict=True)
        best = sorted((-score, ids[slot].encode(), slot) for score, slot in rows)[:width]
        names_out[q] = [ids[slot] for _, _, slot in best]
        scores_out[q] = [-score for score, _, _ in best]
    return Hits(names_out, scores_out)


def _reaching(found: Found, k: int) -> Found:
    """Drop candidates below the k-th best score; what ties with it stays."""
    if len(found.scores) <= k:
        return found
    floor = np.partition(found.scores, len(found.scores) - k)[len(found.scores) - k]
    reach = found.scores >= floor
    return Found(found.slots[reach], found.scores[reach])
