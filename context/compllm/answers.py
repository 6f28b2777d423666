"""Answers that the LLM writes itself: what CompLLM is trained on, without labels (section 3.3)."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from attar.context.compllm.compressor import CompLLM
from attar.context.compllm.distillation import Sample

_FORMAT = "attar-answers-1"


@dataclass(frozen=True)
class Prompt:
    """Token ids of what is answered: a context, an instruction after it, and what is ahead."""

    context: Sequence[int]
    instruction: Sequence[int] = ()
    before: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not self.context:
            raise ValueError("An answer needs a context of at least one token to be about.")

    @property
    def ids(self) -> list[int]:
        """All of it, in order."""
        return [*self.before, *self.context, *self.instruction]


@dataclass(frozen=True)
class Writing:
    """How answers are written.

    tokens: of an answer at most. batch: prompts at a time. temperature: 0 is greedy, above it
    answers are drawn (seeded by `seed` and the number of the batch).
    """

    tokens: int = 64
    batch: int = 8
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.batch < 1 or self.temperature < 0:
            raise ValueError(
                f"tokens and batch are >= 1 and temperature >= 0, got {self.tokens}, {self.batch} "
                f"and {self.temperature}."
            )


def write_answers(
    compressor: CompLLM,
    prompts: Sequence[Prompt],
    writing: Writing | None = None,
    file: Path | str | None = None,
) -> list[Sample]:
    """Let the LLM, its LoRA off, answer every prompt from the whole context: training samples.

    An answer ends with the end-of-text token if the model wrote one, so it has at least one token.
    file: where answers are kept as they are written (JSON lines): a run that was cut goes on there,
    and one that is complete is read. Answers depend on the model, the prompts and `writing` only,
    never on the adapter, so `batches` of `train` may also write them step by step.

    Raises
    ------
    ValueError
        If the file holds answers of another model, of other prompts, or written otherwise.
    """
    writing = writing or Writing()
    done: list[list[int]] = []
    head = _head(compressor, prompts, writing)
    if file is not None:
        done = _kept(Path(file), head, len(prompts))
    # Whole batches only: what a batch holds decides how it is padded and drawn.
    done = done[: len(done) // writing.batch * writing.batch] if len(done) < len(prompts) else done
    if file is not None:
        _rewrite(Path(file), head, done)
    for at in range(len(done), len(prompts), writing.batch):
        fresh = _written(compressor, prompts[at : at + writing.batch], writing, at)
        if file is not None:
            _append(Path(file), fresh)
        done += fresh
    return [
        Sample(p.context, p.instruction, answer, p.before)
        for p, answer in zip(prompts, done, strict=True)
    ]


@torch.no_grad()
def _written(
    compressor: CompLLM, prompts: Sequence[Prompt], writing: Writing, at: int
) -> list[list[int]]:
    """Answer one batch: prompts end at one column, so that answers begin at one."""
    llm, device = compressor.llm, compressor.device
    rows = [torch.tensor(p.ids, dtype=torch.long) for p in prompts]
    width = max(len(r) for r in rows)
    ids = torch.stack([torch.nn.functional.pad(r, (width - len(r), 0)) for r in rows])
    mask = torch.stack([(torch.arange(width) >= width - len(r)).long() for r in rows])
    ends = _ends(llm)
    options: dict[str, Any] = {"do_sample": False}
    if writing.temperature > 0:
        options = {"do_sample": True, "temperature": writing.temperature, "top_k": 0}
    with compressor.adapted(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(writing.seed * 1_000_003 + at)
        out = llm.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=writing.tokens,
            pad_token_id=ends[0] if ends else 0,
            **options,
        )[:, width:]
    return [_until(row, ends) for row in out.tolist()]


def _ends(llm: Any) -> list[int]:
    """Ids that end a text: of the generation config, which may name several, else of the model."""
    found = llm.generation_config.eos_token_id
    found = llm.config.eos_token_id if found is None else found
    if found is None:
        return []
    return [int(i) for i in found] if isinstance(found, (list, tuple)) else [int(found)]


def _until(row: list[int], ends: list[int]) -> list[int]:
    """Cut an answer after its first end-of-text token; what follows is padding."""
    at = next((i for i, token in enumerate(row) if token in ends), len(row) - 1)
    return row[: at + 1]


def _head(compressor: CompLLM, prompts: Sequence[Prompt], writing: Writing) -> dict[str, Any]:
    digest = blake2b(digest_size=16)
    for p in prompts:
        digest.update(json.dumps([list(p.before), list(p.context), list(p.instruction)]).encode())
    return {
        "format": _FORMAT, "model": compressor.model_hash, "prompts": digest.hexdigest(),
        "writing": asdict(writing),
    }  # fmt: skip


def _kept(file: Path, head: dict[str, Any], count: int) -> list[list[int]]:
    """Read the answers of a file; a line that was cut off in the middle ends it."""
    if not file.exists():
        return []
    lines = file.read_text().split("\n")
    try:
        found = json.loads(lines[0])
    except ValueError:
        found = None
    if found != head:
        raise ValueError(
            f"{file} holds other answers ({found}, wanted {head}); move it away or use another."
        )
    answers: list[list[int]] = []
    for line in lines[1:-1]:
        answer = json.loads(line)
        if len(answers) == count or not isinstance(answer, list) or not answer:
            raise ValueError(f"{file} is damaged at answer {len(answers)}; delete it.")
        answers.append(answer)
    return answers


def _rewrite(file: Path, head: dict[str, Any], answers: list[list[int]]) -> None:
    """Put a file of these answers in place of the old one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text("".join(json.dumps(x) + "\n" for x in [head, *answers]))
    fresh.replace(file)


def _append(file: Path, answers: list[list[int]]) -> None:
    with file.open("a") as out:
        out.write("".join(json.dumps(x) + "\n" for x in answers))
        out.flush()
        os.fsync(out.fileno())
