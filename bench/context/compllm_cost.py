"""What CompLLM costs on Gemma 3 270M: compressing, cold and cached first token, bytes of KV.

Cost does not depend on training, so the adapter is at its start. CPU seconds of one thread. First
token: from token ids (plain), from text segments not yet compressed (cold), from the cache (cached;
reading and decoding the cache is inside). KV in the model's own cache: 3 of 18 layers are global.
"""

import json
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.context.cache import SegmentCache
from attar.context.compllm import CompLLM, Recipe, cut, kv_bytes
from bench.context.compllm_copy import CHECKPOINTS
from bench.context.gemma import load_gemma, where
from bench.context.prose import streams
from bench.machine import commit
from bench.registry import Result, bench

SIZES = (1024, 2048, 4096, 8192, 16384)
PLAIN_UP_TO = 8192
"""Plain prefill of 16k tokens is minutes of CPU: there only compressing is measured."""
ROUNDS = {1024: 5, 2048: 3}
"""Of the two prefills; 1 for longer contexts. A row is kept until all are there, so that a run may
be cut into parts."""


@bench("context/compllm_cost", gate="tests/context/compllm")
def compllm_cost(quick: bool) -> Result:
    llm, tokenizer = load_gemma()
    compressor = CompLLM(llm, tokenizer, Recipe())
    ids = [int(i) for i in np.concatenate(streams(tokenizer)[0])[: SIZES[-1]]]
    sizes = (256, 512, 1024) if quick else SIZES
    with tempfile.TemporaryDirectory() as folder:
        cache = SegmentCache(640, path=folder, max_bytes=256 << 20)
        _first_token(llm, _embed(llm, ids[:256]))
        compressor.compress_segments(cut(ids[:256]))
        rows = [_row(compressor, cache, ids[:n], quick) for n in sizes]
    both = [r for r in rows if "plain s" in r]
    top = both[-1]
    tokens = np.log([r["tokens"] for r in rows])
    exponent = float(np.polyfit(tokens, np.log([r["compress s"] for r in rows]), 1)[0])
    cold = [r["tokens"] for r in both if r["cold s"] < r["plain s"]]
    cached = [r["tokens"] for r in both if r["cached s"] < r["plain s"]]
    setup = {
        "model": f"gemma-3-270m, bfloat16, {where(llm)}, its own cache (15 of 18 layers sliding)",
        "recipe": "pooled, C 2, S 20, untrained",
        "clock": f"CPU seconds; rounds {ROUNDS}, else 1; medians",
        "cold is faster than plain from": cold[0] if cold else f"not up to {top['tokens']} tokens",
        "cached is faster than plain from": cached[0] if cached else "never",
    }  # fmt: skip
    enough = not quick
    ratio = top["plain s"] / top["cached s"]
    bars = {
        "cached first token at 8k": {
            "bar": "at least 1.7x faster than plain at C = 2", "measured": ratio,
            "met": ratio >= 1.7 if enough else None,
        },
        "positions in full-attention layers": {
            "bar": "divided by C = 2", "measured": top["plain positions"] / top["positions"],
            "met": abs(top["plain positions"] / top["positions"] - 2) < 0.01 if enough else None,
        },
        "compressing is linear": {
            "bar": "exponent at most 1.1 from 1k to 16k tokens", "measured": exponent,
            "met": exponent <= 1.1 if enough else None,
        },
    }  # fmt: skip
    return Result(rows, setup, bars)


def _row(compressor: CompLLM, cache: SegmentCache, ids: list[int], quick: bool) -> dict[str, Any]:
    """Measure one length, or return what an interrupted run of the same code measured."""
    if quick:
        return _measure(compressor, cache, ids)
    kept = CHECKPOINTS / "compllm-cost" / f"{len(ids)}-{commit()}.json"
    if not kept.exists():
        row = _measure(compressor, cache, ids)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(row))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def _measure(compressor: CompLLM, cache: SegmentCache, ids: list[int]) -> dict[str, Any]:
    """Measure one length: compressing, then plain and cached first tokens in turn."""
    llm, segments = compressor.llm, cut(ids)
    compress: list[float] = []
    cache.purge()
    _timed(compress, lambda: cache.compress(compressor, segments))
    row: dict[str, Any] = {
        "tokens": len(ids),
        "compress s": compress[0],
        "cache MB": len(cache) * cache.slot_bytes / 1e6,
    }
    if len(ids) > PLAIN_UP_TO:
        return row
    plain_s: list[float] = []
    cached_s: list[float] = []
    for _ in range(ROUNDS.get(len(ids), 1)):
        plain = _timed(plain_s, lambda: _first_token(llm, _embed(llm, ids)))
        short = _timed(cached_s, lambda: _first_token(llm, cache.compress(compressor, segments)))
    kv, small = kv_bytes(plain), kv_bytes(short)
    return row | {
        "plain s": float(np.median(plain_s)),
        "cold s": compress[0] + float(np.median(cached_s)),
        "cached s": float(np.median(cached_s)),
        "plain positions": plain.get_seq_length(),
        "positions": short.get_seq_length(),
        "plain KV MB": kv["total"] / 1e6,
        "KV MB": small["total"] / 1e6,
        "plain global KV MB": kv["full_attention"] / 1e6,
        "global KV MB": small["full_attention"] / 1e6,
    }


def _timed(into: list[float], run: Callable[[], Any]) -> Any:
    start = time.process_time()
    out = run()
    into.append(time.process_time() - start)
    return out


def _embed(llm: Any, ids: list[int]) -> Tensor:
    out: Tensor = llm.get_input_embeddings()(torch.tensor(ids, device=llm.device))
    return out


@torch.no_grad()
def _first_token(llm: Any, inputs: Tensor) -> Any:
    """Prefill and pick the first token; return the cache."""
    out = llm(inputs_embeds=inputs[None], use_cache=True, logits_to_keep=1)
    out.logits[0, -1].argmax()
    return out.past_key_values
