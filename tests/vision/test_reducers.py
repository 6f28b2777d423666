"""Laws of `Reducer`, for every method."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attar.vision.reducers as exported
from attar.vision.adapters import adapt
from attar.vision.reducers import AveragePool, PixelShuffle, RandomTokens, Reducer, ToMe
from attar.vision.reducers.average_pool import pool_patches
from attar.vision.reducers.pixel_shuffle import shuffle_patches
from attar.vision.reducers.tome import match_tokens, merge_schedule, merge_tokens
from attar.vision.views import GLOBAL, Views
from tests.vision.methods import METHODS
from tests.vision.models import clip_vit, open_clip_vit, pixels, timm_vit

ALL = pytest.mark.parametrize("method", METHODS)
MAKERS = pytest.mark.parametrize("make", [timm_vit, open_clip_vit, clip_vit])


def three_views(vit, seed=1):
    """Two views of image 0, one of image 1."""
    x = pixels(vit, batch=3, seed=seed)
    return Views(
        x,
        torch.tensor([0, 0, 1]),
        torch.tensor([GLOBAL, 0, GLOBAL]),
        torch.tensor([GLOBAL, 1, GLOBAL]),
    )


def test_every_exported_reducer_has_a_row():
    classes = {
        name
        for name, value in vars(exported).items()
        if inspect.isclass(value) and issubclass(value, Reducer) and value is not Reducer
    }
    assert classes <= set(METHODS), f"rows missing for {classes - set(METHODS)}"


@MAKERS
@ALL
@torch.no_grad()
def test_count_and_width(method, make):
    vit = adapt(make())
    reducer = METHODS[method](vit).eval()
    views = three_views(vit)
    tokens = reducer(vit, views)
    grid = vit.grid_of(views.pixels)
    assert tokens.shape == (3, reducer.num_tokens(grid), reducer.width(vit.facts.width))
    assert torch.isfinite(tokens).all()
    assert torch.equal(tokens, reducer(vit, views)), "a second call must give the same tokens"


@ALL
@torch.no_grad()
def test_independent(method):
    """Image 1 changes; what image 0 becomes does not, to the bit."""
    vit = adapt(timm_vit())
    reducer = METHODS[method](vit).eval()
    views = three_views(vit)
    changed = views.pixels.clone()
    changed[2] = 5 * torch.randn_like(changed[2])
    other = Views(changed, views.image, views.row, views.column)
    before, after = reducer(vit, views), reducer(vit, other)
    assert torch.equal(before[:2], after[:2])
    assert not torch.allclose(before[2], after[2], atol=1e-2)


@ALL
@torch.no_grad()
def test_select_layer(method):
    vit = adapt(timm_vit())
    reducer = METHODS[method](vit).eval()
    views = three_views(vit)
    last, earlier = reducer(vit, views), reducer(vit, views, select_layer=-2)
    assert last.shape == earlier.shape and not torch.allclose(last, earlier, atol=1e-3)


@ALL
def test_gradients_reach_the_pixels_and_the_weights(method):
    vit = adapt(timm_vit())
    reducer = METHODS[method](vit)
    views = three_views(vit)
    views.pixels.requires_grad_()
    reducer(vit, views).square().sum().backward()
    assert views.pixels.grad is not None and views.pixels.grad.abs().sum() > 0
    # The tables of positions hold places that no view has; every other weight must learn.
    for name, parameter in reducer.named_parameters():
        assert parameter.grad is not None, name


def test_impossible_counts_are_refused():
    for reducer, grid in [
        (RandomTokens(17), (4, 4)),
        (AveragePool(25), (4, 4)),
        (PixelShuffle(3), (4, 4)),
        (ToMe(17), (4, 4)),
    ]:
        with pytest.raises(ValueError, match=r"Cannot|divisible"):
            reducer.num_tokens(grid)
    with pytest.raises(ValueError, match="square"):
        AveragePool(10)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_pixel_shuffle_keeps_every_number_in_place(h, w, factor, d):
    x = torch.arange(h * factor * w * factor * d).reshape(1, -1, d)
    y = shuffle_patches(x, (h * factor, w * factor), factor)
    for row in range(h * factor):
        for column in range(w * factor):
            token = row // factor * w + column // factor
            at = (row % factor * factor + column % factor) * d
            assert torch.equal(y[0, token, at : at + d], x[0, row * w * factor + column])


def test_average_pool_is_the_mean_of_tiles():
    x = torch.randn(2, 24, 3)
    y = pool_patches(x, (4, 6), 2)
    square = x.reshape(2, 4, 6, 3)
    assert torch.allclose(y[:, 1], square[:, :2, 3:].mean(dim=(1, 2)), atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 700), st.data())
def test_merge_schedule_meets_the_count(patches, data):
    keep = data.draw(st.integers(max(1, -(-patches // 2**6)), patches))
    plan = merge_schedule(patches, keep, 12)
    left = patches
    for merges in plan:
        assert 0 <= merges <= left // 2
        left -= merges
    assert left == keep


def test_merge_schedule_refuses_what_layers_cannot_do():
    with pytest.raises(ValueError, match="each at most halves"):
        merge_schedule(64, 1, 3)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 20), st.integers(0, 10), st.integers(0, 2), st.integers(0, 99))
def test_merging_keeps_the_mass(tokens, merges, protected, seed):
    """The size-weighted sum of all tokens does not change, protected tokens do not change."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, tokens + protected, 4, generator=generator)
    size = torch.randint(1, 5, (2, tokens + protected, 1), generator=generator).float()
    merged, sizes = merge_tokens(x, size, *match_tokens(x, merges, protected))
    assert merged.shape[1] == tokens + protected - min(merges, tokens // 2)
    assert torch.allclose((merged * sizes).sum(1), (x * size).sum(1), atol=1e-4)
    assert torch.equal(sizes.sum(1), size.sum(1))
    assert torch.allclose(merged[:, :protected], x[:, :protected], atol=1e-6)


def test_the_most_similar_tokens_merge():
    x = torch.eye(6)[None] + 0.01
    x[0, 4] = x[0, 1]
    source, destination, _ = match_tokens(x, 1, 0)
    assert (source.item(), destination.item()) == (4, 1)


@torch.no_grad()
def test_tome_that_merges_nothing_is_the_model():
    vit = adapt(timm_vit())
    x = pixels(vit)
    merged = ToMe(16)(vit, Views.whole(x))
    assert torch.allclose(merged, vit(x).patches, atol=1e-5)


def test_random_tokens_are_patch_tokens_and_follow_the_seed():
    vit = adapt(timm_vit())
    views = Views.whole(pixels(vit))
    patches = vit(views.pixels).patches
    kept = RandomTokens(5, seed=1)(vit, views)
    assert all((patches[0] == token).all(dim=-1).any() for token in kept[0])
    assert not torch.equal(kept, RandomTokens(5, seed=2)(vit, views))
