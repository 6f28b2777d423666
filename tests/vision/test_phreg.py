"""PH-Reg: views, denoising, training, artifacts, test-time registers."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from attar.vision.adapters import adapt
from attar.vision.attention import attention_map
from attar.vision.checkpoint import CheckpointError
from attar.vision.load import load_vit
from attar.vision.mllm import VisionTower
from attar.vision.phreg import (
    Distillation,
    DistillRecipe,
    PHRegStudent,
    Shift,
    TestTimeRegisters,
    attention_picture,
    cosine_percentiles,
    denoise,
    distill,
    distillation_loss,
    draw_shifts,
    find_register_neurons,
    load_student,
    neighbours,
    norm_outliers,
    norm_picture,
    save_student,
    value_path,
)
from attar.vision.phreg.dense import gaussian_window
from attar.vision.phreg.shifts import farthest_points, shift_pixels, unshift_features
from attar.vision.reducers import AveragePool
from attar.vision.tokens import Tokens
from tests.vision.models import FAMILIES, clip_vit, open_clip_vit, pixels, siglip_vit, timm_vit
from tests.vision.planting import plant_register_neuron

SHIFTS = st.builds(Shift, st.integers(-7, 7), st.integers(-7, 7), st.booleans())


@settings(deadline=None, max_examples=60)
@given(SHIFTS)
def test_undoing_a_shift_finds_every_patch(shift):
    """Features that are the patch's own pixels come back to where they were, gaps are not known."""
    image = torch.arange(1.0, 1 + 3 * 8 * 12).reshape(1, 3, 8, 12)
    view = shift_pixels(image, shift, 2, torch.tensor([-1.0, -1.0, -1.0]))
    patches = view.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5)
    if shift.flip:
        patches = patches.flip(-1)
    features = patches.flatten(3)
    back, known = unshift_features(features, shift)
    original = image.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3)
    assert torch.equal(back[0][known], original[0][known])
    expected = max(0, 4 - abs(shift.dy)) * max(0, 6 - abs(shift.dx))
    assert known.sum() == expected
    gaps = (view == -1).all(dim=1).sum()
    assert gaps == (24 - expected) * 4


def test_flip_comes_after_the_shift():
    image = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 3, 1, 4)
    view = shift_pixels(image, Shift(0, 1, True), 1, torch.full((3,), 9.0))
    assert view[0, 0, 0].tolist() == [2, 1, 0, 9]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 99))
def test_drawn_shifts_stay_in_reach(h, w, views, seed):
    shifts = draw_shifts((h, w), views, 0.15, seed)
    assert len(shifts) == views and shifts[0] == Shift(0, 0, False)
    assert all(abs(s.dy) <= 0.15 * h and abs(s.dx) <= 0.15 * w for s in shifts)
    assert shifts == draw_shifts((h, w), views, 0.15, seed)


def test_drawn_shifts_are_spread_out():
    """Farthest points: all distinct when there is room, and farther apart than the pool's first."""
    shifts = draw_shifts((37, 37), 10, 0.15, 0)
    offsets = torch.tensor([[s.dy, s.dx] for s in shifts]).float()
    nearest = (torch.cdist(offsets, offsets) + 99 * torch.eye(10)).amin()
    assert nearest >= 2
    assert {s.flip for s in shifts} == {True, False}
    assert draw_shifts((37, 37), 10, 0.15, 1) != shifts


def test_farthest_points_of_a_line():
    points = torch.tensor([[0.0, 0], [1, 0], [10, 0], [4, 0]])
    assert farthest_points(points, 3).tolist() == [0, 2, 3]


class Equivariant:
    """A stand-in for a perfect encoder: the patch's mean colour, plus noise tied to the place."""

    def __init__(self, vit, noise):
        self.vit, self.noise = vit, noise

    def __call__(self, vit, x, registers):
        h, w = vit.grid_of(x)
        means = torch.nn.functional.avg_pool2d(x, vit.facts.patch).flatten(2).transpose(1, 2)
        patches = torch.zeros(x.shape[0], h * w, vit.facts.width)
        patches[..., :3] = means
        return Tokens(patches + self.noise, patches[:, :0], grid=(h, w))


def test_denoising_keeps_content_and_averages_places():
    """Equivariant features come back exactly; noise at fixed places falls with the views."""
    vit = adapt(timm_vit(img_size=256))
    x = torch.nn.functional.interpolate(torch.randn(1, 3, 16, 16), scale_factor=16)
    shifts = draw_shifts((16, 16), 10, 0.3, 0)
    clean = Equivariant(vit, 0.0)(vit, x, None).patches
    assert torch.allclose(denoise(vit, x, shifts, Equivariant(vit, 0.0)), clean, atol=1e-5)
    noise = torch.zeros(256, 48)
    noise[100, 7] = 30.0
    error = denoise(vit, x, shifts, Equivariant(vit, noise)) - clean
    assert error.abs().max() <= 30 / 4
    assert error.sum().item() == pytest.approx(30, rel=0.5)


def test_denoising_needs_the_unmoved_view():
    vit = adapt(timm_vit())
    with pytest.raises(ValueError, match="must not move the image"):
        denoise(vit, pixels(vit), [Shift(1, 0, False)])
    only = denoise(vit, pixels(vit), [Shift(0, 0, False)])
    assert torch.equal(only, vit(pixels(vit)).patches)


@pytest.mark.parametrize("make", [open_clip_vit, clip_vit, siglip_vit])
@torch.no_grad()
def test_value_path_is_the_values_of_the_last_layer(make):
    vit = adapt(make())
    x = pixels(vit)
    layer, w = vit.layers[-1], vit.layers[-1].weights()
    y = layer.norm1(vit(x, select_layer=-2).join())
    d = vit.facts.width
    values = y @ w.qkv[2 * d :].T + w.qkv_bias[2 * d :]
    expected = vit.leave(values @ w.out.T + w.out_bias)
    assert torch.allclose(value_path(vit, x).join(), expected, atol=1e-5)


@torch.no_grad()
def test_neighbours_follow_the_formula():
    vit = adapt(clip_vit())
    x = pixels(vit)
    layer, w, d = vit.layers[-1], vit.layers[-1].weights(), 48
    y = layer.norm1(vit(x, select_layer=-2).join())
    k = (y @ w.qkv[d : 2 * d].T + w.qkv_bias[d : 2 * d]).reshape(2, 17, 3, 16).transpose(1, 2)
    v = (y @ w.qkv[2 * d :].T + w.qkv_bias[2 * d :]).reshape(2, 17, 3, 16).transpose(1, 2)
    logits = k @ k.transpose(-1, -2) / 4
    logits[:, :, 1:, 1:] += gaussian_window((4, 4), 5.0).float()
    mixed = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    expected = vit.leave(mixed @ w.out.T + w.out_bias)
    assert torch.allclose(neighbours(vit, x).join(), expected, atol=1e-5)
    assert gaussian_window((2, 3), 1.0)[0].tolist() == pytest.approx(
        [1, 0.60653, 0.13534, 0.60653, 0.36788, 0.08208], abs=1e-4
    )


@pytest.mark.parametrize("family", ["timm-dinov2", "open_clip", "clip", "siglip"])
def test_unlock_trains_the_published_set_and_nothing_else(family):
    vit = adapt(FAMILIES[family].make())
    student = PHRegStudent(vit, 4)
    student.unlock()
    trained = {name for name, p in student.named_parameters() if p.requires_grad}
    inside = (
        "registers",
        *("vit.model.patch_embed.proj.", "vit.model.pos_embed", "vit.model.blocks.2."),
        *(
            "vit.model.conv1.",
            "vit.model.positional_embedding",
            "vit.model.transformer.resblocks.2.",
        ),
        *("vit.model.embeddings.p", "vit.model.encoder.layers.2."),
    )
    for name, _ in student.named_parameters():
        assert (name in trained) == name.startswith(inside), name
    loss = distillation_loss(student(pixels(vit)).patches, torch.randn(2, 16, 48))
    loss.backward()
    for name, p in student.named_parameters():
        assert (p.grad is not None) == (name in trained), name


def test_loss_is_cosine_plus_square():
    a, b = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[4.0, 3.0]]])
    assert distillation_loss(a, b).item() == pytest.approx(1 - 24 / 25 + 1, abs=1e-6)
    assert distillation_loss(a, b, 0.2).item() == pytest.approx(1 - 24 / 25 + 0.2, abs=1e-6)
    assert distillation_loss(a, a).item() == pytest.approx(0, abs=1e-6)


RECIPE = DistillRecipe(epochs=4, batch=2, lr=1e-3, lr_end=1e-4, m=3, views=3, ratio=0.3)


def images(count=4):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(4))


def a_run(recipe=RECIPE, teacher=None):
    data = images()
    return Distillation(teacher or adapt(timm_vit()), recipe, lambda i: data[i], len(data))


@pytest.mark.parametrize("fixed", [True, False])
def test_a_resumed_run_is_the_uninterrupted_one(fixed, tmp_path):
    recipe = dataclasses.replace(RECIPE, fixed_views=fixed)
    whole, first, second = a_run(recipe), a_run(recipe), a_run(recipe)
    for _ in range(4):
        whole.run_epoch()
    for _ in range(2):
        first.run_epoch()
    first.save(tmp_path / "state.safetensors")
    second.resume(tmp_path / "state.safetensors")
    assert second.epoch == 2
    for _ in range(2):
        second.run_epoch()
    for a, b in zip(whole.student.parameters(), second.student.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_lowers_the_loss_and_leaves_the_teacher():
    teacher = adapt(timm_vit())
    before = copy.deepcopy(teacher.state_dict())
    run = a_run(dataclasses.replace(RECIPE, epochs=8, fixed_views=True), teacher)
    losses = [run.run_epoch() for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())
    assert run.recipe.rate(0) == 1e-3 and run.recipe.rate(7) == pytest.approx(1e-4)


def test_bfloat16_training_keeps_weights_float32_and_follows_float32():
    losses = {}
    for half in (False, True):
        run = a_run(dataclasses.replace(RECIPE, fixed_views=True, bfloat16=half))
        losses[half] = [run.run_epoch() for _ in range(4)]
        assert all(p.dtype == torch.float32 for p in run.student.parameters())
    assert losses[True] != losses[False]
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


@torch.no_grad()
def test_a_student_is_a_model_for_towers(tmp_path):
    """Its registers clean the patches of every tower; CLIP's changed last layer is refused."""
    run = a_run(dataclasses.replace(RECIPE, start="patches"))
    save_student(tmp_path, run.student, run.recipe)
    vit = load_vit(str(tmp_path))
    x = pixels(vit)
    assert torch.allclose(vit(x).patches, run.student.eval()(x).patches, atol=1e-5)
    assert (vit(x).patches - run.student.vit(x).patches).abs().max() > 1e-3
    tower = VisionTower(vit, AveragePool(4)).eval()
    tower.save_pretrained(tmp_path / "tower")
    assert torch.equal(VisionTower.from_pretrained(tmp_path / "tower")(x), tower(x))
    with pytest.raises(ValueError, match="plain dense features"):
        adapt(PHRegStudent(adapt(clip_vit()), 2, value_path))


def test_registers_can_start_at_the_mean_patch():
    run = a_run(dataclasses.replace(RECIPE, start="patches"))
    plain = a_run().student.registers.detach()
    mean = run.teacher.embed(images()[:2]).patches.mean(dim=(0, 1)).detach()
    assert torch.allclose(run.student.registers.detach(), mean + 0.1 * plain, atol=1e-6)


def test_a_state_of_another_run_is_refused(tmp_path):
    file = tmp_path / "state.safetensors"
    a_run().save(file)
    with pytest.raises(CheckpointError, match="another run: recipe was"):
        a_run(dataclasses.replace(RECIPE, m=5)).resume(file)
    other = timm_vit()
    with torch.no_grad():
        other.cls_token.add_(1)
    with pytest.raises(CheckpointError, match="another run: teacher was"):
        a_run(teacher=adapt(other)).resume(file)


def test_recipes_refuse_nonsense():
    for wrong in ({"epochs": 0}, {"lr_end": 1.0}, {"dense": "fuzzy"}, {"start": "late"}):
        with pytest.raises(ValueError, match=r"must be"):
            DistillRecipe(**wrong)


def test_distill_a_folder(tmp_path):
    """The whole path of the command line: images in, student out, resumed, loaded, equal."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for i, size in enumerate([(40, 30), (9, 50), (64, 64)]):
        Image.effect_noise(size, 80).save(tmp_path / "in" / "deep" / f"{i}.png")
    seen = []
    recipe = dataclasses.replace(RECIPE, epochs=2)
    out = distill(tmp_path / "in", timm_vit(), tmp_path / "out", recipe, progress=seen.append)
    assert [(p.epoch, p.step, p.steps) for p in seen] == [
        (0, 0, 2),
        (0, 1, 2),
        (1, 0, 2),
        (1, 1, 2),
    ]
    assert {f.name for f in out.iterdir()} == {
        "config.json",
        "model.safetensors",
        "state.safetensors",
    }
    student = load_student(out)
    x = pixels(student.vit)
    assert student(x).registers.shape == (2, 3, 48)
    seen.clear()
    distill(tmp_path / "in", timm_vit(), out, recipe, progress=seen.append)
    assert not seen, "a finished run has nothing left to do"
    assert torch.equal(load_student(out)(x).patches, student(x).patches)
    with pytest.raises(ValueError, match="must hold images"):
        distill(tmp_path / "out", timm_vit(), tmp_path / "other")


def test_a_student_without_registers_is_saved_too(tmp_path):
    """The arm of the ablation: an empty tensor goes through safetensors."""
    run = a_run(dataclasses.replace(RECIPE, m=0))
    run.run_epoch()
    save_student(tmp_path, run.student, run.recipe)
    x = images()
    assert torch.equal(load_student(tmp_path)(x).patches, run.student.eval()(x).patches)


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "in" / "a.png")
    out = distill(
        tmp_path / "in", timm_vit(), tmp_path / "out", dataclasses.replace(RECIPE, epochs=1)
    )
    weights = out / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cut short"):
        load_student(out)
    weights.write_bytes(whole)
    config = (out / "config.json").read_text()
    (out / "config.json").write_text(config.replace('"depth": 3', '"depth": 2'))
    with pytest.raises(CheckpointError, match="for another model"):
        load_student(out)
    (out / "config.json").write_text(config.replace('"version": 1', '"version": 2'))
    with pytest.raises(CheckpointError, match="another program, version or class"):
        load_student(out)


def test_outliers_are_found_on_both_sides():
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(2, 100, 32, generator=generator)
    clean = norm_outliers(patches)
    assert clean.high <= 0.02 and clean.low <= 0.02
    patches[0, 5] *= 20
    patches[1, 7:9] *= 0.05
    found = norm_outliers(patches)
    assert found.score[0, 5] > 3.5 and (found.score[1, 7:9] < -3.5).all()
    assert found.high - clean.high == pytest.approx(1 / 200, abs=1e-6)
    assert found.low - clean.low == pytest.approx(2 / 200, abs=1e-6)
    with pytest.raises(ValueError, match="finite"):
        norm_outliers(patches * float("nan"))


def test_percentiles_are_what_so_many_exceed():
    target = torch.nn.functional.normalize(torch.randn(1, 101, 8), dim=-1)
    other = torch.randn(1, 101, 8)
    other = other - (other * target).sum(-1, keepdim=True) * target
    ortho = torch.nn.functional.normalize(other, dim=-1)
    cosines = torch.linspace(0, 1, 101)[None, :, None]
    made = cosines * target + (1 - cosines**2).sqrt() * ortho
    got = cosine_percentiles(made, target)
    for share, value in got.items():
        assert value == pytest.approx(1 - share / 100, abs=1e-4)
    with pytest.raises(ValueError, match="one shape"):
        cosine_percentiles(made, target[:, :5])


def planted():
    """A tiny model with an artifact at one place; strong positions, as trained models have."""
    vit = adapt(timm_vit(depth=4, img_size=128))
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        vit.model.pos_embed.add_(2 * torch.randn(vit.model.pos_embed.shape, generator=generator))
    clean = copy.deepcopy(vit)
    plant_register_neuron(vit, pixels(vit, 24, seed=5), [45], layer=1, unit=17, size=60.0)
    return clean, vit, pixels(vit, 8, seed=6)


@torch.no_grad()
def test_planted_neurons_are_found_and_moved():
    clean, dirty, x = planted()
    now = dirty(x, select_layer=-2).patches
    norms = now.norm(dim=-1).median(dim=0).values
    assert norms.argmax() == 45
    assert norm_outliers(now).high > norm_outliers(clean(x, select_layer=-2).patches).high + 0.01
    neurons = find_register_neurons(dirty, x, top_k=1)
    assert (neurons[0].layer, neurons[0].unit) == (1, 17)
    fixed = TestTimeRegisters(dirty, neurons)
    # Without the planted unit at all, as the truth of what is underneath.
    truth = copy.deepcopy(dirty)
    truth.model.blocks[1].mlp.fc2.weight[:, 17] = 0
    cosine = torch.cosine_similarity
    raw = cosine(dirty(x).patches, truth(x).patches, dim=-1)
    moved = cosine(fixed(x).patches, truth(x).patches, dim=-1)
    assert raw[:, 45].mean() < 0.9 < moved[:, 45].mean()
    spare = fixed(x, select_layer=-2).registers.norm(dim=-1)
    assert (spare > fixed(x, select_layer=-2).patches.norm(dim=-1).amax(dim=1, keepdim=True)).all()
    assert not any(m._forward_hooks for m in dirty.modules()), "hooks must be gone"


def test_a_planted_artifact_is_distilled_away():
    _, dirty, x = planted()
    recipe = DistillRecipe(
        epochs=40, batch=8, lr=3e-3, lr_end=5e-4, m=4, ratio=0.3, fixed_views=True
    )
    run = Distillation(dirty, recipe, lambda i: x[i], len(x))
    for _ in range(recipe.epochs):
        run.run_epoch()
    with torch.no_grad():
        before = dirty(x).patches
        after = run.student(x).patches
        targets = torch.cat([run.target(i, x[i : i + 1]) for i in range(len(x))])
    old, new = cosine_percentiles(before, targets), cosine_percentiles(after, targets)
    assert all(new[share] > old[share] for share in old)
    was = torch.cosine_similarity(before, targets, dim=-1)[:, 45].mean()
    now = torch.cosine_similarity(after, targets, dim=-1)[:, 45].mean()
    assert now > was + 0.05


def test_a_model_without_artifacts_says_so():
    vit = adapt(timm_vit())
    with pytest.raises(ValueError, match="No patch has an unusually high norm"):
        find_register_neurons(vit, pixels(vit), 3, threshold=50.0)


def test_hooks_are_gone_after_an_error():
    _, dirty, x = planted()
    fixed = TestTimeRegisters(dirty, find_register_neurons(dirty, x, 1))
    with pytest.raises(ValueError, match="Pixels must be"):
        fixed(x[:, :1])
    assert not any(m._forward_hooks for m in dirty.modules())


def test_pictures():
    image = Image.new("RGB", (64, 32), "white")
    before, after = torch.ones(8, 4), torch.ones(8, 4)
    before[3] *= 9
    sheet = norm_picture(image, [before, after], (2, 4), gap=8)
    assert sheet.size == (64 * 3 + 16, 32)
    # The artifact's block is the brightest colour, the rest and the whole second map the darkest.
    assert sheet.getpixel((72 + 56, 8)) == (253, 231, 37)
    assert sheet.getpixel((72 + 8, 24)) == sheet.getpixel((144 + 56, 8)) == (68, 1, 84)
    vit = adapt(timm_vit())
    weights = attention_map(torch.randn(1, 17, 48), vit.layers[0].weights())[0, :3, 1:]
    small = Image.new("RGB", (64, 64))
    assert attention_picture(small, weights, (4, 4)).size == (64 * 4 + 12, 64)
    assert attention_picture(small, weights, (4, 4), columns=2).size == (64 * 2 + 4, 64 * 2 + 4)
