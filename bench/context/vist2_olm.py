"""VIST2 on Gemma 3 270M: next-token loss with old text as images, at 4x compression.

Four old chunks of 64 tokens and the current one. Its loss (nats per token, first token left out in
all arms) with the old chunks as images, without them, with the images of other texts, and as text
truncated to as many positions. CPU recipe: the encoder learns to read without the LLM (`READING`,
rare words count more), then a few steps of optical language modelling. On a GPU the paper's stages.
Resumable; checkpoints under ~/.cache/attar/bench.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from attar.context.training import Training
from attar.context.vist2 import READING, STAGES, Chunk, Renderer, Stage, Vist2, train_stage
from attar.context.vist2.vist2 import predictions
from bench.context.compllm_copy import CHECKPOINTS
from bench.context.gemma import load_gemma, where
from bench.context.kept import hash_of, kept
from bench.context.prose import Ids, streams, window
from bench.registry import Result, bench

CHUNK, OLD = 64, 4
Schedule = list[tuple[Stage, Training, int]]
"""Stage, how to train it, sequences per step."""
CPU: Schedule = [
    (READING, Training(900, rate=2e-3, warmup=20, save_every=50), 4),
    (Stage("olm", only_last=True, still_reading=0.3), Training(80, rate=4e-4, warmup=5), 2),
]
GPU: Schedule = [
    (READING, Training(6000, rate=1e-3, warmup=100, save_every=500), 16),
    (STAGES[0], Training(2000, rate=3e-4, warmup=100, save_every=200), 8),
    (STAGES[1], Training(3000, rate=3e-4, warmup=100, save_every=200), 8),
]
TESTS = 160


def sequence(model: Vist2, texts: list[Ids], rng: np.random.Generator, chunks: int) -> list[Chunk]:
    """Draw consecutive chunks of one text."""
    ids = window(texts, CHUNK * chunks, rng)
    pieces = [ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK)]
    drawn = (model.chunk(model.tokenizer.decode(piece)) for piece in pieces)
    return [replace(c, ids=tuple(piece)) for c, piece in zip(drawn, pieces, strict=True)]


def lesson(model: Vist2, stage: Stage, texts: list[Ids], rng: np.random.Generator) -> list[Chunk]:
    """Draw a sequence for a stage.

    Where only the last chunk counts, the text of the others, which it cannot see, is left out.
    """
    chunks = sequence(model, texts, rng, 1 if stage.twice else OLD + 1)
    if stage.reading or stage.twice:
        return chunks
    if stage.only_last:
        chunks = [*(replace(c, ids=()) for c in chunks[:-1]), chunks[-1]]
    return [model.start(), *chunks]


@torch.no_grad()
def last_loss(model: Vist2, chunks: Sequence[Chunk]) -> float:
    """Mean loss over the last chunk but its first token."""
    inputs, layout = model.sequence(chunks)
    states = model.states(inputs, layout)
    rows, targets = predictions(chunks, layout, only_last=True)
    keep = len(chunks[-1].ids) - 1
    logits = model.llm.lm_head(states[rows[-keep:]].contiguous()).float()
    return float(torch.nn.functional.cross_entropy(logits, targets[-keep:].to(logits.device)))


def losses(model: Vist2, tests: list[list[Chunk]], i: int) -> dict[str, float]:
    """Return the loss of a test under every arm."""
    begin, chunks = model.start(), tests[i]
    old, now = [replace(c, ids=()) for c in chunks[:-1]], chunks[-1]
    other = [replace(c, ids=()) for c in tests[(i + 1) % len(tests)][:-1]]
    raw = [t for c in chunks[:-1] for t in c.ids]
    room = sum(c.kept for c in old)
    recent = replace(begin, verbatim=(*begin.verbatim, *raw[-room:]))
    arms = {"images": [begin, *old, now], "none": [begin, now],
            "shuffled images": [begin, *other, now], "truncated": [recent, now]}  # fmt: skip
    return {name: last_loss(model, arm) for name, arm in arms.items()}


def rarity(texts: list[Ids], vocabulary: int) -> torch.Tensor:
    """Return (-log p)^3 of each token in these texts."""
    counts = np.bincount(np.concatenate(texts), minlength=vocabulary) + 1.0
    return torch.from_numpy(-np.log(counts / counts.sum())).float() ** 3


def _interval(gains: np.ndarray[Any, Any], seed: int = 0) -> tuple[float, float]:
    picks = np.random.default_rng(seed).integers(len(gains), size=(2000, len(gains)))
    low, high = np.quantile(gains[picks].mean(1), [0.025, 0.975])
    return float(low), float(high)


def trained(quick: bool, progress: Any = None) -> tuple[Vist2, Schedule, list[Ids]]:
    """Train the stages, or go on, or just load them; return the model and the held-out texts."""
    llm, tokenizer = load_gemma()
    texts, held = streams(tokenizer)
    schedule = GPU if llm.device.type == "cuda" else CPU
    if quick:
        schedule = [(s, replace(t, steps=2, warmup=0), n) for s, t, n in schedule]
    model = Vist2(
        llm, tokenizer, Renderer(flow=True), keep_identifiers=False, separator="\n\n",
        importance=rarity(texts, llm.config.vocab_size), seed=0,
    )  # fmt: skip
    for place, (stage, training, count) in enumerate(schedule):

        def draw(step: int, of: tuple[int, Stage, int] = (place, stage, count)) -> Any:
            rng = np.random.default_rng((of[0], step))
            return [lesson(model, of[1], texts, rng) for _ in range(of[2])]

        folder = CHECKPOINTS / f"vist2{'-quick' * quick}"
        # Matrix products in bfloat16: the encoder's convolutions are 2.5x faster on AMX.
        with torch.autocast(llm.device.type, torch.bfloat16):
            train_stage(model, stage, draw, training, folder, progress=progress)
    return model, schedule, held


@bench("context/vist2_olm", gate="tests/context/vist2")
def vist2_olm(quick: bool) -> Result:
    model, schedule, held = trained(quick)
    rng = np.random.default_rng(1)
    tests = [sequence(model, held, rng, OLD + 1) for _ in range(3 if quick else TESTS)]
    weights = hash_of(model.encoder.parameters())
    each = [
        kept("vist2", weights, i, lambda i=i: losses(model, tests, i)) for i in range(len(tests))
    ]
    got = {name: np.array([x[name] for x in each]) for name in each[0]}
    rows = []
    for name, values in got.items():
        low, high = _interval(values - got["images"])
        rows.append({"old text": name, "loss": float(values.mean()),
                     "images better by": float((values - got["images"]).mean()),
                     "low": low, "high": high})  # fmt: skip
    ratio = float(np.mean([c.compression for t in tests for c in t[:-1]]))
    better = {r["old text"]: r["low"] > 0 for r in rows}
    setup = {"model": f"gemma-3-270m, bfloat16, {where(model.llm)}, frozen",
             "compression": ratio, "tests": len(tests),
             "stages": {s.name: asdict(t) | {"sequences": n} for s, t, n in schedule}}  # fmt: skip
    bars = {
        "old text as images at 4x": {
            "bar": "below no old context and below shuffled images, intervals excluding zero",
            "measured": {r["old text"]: r["images better by"] for r in rows},
            "met": None if quick else better["none"] and better["shuffled images"],
        }
    }
    return Result(rows, setup, bars)
