"""waterfill fitted on another collection, against peers fitted alike and at home."""

from bench.codecs.arms import Search, bar, coded, fitted_on, measure, turbovec
from bench.codecs.splits import load, share_bases
from bench.codecs.waterfill import RATES, SPLITS
from bench.registry import Result, Row, bench

PEERS = ("rabitq", "eden", "turboquant")
FEW = (4,)
"""Bytes above the nominal size at which waterfill is measured too: what turbovec adds to its codes,
and less than EDEN (8) and RaBitQ (20) add."""


@bench("codecs/waterfill_other_domain", gate="tests/retrieval/waterfill")
def other_domain(quick: bool) -> Result:
    """Fitted on another collection, without its queries; peers on that one, and on their own."""
    share_bases()
    rows, splits = [], 1 if quick else SPLITS
    for model in ("minilm",) if quick else ("minilm", "mpnet"):
        sets = {name: load(name, model) for name in ("scifact", "cranfield", "squad")}
        for target, data in sets.items():
            for rate in ("8x", "16x"):
                bits = RATES[rate]
                arms: dict[str, Search] = {"turbovec": turbovec(bits)}
                arms |= {f"{peer} of {target}": coded(f"{peer}{bits}") for peer in PEERS}
                for source, other in sets.items():
                    if source != target:
                        size = data.x.shape[1] * bits // 8
                        for more in (0, *FEW):
                            arms[f"waterfill@{size + more}B of {source}"] = fitted_on(
                                f"waterfill@{size + more}B", other
                            )
                        for peer in PEERS[:2]:
                            arms[f"{peer} of {source}"] = fitted_on(f"{peer}{bits}", other)
                for name, arm in arms.items():
                    rows.append(measure(data, rate, name, arm, splits))
    setup = {
        "fitted on": "2,048 documents (half of a smaller collection) of the collection named, no "
        "queries; measured with half of the queries",
        "splits": splits,
        "peers": "turbovec and turboquant learn nothing here; rabitq and eden learn the mean",
    }
    return Result(rows, setup, _bars(rows))


def _bars(rows: list[Row]) -> dict[str, Row]:
    """The smallest lead of all pairs, over peers fitted alike and over peers fitted at home.

    At equal bytes: each peer is compared with the largest of our codes that is not larger.
    """
    bars: dict[str, Row] = {}
    pairs = dict.fromkeys(
        (r["set"], r["code"].split()[-1]) for r in rows if r["code"].startswith("waterfill")
    )
    for rate in ("8x", "16x"):
        for bytes_are in ("equal", "nominal"):
            for home in (False, True):
                leads = {
                    f"{name} of {source}": _lead(
                        [r for r in rows if r["rate"] == rate and r["set"] == name],
                        source,
                        home,
                        bytes_are == "equal",
                    )
                    for name, source in pairs
                }
                worst = min(leads, key=lambda pair: leads[pair])
                fitted = "at home" if home else "on the same sample"
                text = f"every foreign fit beats every rotation-based peer, peers fitted {fitted}"
                won = f"{sum(lead >= 0 for lead in leads.values())} of {len(leads)} pairs"
                bars[f"{rate}, {bytes_are} bytes, peers fitted {fitted}"] = bar(
                    text, round(leads[worst], 4), 0.0
                ) | {"worst pair": worst, "won": won}
    return bars


def _lead(rows: list[Row], source: str, home: bool, equal: bool) -> float:
    target = rows[0]["set"].split()[0]
    ours = sorted(
        (r["bytes/vector"], r["overlap@10"])
        for r in rows
        if r["code"].startswith("waterfill") and r["code"].endswith(f"of {source}")
    )
    fitted = target if home else source
    peers = [
        r
        for r in rows
        if r["code"] in ("turbovec", f"turboquant of {target}")
        or r["code"] in (f"rabitq of {fitted}", f"eden of {fitted}")
    ]
    return min(
        max(got for size, got in ours[: None if equal else 1] if size <= peer["bytes/vector"])
        - float(peer["overlap@10"])
        for peer in peers
    )
