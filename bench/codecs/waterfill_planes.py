"""What a store without its last planes loses against codes that were made for its size."""

from bench.codecs.arms import coded, measure, planes_dropped
from bench.codecs.splits import load
from bench.registry import Result, bench


@bench("codecs/waterfill_planes", gate="tests/retrieval/waterfill")
def planes(quick: bool) -> Result:
    """A store without its last planes, against codes that were made for that size."""
    rows = []
    for model in ("minilm",) if quick else ("minilm", "mpnet"):
        data = load("scifact", model)
        for dropped in (0, 1, 2, 3):
            arm, splits = planes_dropped("waterfill@8x", dropped), 1 if quick else 3
            short = measure(data, "8x", f"8x, {dropped} dropped", arm, splits)
            made = coded(f"waterfill@{int(short['bytes/vector'])}B", queries=True)
            rows.append(short)
            rows.append(measure(data, "8x", "made for that size", made, splits))
    cost = [
        round(made["overlap@10"] - short["overlap@10"], 4)
        for short, made in zip(rows[::2], rows[1::2], strict=True)
    ]
    text = "what is lost against a code made for that size: none at full width, then as measured"
    bars = {"cost of embedding": {"bar": text, "measured": cost, "met": cost[0] <= 0.005}}
    return Result(rows, {"set": "SciFact", "fitted": "as codecs/waterfill"}, bars)
