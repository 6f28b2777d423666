"""CompLLM taught on answers that Gemma writes itself: no labels, as in section 3.3 of the paper.

The pooled adapter of `context/compllm_copy` goes on with contexts after which the model is made to
write on from "Question:", so that it asks and answers by itself; every second lesson is still a
copy. Measured on contexts of held-out texts: perplexity of the model's own answers given the whole
context, none of it, its last half, and the adapter before and after. Resumable: answers and
checkpoints lie under ~/.cache/attar/bench; `context/compllm_qa` has a row for the result.
"""

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from attar.context.compllm import (
    CompLLM,
    Prompt,
    Sample,
    Training,
    Writing,
    cut,
    train,
    write_answers,
)
from bench.context.compllm_copy import (
    BATCH,
    CHECKPOINTS,
    LESSON,
    RECIPES,
    answer_nll,
    batches,
    forms,
    restored,
)
from bench.context.gemma import load_gemma, where
from bench.context.prose import HELD_OUT, Ids, streams, window
from bench.registry import Result, bench

ASK = "\n\nQuestion:"
WRITING = Writing(tokens=40, batch=16)
CPU = Training(steps=40, rate=3e-4, warmup=5, save_every=10, check_every=40)
GPU = Training(steps=2000, rate=3e-4, warmup=50, save_every=200, check_every=500)
TESTS = 24
FOLDER = CHECKPOINTS / "compllm-own"


def prompts(texts: list[Ids], ask: list[int], bos: int, count: int, seed: int) -> list[Prompt]:
    """Draw contexts to ask about."""
    rng = np.random.default_rng(seed)
    return [Prompt(window(texts, LESSON, rng), ask, (bos,)) for _ in range(count)]


def lessons(own: list[Sample], copies: Any) -> Any:
    """Return step -> samples: one of the model's own answers, the rest copies."""
    return lambda step: [own[step % len(own)], *copies(step)[1:]]


def taught(quick: bool) -> tuple[CompLLM, dict[str, Any], list[Sample]]:
    """Write the answers, train, or go on, or just load; return adapter, setup and tests."""
    llm, tokenizer = load_gemma()
    texts, held = streams(tokenizer)
    bos = tokenizer.bos_token_id
    ask = tokenizer(ASK, add_special_tokens=False)["input_ids"]
    training, writing, tests = (GPU if llm.device.type == "cuda" else CPU), WRITING, TESTS
    folder = FOLDER
    if quick:
        training, tests = replace(training, steps=2, warmup=0, check_every=2), 2
        writing, folder = replace(writing, tokens=4), FOLDER.with_name("compllm-own-quick")
    compressor = CompLLM(llm, tokenizer, RECIPES["pooled"][0])
    start = restored(compressor, "pooled")
    asked = prompts(texts, ask, bos, training.steps, seed=0)
    own = write_answers(compressor, asked, writing, folder / "answers.jsonl")
    asked = prompts(held, ask, bos, tests, seed=1)
    check = write_answers(compressor, asked, writing, folder / "held-out.jsonl")
    before = perplexity(compressor, check)
    train(compressor, lessons(own, batches(texts, bos, seed=2)), training, folder)
    setup = {
        "model": f"gemma-3-270m, bfloat16, {where(llm)}", "starts at": f"pooled, step {start}",
        "training": asdict(training) | {"batch": BATCH}, "writing": asdict(writing),
        "context": LESSON, "asked with": ASK, "held out": HELD_OUT, "tests": tests,
        "example": tokenizer.decode(list(check[0].answer)), "before": before,
    }  # fmt: skip
    return compressor, setup, check


def perplexity(compressor: CompLLM, samples: list[Sample]) -> float:
    """Perplexity of the samples' answers after compressed contexts."""
    return _perplexity(compressor, samples, lambda ids: _short(compressor, ids))


def _short(compressor: CompLLM, ids: list[int]) -> Any:
    return compressor.compress_segments(cut(ids, compressor.recipe.segment))


def _perplexity(compressor: CompLLM, samples: list[Sample], form: Any) -> float:
    # The instruction counts to what is ahead of the answer.
    nll = []
    for s in samples:
        whole = [*s.instruction, *s.answer]
        both = answer_nll(compressor.llm, form(list(s.context)), list(s.before), whole)
        ask = answer_nll(compressor.llm, form(list(s.context)), list(s.before), list(s.instruction))
        nll.append((both * len(whole) - ask * len(s.instruction)) / len(s.answer))
    return math.exp(float(np.mean(nll)))


@bench("context/compllm_own", gate="tests/context/compllm")
def compllm_own(quick: bool) -> Result:
    compressor, setup, tests = taught(quick)
    llm = compressor.llm
    rows: list[dict[str, Any]] = []
    for name, n in (("full context", LESSON), ("none", 0), ("truncated, last half", LESSON // 2)):
        value = _perplexity(compressor, tests, lambda ids, of=name: forms(llm, ids)[of])
        rows.append({"context as": name, "positions": n, "own answers": value})
    after = perplexity(compressor, tests)
    half = LESSON // 2
    rows += [
        {"context as": "CompLLM, copies only", "positions": half,
         "own answers": setup.pop("before")},
        {"context as": "CompLLM, own answers", "positions": half, "own answers": after},
    ]  # fmt: skip
    return Result(rows, setup)
