"""A compressed context, and answers from it."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Answering(Protocol):
    """What answers from a context: `CompLLM`, whose LoRA is off then."""

    tokenizer: Any

    @property
    def llm(self) -> Any:
        """The causal LM."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""


@dataclass(frozen=True)
class CompressedContext:
    """Embeddings [m d] that stand for `tokens` tokens of context, ready for the LLM.

    raw: how many of them, at the end, are token embeddings as they are.
    """

    compressor: Answering
    embeddings: Tensor
    tokens: int
    raw: int = 0

    @property
    def compression(self) -> float:
        """Tokens / embeddings; 1.0 for an empty context."""
        return self.tokens / len(self.embeddings) if len(self.embeddings) else 1.0

    def inputs(self, question: str | list[int], before: str | list[int] | None = None) -> Tensor:
        """Return inputs_embeds [1 t d]: what comes before, the context, the question.

        before: text or ids ahead of the context, for chat templates; None is the model's
        beginning-of-text token, if its tokenizer has one. Text is tokenised without special tokens.

        Raises
        ------
        ValueError
            If the sequence is empty, or longer than the model's window.
        """
        head = self._ids(before) if before is not None else self._bos()
        tail = self._ids(question)
        embed = self.compressor.llm.get_input_embeddings()
        device = self.compressor.device
        parts = [
            embed(torch.tensor(head, dtype=torch.long, device=device)),
            self.embeddings.to(device=device, dtype=embed.weight.dtype),
            embed(torch.tensor(tail, dtype=torch.long, device=device)),
        ]
        joined = torch.cat(parts)[None]
        window = getattr(self.compressor.llm.config, "max_position_embeddings", None)
        if joined.shape[1] == 0:
            raise ValueError("Nothing to read: the context and the question are both empty.")
        if window is not None and joined.shape[1] > window:
            raise ValueError(
                f"The model's window is {window} positions, context and question take "
                f"{joined.shape[1]}; select from the context, or compress it more."
            )
        return joined

    @torch.no_grad()
    def generate(
        self,
        question: str | list[int],
        before: str | list[int] | None = None,
        max_new_tokens: int = 128,
        **options: Any,
    ) -> Any:
        """Answer: text with a tokenizer, else new token ids [t]; options go to `llm.generate`."""
        inputs = self.inputs(question, before)
        out = self.compressor.llm.generate(
            inputs_embeds=inputs,
            attention_mask=torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device),
            max_new_tokens=max_new_tokens,
            **{"do_sample": False} | options,
        )[0]
        tokenizer = self.compressor.tokenizer
        return out if tokenizer is None else tokenizer.decode(out, skip_special_tokens=True)

    def _bos(self) -> list[int]:
        tokenizer = self.compressor.tokenizer
        bos = getattr(tokenizer, "bos_token_id", None)
        return [] if bos is None else [int(bos)]

    def _ids(self, text: str | list[int]) -> list[int]:
        if isinstance(text, list):
            return text
        if self.compressor.tokenizer is None:
            raise ValueError("Text needs a tokenizer: pass one to CompLLM, or give token ids.")
        return list(self.compressor.tokenizer(text, add_special_tokens=False)["input_ids"])


def kv_bytes(cache: Any) -> dict[str, int]:
    """Count the bytes of a transformers cache: all layers, and those that hold every position."""
    total, full = 0, 0
    for layer in cache.layers:
        if getattr(layer, "keys", None) is None:
            continue
        size = sum(t.numel() * t.element_size() for t in (layer.keys, layer.values))
        total += size
        full += 0 if getattr(layer, "is_sliding", False) else size
    return {"total": total, "full_attention": full}
