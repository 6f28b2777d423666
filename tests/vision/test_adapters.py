"""Laws of `ViT`, for every family."""

import pytest
import torch
from torch import nn

from attar.vision.adapters import adapt, rebuild
from attar.vision.attention import attention_map, self_attention
from tests.vision.models import FAMILIES, SIDE, clip_vit, open_clip_vit, pixels, timm_vit

ALL = pytest.mark.parametrize("family", FAMILIES)


@ALL
@torch.no_grad()
def test_zero_register_identity(family):
    """Without registers, and with zero of them, tokens and pooled equal the untouched model's."""
    model = FAMILIES[family].make()
    vit = adapt(model)
    x = pixels(vit)
    none = torch.zeros(0, vit.facts.width)
    for tokens in (vit(x), vit(x, none)):
        expected = FAMILIES[family].tokens(model, x)
        got = tokens.join()[:, -expected.shape[1] :]
        assert (got - expected).abs().max() <= 1e-5
    before_norm = vit.run(vit.enter(vit.embed(x).join()))
    assert (vit.pool(before_norm) - FAMILIES[family].pooled(model, x)).abs().max() <= 1e-5


@ALL
@torch.no_grad()
def test_registers_are_order_free(family):
    vit = adapt(FAMILIES[family].make())
    x = pixels(vit)
    registers = torch.randn(5, vit.facts.width, generator=torch.Generator().manual_seed(2))
    order = torch.tensor([3, 0, 4, 1, 2])
    plain, permuted = vit(x, registers), vit(x, registers[order])
    assert plain.registers.shape == (2, 5, vit.facts.width)
    assert torch.allclose(plain.registers[:, order], permuted.registers, atol=1e-5)
    assert torch.allclose(plain.patches, permuted.patches, atol=1e-5)
    assert (plain.patches - vit(x).patches).abs().max() > 1e-3, "registers must have an effect"


@ALL
@torch.no_grad()
def test_weights_are_the_attention_of_the_layer(family):
    vit = adapt(FAMILIES[family].make())
    y = torch.randn(2, 7, vit.facts.width, generator=torch.Generator().manual_seed(3))
    for layer in vit.layers:
        assert torch.allclose(self_attention(y, layer.weights()), layer.attend(y), atol=1e-5)
        rows = attention_map(y, layer.weights()).sum(dim=-1)
        assert torch.allclose(rows, torch.ones_like(rows), atol=1e-5)


@ALL
@torch.no_grad()
def test_another_grid(family):
    """A larger, oblong image works: positions are resampled, and cropping them is noticed."""
    vit = adapt(FAMILIES[family].make())
    patch = vit.facts.patch
    tokens = vit(torch.randn(1, 3, 3 * patch, 6 * patch))
    assert tokens.grid == (3, 6) and tokens.patches.shape[1] == 18
    assert torch.isfinite(tokens.patches).all()


@torch.no_grad()
def test_another_grid_equals_timm():
    """timm itself resamples with dynamic_img_size; same numbers."""
    model = timm_vit(dynamic_img_size=True)
    x = torch.randn(1, 3, 96, 48)
    assert torch.allclose(adapt(model)(x).join(), model.forward_features(x), atol=1e-5)


@torch.no_grad()
def test_another_grid_equals_transformers():
    model = clip_vit()
    x = torch.randn(1, 3, 96, 48)
    expected = model(x, interpolate_pos_encoding=True).last_hidden_state
    assert torch.allclose(adapt(model)(x).join(), model.post_layernorm(expected), atol=1e-5)


@ALL
@torch.no_grad()
def test_select_layer_is_the_hidden_state(family):
    vit = adapt(FAMILIES[family].make())
    x = pixels(vit)
    states = [vit.enter(vit.embed(x).join())]
    for layer in vit.layers:
        states.append(layer(states[-1]))
    for index in (0, 1, -2, -4):
        assert torch.equal(vit(x, select_layer=index).join(), states[index])
    assert torch.equal(vit(x, select_layer=3).join(), vit(x).join())
    with pytest.raises(ValueError, match="select_layer must be in"):
        vit(x, select_layer=-5)


@ALL
def test_rebuild_gives_an_equal_model(family):
    import json

    vit = adapt(FAMILIES[family].make())
    twin = rebuild(json.loads(json.dumps(vit.recipe()))).eval()
    twin.load_state_dict(vit.state_dict())
    x = pixels(vit)
    assert torch.equal(twin(x).patches, vit(x).patches)


@ALL
def test_checkpointing_changes_no_gradient(family):
    vit = adapt(FAMILIES[family].make())
    registers = torch.randn(2, vit.facts.width, requires_grad=True)
    gradients = []
    for vit.checkpointing in (False, True):
        loss = vit(pixels(vit), registers).registers.square().sum()
        gradients.append(torch.autograd.grad(loss, registers)[0])
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5)


def test_the_foreign_model_is_not_changed():
    model = timm_vit()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    code = type(model).forward, type(model.blocks[0]).forward, set(vars(model))
    adapt(model)(pixels(adapt(model)), torch.zeros(4, 48))
    assert code == (type(model).forward, type(model.blocks[0]).forward, set(vars(model)))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


def test_a_whole_open_clip_is_entered_at_its_tower():
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = open_clip_vit()

    assert adapt(Whole()).family == "open_clip"


def test_an_unknown_model_is_refused():
    with pytest.raises(TypeError, match="No adapter for Linear; known are"):
        adapt(nn.Linear(2, 2))


def test_parallel_blocks_are_refused():
    from timm.models.vision_transformer import ParallelThingsBlock

    with pytest.raises(ValueError, match="plain Blocks"):
        adapt(timm_vit(block_fn=ParallelThingsBlock))


def test_a_timm_model_without_a_name_runs_but_cannot_be_saved():
    from timm.models.vision_transformer import VisionTransformer

    vit = adapt(VisionTransformer(SIDE, 16, embed_dim=48, depth=1, num_heads=3).eval())
    assert vit(pixels(vit)).patches.shape == (2, 16, 48)
    with pytest.raises(ValueError, match="no name to be saved by"):
        vit.recipe()


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="one of the families"):
        rebuild({"family": "resnet"})


def test_sizes_that_do_not_fit_the_patch_are_refused():
    vit = adapt(timm_vit())
    for shape in ((1, 3, 60, 64), (1, 3, 8, 64), (1, 1, 64, 64), (3, 64, 64)):
        with pytest.raises(ValueError, match=r"Pixels must be|multiples of the patch"):
            vit(torch.zeros(shape))
