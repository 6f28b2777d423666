"""One name for ratios, and converters for the three conventions in use elsewhere.

`compression` = original / compressed: 2.0 means half as long, as in CompLLM (arXiv 2509.19228, its
C). LLMLingua's `rate` is compressed / original; kvpress's `compression_ratio` is the fraction
*removed*, 1 - compressed / original.
"""


def compression(original: float, compressed: float) -> float:
    """Return original / compressed; both are sizes in one unit, `original` >= 0, `compressed` > 0.

    Nothing compressed to nothing is 1.0.

    Raises
    ------
    ValueError
        For a negative size, or something compressed to nothing.
    """
    if original < 0 or compressed < 0:
        raise ValueError(f"Sizes are not negative, got {original} and {compressed}.")
    if compressed == 0:
        if original == 0:
            return 1.0
        raise ValueError(f"Compression of {original} to 0 is not finite; keep at least one unit.")
    return original / compressed


def from_rate(rate: float) -> float:
    """Turn compressed / original (LLMLingua's `rate`), in (0, 1], into `compression`."""
    if not 0 < rate <= 1:
        raise ValueError(f"A rate is compressed / original, in (0, 1], got {rate}.")
    return 1 / rate


def to_rate(ratio: float) -> float:
    """Turn `compression` into compressed / original (LLMLingua's `rate`)."""
    return 1 / _valid(ratio)


def from_removed(removed: float) -> float:
    """Turn the removed fraction (kvpress's `compression_ratio`), in [0, 1), into `compression`."""
    if not 0 <= removed < 1:
        raise ValueError(f"A removed fraction is in [0, 1), got {removed}.")
    return 1 / (1 - removed)


def to_removed(ratio: float) -> float:
    """Turn `compression` into the removed fraction (kvpress's `compression_ratio`)."""
    return 1 - 1 / _valid(ratio)


def _valid(ratio: float) -> float:
    if not ratio > 0:
        raise ValueError(f"A compression is original / compressed, above 0, got {ratio}.")
    return ratio
