"""PDF pages through a tower into a store of several vectors per id, and found again."""

import io

import pytest
import timm
import torch
from PIL import Image, ImageDraw

import attar
from attar.stores.multi import MultiStore
from attar.vision.adapters import adapt
from attar.vision.encoders import RegisterImageEncoder
from attar.vision.falcon import ReCompact
from attar.vision.mllm import VisionTower
from attar.vision.pdf import pdf_pages


def a_pdf(count):
    """Pages with a box at places of their own."""
    pages = []
    for i in range(count):
        page = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(page).rectangle((6 * i, 4, 6 * i + 18, 40), fill=(20 * i, 90, 255 - 20 * i))
        pages.append(page)
    buffer = io.BytesIO()
    pages[0].save(buffer, "PDF", resolution=72, save_all=True, append_images=pages[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("codec", ["float32", "float8_e4m3"])
def test_pages_are_found_by_their_registers(codec, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, embed_dim=48, depth=2, num_heads=3, num_classes=0
    )
    tower = VisionTower(adapt(model), ReCompact(48, 4, std=0.02)).eval()
    encoder = RegisterImageEncoder(tower)
    pages = list(pdf_pages(a_pdf(6), dpi=72))
    names = [f"page {i}" for i in range(6)]
    vectors = encoder.encode_images(pages)
    recipe = attar.codec(codec)
    with MultiStore.create(tmp_path / "s", recipe, encoder.vectors_per_image) as store:
        store.add(names, vectors)
        hits = store.search(vectors, k=6)
    if codec == "float32":
        assert hits.ids[:, 0].tolist() == names
    else:  # pages of a random model are nearly equal: near the top
        assert all(name in list(row[:3]) for name, row in zip(names, hits.ids, strict=True))
