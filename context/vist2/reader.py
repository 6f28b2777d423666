"""Reading and writing with images for old text: the KV of dead text is really freed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attar.context.compllm.compressed import kv_bytes
from attar.context.vist2.mask import masks
from attar.context.vist2.vist2 import Chunk, Vist2


class Reader:
    """A running context: what was kept of closed chunks, then the text of the open one.

    `read` feeds tokens, `close` replaces the text of the open chunk by what is kept of it, `write`
    generates. After `close`, the keys and values of the chunk's text are gone from the cache, and
    all that follows is what it would be had the text never been there
    (law: states equal those of one pass under `mask.visible`).
    """

    def __init__(self, model: Vist2) -> None:
        from transformers import DynamicCache

        self.model = model
        # Without a config all layers keep everything; sliding windows are in the mask.
        self._cache = DynamicCache()
        self._kept = 0
        self._open: list[int] = []

    @property
    def positions(self) -> int:
        """Positions in the cache: what is kept and the open text."""
        return self._kept + len(self._open)

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return kv_bytes(self._cache)["total"]

    @torch.no_grad()
    def read(self, ids: Sequence[int]) -> Tensor:
        """Feed text tokens into the open chunk; return their last hidden states [t d].

        Raises
        ------
        ValueError
            For no tokens.
        """
        if not ids:
            raise ValueError("Reading needs at least one token.")
        embed = self.model.llm.get_input_embeddings()
        inputs = embed(torch.tensor(list(ids), dtype=torch.long, device=embed.weight.device))
        states = self._run(inputs[None], self.positions)
        self._open += [int(i) for i in ids]
        return states

    @torch.no_grad()
    def close(self, chunk: Chunk) -> Tensor:
        """Free the open text, put what is kept of its chunk in its place; its states [k d].

        Raises
        ------
        ValueError
            If the chunk is not the text that was read.
        """
        if list(chunk.ids) != self._open:
            raise ValueError(
                f"close takes the chunk that is open: {len(self._open)} tokens were read, the "
                f"chunk has {len(chunk.ids)} or other ones."
            )
        for layer in self._cache.layers:
            # A copy, so that the memory of the rest is released and not only hidden.
            layer.keys = layer.keys[:, :, : self._kept].clone()
            layer.values = layer.values[:, :, : self._kept].clone()
        self._open = []
        kept = self.model.kept(chunk)
        if not len(kept):
            return kept
        states = self._run(kept[None], self._kept)
        self._kept += len(kept)
        return states

    def write(self, tokens: int, last: Tensor, stop: int | None = None) -> list[int]:
        """Generate greedily at most `tokens` ids into the open chunk.

        last: the hidden state [d] after which to write, the last row of what `read` returned. The
        last id is returned but not read, as in `generate`. stop: an id after which to end.
        """
        out: list[int] = []
        while len(out) < tokens:
            out.append(int(self.model.llm.lm_head(last).argmax()))
            if out[-1] == stop or len(out) == tokens:
                break
            last = self.read(out[-1:])[-1]
        return out

    def _run(self, inputs: Tensor, start: int) -> Tensor:
        """Run [1 q d] at positions start …, over everything in the cache."""
        llm = self.model.llm
        count = inputs.shape[1]
        rows = torch.arange(start, start + count, device=inputs.device)
        columns = torch.arange(start + count, device=inputs.device)
        full = columns[None] <= rows[:, None]
        window = getattr(llm.config, "sliding_window", None) or start + count + 1
        sliding = full & (rows[:, None] - columns[None] < window)
        out: Any = llm.get_decoder()(
            inputs_embeds=inputs,
            attention_mask=masks(
                getattr(llm.config, "layer_types", None),
                {"full_attention": full, "sliding_attention": sliding},
                inputs.dtype,
            ),
            position_ids=rows[None],
            past_key_values=self._cache,
            use_cache=True,
        )
        states: Tensor = out.last_hidden_state[0]
        return states
