"""What our face costs over the bare sentence-transformers library, on real abstracts."""

import itertools

from attar.retrieval.encoders import SentenceTransformers
from attar.retrieval.encoders.model_folder import packaged_folder
from attar.retrieval.sources import read_source
from bench.machine import DATA, interleaved
from bench.registry import Result, bench

BATCH = 1024


@bench("retrieval/encoders", gate="tests/retrieval/encoders")
def encoders(quick: bool) -> Result:
    """CPU seconds of the same documents through both, in turn, one thread."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    count, rounds = (32, 2) if quick else (64, 3)
    corpus = DATA / "ir" / "scifact"
    source = read_source(corpus)
    texts = [document.text for document in itertools.islice(source, count)]
    library = SentenceTransformer(str(packaged_folder()), device="cpu")
    ours = SentenceTransformers(device="cpu", threads=1)

    def pipeline() -> None:
        """Reads the corpus, checks and embeds, as `build-index` does."""
        documents = itertools.islice(source, count)
        while part := list(itertools.islice(documents, BATCH)):
            ours.encode_documents([document.text for document in part])

    seconds = interleaved(
        {
            "bare SentenceTransformer.encode": lambda: library.encode(
                texts, batch_size=32, show_progress_bar=False
            ),
            "encode_documents": lambda: ours.encode_documents(texts),
            "read_source + encode_documents": pipeline,
        },
        rounds,
    )
    base = seconds["bare SentenceTransformer.encode"]["median"]
    rows = [
        {"arm": arm, **times, "over bare %": 100 * (times["median"] / base - 1)}
        for arm, times in seconds.items()
    ]
    worst = max(row["over bare %"] for row in rows[1:])
    return Result(
        rows,
        {"data": "scifact", "documents": count, "rounds": rounds, "threads": 1, "clock": "CPU s"},
        {
            "overhead": {
                "bar": "embedding costs at most 5 % over bare SentenceTransformer.encode",
                "measured": round(worst, 2),
                "met": worst <= 5,
            }
        },
    )
