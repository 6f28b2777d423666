"""FALCON: registers, interaction across crops, crops, prompts, stages."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from attar.vision.adapters import adapt
from attar.vision.falcon import (
    STAGES,
    Projector,
    ReAtten,
    ReCompact,
    ReGen,
    ShapeAdaptiveCrops,
    apply_stage,
    choose_grid,
    layout,
    num_tokens,
    special_tokens,
)
from attar.vision.falcon.crops import anchors
from attar.vision.falcon.reatten import pad_by_image
from attar.vision.falcon.recompact import tiles
from attar.vision.images import ImageProcessor
from attar.vision.views import GLOBAL, Views
from tests.vision.models import pixels, timm_vit


def ragged_views(vit, counts=(3, 1, 2), seed=1):
    x = pixels(vit, batch=sum(counts), seed=seed)
    image = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    row = torch.tensor([GLOBAL if i == 0 else 0 for c in counts for i in range(c)])
    column = torch.tensor([GLOBAL if i == 0 else i - 1 for c in counts for i in range(c)])
    return Views(x, image, row, column)


def falcon(vit, m=4, reatten=True, **options):
    return ReCompact(vit.facts.width, m, reatten=ReAtten.of(vit) if reatten else None, **options)


def test_other_images_are_invisible_and_own_crops_are_seen():
    """The Jacobian of image 1's tokens is zero at other images' pixels, not at its own views'."""
    vit = adapt(timm_vit())
    for counts in ((3, 1, 2), (2, 2, 2)):
        views = ragged_views(vit, counts)
        views.pixels.requires_grad_()
        out = falcon(vit)(vit, views)
        first_of_last = len(views.image) - counts[2]
        (gradient,) = torch.autograd.grad(out[first_of_last].square().sum(), views.pixels)
        seen = gradient.abs().amax(dim=(1, 2, 3)) > 0
        assert seen.tolist() == (views.image == 2).tolist()


def test_without_reatten_crops_are_blind_to_each_other():
    vit = adapt(timm_vit())
    views = ragged_views(vit)
    views.pixels.requires_grad_()
    out = falcon(vit, reatten=False)(vit, views)
    (gradient,) = torch.autograd.grad(out[0].square().sum(), views.pixels)
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).tolist() == [True] + [False] * 5


@torch.no_grad()
def test_reatten_follows_the_formula():
    """One layer by hand: y = attn(LN(x)); r += attn(r) over one image; x += y; x += mlp."""
    vit = adapt(timm_vit(depth=1))
    views = ragged_views(vit, (2,))
    m, reducer = 4, falcon(vit)
    layer = vit.layers[0]
    x = torch.cat([vit.embed(views.pixels).join(), reducer.placed(views)], dim=1)
    y = layer.attend(layer.norm1(x))
    r = torch.cat([y[0, -m:], y[1, -m:]])[None]
    r = r + layer.attend(r)
    y[0, -m:], y[1, -m:] = r[0, :m], r[0, m:]
    x = x + y
    x = x + layer.mlp(layer.norm2(x))
    assert torch.allclose(vit.leave(x)[:, -m:], reducer(vit, views), atol=1e-5)


@torch.no_grad()
def test_padding_does_not_change_an_image():
    """An image alone and in a ragged batch gives the same tokens up to rounding."""
    vit = adapt(timm_vit())
    views, reducer = ragged_views(vit), falcon(vit)
    own = views.image == 2
    alone = Views(
        views.pixels[own], torch.zeros(2, dtype=torch.int64), views.row[own], views.column[own]
    )
    assert torch.allclose(reducer(vit, views)[own], reducer(vit, alone), atol=1e-5)


def test_pad_by_image_keeps_the_rows():
    vit = adapt(timm_vit())
    views = ragged_views(vit)
    registers = torch.arange(6.0)[:, None, None].expand(6, 2, 3)
    rows, real = pad_by_image(registers, views)
    assert rows[..., 0].tolist() == [[0, 0, 1, 1, 2, 2], [3, 3, 0, 0, 0, 0], [4, 4, 5, 5, 0, 0]]
    assert real.sum().item() == 12 and real[1].tolist() == [True, True] + [False] * 4


def test_interaction_is_a_copy_not_the_layer_itself():
    vit = adapt(timm_vit())
    reatten = ReAtten.of(vit)
    assert torch.equal(reatten.layers[1].qkv.weight, vit.model.blocks[1].attn.qkv.weight)
    with torch.no_grad():
        reatten.layers[1].qkv.weight.zero_()
    assert vit.model.blocks[1].attn.qkv.weight.abs().sum() > 0
    width = vit.facts.width
    assert sum(p.numel() for p in reatten.parameters()) == 4 * (width**2 + width) * 3


def test_crops_differ_by_their_place():
    vit = adapt(timm_vit())
    reducer = falcon(vit, reatten=False)
    x = pixels(vit, batch=1).expand(3, -1, -1, -1)
    views = Views(
        x, torch.zeros(3, dtype=torch.int64), torch.tensor([-1, 0, 1]), torch.tensor([-1, 0, 0])
    )
    out = reducer(vit, views)
    assert not torch.allclose(out[0], out[1], atol=1e-3)
    assert not torch.allclose(out[1], out[2], atol=1e-3)
    far = Views(x, views.image, torch.tensor([-1, 0, 9]), torch.tensor([-1, 0, 0]))
    with pytest.raises(ValueError, match="below max_side = 9"):
        reducer(vit, far)


@torch.no_grad()
@pytest.mark.parametrize("select_layer", [-1, -2, 0])
def test_the_registers_are_those_of_the_whole_sequence(select_layer):
    """The last layer spares the patches its MLP; the numbers are those of the plain forward."""
    vit = adapt(timm_vit())
    views = ragged_views(vit)
    reducer = falcon(vit, reatten=False)
    expected = vit(views.pixels, reducer.placed(views), select_layer).registers
    assert torch.allclose(reducer(vit, views, select_layer), expected, atol=1e-6)


def test_compact_continues_what_enter_layer_began():
    vit = adapt(timm_vit())
    views = ragged_views(vit)
    reducer = falcon(vit, enter_layer=2)
    x = vit.run(vit.enter(vit.embed(views.pixels).join()), stop=2)
    assert torch.equal(reducer.compact(vit, x, views), reducer(vit, views))
    with pytest.raises(ValueError, match="smaller enter_layer"):
        falcon(vit, enter_layer=4)(vit, views)


@torch.no_grad()
@pytest.mark.parametrize("enter_layer", [0, 2])
def test_registers_can_start_as_the_mean_patches_of_tiles(enter_layer):
    vit = adapt(timm_vit())
    x = pixels(vit, batch=3)
    reducer = falcon(vit, enter_layer=enter_layer)
    reducer.start_at(vit, x)
    patches = vit(x, select_layer=enter_layer).patches.mean(dim=0).reshape(4, 4, -1)
    assert torch.allclose(reducer.current()[1], patches[:2, 2:].mean(dim=(0, 1)), atol=1e-5)
    assert torch.equal(reducer.placed(Views.whole(x))[0], reducer.current()), "places start at 0"
    assert [tiles(m) for m in (1, 7, 12, 64)] == [(1, 1), (1, 7), (3, 4), (8, 8)]
    with pytest.raises(ValueError, match="no starting point"):
        falcon(vit, regen=ReGen(vit.facts.width)).start_at(vit, x)


def test_checkpointing_changes_no_gradient_of_reatten():
    vit = adapt(timm_vit())
    views, reducer = ragged_views(vit), falcon(vit)
    gradients = []
    for vit.checkpointing in (False, True):
        loss = reducer(vit, views).square().sum()
        gradients.append(torch.autograd.grad(loss, reducer.parameters()))
    for plain, saved in zip(*gradients, strict=True):
        assert torch.allclose(plain, saved, rtol=1e-4, atol=1e-5)


def test_regen_changes_its_number_without_training():
    vit = adapt(timm_vit())
    reducer = falcon(vit, regen=ReGen(vit.facts.width))
    views = ragged_views(vit)
    for reducer.m in (1, 4, 9):
        assert reducer(vit, views).shape[1] == reducer.num_tokens((4, 4)) == reducer.m
    fixed = falcon(vit)
    fixed.m = 9
    with pytest.raises(ValueError, match="only with a ReGen"):
        fixed(vit, views)


def test_grids_of_known_images():
    """Square stays square, a wide strip becomes a row, a page becomes a column grid."""
    assert choose_grid(336, 336, 336, 9) == (1, 1)
    assert choose_grid(1008, 1008, 336, 9) == (3, 3)
    assert choose_grid(336, 1344, 336, 9) == (1, 4)
    assert choose_grid(1344, 1008, 336, 12) == (4, 3)
    assert choose_grid(1, 5000, 336, 9) == (1, 9)
    assert choose_grid(5000, 1, 336, 9) == (9, 1)
    assert choose_grid(1, 1, 336, 9) == (1, 1)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 16))
def test_grids_are_anchors_and_turn_with_the_image(height, width, max_crops):
    rows, columns = choose_grid(height, width, 224, max_crops)
    assert (rows, columns) in anchors(max_crops)

    def shape_error(grid):
        ratio = grid[0] / grid[1] * width / height
        return min(ratio, 1 / ratio)

    best = max(shape_error(grid) for grid in anchors(max_crops))
    assert shape_error((rows, columns)) >= best - 0.0101, "shape counts 100 times more than size"
    # A tie in shape and size would break the symmetry, e.g. for square images without a square.
    turned = choose_grid(width, height, 224, max_crops)
    assert (
        turned == (columns, rows)
        or abs(shape_error((rows, columns)) - shape_error((turned[1], turned[0]))) < 0.0101
    )


def test_crops_show_the_image():
    """Four coloured quarters: every crop has its own colour, the global view has all."""
    image = Image.new("RGB", (128, 128))
    colours = {(0, 0): "red", (0, 1): "lime", (1, 0): "blue", (1, 1): "white"}
    for (r, c), colour in colours.items():
        image.paste(colour, (c * 64, r * 64, c * 64 + 64, r * 64 + 64))
    plain = ImageProcessor(64, 64, (0, 0, 0), (1, 1, 1))
    views = ShapeAdaptiveCrops(plain, max_crops=4).cut(image)
    assert views.row.tolist() == [GLOBAL, 0, 0, 1, 1]
    assert views.column.tolist() == [GLOBAL, 0, 1, 0, 1]
    centres = [tuple(v[:, 32, 32].round().int().tolist()) for v in views.pixels[1:]]
    assert centres == [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    assert views.pixels[0][:, 10, 50].round().tolist() == [0, 1, 0]


def test_crops_of_a_wide_image_lie_side_by_side():
    image = Image.new("RGB", (96, 32), "red")
    image.paste("lime", (32, 0, 64, 32))
    image.paste("blue", (64, 0, 96, 32))
    plain = ImageProcessor(32, 32, (0, 0, 0), (1, 1, 1))
    views = ShapeAdaptiveCrops(plain, max_crops=3).cut(image)
    assert views.row.tolist() == [GLOBAL, 0, 0, 0] and views.column.tolist() == [GLOBAL, 0, 1, 2]
    colours = [v[:, 16, 16].round().int().tolist() for v in views.pixels[1:]]
    assert colours == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_batches_of_pictures_keep_their_owners():
    plain = ImageProcessor(32, 32, (0, 0, 0), (1, 1, 1))
    crops = ShapeAdaptiveCrops(plain, max_crops=3)
    views = crops(
        [Image.new("L", (32, 32)), Image.new("RGBA", (96, 32)), Image.new("CMYK", (5, 7))]
    )
    assert views.counts == [2, 4, 2] and views.num_images == 3
    with pytest.raises(ValueError, match="at least one picture"):
        crops([])


def test_prompt_layout_and_count():
    assert layout((1, 2)) == (
        "<global_img><image><crop_img_row0_col0><image><crop_img_row0_col1><image>"
    )
    text = layout((2, 3), tokens_per_view=64)
    assert text.count("<image>") == num_tokens((2, 3), 64) == 7 * 64
    assert all(
        tag in special_tokens(3) for tag in text.replace("<image>", "").replace("><", "> <").split()
    )
    assert len(special_tokens(9)) == 82


def test_views_refuse_disorder():
    x, zero = torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64)
    for image in ([1, 0], [1, 2], [0, 2]):
        with pytest.raises(ValueError, match="ascend from 0"):
            Views(x, torch.tensor(image), zero, zero)
    with pytest.raises(ValueError, match="one entry per view"):
        Views(x, zero[:1], zero, zero)
    with pytest.raises(ValueError, match="both row and column"):
        Views(x, zero, torch.tensor([-1, 0]), zero)


def test_stages_freeze_what_they_say():
    vit = adapt(timm_vit())
    reducer = falcon(vit)
    parts = {
        **reducer.parts(),
        "projector": Projector(48, 32),
        "vit": vit,
        "llm": nn.Linear(3, 3),
    }
    for stage in STAGES:
        trained = apply_stage(stage, parts)
        for name, part in parts.items():
            flags = {p.requires_grad for p in part.parameters()}
            assert flags == {name in stage.trains}, (stage.name, name)
        assert all(p.requires_grad for p in trained)
    inside = [p for part in reducer.parts().values() for p in part.parameters()]
    assert {id(p) for p in inside} == {id(p) for p in reducer.parameters()}
    generated = falcon(vit, regen=ReGen(48))
    inside = [p for part in generated.parts().values() for p in part.parameters()]
    assert {id(p) for p in inside} == {id(p) for p in generated.parameters()}
    assert [stage.crops for stage in STAGES] == [False, False, True, True]
    assert [stage.reatten for stage in STAGES] == [False, False, False, True]
    assert "vit" not in STAGES[0].trains and "vit" not in STAGES[3].trains


def test_stages_refuse_contradictions_and_change_nothing():
    shared = nn.Linear(2, 2)
    shared.requires_grad_(True)
    with pytest.raises(ValueError, match="frozen by one part"):
        apply_stage(STAGES[0], {"vit": shared, "projector": shared})
    with pytest.raises(ValueError, match="among registers"):
        apply_stage(STAGES[0], {"tower": shared})
    assert shared.weight.requires_grad


def test_a_few_steps_learn():
    """Stage 1: registers and encoder learn to name the bright channel; half is held out."""
    vit = adapt(timm_vit())
    torch.manual_seed(0)
    reducer, head = ReCompact(48, 2), nn.Linear(96, 3)
    x = 0.3 * torch.randn(64, 3, 64, 64)
    label = torch.arange(64) % 3
    x[torch.arange(64), label] += 1.0
    seen, unseen = Views.whole(x[:32]), Views.whole(x[32:])
    parts = {"registers": reducer, "vit": vit, "projector": head}
    optimiser = torch.optim.Adam(apply_stage(STAGES[1], parts), lr=0.003)
    for _ in range(30):
        loss = nn.functional.cross_entropy(head(reducer(vit, seen).flatten(1)), label[:32])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    guess = head(reducer(vit, unseen).flatten(1)).argmax(dim=1)
    assert (guess == label[32:]).float().mean() >= 0.9
