"""What a second process does to a cache; alone in a module, so that the process starts quickly."""

import numpy as np

from attar.context.cache import Float16, SegmentCache


def fill(path, start, count):
    cache = SegmentCache(32, vectors=10, path=path, codec=Float16(), max_bytes=40 * 640)
    for i in range(start, start + count):
        cache.put({cache.key("m", [i]): np.full((3, 32), i, dtype=np.float32)})
        found = cache.get([cache.key("m", [j]) for j in range(120)])
        for j in range(120):
            value = found.get(cache.key("m", [j]))
            assert value is None or (value == j).all(), "another segment's embeddings"
