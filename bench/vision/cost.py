"""What tokens cost: exact GFLOPs, and CPU seconds by interleaved medians."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attar.vision.adapters import adapt
from attar.vision.falcon import Projector, ReAtten, ReCompact
from attar.vision.flops import count_flops
from attar.vision.mllm import VisionTower
from attar.vision.reducers import (
    AllTokens,
    AveragePool,
    Downsample,
    PerceiverResampler,
    PixelShuffle,
    RandomTokens,
    Reducer,
    ToMe,
)
from attar.vision.vit import ViT
from bench.machine import interleaved
from bench.registry import Result, bench

TEXT = 32
"""Text tokens beside the image in the prefill."""


def small_vit(side: int) -> ViT:
    """ViT-S/14 with random weights; cost does not depend on them."""
    import timm

    torch.manual_seed(0)
    return adapt(timm.create_model("vit_small_patch14_dinov2", img_size=side, num_classes=0)).eval()


def reducers(vit: ViT, k: int) -> dict[str, Reducer]:
    """Every method at k of 576 tokens."""
    side = int(k**0.5)
    return {
        "FALCON": ReCompact(384, k),
        "FALCON + ReAtten": ReCompact(384, k, reatten=ReAtten.of(vit)),
        "random": RandomTokens(k),
        "downsample": Downsample(k),
        "average pool": AveragePool(k),
        "pixel shuffle": PixelShuffle(24 // side),
        "ToMe": ToMe(k),
        "Perceiver resampler": PerceiverResampler(384, k),
    }


def language_model() -> Any:
    """A Gemma 3 of 270M parameters' shape, random weights, bfloat16 embeddings kept in float32."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=262144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
    )
    torch.manual_seed(0)
    return Gemma3ForCausalLM(config).eval()


class Arm:
    """Image -> tower -> projector (-> prefill); what one request costs."""

    def __init__(self, tower: VisionTower, pixels: Tensor, llm: nn.Module | None = None) -> None:
        self.tower, self.pixels, self.llm = tower, pixels, llm
        self.projector = Projector(tower.hidden_size, 640)

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Run once."""
        tokens = self.projector(self.tower(self.pixels))
        if self.llm is None:
            return tokens  # type: ignore[no-any-return]
        embeds = torch.cat([tokens, torch.zeros(1, TEXT, 640)], dim=1)
        out = self.llm(inputs_embeds=embeds, use_cache=True, logits_to_keep=1)
        return out.logits  # type: ignore[no-any-return]


def registers_at_224(rounds: int) -> tuple[dict[str, Any], float]:
    """ViT-S/14 at 224 px without and with 16 registers."""
    vit, x = small_vit(224), torch.randn(1, 3, 224, 224)
    registers = torch.randn(16, 384) * 384**-0.5
    plain, more = count_flops(lambda: vit(x)), count_flops(lambda: vit(x, registers))
    with torch.inference_mode():
        seconds = interleaved({"0": lambda: vit(x), "16": lambda: vit(x, registers)}, rounds)
    ratio = seconds["16"]["median"] / seconds["0"]["median"]
    row = {
        "case": "ViT-S/14, 224 px: 0 -> 16 registers",
        "GFLOPs": f"{plain / 1e9:.4f} -> {more / 1e9:.4f}",
        "CPU ms": f"{seconds['0']['median'] * 1e3:.1f} -> {seconds['16']['median'] * 1e3:.1f}",
        "time ratio": ratio,
    }
    return row, ratio


@bench("vision/cost", gate="tests/vision")
def cost(quick: bool) -> Result:
    """Towers alone, with projector, and with a language model's prefill behind them."""
    torch.set_num_threads(1)
    rounds = 1 if quick else 7
    first, ratio = registers_at_224(1 if quick else 21)
    vit, x = small_vit(336), torch.randn(1, 3, 336, 336)
    plain = VisionTower(vit, AllTokens(), trains="none")
    few = VisionTower(vit, ReCompact(384, 64), trains="none")
    arms = {"plain tower": lambda: plain(x), "FALCON + projector": Arm(few, x)}
    with torch.inference_mode():
        towers = interleaved(arms, 1 if quick else 11)
    throughput = towers["plain tower"]["median"] / towers["FALCON + projector"]["median"]
    llm = language_model()
    both = {"all": Arm(plain, x, llm), "few": Arm(few, x, llm)}
    prefill = interleaved(both, rounds)
    speed = prefill["all"]["median"] / prefill["few"]["median"]
    rows = [
        first,
        _row("tower (576) -> tower + projector (64)", towers, arms),
        _row(f"tower, projector, 0.27B prefill ({TEXT} text tokens): 576 -> 64", prefill, both),
    ]
    bars = {
        "16 registers at 224 px": _bar("CPU time <= 1.15x", ratio, ratio <= 1.15),
        "throughput of tower + projector": _bar(">= 0.80x", throughput, throughput >= 0.8),
        "with the prefill": _bar(">= 1.5x faster", speed, speed >= 1.5),
    }
    setup = {"model": "ViT-S/14, random weights, float32", "threads": 1, "batch": 1, "clock": "CPU"}
    parameters = sum(p.numel() for p in llm.parameters()) / 1e9
    return Result(rows, setup | {"language model": f"Gemma 3 shape, {parameters:.3f}B"}, bars)


def _row(case: str, seconds: dict[str, dict[str, float]], arms: dict[str, Any]) -> dict[str, Any]:
    before, after = (s["median"] for s in seconds.values())
    flops = [count_flops(run) / 1e9 for run in arms.values()]
    return {
        "case": case,
        "GFLOPs": f"{flops[0]:.4f} -> {flops[1]:.4f}",
        "CPU ms": f"{before * 1e3:.1f} -> {after * 1e3:.1f}",
        "time ratio": after / before,
    }


def _bar(text: str, value: float, met: bool) -> dict[str, Any]:
    return {"bar": text, "measured": round(value, 4), "met": bool(met)}


@bench("vision/methods", gate="tests/vision")
def methods(quick: bool) -> Result:
    """Method x tokens x quality x GFLOPs x CPU ms; quality is what vision/few_tokens measured."""
    torch.set_num_threads(1)
    vit, x = small_vit(336), torch.randn(1, 3, 336, 336)
    towers = {("all", 576): VisionTower(vit, AllTokens(), trains="none")}
    for k in (64, 16):
        for name, reducer in reducers(vit, k).items():
            towers[name, k] = VisionTower(vit, reducer, trains="none").eval()
    arms = {f"{name} {k}": (lambda t=t: t(x)) for (name, k), t in towers.items()}
    with torch.inference_mode():
        seconds = interleaved(arms, 1 if quick else 3)
    file = Path(__file__).parents[1] / "results" / "vision_few_tokens.json"
    measured = json.loads(file.read_text())["rows"] if file.exists() else []
    quality = {(r["method"], r["tokens"]): r for r in measured}
    rows = [
        {
            "method": name,
            "tokens": t.num_patches,
            "mIoU": quality.get((name, k), {}).get("mIoU", "not measured"),
            "cosine": quality.get((name, k), {}).get("cosine", "not measured"),
            "width": t.hidden_size,
            "GFLOPs": round(count_flops(lambda t=t: t(x)) / 1e9, 3),
            "CPU ms": round(seconds[f"{name} {k}"]["median"] * 1e3, 1),
            "own parameters (M)": round(sum(p.numel() for p in t.reducer.parameters()) / 1e6, 3),
        }
        for (name, k), t in towers.items()
    ]
    setup = {"model": "ViT-S/14, 336 px, random weights, float32", "threads": 1, "batch": 1}
    return Result(rows, setup)
