"""Compressed contexts for vLLM: a `prompt_embeds` content part."""

import base64
import io
from typing import Any

import torch

from attar.context.compllm.compressed import CompressedContext


def prompt_embeds_part(context: CompressedContext) -> dict[str, Any]:
    """Return the content part of a user message that carries these embeddings.

    `{"type": "prompt_embeds", "data": base64(torch.save(tensor [m d]))}`, for a server started with
    `--enable-prompt-embeds`. It holds the context only: the server puts the chat template around
    it. The tensor is dense, on the CPU, and loads with `weights_only=True`.

    Raises
    ------
    ValueError
        For an empty context, which servers refuse.
    """
    if not len(context.embeddings):
        raise ValueError("A prompt_embeds part needs at least one embedding; the context is empty.")
    buffer = io.BytesIO()
    torch.save(context.embeddings.detach().cpu().contiguous(), buffer)
    return {"type": "prompt_embeds", "data": base64.b64encode(buffer.getvalue()).decode()}
