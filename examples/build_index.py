"""`attar build-index` in Python: `python examples/build_index.py CORPUS OUT`."""

import sys

import attar

source, out = sys.argv[1:]
with attar.build_index(source, out, encoder="all-MiniLM-L6-v2", codec="waterfill@8x") as store:
    facts = store.info()
    print(f"{facts['n']:,} documents, {facts['bytes_per_vector']} bytes a vector")
    hits = attar.open(out, encoder="all-MiniLM-L6-v2").search(text="What is this about?", k=3)
    print(list(zip(hits.ids[0], hits.scores[0].round(3), strict=True)))
