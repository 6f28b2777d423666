"""Compressed old + raw recent, and training on answers that the model writes itself.

    python examples/context_hybrid.py

On a tiny random model: what it says means nothing, what is counted does. The older part of a
growing context is embeddings from the cache, its end the model's own tokens; segments are never
divided, so that what was compressed once stays cached.
"""

import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from attar.context.compllm import (
    CompLLM,
    Prompt,
    Recipe,
    SegmentCache,
    Training,
    Writing,
    cut,
    train,
    write_answers,
)


def ids(n: int, seed: int) -> list[int]:
    """Random token ids."""
    return torch.randint(3, 97, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def main() -> None:
    """Train on answers of the model's own, then let a context grow."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    llm = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4)).eval()
    compressor = CompLLM(llm, recipe=Recipe(rank=4))
    prompts = [Prompt(context=ids(40, seed), instruction=ids(4, seed + 99)) for seed in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/answers.jsonl"
        samples = write_answers(compressor, prompts, Writing(tokens=12), file)
        again = write_answers(compressor, prompts, Writing(tokens=12), file)
        print(f"{len(samples)} answers written, kept: {again == samples}")
        training = Training(steps=8, warmup=2)
        train(compressor, lambda step: samples[step : step + 1], training, f"{folder}/run")
    cache = SegmentCache(dim=32)
    grown = ids(400, 5)
    for n in (200, 220, 400):
        context = compressor.context(cut(grown[:n]), cache, recent=60)
        print(
            f"{n} tokens: {len(context.embeddings)} positions, {context.raw} of them raw; "
            f"segments from the cache {cache.hits}, computed {cache.misses}"
        )
    print(context.generate([5, 6, 7], before=[], max_new_tokens=5).tolist())


if __name__ == "__main__":
    main()
