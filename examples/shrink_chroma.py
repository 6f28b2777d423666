"""A Chroma store, compressed: `python examples/shrink_chroma.py [CHROMA_FOLDER] [--out DIR]`.

Without a folder one is made of SciFact's abstracts. Prints bytes before and after, the share of
exact neighbours that is kept, and how the same questions are answered by both.
"""

import argparse
import sys
import tempfile
from itertools import islice
from pathlib import Path

import attar
from attar.retrieval.interchange import open_collection, shrink
from attar.retrieval.sources import read_queries, read_source

ENCODER = "all-MiniLM-L6-v2"
SCIFACT = Path(__file__).parent / "data" / "scifact"


def make_chroma(path: Path, count: int) -> None:
    """Abstracts in a Chroma collection, as an application would have put them there."""
    import chromadb
    from chromadb.config import Settings

    encoder = attar.encoder(ENCODER)
    client = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
    held = client.create_collection(
        "abstracts", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    documents = list(islice(read_source(SCIFACT), count))
    texts = [document.text for document in documents]
    held.add(
        ids=[document.id for document in documents],
        embeddings=encoder.encode_documents(texts),
        documents=texts,
    )


def main() -> int:
    """Make or take a Chroma folder, shrink it, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--codec", default="waterfill@16x")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        source = given.folder or Path(work) / "chroma"
        if given.folder is None:
            make_chroma(source, 100 if given.quick else 2000)
        out = given.out or Path(work) / "store"
        done = shrink(open_collection(source), out, given.codec, encoder=attar.encoder(ENCODER))
        print(f"{done.documents:,} documents, {done.codec}, overlap@10 {done.overlap:.3f}")
        print(f"vectors and index {done.vectors_smaller:.1f}x, folder {done.smaller:.1f}x smaller")
        with attar.open(out, encoder=ENCODER) as store:
            for question in islice(read_queries(SCIFACT).values(), 3):
                hits = store.search(text=question, k=3)
                print(f"{question}\n    {', '.join(hits.ids[0])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
