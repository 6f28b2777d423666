"""The compressor: the frozen LLM itself with a LoRA and one linear layer."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from attar.context.cache.segment_cache import SegmentCache
from attar.context.compllm.compressed import CompressedContext
from attar.context.compllm.segments import recent_start, segment_text
from attar.context.training import fill

_FORMAT = "attar-compllm-2"
_SAMPLED = 1 << 14


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of CompLLM; they travel with the adapter.

    compression: C, tokens per embedding, original / compressed. segment: S, tokens per segment.
    variant: `pooled` (default; mean of the C token embeddings plus a linear of these C embeddings
    and their last hidden states side by side, zero at the start, so that training starts at mean
    pooling and learns the order within a group) or `eos` (the paper's: S/C end-of-text embeddings
    are appended, the linear reads their last hidden states).
    rank, alpha: of the LoRA on all linear layers of the decoder.
    """

    compression: int = 2
    segment: int = 20
    variant: Literal["pooled", "eos"] = "pooled"
    rank: int = 16
    alpha: int = 32

    def __post_init__(self) -> None:
        if self.compression < 1 or self.segment < self.compression:
            raise ValueError(
                f"1 <= compression <= segment, got {self.compression} and {self.segment}."
            )
        if self.variant not in ("pooled", "eos"):
            raise ValueError(f"variant is pooled or eos, got {self.variant!r}.")
        if self.rank < 1 or self.alpha < 1:
            raise ValueError(f"rank and alpha are >= 1, got {self.rank} and {self.alpha}.")

    def size(self, tokens: int) -> int:
        """Return how many embeddings a segment of so many tokens becomes: ceil(tokens / C)."""
        return -(-tokens // self.compression)


class CompLLM(nn.Module):
    """Compresses contexts for one causal LM (arXiv 2509.19228, section 3).

    1. Cut the context into segments of at most S tokens. 2. Run all segments as one batch through
    the LLM with the LoRA on; they do not see each other. 3. Read S/C embeddings per segment, in the
    space of token embeddings. 4. The LLM with the LoRA off answers from these and the question.

    llm: a Hugging Face causal LM. Its linear layers are wrapped in place for the LoRA, which is off
    except inside `compress`: the model answers as before. Its parameters are frozen.
    Departures: the pooled variant (see `Recipe`), whose linear sees inputs of norm 1 and is scaled
    to the size of token embeddings, so that one learning rate fits all models; the linear of the
    EOS variant starts as the identity scaled to that size, since hidden states are larger.
    """

    def __init__(
        self, llm: Any, tokenizer: Any = None, recipe: Recipe | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        from peft import LoraConfig, get_peft_model

        self.recipe = recipe or Recipe()
        self.tokenizer = tokenizer
        self.model_hash = fingerprint(llm)
        config = LoraConfig(
            r=self.recipe.rank, lora_alpha=self.recipe.alpha, target_modules=_linears(llm)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.adapted_llm = get_peft_model(llm, config)
        self._adapted = True
        self._switch(False)
        width = llm.get_input_embeddings().embedding_dim
        read = 2 * self.recipe.compression if self.recipe.variant == "pooled" else 1
        self.linear = nn.Linear(read * width, width)
        self._start_linear(llm)

    @property
    def llm(self) -> Any:
        """The causal LM, its LoRA off unless inside `adapted()`."""
        return self.adapted_llm.base_model.model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        found: torch.device = self.llm.get_input_embeddings().weight.device
        return found

    def _start_linear(self, llm: Any) -> None:
        ids = torch.arange(64, device=self.device)[None] % llm.config.vocab_size
        with torch.no_grad():
            tokens = llm.get_input_embeddings()(ids).float()
            self.token_size = float(tokens.pow(2).mean().sqrt())
            self.linear.bias.zero_()
            if self.recipe.variant == "pooled":
                self.linear.weight.zero_()
            else:
                hidden = llm.get_decoder()(input_ids=ids).last_hidden_state.float()
                scale = self.token_size / float(hidden.pow(2).mean().sqrt())
                nn.init.eye_(self.linear.weight).mul_(scale)
        self.linear.to(self.device)

    @contextlib.contextmanager
    def adapted(self, on: bool = True) -> Iterator[None]:
        """Switch the LoRA on (or off); back to what it was whatever happens."""
        before = self._adapted
        self._switch(on)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, on: bool) -> None:
        if on != self._adapted:
            base = self.adapted_llm.base_model
            (base.enable_adapter_layers if on else base.disable_adapter_layers)()
            self._adapted = on

    def size(self, tokens: int) -> int:
        """Return how many embeddings a segment of so many tokens becomes."""
        return self.recipe.size(tokens)

    def trained(self) -> dict[str, Tensor]:
        """Return what training changes: the LoRA and the linear, by name."""
        lora = {n: p for n, p in self.adapted_llm.named_parameters() if "lora_" in n}
        return lora | {f"linear.{n}": p for n, p in self.linear.named_parameters()}

    def forward(self, segments: Sequence[Sequence[int]]) -> list[Tensor]:
        """Compress segments in one batch, LoRA on: one [ceil(n / C) d] tensor per segment.

        Gradients flow; the caller switches the LoRA on (`adapted()`) around forward and backward.

        Raises
        ------
        ValueError
            For an empty segment, one longer than S, or token ids outside the vocabulary.
        """
        self._check(segments)
        if not segments:
            return []
        embed = self.llm.get_input_embeddings()
        rows = [embed(torch.tensor(list(s), device=self.device)) for s in segments]
        if self.recipe.variant == "eos":
            end = embed(torch.tensor([self._eos()], device=self.device))
            inputs = [torch.cat([r, end.expand(self.recipe.size(len(r)), -1)]) for r in rows]
        else:
            inputs = rows
        padded = nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        lengths = torch.tensor([len(r) for r in inputs], device=self.device)
        mask = torch.arange(padded.shape[1], device=self.device)[None] < lengths[:, None]
        hidden = self.llm.get_decoder()(
            inputs_embeds=padded, attention_mask=mask.long(), use_cache=False
        ).last_hidden_state
        return [self._read(row, hidden[i, : len(inputs[i])]) for i, row in enumerate(rows)]

    def _read(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        weight = self.linear.weight.dtype
        if self.recipe.variant == "eos":
            out: Tensor = self.linear(hidden[len(tokens) :].to(weight))
        else:
            group = self.recipe.compression
            both = torch.cat([unit(tokens.to(weight)), unit(hidden.to(weight))], dim=1)
            # Inputs of norm 1: one step of Adam then moves the output by a small part of its size.
            read = side_by_side(both, group) * self.linear.in_features**-0.5
            delta = self.token_size * self.linear(read)
            out = group_means(tokens.to(weight), group) + delta
        return out.to(tokens.dtype)

    @torch.no_grad()
    def compress_segments(self, segments: Sequence[Sequence[int]], batch: int = 128) -> Tensor:
        """Compress segments, at most `batch` at a time: [m d], in order; no gradients."""
        if not segments:
            width = self.llm.get_input_embeddings().embedding_dim
            return torch.zeros(0, width, device=self.device, dtype=self.llm.dtype)
        out: list[Tensor] = []
        with self.adapted():
            for i in range(0, len(segments), batch):
                out += self(segments[i : i + batch])
        return torch.cat(out)

    def compress(
        self, texts: str | Sequence[str], cache: SegmentCache | None = None, recent: int = 0
    ) -> CompressedContext:
        """Compress one document or several, oldest first; see `context`."""
        if self.tokenizer is None:
            raise ValueError("Text needs a tokenizer: pass one to CompLLM, or use segments of ids.")
        segments = segment_text(texts, self.tokenizer, self.recipe.segment)
        return self.context(segments, cache, recent)

    def context(
        self,
        segments: Sequence[Sequence[int]],
        cache: SegmentCache | None = None,
        recent: int = 0,
        positions: int | None = None,
    ) -> CompressedContext:
        """Compress segments of token ids, oldest first; the newest may stay raw.

        cache: only segments that are not in it are computed. recent: tokens; as many whole segments
        at the end as fit into them stay the model's own token embeddings ("compressed old + raw
        recent"). Segments are never divided for it, so that what is old stays cached while a
        context grows. positions: of the result at most; the oldest segments are left out, whole
        ones. `tokens` of the result counts what is left.

        Raises
        ------
        ValueError
            For `recent` below 0 or above `positions`, and whatever `forward` refuses.
        """
        self._check(segments)
        if positions is not None and not 0 <= recent <= positions:
            raise ValueError(f"0 <= recent <= positions, got {recent} and {positions}.")
        at = recent_start([len(s) for s in segments], recent)
        new = [i for s in segments[at:] for i in s]
        sizes = [self.size(len(s)) for s in segments[:at]]
        first = 0 if positions is None else recent_start(sizes, positions - len(new))
        segments = segments[first:]
        old = segments[: at - first]
        short = self.compress_segments(old) if cache is None else cache.compress(self, old)
        embed = self.llm.get_input_embeddings()
        with torch.no_grad():
            raw = embed(torch.tensor(new, dtype=torch.long, device=self.device)).to(short.dtype)
        tokens = sum(len(s) for s in segments)
        return CompressedContext(self, torch.cat([short, raw]), tokens, len(new))

    def _check(self, segments: Sequence[Sequence[int]]) -> None:
        vocabulary = self.llm.config.vocab_size
        for i, segment in enumerate(segments):
            if not 1 <= len(segment) <= self.recipe.segment:
                raise ValueError(
                    f"A segment has 1 to {self.recipe.segment} tokens, segment {i} has "
                    f"{len(segment)}; cut the context with `segment_text` or `cut`."
                )
            if min(segment) < 0 or max(segment) >= vocabulary:
                raise ValueError(
                    f"Token ids lie in [0, {vocabulary}), segment {i} has {min(segment)} … "
                    f"{max(segment)}; use the model's own tokenizer."
                )

    def _eos(self) -> int:
        found = self.llm.config.eos_token_id
        found = found[0] if isinstance(found, (list, tuple)) else found
        if found is None:
            raise ValueError("The EOS variant needs config.eos_token_id; set it or use `pooled`.")
        return int(found)

    def adapter_hash(self) -> str:
        """Identify model, recipe and adapter: the part of a cache key that segments share."""
        digest = blake2b(self.model_hash.encode(), digest_size=16)
        digest.update(json.dumps(asdict(self.recipe), sort_keys=True).encode())
        for name, value in sorted(self.trained().items()):
            digest.update(name.encode() + _bytes_of(value))
        return digest.hexdigest()

    def save(self, path: Path | str, dtype: torch.dtype = torch.float32) -> None:
        """Write the adapter as safetensors: its tensors, the recipe, the model it is for.

        dtype: float32 gives back the same adapter (the same `adapter_hash`); bfloat16 takes half of
        the bytes and is another adapter, which caches its own segments.
        """
        tensors = {n: p.detach().to(dtype).cpu().contiguous() for n, p in self.trained().items()}
        header = {
            "format": _FORMAT, "recipe": json.dumps(asdict(self.recipe)), "model": self.model_hash,
        }  # fmt: skip
        save_file(tensors, str(path), metadata=header)

    @classmethod
    def load(cls, path: Path | str, llm: Any, tokenizer: Any = None) -> "CompLLM":
        """Read an adapter for this model.

        Raises
        ------
        ValueError
            If the file is not an adapter of this version, or was trained for another model.
        """
        with safe_open(str(path), "pt") as file:
            header = file.metadata() or {}
            if header.get("format") != _FORMAT:
                raise ValueError(f"{path} is not {_FORMAT}; got {header.get('format')!r}.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["model"] != fingerprint(llm):
            raise ValueError(
                f"{path} was trained for the model {header['model']}, this one is "
                f"{fingerprint(llm)}; load that model or train an adapter for this one."
            )
        made = cls(llm, tokenizer, Recipe(**json.loads(header["recipe"])))
        made.restore(tensors)
        return made

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put saved values into the adapter; names and shapes must be the same."""
        fill(self.trained(), tensors)


def group_means(x: Tensor, size: int) -> Tensor:
    """Mean of consecutive groups of `size` rows, the last one possibly shorter: [n d] -> [m d]."""
    n, width = x.shape
    m = -(-n // size)
    sums = nn.functional.pad(x, (0, 0, 0, m * size - n)).reshape(m, size, width).sum(1)
    counts = torch.full((m, 1), float(size), dtype=x.dtype, device=x.device)
    counts[-1] = n - (m - 1) * size
    return sums / counts


def side_by_side(x: Tensor, size: int) -> Tensor:
    """Consecutive groups of `size` rows as one row each, zeros at the end: [n d] -> [m size*d]."""
    n, width = x.shape
    m = -(-n // size)
    return nn.functional.pad(x, (0, 0, 0, m * size - n)).reshape(m, size * width)


def unit(x: Tensor) -> Tensor:
    """Divide each row by its root mean square: [n d] -> [n d]."""
    return nn.functional.rms_norm(x, x.shape[1:], eps=1e-6)


def fingerprint(llm: Any) -> str:
    """Identify a model by its weights: names, shapes and at most 16,384 values of each tensor."""
    digest = blake2b(digest_size=16)
    own = {n.replace(".base_layer", ""): p for n, p in llm.named_parameters() if "lora_" not in n}
    for name, value in sorted(own.items()):
        flat = value.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLED)]
        digest.update(f"{name} {tuple(value.shape)}".encode() + _bytes_of(sample))
    return digest.hexdigest()


def _bytes_of(value: Tensor) -> bytes:
    flat = value.detach().reshape(-1).cpu().contiguous()
    return flat.view(torch.uint8).numpy().tobytes()


def _linears(llm: Any) -> list[str]:
    """Names of the decoder's linear layers; the output head is not one of them."""
    decoder = llm.get_decoder()
    inside = {id(m) for m in decoder.modules() if isinstance(m, nn.Linear)}
    return [name for name, module in llm.named_modules() if id(module) in inside]
