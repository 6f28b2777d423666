"""Gold answers of SQuAD given three paragraphs, compressed or truncated to as many positions.

One paragraph answers, two are drawn from the others, its place is uniform. Negative log-likelihood
of the gold answer (nats per answer) by Gemma 3 270M (base): CompLLM (the pooled adapter of
`context/compllm_copy`, at the step that its checkpoint has) against head and tail truncation at
equal positions; the interval is a bootstrap over paragraphs, whose questions belong together.
"""

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attar.context.compllm import CompLLM, segment_text
from bench.context.compllm_copy import RECIPES, restored
from bench.context.gemma import load_gemma, where
from bench.context.kept import kept
from bench.machine import DATA
from bench.registry import Result, bench

PARAGRAPHS, EACH, SEED = 100, 5, 0
REFERENCE = 30
"""Paragraphs on which the whole context, none of it and the hybrid are measured too."""


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def asked_of_squad() -> tuple[dict[str, str], dict[str, list[tuple[str, str]]]]:
    """Return paragraphs by name, and the answerable questions of each with their answers."""
    corpus = _read(DATA / "ir" / "squad" / "corpus.jsonl.gz")
    asked: dict[str, list[tuple[str, str]]] = {}
    for q in _read(DATA / "qa" / "squad_v2_half_dev.jsonl.gz"):
        if q["answers"] and not q["is_impossible"]:
            asked.setdefault(q["doc"], []).append((q["question"], q["answers"][0]))
    return {d["_id"]: d["text"] for d in corpus}, asked


def contexts(
    paragraphs: int, each: int, seed: int
) -> list[tuple[list[str], list[tuple[str, str]]]]:
    """Return (three paragraphs, questions with answers) per gold paragraph."""
    texts, asked = asked_of_squad()
    rng = np.random.default_rng(seed)
    gold = sorted(d for d, questions in asked.items() if len(questions) >= each)
    names = sorted(texts)
    out = []
    for doc in rng.permutation(gold)[:paragraphs]:
        others = [n for n in rng.choice(names, 4, replace=False) if n != doc][:2]
        others.insert(int(rng.integers(3)), str(doc))
        out.append(([texts[n] for n in others], asked[str(doc)][:each]))
    return out


@torch.no_grad()
def answers_nll(
    llm: Any, tokenizer: Any, contexts: Tensor, questions: Sequence[tuple[str, str]]
) -> list[list[float]]:
    """Return the NLL of each gold answer after each of the contexts [a n d], read once."""
    embed = llm.get_input_embeddings()
    bos = embed(torch.tensor([tokenizer.bos_token_id], device=llm.device))
    inputs = torch.cat([bos.expand(len(contexts), 1, -1), contexts], dim=1)
    start = llm.get_decoder()(inputs_embeds=inputs, use_cache=True)
    tails: list[list[int]] = []
    golds: list[list[int]] = []
    for question, answer in questions:
        tail = tokenizer(f"\n\nQuestion: {question}\nAnswer:", add_special_tokens=False)
        golds.append(tokenizer(f" {answer}", add_special_tokens=False)["input_ids"])
        tails.append(tail["input_ids"] + golds[-1])
    # All questions as one batch; what pads them on the right is seen by nothing that counts.
    width = max(map(len, tails))
    ids = torch.tensor([t + [0] * (width - len(t)) for t in tails], device=llm.device)
    ids = ids.repeat(len(contexts), 1)
    cache = start.past_key_values
    cache.batch_repeat_interleave(len(tails))
    states = llm.get_decoder()(input_ids=ids, past_key_values=cache).last_hidden_state
    rows = [
        state[len(tail) - len(gold) - 1 : len(tail) - 1]
        for state, tail, gold in zip(
            states, tails * len(contexts), golds * len(contexts), strict=True
        )
    ]
    # One product with the 262,144 rows of the head for all of them.
    logits = llm.lm_head(torch.cat(rows).contiguous()).float()
    target = torch.tensor([i for gold in golds for i in gold] * len(contexts), device=llm.device)
    nll = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    parts = nll.split([len(gold) for gold in golds] * len(contexts))
    sums = [float(part.sum()) for part in parts]
    return [sums[i : i + len(golds)] for i in range(0, len(sums), len(golds))]


def measured(
    compressor: CompLLM, tokenizer: Any, paragraphs: list[str], questions: Any, all_arms: bool
) -> dict[str, tuple[int, list[float]]]:
    """Return positions and NLLs of every form of a context; the first three have equally many."""
    segments = segment_text(paragraphs, tokenizer, compressor.recipe.segment)
    short = compressor.compress_segments(segments)
    ids = torch.tensor([i for s in segments for i in s], device=short.device)
    tokens = compressor.llm.get_input_embeddings()(ids).detach()
    n = len(short)
    same = torch.stack([tokens[:n], tokens[-n:], short])
    got = answers_nll(compressor.llm, tokenizer, same, questions)
    out = {name: (n, x) for name, x in zip(("head", "tail", "CompLLM"), got, strict=True)}
    others: dict[str, Tensor] = {}
    if all_arms:
        mixed = compressor.context(segments, recent=n // 2, positions=n)
        others = {
            "full": tokens,
            "none": tokens[:0],
            "old compressed, recent raw": mixed.embeddings,
        }
    for name, form in others.items():
        (nll,) = answers_nll(compressor.llm, tokenizer, form[None], questions)
        out[name] = len(form), nll
    return out


def interval(groups: list[list[float]], seed: int, draws: int = 2000) -> tuple[float, float]:
    """Return the 95 % interval of the mean, by a bootstrap over groups."""
    sums = np.array([sum(g) for g in groups])
    sizes = np.array([len(g) for g in groups])
    picks = np.random.default_rng(seed).integers(len(groups), size=(draws, len(groups)))
    means = sums[picks].sum(1) / sizes[picks].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _mean(groups: Iterable[list[float]]) -> float:
    return float(np.mean([x for group in groups for x in group]))


@bench("context/compllm_qa", gate="tests/context/compllm")
def compllm_qa(quick: bool) -> Result:
    llm, tokenizer = load_gemma()
    compressor = CompLLM(llm, tokenizer, RECIPES["pooled"][0])
    asked = contexts(2 if quick else PARAGRAPHS, EACH, SEED)
    names = [name for name in ("pooled", "own") if name == "pooled" or restored(compressor, name)]
    steps = {}
    nll: dict[str, dict[int, list[float]]] = {}
    positions: dict[str, list[int]] = {}
    for name in names:
        steps[name] = restored(compressor, name)
        for i, (paragraphs, questions) in enumerate(asked):

            def measure(p: list[str] = paragraphs, q: Any = questions, i: int = i) -> Any:
                return measured(compressor, tokenizer, p, q, i < REFERENCE)

            for form, (size, values) in kept(
                "compllm-qa", compressor.adapter_hash(), i, measure
            ).items():
                arm = f"CompLLM, {name} answers" if (form, name) == ("CompLLM", "own") else form
                nll.setdefault(arm, {})[i] = values
                positions.setdefault(arm, []).append(size)
    mean = {name: _mean(groups.values()) for name, groups in nll.items()}
    best = min(("head", "tail"), key=lambda name: mean[name])
    rows = []
    for name, groups in nll.items():
        gain = [[b - a for a, b in zip(x, nll[best][i], strict=True)] for i, x in groups.items()]
        low, high = interval(gain, SEED)
        rows.append({
            "context as": name, "positions": float(np.mean(positions[name])),
            "questions": sum(map(len, groups.values())), "NLL per answer": mean[name],
            "gain": _mean(gain), "low": low, "high": high,
        })  # fmt: skip
    got = next(r for r in rows if r["context as"] == "CompLLM")
    count = got["questions"]
    setup = {
        "model": f"gemma-3-270m, bfloat16, {where(llm)}",
        "adapter": f"pooled, step {steps['pooled']}",
        "own answers": f"step {steps.get('own', 0)} of `context/compllm_own`",
        "questions": count, "paragraphs": len(nll["CompLLM"]), "seed": SEED,
        "gain": f"over {best} truncation",
    }  # fmt: skip
    trained = llm.device.type == "cuda"
    bars = {
        "gold answers": {
            "bar": f"gain over {best} truncation above 0, interval included, after GPU training",
            "measured": f"{mean[best] - mean['CompLLM']:.3f} [{got['low']:.3f}, {got['high']:.3f}]"
            + ("" if trained else " with the CPU recipe (no GPU)"),
            "met": bool(got["low"] > 0) if trained and count >= 500 else None,
        }
    }
    return Result(rows, setup, bars)
