"""The table of README: what `make demo` prints, as JSON."""

import tempfile
from pathlib import Path

from bench.registry import Result, bench
from examples.demo import rows


@bench("demo", gate="tests/attar/test_commands.py")
def demo(quick: bool) -> Result:
    """SciFact through the default encoder into one store per codec."""
    with tempfile.TemporaryDirectory() as folder:
        table = rows(Path(folder))
    exact = {row["codec"]: row for row in table}
    four, eight = exact["float8_e4m3"], exact["pca50%+float8_e4m3"]
    flood, base = exact["waterfill@8x"], exact["float32"]["nDCG@10"]

    def bar(row: dict[str, float], loss: float, overlap: float) -> dict[str, object]:
        lost = 1 - row["nDCG@10"] / base
        return {
            "bar": f"nDCG@10 within {loss:.1%} of float32, overlap@10 >= {overlap}",
            "measured": f"{-lost:+.2%}, {row['overlap@10']}",
            "met": lost <= loss and row["overlap@10"] >= overlap,
        }

    return Result(
        rows=table,
        setup={"corpus": "SciFact", "encoder": "all-MiniLM-L6-v2", "queries": 300},
        bars={
            "4x float8_e4m3": bar(four, 0.005, 0.0),
            "8x pca50%+float8_e4m3": bar(eight, 0.02, 0.9),
            "8x waterfill": bar(flood, 0.005, 0.96),
        },
    )
