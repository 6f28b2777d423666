"""Builds and searches compressed indexes of SciFact and prints what they cost: `make demo`.

One corpus, embedded once; then one store per codec, each evaluated against exact float32 with the
collection's own relevance judgements. About four minutes on two cores, nearly all of it embedding.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import attar
from attar.cli.console import human_bytes, write_table
from attar.cli.progress import progress
from attar.retrieval.evaluation import bootstrap_interval, evaluate_run, exact_topk, overlap_at_k
from attar.retrieval.indexing.embed import embed_documents
from attar.retrieval.sources import read_qrels, read_queries, read_source

CORPUS = Path(__file__).parent / "data" / "scifact"
CODECS = ("float32", "float8_e4m3", "pca50%+float8_e4m3", "waterfill@8x", "waterfill@16x")
QUESTIONS = (
    "Does vitamin D deficiency raise the risk of multiple sclerosis?",
    "How do statins affect cholesterol in old people?",
    "What role do microRNAs play in cancer metastasis?",
)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Build one store per codec under `folder`; return one row of cost and quality for each."""
    encoder = attar.encoder("all-MiniLM-L6-v2")
    documents = list(read_source(CORPUS))
    ids, texts = [d.id for d in documents], [d.text for d in documents]
    with progress("Embedding", len(texts)) as advance:
        vectors = embed_documents(encoder, texts, advance)
    qrels = read_qrels(CORPUS)
    queries = {name: text for name, text in read_queries(CORPUS).items() if name in qrels}
    embedded = encoder.encode_queries(list(queries.values()))
    exact = exact_topk(embedded, vectors, 10, ids=ids)
    table = []
    for spec in CODECS:
        codec = attar.codec(spec).fit(vectors)
        path = folder / spec.replace("%", "")
        with attar.Store.create(path, codec=codec, encoder=encoder) as store:
            store.add(ids, vectors=vectors, texts=texts)
            start = time.perf_counter()
            hits = store.search(embedded, k=100)
            seconds = time.perf_counter() - start
        run = dict(zip(queries, (list(row) for row in hits.ids), strict=True))
        ndcg = bootstrap_interval(evaluate_run(run, qrels).values["nDCG@10"], seed=0)
        table.append(
            {
                "codec": spec,
                "ratio": f"{4 * encoder.dim / codec.bytes_per_vector:.1f}x",
                "bytes_per_vector": codec.bytes_per_vector,
                "all vectors": human_bytes(codec.bytes_per_vector * len(ids)),
                "side bytes": human_bytes(codec.side_bytes),
                "nDCG@10": round(ndcg.mean, 4),
                "95 % interval": f"{ndcg.low:.3f} … {ndcg.high:.3f}",
                "overlap@10": round(float(overlap_at_k(hits.ids, exact.ids).mean()), 4),
                "ms/query": round(1000 * seconds / len(embedded), 2),
            }
        )
    return table


def main() -> None:
    """Print the table and three questions with their answers from the 8x store."""
    folder = Path(tempfile.mkdtemp(prefix="attar-demo-"))
    try:
        table = rows(folder)
        write_table(table, title="SciFact, 5,183 abstracts, 300 judged queries, all-MiniLM-L6-v2")
        encoder = attar.encoder("all-MiniLM-L6-v2")
        with attar.open(folder / "waterfill@8x", encoder=encoder) as store:
            for question in QUESTIONS:
                hits = store.search(text=question, k=2)
                sys.stdout.write(f"\n{question}\n")
                for record, score in zip(store.get(hits.ids[0]), hits.scores[0], strict=True):
                    title = (record.text or "")[:110].replace("\n", " ")
                    sys.stdout.write(f"  {score:.3f}  [{record.id}] {title}…\n")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
