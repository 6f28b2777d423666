"""The loss of CompLLM: the student's hidden states on the answer against the teacher's."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attar.context.compllm.compressor import CompLLM
from attar.context.compllm.segments import cut


@dataclass(frozen=True)
class Sample:
    """Token ids of a context, an instruction and an answer that the LLM itself would give.

    before: ids ahead of the context (beginning of text, head of a chat template).
    """

    context: Sequence[int]
    instruction: Sequence[int]
    answer: Sequence[int]
    before: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not self.answer:
            raise ValueError("The loss is taken on the answer, which needs at least one token.")
        if not self.context:
            raise ValueError("There is nothing to compress: the context needs at least one token.")


def layer_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth-L1 (beta 1) between hidden states [a d], divided by the teacher's std.

    L_l = 1 / sigma_l * mean_{t, j} SmoothL1(H~[t, j], H[t, j]), sigma_l = Std(H_A); section 3.3.
    """
    teacher, student = teacher.float(), student.float()
    sigma = teacher.std().clamp_min(torch.finfo(torch.float32).tiny)
    return nn.functional.smooth_l1_loss(student, teacher, beta=1.0) / sigma


def distillation_loss(compressor: CompLLM, samples: Sequence[Sample]) -> Tensor:
    """Sum of `layer_loss` over all layers, mean over samples; call it inside `adapted()`.

    All segments of all contexts run as one batch with the LoRA on. Then teacher (tokens) and
    student (embeddings for the context) run with it off; only answer positions are compared.
    """
    pieces = [cut(s.context, compressor.recipe.segment) for s in samples]
    flat = compressor([segment for segments in pieces for segment in segments])
    losses = []
    taken = 0
    with compressor.adapted(False):
        for sample, segments in zip(samples, pieces, strict=True):
            context = torch.cat(flat[taken : taken + len(segments)])
            taken += len(segments)
            losses.append(_sample_loss(compressor, sample, context))
    return torch.stack(losses).mean()


def _sample_loss(compressor: CompLLM, sample: Sample, context: Tensor) -> Tensor:
    embed = compressor.llm.get_input_embeddings()
    device = compressor.device

    def tokens(ids: Sequence[int]) -> Tensor:
        return torch.as_tensor(embed(torch.tensor(list(ids), dtype=torch.long, device=device)))

    head, tail = tokens(sample.before), tokens([*sample.instruction, *sample.answer])
    with torch.no_grad():
        teacher = _states(compressor, torch.cat([head, tokens(sample.context), tail]))
    student = _states(compressor, torch.cat([head, context, tail]))
    a = len(sample.answer)
    per_layer = [layer_loss(s[0, -a:], t[0, -a:]) for s, t in zip(student, teacher, strict=True)]
    return torch.stack(per_layer).sum()


def _states(compressor: CompLLM, inputs: Tensor) -> tuple[Tensor, ...]:
    """Hidden states after each layer, [1 t d] each; the embeddings themselves are left out."""
    out = compressor.llm.get_decoder()(
        inputs_embeds=inputs[None], output_hidden_states=True, use_cache=False
    )
    states: tuple[Tensor, ...] = out.hidden_states[1:]
    return states
