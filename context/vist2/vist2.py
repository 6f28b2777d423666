"""Optical language modelling with one causal LM: text chunks, their images, and the mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attar.context.vist2.encoder import SketchEncoder
from attar.context.vist2.identifiers import identifiers
from attar.context.vist2.mask import Layout, masks, visible
from attar.context.vist2.renderer import Renderer


@dataclass(frozen=True)
class Chunk:
    """A chunk of text: its token ids, its patches [m p], the ids of its identifiers.

    drawn: (patch, token id) of every character drawn, for the warm-up without the LLM.
    """

    ids: tuple[int, ...]
    patches: Tensor
    verbatim: tuple[int, ...] = ()
    drawn: tuple[tuple[int, int], ...] = ()

    @property
    def kept(self) -> int:
        """Positions that stay of this chunk."""
        return len(self.patches) + len(self.verbatim)

    @property
    def compression(self) -> float:
        """Tokens / positions that stay."""
        return len(self.ids) / self.kept if self.kept else 1.0


class Vist2(nn.Module):
    """A frozen causal LM that reads old chunks as images (arXiv 2601.10378).

    llm: a Hugging Face causal LM; not modified. tokenizer: for `chunk`. keep_identifiers: numbers,
    ids, versions and the like stay as text beside the image. separator: text kept after each image,
    so that the next text is not read as its continuation; an empty line helps much. importance:
    [vocabulary] weights of tokens for `reading_loss`, such as -log p; None for all alike.
    Departures: the paper's visual encoder is SigLIP2 ViT-L/16 and its LLM is trained; here the
    encoder is small and reads one text line per patch row, and the LLM stays frozen.
    """

    def __init__(
        self,
        llm: Any,
        tokenizer: Any = None,
        renderer: Renderer | None = None,
        keep_identifiers: bool = True,
        separator: str = "",
        importance: Tensor | None = None,
        seed: int = 0,
        **encoder: int,
    ) -> None:
        super().__init__()
        self.renderer = renderer or Renderer()
        self.tokenizer = tokenizer
        self.keep_identifiers = keep_identifiers
        self.separator = separator
        if importance is not None and len(importance) < llm.config.vocab_size:
            raise ValueError(
                f"importance has a weight for each of {llm.config.vocab_size} tokens, got "
                f"{len(importance)}."
            )
        self.importance = importance
        for parameter in llm.parameters():
            parameter.requires_grad_(False)
        # A plain attribute: the LLM is not part of this module's weights.
        self._llm = [llm]
        embedding = llm.get_input_embeddings()
        with torch.no_grad():
            some = torch.arange(min(4096, llm.config.vocab_size), device=embedding.weight.device)
            scale = float(embedding(some).float().pow(2).mean().sqrt())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = SketchEncoder(self.renderer, embedding.embedding_dim, scale, **encoder)
        self.encoder.to(embedding.weight.device)

    @property
    def llm(self) -> Any:
        """The frozen language model."""
        return self._llm[0]

    def chunk(self, text: str) -> Chunk:
        """Tokenise and render a chunk of text."""
        if self.tokenizer is None:
            raise ValueError("Text needs a tokenizer: pass one to Vist2, or build Chunks from ids.")
        ids, drawn = self._drawn(text)
        found = identifiers(text) if self.keep_identifiers else []
        kept: list[int] = []
        for verbatim in (" ".join(found), self.separator):
            if verbatim:
                kept += self.tokenizer(verbatim, add_special_tokens=False)["input_ids"]
        patches = torch.from_numpy(self.renderer.patches(text))
        return Chunk(tuple(ids), patches, tuple(kept), drawn)

    def start(self) -> Chunk:
        """Return an empty chunk that keeps the beginning-of-text token: the first of a sequence."""
        begin = getattr(self.tokenizer, "bos_token_id", None)
        if begin is None:
            raise ValueError("The tokenizer has no beginning-of-text token; start with a text.")
        height, width = self.renderer.patch
        return Chunk((), torch.zeros(0, height * width, dtype=torch.uint8), (int(begin),))

    def _drawn(self, text: str) -> tuple[list[int], tuple[tuple[int, int], ...]]:
        """Tokenise; with a fast tokenizer also say which token is drawn in which patch."""
        fast = getattr(self.tokenizer, "is_fast", False)
        options = {"return_offsets_mapping": True} if fast else {}
        encoded = self.tokenizer(text, add_special_tokens=False, **options)
        ids = [int(i) for i in encoded["input_ids"]]
        if not fast:
            return ids, ()
        places = self.renderer.places(text)
        drawn = [
            (places[at], token)
            for token, (start, end) in zip(ids, encoded["offset_mapping"], strict=True)
            for at in range(start, end)
            if not text[at].isspace()
        ]
        return ids, tuple(drawn)

    def kept(self, chunk: Chunk) -> Tensor:
        """Return what stays of a chunk: visual tokens, then identifiers, [k d]."""
        return self.kept_of([chunk])[0]

    def kept_of(self, chunks: Sequence[Chunk]) -> list[Tensor]:
        """Return what stays of each chunk, all images in one pass of the encoder."""
        embed = self.llm.get_input_embeddings()
        device = embed.weight.device
        images = self.encoder.many([c.patches.to(device) for c in chunks])
        ids = [torch.tensor(c.verbatim, dtype=torch.long, device=device) for c in chunks]
        return [torch.cat([v.to(embed.weight.dtype), embed(i)])
                for v, i in zip(images, ids, strict=True)]  # fmt: skip

    def sequence(
        self, chunks: Sequence[Chunk], kept: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Layout]:
        """Return inputs_embeds [1 t d] of `text_0 kept_0 … text_n` and its layout.

        kept: what stays of all chunks but the last; computed when not given.
        """
        if not chunks or not chunks[-1].ids:
            raise ValueError("A sequence ends with a chunk that has text; got none.")
        stays = list(kept) if kept is not None else self.kept_of(chunks[:-1])
        if len(stays) != len(chunks) - 1:
            raise ValueError(f"All chunks but the last keep something, got {len(stays)} for "
                             f"{len(chunks)} chunks.")  # fmt: skip
        embed = self.llm.get_input_embeddings()
        device = embed.weight.device
        parts: list[Tensor] = []
        for i, chunk in enumerate(chunks):
            parts.append(embed(torch.tensor(chunk.ids, dtype=torch.long, device=device)))
            parts += stays[i : i + 1]
        lengths = tuple(len(s) for s in stays) + (0,)
        return torch.cat(parts)[None], Layout(tuple(len(c.ids) for c in chunks), lengths)

    def states(self, inputs: Tensor, layout: Layout, old_text: bool = False) -> Tensor:
        """Run the decoder under the mask: last hidden states [t d].

        old_text: also see the text of old chunks (the OCR warm-up of the curriculum).
        """
        _, _, position = layout.columns()
        kinds = self._masks(layout, old_text)
        out = self.llm.get_decoder()(
            inputs_embeds=inputs,
            attention_mask=masks(
                getattr(self.llm.config, "layer_types", None), kinds, inputs.dtype
            ),
            position_ids=position[None].to(inputs.device),
            use_cache=False,
        )
        states: Tensor = out.last_hidden_state[0]
        return states

    def _masks(self, layout: Layout, old_text: bool) -> dict[str, Tensor]:
        device = self.llm.get_input_embeddings().weight.device
        window = getattr(self.llm.config, "sliding_window", None)
        full, sliding = visible(layout), visible(layout, window)
        if old_text:
            _, is_text, position = layout.columns()
            before = torch.ones_like(full).tril() & is_text[None] & is_text[:, None]
            full = full | before
            near = position[:, None] - position[None] < (window or len(position) + 1)
            sliding = sliding | (before & near)
        return {"full_attention": full.to(device), "sliding_attention": sliding.to(device)}

    def loss(
        self, chunks: Sequence[Chunk], old_text: bool = False, only_last: bool = False
    ) -> Tensor:
        """Mean next-token loss over the text of the chunks; only the last chunk's if asked.

        The first token of a chunk is predicted from the last position before it that it may see:
        the end of what was kept. The first token of the sequence is not predicted.
        """
        inputs, layout = self.sequence(chunks)
        states = self.states(inputs, layout, old_text)
        rows, targets = predictions(chunks, layout, only_last)
        logits = self.llm.lm_head(states[rows].contiguous()).float()
        return nn.functional.cross_entropy(logits, targets.to(logits.device))

    def reading_loss(self, chunks: Sequence[Chunk]) -> Tensor:
        """Squared error of visual tokens to the mean embedding of what they show, over its square.

        Mean over the characters drawn in a patch of the embeddings of their tokens, times
        `importance`, brought to the size of a token embedding; so long and rare words count more.
        Needs no pass of the LLM: hundreds of times cheaper than `loss`.

        Raises
        ------
        ValueError
            If no chunk says what is drawn where (an empty text, or a slow tokenizer).
        """
        shown = [c for c in chunks if c.drawn]
        if not shown:
            raise ValueError(
                "No chunk says what is drawn where: make them with `Vist2.chunk` and a fast "
                "tokenizer."
            )
        device = self.llm.get_input_embeddings().weight.device
        images = self.encoder.many([c.patches.to(device) for c in shown])
        got, wanted = [], []
        for chunk, image in zip(shown, images, strict=True):
            means, used = self.means(chunk)
            got.append(image[used])
            wanted.append(means[used])
        target = torch.cat(wanted)
        return (torch.cat(got).float() - target).pow(2).mean() / target.pow(2).mean()

    @torch.no_grad()
    def means(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Return the mean embedding of what each patch shows [m d], and if it shows any [m]."""
        embed = self.llm.get_input_embeddings()
        where, token = torch.tensor(chunk.drawn, device=embed.weight.device).T
        vectors = embed(token).float()
        if self.importance is not None:
            vectors = vectors * self.importance.to(vectors)[token, None]
        sums = vectors.new_zeros(len(chunk.patches), vectors.shape[1]).index_add(0, where, vectors)
        size = sums.pow(2).mean(1, keepdim=True).sqrt()
        return self.encoder.scale * sums / size.clamp_min(1e-9), size[:, 0] > 0


def predictions(chunks: Sequence[Chunk], layout: Layout, only_last: bool) -> tuple[Tensor, Tensor]:
    """Return the rows of the sequence that predict text tokens, and those tokens."""
    rows: list[int] = []
    targets: list[int] = []
    start = 0
    for i, chunk in enumerate(chunks):
        if not only_last or i == len(chunks) - 1:
            # Where nothing was kept before a chunk, its first token follows old text, unseen.
            first = 0 if i and layout.kept[i - 1] else 1
            rows += range(start + first - 1, start + len(chunk.ids) - 1)
            targets += chunk.ids[first:]
        start += layout.text[i] + layout.kept[i]
    if not rows:
        raise ValueError("There is nothing to predict: the sequence has a single token.")
    return torch.tensor(rows), torch.tensor(targets)
