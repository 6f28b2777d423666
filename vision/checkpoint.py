"""Weights and their description on disk: a folder with config.json and model.safetensors."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

MAGIC = "attar-vision"
VERSION = 1


class CheckpointError(ValueError):
    """A folder that is no checkpoint of ours, or is one of another model."""


def fingerprint(module: nn.Module) -> str:
    """Hash of the names, types, shapes and bytes of all weights; 16 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_folder(folder: Path, kind: str, config: dict[str, Any], module: nn.Module) -> None:
    """Write both files; each appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    head = {"magic": MAGIC, "version": VERSION, "kind": kind}
    weights = {
        name: t.detach().cpu().clone().contiguous() for name, t in module.state_dict().items()
    }
    replace_file(folder / "model.safetensors", lambda part: save_file(weights, part))
    text = json.dumps(head | config, indent=1) + "\n"
    replace_file(folder / "config.json", lambda part: part.write_text(text))


def replace_file(file: Path, write: Any) -> None:
    """Let `write(path)` make a file beside `file`, then put it in its place in one step."""
    part = file.with_name(file.name + ".part")
    write(part)
    os.replace(part, file)


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """The description; refuses what is not of this kind and version."""
    file = folder / "config.json"
    if not file.exists():
        raise CheckpointError(f"{folder} has no config.json; give the folder that save wrote.")
    try:
        config = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{file} is not JSON ({error}); save again.") from error
    got = tuple(config.get(key) for key in ("magic", "version", "kind"))
    if got != (MAGIC, VERSION, kind):
        raise CheckpointError(
            f"{file} must describe ({MAGIC}, {VERSION}, {kind}), got {got}; it belongs to another "
            "program, version or class."
        )
    return config  # type: ignore[no-any-return]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the folder."""
    try:
        weights: dict[str, Tensor] = load_file(folder / "model.safetensors")
    except (SafetensorError, FileNotFoundError) as error:
        raise CheckpointError(
            f"Cannot read {folder / 'model.safetensors'} ({error}); the file is missing, cut short "
            "or damaged."
        ) from error
    return weights


def put_weights(module: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load strictly: names and shapes are compared first, then everything is copied."""
    own = module.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [
        f"{name} {list(weights[name].shape)} for {list(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if own[name].shape != weights[name].shape
    ]
    if missing or unknown or shapes:
        raise CheckpointError(
            f"{source} is for another model: {len(missing)} weights missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(shapes)} of another shape {shapes[:3]}."
        )
    module.load_state_dict(weights)
