"""Finding a photograph from a part of it: one pooled vector against several small ones."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps

from attar.vision.adapters import adapt
from attar.vision.encoders import PooledImageEncoder, RegisterImageEncoder, max_sim
from attar.vision.images import open_image
from attar.vision.mllm import VisionTower
from attar.vision.reducers import AveragePool
from bench.registry import Result, bench
from bench.vision.pictures import photographs
from bench.vision.weights import WHERE, saliency_dinov2

Code = Callable[[np.ndarray], np.ndarray]


def part_of(picture: Any, index: int) -> Image.Image:
    """A third of the area from a seeded place, mirrored, darker."""
    image = open_image(picture)
    rng = np.random.default_rng(index)
    w, h = round(image.width * 0.58), round(image.height * 0.58)
    left, top = rng.integers(0, image.width - w + 1), rng.integers(0, image.height - h + 1)
    crop = ImageOps.mirror(image.crop((left, top, left + w, top + h)))
    return ImageEnhance.Brightness(crop).enhance(0.7)


def unit(x: np.ndarray) -> np.ndarray:
    """Every vector at length 1."""
    made: np.ndarray = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return made


def float8(x: np.ndarray) -> np.ndarray:
    """Rounded to float8_e4m3fn with one power-of-two scale for all."""
    return (x * 256).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) / 256


def binary(x: np.ndarray) -> np.ndarray:
    """Plus or minus one about the mean of the documents."""
    return np.where(x > x.mean(axis=tuple(range(x.ndim - 1)), keepdims=True), 1.0, -1.0)


CODES: dict[str, tuple[Code, float]] = {
    "float32": (lambda x: x, 4),
    "float16": (lambda x: x.astype(np.float16).astype(np.float32), 2),
    "float8": (float8, 1),
    "binary": (binary, 1 / 8),
}


@bench("vision/retrieval", gate="tests/vision")
def retrieval(quick: bool) -> Result:
    """Recall@1 and MRR; documents are coded, queries stay float."""
    torch.set_num_threads(1)
    documents, queries = (40, 20) if quick else (300, 100)
    vit = adapt(saliency_dinov2(224)).requires_grad_(False)
    pictures = photographs(documents)
    asked = [i * documents // queries for i in range(queries)]
    parts = [part_of(pictures[i], i) for i in asked]
    encoders: dict[str, Any] = {"pooled (class token)": PooledImageEncoder(vit)}
    for m in (4, 16):
        encoders[f"{m} tokens, MaxSim"] = RegisterImageEncoder(VisionTower(vit, AveragePool(m)))
    rows = []
    for name, encoder in encoders.items():
        stored, query = unit(encoder.encode_images(pictures)), unit(encoder.encode_images(parts))
        if stored.ndim == 2:
            stored, query = stored[:, None], query[:, None]
        centre = stored.mean(axis=(0, 1))
        for code, (quantise, width) in CODES.items():
            scores = max_sim(query - (centre if code == "binary" else 0), quantise(stored))
            own = scores[np.arange(queries), asked]
            ranks = 1 + (scores > own[:, None]).sum(axis=1)
            rows.append(
                {
                    "vectors": name,
                    "code": code,
                    "bytes per image": int(stored.shape[1] * stored.shape[2] * width),
                    "recall@1": float((ranks == 1).mean()),
                    "MRR": float((1 / ranks).mean()),
                }
            )
    rows.sort(key=lambda r: -r["bytes per image"])
    setup = {
        "model": WHERE,
        "task": f"{queries} mirrored, darkened crops (a third of the area), {documents} photos",
        "tokens": "average pool stands for registers: no trained FALCON weights exist here",
    }
    return Result(rows, setup)
