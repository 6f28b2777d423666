"""Fewer, cleaner image tokens: two photographs through every reducer, and what registers look at.

    python examples/fewer_vision_tokens.py --model timm:vit_small_patch14_dinov2 --steps 200

Without a model the weights are random, which shows the mechanics and nothing to see. Writes
registers.png (the photograph, then where each register looks) and norms.png (the photograph, patch
norms of the model, patch norms with test-time registers) into --out.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from attar.vision.attention import attention_map
from attar.vision.falcon import ReAtten, ReCompact, ShapeAdaptiveCrops, layout
from attar.vision.flops import count_flops
from attar.vision.images import ImageProcessor, open_image
from attar.vision.load import load_vit
from attar.vision.mllm import VisionTower
from attar.vision.phreg import (
    TestTimeRegisters,
    attention_picture,
    find_register_neurons,
    norm_outliers,
    norm_picture,
)
from attar.vision.reducers import AllTokens, AveragePool, PixelShuffle, Reducer, ToMe
from attar.vision.views import Views
from attar.vision.vit import ViT

SIDE, REGISTERS, ENTER = 224, 16, 8


def photographs(folder: str | None) -> list[Image.Image]:
    """All images of a folder, or the two photographs that scikit-learn ships (CC BY)."""
    if folder is not None:
        return [open_image(file) for file in sorted(Path(folder).iterdir())]
    from sklearn.datasets import load_sample_images

    return [open_image(array) for array in load_sample_images().images]


def crops_to_learn_from(images: list[Image.Image], count: int) -> list[Image.Image]:
    """Seeded squares of random size and place."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for i in range(count):
        image = images[i % len(images)]
        share, x, y = torch.rand(3, generator=generator).tolist()
        side = round(min(image.size) * (0.4 + 0.6 * share))
        left, top = round(x * (image.width - side)), round(y * (image.height - side))
        made.append(image.crop((left, top, left + side, top + side)))
    return made


class Reader(nn.Module):
    """Tokens [b k d] -> features at n places [b n d], by one cross-attention."""

    def __init__(self, d: int, n: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(n, d) * 0.02)
        self.norm = nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, 6, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Read the tokens once per place."""
        places = self.places.expand(tokens.shape[0], -1, -1)
        seen = self.norm(tokens)
        return self.attention(places, seen, seen, need_weights=False)[0]  # type: ignore[no-any-return]


def train_registers(vit: ViT, pixels: Tensor, steps: int) -> ReCompact:
    """FALCON's first stage in small: the encoder stands still, registers learn to carry it."""
    torch.manual_seed(0)
    falcon = ReCompact(vit.facts.width, REGISTERS, enter_layer=ENTER)
    falcon.start_at(vit, pixels)
    vit.requires_grad_(False)
    with torch.no_grad():
        early = vit.run(vit.enter(vit.embed(pixels).join()), stop=ENTER)
        target = vit(pixels).patches
    target = (target - target.mean(dim=(0, 1))) / target.std(dim=(0, 1))
    reader = Reader(vit.facts.width, target.shape[1])
    optimiser = torch.optim.Adam([*falcon.parameters(), *reader.parameters()], lr=2e-3)
    for step in range(steps):
        chosen = torch.arange(4).add(4 * step) % len(pixels)
        tokens = falcon.compact(vit, early[chosen], Views.whole(early[chosen]))
        loss = nn.functional.mse_loss(reader(tokens), target[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0 or step == steps - 1:
            print(f"  step {step:3d}: unexplained share of the patches {loss.item():.3f}")
    return falcon


@torch.no_grad()
def where_registers_look(vit: ViT, falcon: ReCompact, pixels: Tensor) -> Tensor:
    """Attention of every register to the patches in the last layer, [m n]."""
    x = vit.run(vit.enter(vit.embed(pixels).join()), stop=ENTER)
    x = torch.cat([x, falcon.placed(Views.whole(pixels))], dim=1)
    last = len(vit.layers) - 1
    x = vit.run(x, ENTER, last)
    layer, p = vit.layers[last], vit.facts.num_prefix
    weights = attention_map(layer.norm1(x), layer.weights())[0]
    return weights[-REGISTERS:, p:-REGISTERS]


def show_costs(vit: ViT, falcon: ReCompact, image: Image.Image) -> None:
    """One line per reducer."""
    reducers: dict[str, Reducer] = {
        "all patches": AllTokens(),
        "average pool": AveragePool(16),
        "pixel shuffle": PixelShuffle(4),
        "ToMe": ToMe(16),
        "FALCON": falcon,
    }
    for name, reducer in reducers.items():
        tower = VisionTower(vit, reducer, processor=ImageProcessor.of(vit, SIDE, SIDE))
        x = tower.image_processor(image)
        flops = count_flops(lambda tower=tower, x=x: tower(x)) / 1e9
        size = f"{tower.num_patches:4d} tokens x {tower.hidden_size:5d}"
        print(f"  {name:14s} {size}, {flops:.2f} GFLOPs")


def show_crops(vit: ViT, falcon: ReCompact, image: Image.Image) -> None:
    """A wide picture in shape-adaptive crops, coherent through ReAtten."""
    crops = ShapeAdaptiveCrops(ImageProcessor.of(vit, SIDE, SIDE), max_crops=4)
    falcon.reatten = ReAtten.of(vit)
    views = crops([image])
    grid = crops.grid(image.height, image.width)
    with torch.no_grad():
        tokens = falcon(vit, views)
    print(f"  {image.width} x {image.height} -> grid {grid}, tokens {list(tokens.shape)}")
    print(f"  {layout(grid)}")
    falcon.reatten = None


def norms(vit: ViT, image: Image.Image, pixels: Tensor) -> Image.Image | None:
    """Patch norms before and after test-time registers, or None where nothing sticks out."""
    try:
        neurons = find_register_neurons(vit, pixels, top_k=10)
    except ValueError as error:
        print(f"  {error}")
        return None
    with torch.no_grad():
        before = vit(pixels, select_layer=-2)
        after = TestTimeRegisters(vit, neurons)(pixels, select_layer=-2)
    high = [norm_outliers(t.patches).high for t in (before, after)]
    print(f"  patches of unusually high norm: {high[0]:.4f} before, {high[1]:.4f} after")
    return norm_picture(image, [before.patches[0], after.patches[0]], before.grid or (1, 1))


def main() -> None:
    """Run everything on the given or the shipped photographs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="timm:vit_small_patch14_dinov2/random")
    parser.add_argument("--images", help="a folder; default: two photographs of scikit-learn")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", default="build/fewer_vision_tokens")
    options = parser.parse_args()
    run(load_vit(options.model), photographs(options.images), options.steps, Path(options.out))


def run(vit: ViT, images: list[Image.Image], steps: int, out: Path) -> None:
    """The example itself; `vit` may be any model."""
    out.mkdir(parents=True, exist_ok=True)
    processor = ImageProcessor.of(vit, SIDE, SIDE)
    grid: Any = vit.grid_of(processor(images[:1]))
    print("Training registers")
    falcon = train_registers(vit, processor(crops_to_learn_from(images, 16)), steps)
    print("Tokens of one photograph")
    show_costs(vit, falcon, images[0])
    print("Crops")
    show_crops(vit, falcon, images[0])
    small = processor.resize(images[0])
    weights = where_registers_look(vit, falcon, processor(images[:1]))
    attention_picture(small, weights, grid).save(out / "registers.png")
    print("Artifacts")
    picture = norms(vit, small, processor(images))
    if picture is not None:
        picture.save(out / "norms.png")
    print(f"Pictures are in {out}")


if __name__ == "__main__":
    main()
