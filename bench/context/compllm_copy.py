"""CompLLM on Gemma 3 270M: 160 tokens of context as 80 embeddings, 64 tokens to predict.

Two tasks: go on with the text, or copy a random span of 64 context tokens. Perplexity of the answer
given the context in every form, on texts that no training saw. Trains by the CPU recipe (resumable;
checkpoints under ~/.cache/attar/bench) when the checkpoint is not complete: contexts of 80 tokens,
three of four answers copy the context from a random place of its first fifth to its end, so that
most of a context is asked for at once; checked on other windows of the training texts.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from attar.context.compllm import CompLLM, Recipe, Sample, Training, cut, train
from attar.context.compllm.compressor import group_means
from bench.context.gemma import load_gemma, where
from bench.context.prose import HELD_OUT, Ids, streams, window
from bench.registry import Result, bench

CONTEXT, ANSWER = 160, 64
LESSON, BATCH, COPYING = 80, 2, 0.75
SAMPLES = {"copy": 16, "continuation": 8}
QUICK = {"copy": 2, "continuation": 2}
THREE = "truncated, last three quarters"
WHOLE = "old half compressed, recent half raw"
SHORT = "oldest quarter left out, half compressed, last quarter raw"
CHECKPOINTS = Path.home() / ".cache" / "attar" / "bench"
RECIPES = {
    "pooled": (Recipe(variant="pooled"), Training(steps=110, check_every=25)),
    "eos": (Recipe(variant="eos"), Training(steps=25, check_every=25)),
}


def sample(texts: list[Ids], copying: bool, bos: int, rng: np.random.Generator) -> Sample:
    """Draw a context and its answer: the text that follows, or a span of the context itself."""
    ids = window(texts, CONTEXT + ANSWER, rng)
    context = ids[:CONTEXT]
    start = int(rng.integers(CONTEXT - ANSWER + 1))
    answer = context[start : start + ANSWER] if copying else ids[CONTEXT:]
    return Sample(context, (), answer, (bos,))


def lesson(texts: list[Ids], bos: int, rng: np.random.Generator) -> Sample:
    """Draw a training sample: shorter contexts than the test's, and longer copies of them."""
    ids = window(texts, LESSON + ANSWER, rng)
    context = ids[:LESSON]
    start = int(rng.integers(LESSON // 5 + 1))
    answer = context[start:] if rng.random() < COPYING else ids[LESSON:]
    return Sample(context, (), answer, (bos,))


def batches(texts: list[Ids], bos: int, seed: int) -> Callable[[int], list[Sample]]:
    """Return step -> samples."""

    def at(step: int) -> list[Sample]:
        rng = np.random.default_rng((seed, step))
        return [lesson(texts, bos, rng) for _ in range(BATCH)]

    return at


def held_out(
    texts: list[Ids], bos: int, sizes: dict[str, int], seed: int
) -> dict[str, list[Sample]]:
    """Return so many samples of either task from the held-out texts."""
    rng = np.random.default_rng(seed)
    return {
        task: [sample(texts, task == "copy", bos, rng) for _ in range(n)]
        for task, n in sizes.items()
    }


@torch.no_grad()
def answer_nll(llm: Any, context: Tensor, head: list[int], answer: list[int]) -> float:
    """Mean negative log-likelihood of the answer tokens after head and context embeddings."""
    embed = llm.get_input_embeddings()
    wanted = torch.tensor(answer, device=llm.device)
    parts = [embed(torch.tensor(head, device=llm.device)), context, embed(wanted)]
    hidden = llm.get_decoder()(inputs_embeds=torch.cat(parts)[None], use_cache=False)
    states = hidden.last_hidden_state[0, -len(answer) - 1 : -1]
    logits = llm.lm_head(states.contiguous()).float()
    return float(torch.nn.functional.cross_entropy(logits, wanted))


def forms(llm: Any, ids: list[int]) -> dict[str, Tensor]:
    """Return the context in every form that needs no training."""
    tokens = llm.get_input_embeddings()(torch.tensor(ids, device=llm.device))
    half = len(ids) // 2
    return {
        "full context": tokens,
        "none": tokens[:0],
        THREE: tokens[half // 2 :],
        "truncated, last half": tokens[half:],
        "every second token": tokens[1::2],
        "mean of pairs": group_means(tokens.float(), 2).to(tokens.dtype),
    }


def perplexities(
    llm: Any, samples: list[Sample], form: Callable[[list[int]], dict[str, Tensor]]
) -> dict[str, float]:
    """Return the perplexity of the answers under each form of the contexts."""
    nll: dict[str, list[float]] = {}
    for s in samples:
        for name, context in form(list(s.context)).items():
            nll.setdefault(name, []).append(
                answer_nll(llm, context, list(s.before), list(s.answer))
            )
    return {name: math.exp(float(np.mean(values))) for name, values in nll.items()}


def compressed(compressor: CompLLM) -> Callable[[list[int]], dict[str, Tensor]]:
    """Return the form that a compressor gives."""

    def form(ids: list[int]) -> dict[str, Tensor]:
        return {"compressed": compressor.compress_segments(cut(ids, compressor.recipe.segment))}

    return form


def hybrids(compressor: CompLLM) -> Callable[[list[int]], dict[str, Tensor]]:
    """Return compressed old + raw recent: all of a context, and as many positions as half of it."""

    def form(ids: list[int]) -> dict[str, Tensor]:
        segments, n = cut(ids, compressor.recipe.segment), len(ids)
        whole = compressor.context(segments, recent=n // 2)
        short = compressor.context(segments, recent=n // 4, positions=n // 2)
        return {WHOLE: whole.embeddings, SHORT: short.embeddings}

    return form


def trained(variant: str, quick: bool, progress: Any = None) -> tuple[CompLLM, int]:
    """Train a variant, or go on, or just load it; return it and its steps."""
    llm, tokenizer = load_gemma()
    recipe, training = RECIPES[variant]
    name = variant
    if quick:
        training, name = replace(training, steps=4, check_every=4), f"{variant}-quick"
    compressor = CompLLM(llm, tokenizer, recipe, seed=0)
    texts, _ = streams(tokenizer)
    bos = tokenizer.bos_token_id
    windows = held_out(texts, bos, {"copy": 2 if quick else 6}, seed=7)["copy"]

    def check(model: CompLLM) -> dict[str, float]:
        return {"copy": perplexities(llm, windows, compressed(model))["compressed"]}

    folder = CHECKPOINTS / f"compllm-{name}"
    train(compressor, batches(texts, bos, seed=0), training, folder, check, progress)
    return compressor, training.steps


def restored(compressor: CompLLM, name: str) -> int:
    """Load the newest weights of a run into the compressor; return their step, 0 without any."""
    file = CHECKPOINTS / f"compllm-{name}" / "checkpoint.safetensors"
    if not file.exists():
        return 0
    with safe_open(str(file), "pt") as stored:
        names = [n for n in stored.keys() if n.startswith("value/")]  # noqa: SIM118
        values = {n.removeprefix("value/"): stored.get_tensor(n) for n in names}
        step = int((stored.metadata() or {})["step"])
    compressor.restore(values)
    return step


@bench("context/compllm_copy", gate="tests/context/compllm")
def compllm_copy(quick: bool) -> Result:
    llm, tokenizer = load_gemma()
    _, texts = streams(tokenizer)
    tests = held_out(texts, tokenizer.bos_token_id, QUICK if quick else SAMPLES, seed=1)
    plain = {t: perplexities(llm, s, lambda ids: forms(llm, ids)) for t, s in tests.items()}
    rows: list[dict[str, Any]] = [
        {"context as": name, "positions": _positions(name)} | {t: plain[t][name] for t in tests}
        for name in plain["copy"]
    ]
    measured = {}
    for variant in RECIPES:
        compressor, steps = trained(variant, quick)
        measured[variant] = {
            t: perplexities(compressor.llm, s, compressed(compressor))["compressed"]
            for t, s in tests.items()
        }
        name = f"CompLLM {variant}, {steps} steps"
        rows.append({"context as": name, "positions": CONTEXT // 2} | measured[variant])
        if variant == "pooled":
            mixed = {
                t: perplexities(compressor.llm, s, hybrids(compressor)) for t, s in tests.items()
            }
            rows += [
                {"context as": n, "positions": _positions(n)} | {t: mixed[t][n] for t in tests}
                for n in (WHOLE, SHORT)
            ]
    best = min(plain["copy"]["every second token"], plain["copy"]["mean of pairs"])
    got = measured["pooled"]["copy"]
    bar = f"at most half of {best:.2f}, the better of every second token and mean of pairs"
    setup = {
        "model": f"gemma-3-270m Q4_K_M dequantised, bfloat16, {where(llm)}",
        "recipes": {v: asdict(t) | asdict(r) for v, (r, t) in RECIPES.items()},
        "lessons": {"batch": BATCH, "context": LESSON, "copying": COPYING},
        "held out": HELD_OUT,
        "samples per task": QUICK if quick else SAMPLES, "seed": 0,
    }  # fmt: skip
    return Result(
        rows,
        setup,
        {
            "copy perplexity": {
                "bar": bar,
                "measured": got,
                "met": None if quick else got <= best / 2,
            }
        },
    )


def _positions(name: str) -> int:
    known = {"full context": CONTEXT, "none": 0, THREE: CONTEXT * 3 // 4, WHOLE: CONTEXT * 3 // 4}
    return known.get(name, CONTEXT // 2)
