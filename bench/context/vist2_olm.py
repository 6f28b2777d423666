"""VIST2 on Gemma 3 270M: next-token loss with old text as images, at about 4x compression.

Four old chunks of 64 tokens and the current one. Its loss (nats per token, first token left out in
all arms) with the old chunks as images, without them, with the images of other texts, as text
truncated to as many positions, and as full text. Training (OCR warm-up, then optical language
modelling) needs a GPU; without one only `--quick` runs, to see that everything works.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from attar.context.training import Training
from attar.context.vist2 import STAGES, Chunk, Vist2, train_stage
from attar.context.vist2.vist2 import predictions
from bench.context.compllm_copy import CHECKPOINTS
from bench.context.gemma import load_gemma, where
from bench.context.prose import Ids, streams, window
from bench.registry import Result, bench

CHUNK, OLD, BATCH = 64, 4, 8
STEPS = {"ocr": 3000, "olm": 3000}


def sequence(model: Vist2, texts: list[Ids], rng: np.random.Generator, chunks: int) -> list[Chunk]:
    """Draw consecutive chunks of one text."""
    ids = window(texts, CHUNK * chunks, rng)
    pieces = [ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK)]
    return [_chunk(model, piece) for piece in pieces]


def _chunk(model: Vist2, ids: list[int]) -> Chunk:
    patches = model.renderer.patches(model.tokenizer.decode(ids))
    return Chunk(tuple(ids), torch.from_numpy(patches))


@torch.no_grad()
def last_loss(model: Vist2, chunks: Sequence[Chunk], old_text: bool = False) -> float:
    """Mean loss over the last chunk but its first token."""
    inputs, layout = model.sequence(chunks)
    states = model.states(inputs, layout, old_text)
    rows, targets = predictions(chunks, layout, only_last=True)
    keep = len(chunks[-1].ids) - 1
    logits = model.llm.lm_head(states[rows[-keep:]].contiguous()).float()
    return float(torch.nn.functional.cross_entropy(logits, targets[-keep:].to(logits.device)))


def losses(model: Vist2, tests: list[list[Chunk]]) -> dict[str, list[float]]:
    """Return the loss of every test under every arm."""
    out: dict[str, list[float]] = {}
    for i, chunks in enumerate(tests):
        old, now = chunks[:-1], chunks[-1]
        other = tests[(i + 1) % len(tests)][:-1]
        shuffled = [Chunk(c.ids, o.patches) for c, o in zip(old, other, strict=True)]
        raw = [t for c in old for t in c.ids]
        room = sum(c.kept for c in old)
        # One chunk of plain text: what comes before the last chunk's tokens is simply visible.
        cut, full = (Chunk(tuple(r) + now.ids, now.patches) for r in (raw[-room:], raw))
        arms = {"images": [*old, now], "none": [now], "shuffled images": [*shuffled, now]}
        for name, sequence_ in arms.items():
            out.setdefault(name, []).append(last_loss(model, sequence_))
        for name, one in {"truncated": cut, "full text": full}.items():
            out.setdefault(name, []).append(_tail_loss(model, one, len(now.ids) - 1))
    return out


@torch.no_grad()
def _tail_loss(model: Vist2, chunk: Chunk, tokens: int) -> float:
    inputs, layout = model.sequence([chunk])
    states = model.states(inputs, layout)[-tokens - 1 : -1]
    logits = model.llm.lm_head(states.contiguous()).float()
    target = torch.tensor(chunk.ids[-tokens:], device=logits.device)
    return float(torch.nn.functional.cross_entropy(logits, target))


def _interval(gains: np.ndarray[Any, Any], seed: int = 0) -> tuple[float, float]:
    picks = np.random.default_rng(seed).integers(len(gains), size=(2000, len(gains)))
    low, high = np.quantile(gains[picks].mean(1), [0.025, 0.975])
    return float(low), float(high)


@bench("context/vist2_olm", gate="tests/context/vist2")
def vist2_olm(quick: bool) -> Result:
    if not quick and not torch.cuda.is_available():
        why = {"bar": "below no old context and below shuffled images, intervals excluding zero",
               "measured": "not measured: no GPU", "met": None}  # fmt: skip
        return Result([], {"device": "no GPU"}, {"old text as images at 4x": why})
    llm, tokenizer = load_gemma()
    model = Vist2(llm, tokenizer, keep_identifiers=False, seed=0, width=512, depth=4, heads=8)
    texts, held = streams(tokenizer)
    for stage in STAGES[:2]:
        steps = 2 if quick else STEPS[stage.name]

        def draw(step: int, stage: Any = stage) -> list[list[Chunk]]:
            rng = np.random.default_rng((STAGES.index(stage), step))
            count = 1 if stage.twice else OLD + 1
            return [sequence(model, texts, rng, count) for _ in range(2 if quick else BATCH)]

        training = Training(steps, rate=5e-4, warmup=min(100, steps), save_every=200)
        train_stage(model, stage, draw, training, CHECKPOINTS / f"vist2{'-quick' * quick}")
    rng = np.random.default_rng(1)
    tests = [sequence(model, held, rng, OLD + 1) for _ in range(3 if quick else 300)]
    got = {name: np.array(values) for name, values in losses(model, tests).items()}
    rows = []
    for name, values in got.items():
        low, high = _interval(values - got["images"])
        rows.append({"old text": name, "loss": float(values.mean()),
                     "images better by": float((values - got["images"]).mean()),
                     "low": low, "high": high})  # fmt: skip
    ratio = float(np.mean([c.compression for t in tests for c in t[:-1]]))
    better = {r["old text"]: r["low"] > 0 for r in rows}
    setup = {"model": f"gemma-3-270m, bfloat16, {where(llm)}, frozen", "compression": ratio,
             "steps": "2 each" if quick else STEPS, "tests": len(tests)}  # fmt: skip
    bars = {
        "old text as images at 4x": {
            "bar": "below no old context and below shuffled images, intervals excluding zero",
            "measured": {r["old text"]: r["images better by"] for r in rows},
            "met": None if quick else better["none"] and better["shuffled images"],
        }
    }
    return Result(rows, setup, bars)
