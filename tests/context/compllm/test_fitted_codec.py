"""attar's own codecs in the segment cache."""

import numpy as np
import pytest
import torch

from attar.context.cache import Fitted, SegmentCache
from attar.context.compllm import CompLLM, Recipe, cut
from attar.retrieval.codec import Codec
from tests.context.compllm.conftest import make


@pytest.mark.parametrize("spec", ["waterfill@4bpd", "float8_e4m3:scaled", "pca50%+int8"])
def test_the_cache_is_a_compressed_store(spec, tmp_path):
    made = CompLLM(make("llama"), recipe=Recipe(rank=4))
    g = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 97, (3000,), generator=g).tolist()
    sample = made.compress_segments(cut(ids)).numpy()
    codec = Fitted(Codec.parse(spec).fit(sample[:1000]))
    cache = SegmentCache(32, path=tmp_path, codec=codec)
    segments = cut(ids[:200])
    fresh = cache.compress(made, segments)
    assert torch.equal(cache.compress(made, segments), fresh) and cache.hits == len(segments)
    assert cache.slot_bytes == 10 * codec.codec.bytes_per_vector < 10 * 32 * 2
    exact = made.compress_segments(segments)
    error = ((fresh - exact) ** 2).sum() / ((exact - exact.mean(0)) ** 2).sum()
    assert error < 0.3
    cache.close()
    other = Fitted(Codec.parse(spec).fit(2 * sample[:900] + 1))
    if other.name != codec.name:
        with pytest.raises(ValueError, match="another folder"):
            SegmentCache(32, path=tmp_path, codec=other)
    with pytest.raises(ValueError, match="fitted on width 32"):
        SegmentCache(16, codec=codec)
    assert np.array_equal(
        codec.decode(codec.encode(sample[:3]), 32),
        codec.codec.decode(codec.codec.encode(sample[:3])),
    )
