"""What `build-index` costs beyond embedding: the whole build next to bare `encode`.

The build reads, samples, embeds, fits the codec, encodes and commits; the bare arm is one call of
`SentenceTransformer.encode` on the same texts. SciFact, the first 400 abstracts, cut to 400
characters; the arms take turns.
"""

import json
import tempfile
from pathlib import Path

import attar
from attar.retrieval.encoders import SentenceTransformers
from attar.retrieval.sources import read_source
from bench.machine import interleaved
from bench.registry import Result, bench

CORPUS = Path(__file__).parents[2] / "examples" / "data" / "scifact"


@bench("house/embedding", gate="tests/attar/test_build_index.py")
def embedding(quick: bool) -> Result:
    """CPU seconds of both arms, and the overhead of their medians."""
    n, rounds = (100, 1) if quick else (400, 3)
    documents = [d for _, d in zip(range(n), read_source(CORPUS), strict=False)]
    texts = [document.text[:400] for document in documents]
    encoder = SentenceTransformers("all-MiniLM-L6-v2")
    bare = encoder._loaded
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "corpus.jsonl"), Path(folder, "index")
        lines = ({"_id": d.id, "text": t} for d, t in zip(documents, texts, strict=True))
        source.write_text("".join(json.dumps(line) + "\n" for line in lines))

        def build() -> None:
            attar.build_index(source, out, encoder=encoder, overwrite=True).close()

        seconds = interleaved({"bare": lambda: bare.encode(texts), "build": build}, rounds)
    overhead = seconds["build"]["median"] / seconds["bare"]["median"] - 1
    return Result(
        rows=[{"arm": arm, **figures} for arm, figures in seconds.items()],
        setup={"data": "scifact", "documents": n, "characters": 400, "rounds": rounds},
        bars={
            "overhead": {
                "bar": "the pipeline costs at most 5 % over bare SentenceTransformer.encode",
                "measured": f"{overhead:+.1%}",
                "met": None if quick else overhead <= 0.05,
            }
        },
    )
