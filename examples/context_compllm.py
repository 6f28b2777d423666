"""CompLLM end to end on a tiny random model: segments, training, cache, answers.

    python examples/context_compllm.py

A tiny model says nothing sensible; what counts is that positions and KV are divided by C, and that
the second question computes nothing. With a real model, pass it and its tokenizer to `CompLLM`.
"""

import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from attar.context.cache import SegmentCache
from attar.context.compllm import CompLLM, CompressedContext, Recipe, Sample, Training, cut, train


def main() -> None:
    """Train for ten steps, compress a context, ask twice."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    llm = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4)).eval()
    compressor = CompLLM(llm, recipe=Recipe(compression=2, segment=20, rank=4))

    def batches(step: int) -> list[Sample]:
        ids = torch.randint(3, 97, (60,), generator=torch.Generator().manual_seed(step)).tolist()
        return [Sample(context=ids[:40], instruction=ids[40:44], answer=ids[44:])]

    context = torch.randint(3, 97, (200,), generator=torch.Generator().manual_seed(99)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        train(compressor, batches, Training(steps=10, warmup=2), f"{folder}/run")
        compressor.save(f"{folder}/adapter.safetensors")
        cache = SegmentCache(32, path=f"{folder}/cache")
        for question in ([5, 6, 7], [8, 9]):
            embeddings = cache.compress(compressor, cut(context))
            compressed = CompressedContext(compressor, embeddings, len(context))
            answer = compressed.generate(question, before=[], max_new_tokens=5)
            print(
                f"{len(context)} tokens as {len(embeddings)} embeddings "
                f"({compressed.compression:.1f}x), cache hits {cache.hits}, misses {cache.misses}, "
                f"answer {answer.tolist()}"
            )
        cache.close()


if __name__ == "__main__":
    main()
