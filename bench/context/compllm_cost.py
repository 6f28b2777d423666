"""What CompLLM costs on Gemma 3 270M: compressing, cold and cached first token, bytes of KV.

Cost does not depend on training, so the adapter is at its start. CPU seconds of one thread. First
token: from token ids (plain), from text segments not yet compressed (cold), from the cache (cached;
reading and decoding the cache is inside). KV in the model's own cache: 3 of 18 layers are global.
"""

import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.context.cache import SegmentCache
from attar.context.compllm import CompLLM, Recipe, cut, kv_bytes
from bench.context.gemma import load_gemma
from bench.context.prose import streams
from bench.registry import Result, bench

SIZES = (1024, 2048, 4096, 8192, 16384)
ROUNDS = {8192: 3}


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
        rows = [_measure(compressor, cache, ids[:n]) for n in sizes]
    top = next((r for r in rows if r["tokens"] == 8192), rows[-1])
    tokens = np.log([r["tokens"] for r in rows])
    exponent = float(np.polyfit(tokens, np.log([r["compress s"] for r in rows]), 1)[0])
    faster = [r["tokens"] for r in rows if r["cold s"] < r["plain s"]]
    setup = {
        "model": "gemma-3-270m, bfloat16, CPU, 1 thread, its own cache (15 of 18 layers sliding)",
        "recipe": "pooled, C 2, S 20, untrained", "clock": "CPU seconds, median of rounds",
        "cold is faster than plain from": faster[0] if faster else f"not up to {sizes[-1]} tokens",
        "cached is faster than plain from": next(
            (r["tokens"] for r in rows if r["cached s"] < r["plain s"]), "never"),
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


def _measure(compressor: CompLLM, cache: SegmentCache, ids: list[int]) -> dict[str, Any]:
    """Measure one length; plain, cold and cached in turn, round by round."""
    llm, segments = compressor.llm, cut(ids)
    seconds: dict[str, list[float]] = {"compress": [], "plain": [], "cached": [], "cold": []}
    for turn in range(ROUNDS.get(len(ids), 1)):
        if turn == 0:
            cache.purge()
            _timed(seconds["compress"], lambda: cache.compress(compressor, segments))
        plain = _timed(seconds["plain"], lambda: _first_token(llm, _embed(llm, ids)))
        short = _timed(
            seconds["cached"], lambda: _first_token(llm, cache.compress(compressor, segments))
        )
    cached = float(np.median(seconds["cached"]))
    return {
        "tokens": len(ids),
        "compress s": seconds["compress"][0],
        "plain s": float(np.median(seconds["plain"])),
        "cold s": seconds["compress"][0] + cached,
        "cached s": cached,
        "plain positions": plain.get_seq_length(),
        "positions": short.get_seq_length(),
        "plain KV MB": kv_bytes(plain)["total"] / 1e6,
        "KV MB": kv_bytes(short)["total"] / 1e6,
        "plain global KV MB": kv_bytes(plain)["full_attention"] / 1e6,
        "global KV MB": kv_bytes(short)["full_attention"] / 1e6,
        "cache MB": len(cache) * cache.slot_bytes / 1e6,
    }


def _timed(into: list[float], run: Callable[[], Any]) -> Any:
    start = time.process_time()
    out = run()
    into.append(time.process_time() - start)
    return out


def _embed(llm: Any, ids: list[int]) -> Tensor:
    out: Tensor = llm.get_input_embeddings()(torch.tensor(ids))
    return out


@torch.no_grad()
def _first_token(llm: Any, inputs: Tensor) -> Any:
    """Prefill and pick the first token; return the cache."""
    out = llm(inputs_embeds=inputs[None], use_cache=True, logits_to_keep=1)
    out.logits[0, -1].argmax()
    return out.past_key_values
