"""Towers for MLLMs: LLaVA's protocol, saving, types, and a whole tiny LLaVA."""

import pytest
import torch
from PIL import Image

from attar.vision.adapters import adapt
from attar.vision.checkpoint import CheckpointError
from attar.vision.falcon import ReAtten, ReCompact, ShapeAdaptiveCrops
from attar.vision.images import ImageProcessor
from attar.vision.mllm import VisionTower, compressed_processor, fewer_image_tokens
from attar.vision.mllm.tower import REDUCERS
from attar.vision.reducers import AveragePool, PerceiverResampler, PixelShuffle
from attar.vision.views import Views
from tests.vision.methods import METHODS
from tests.vision.models import clip_vit, open_clip_vit, pixels, siglip_vit, timm_vit

ALL = pytest.mark.parametrize("method", METHODS)
MAKERS = pytest.mark.parametrize("make", [timm_vit, open_clip_vit, clip_vit, siglip_vit])


def tower_of(method="ReCompact+ReAtten", make=timm_vit, **options):
    vit = adapt(make())
    return VisionTower(vit, METHODS[method](vit), **options).eval()


@MAKERS
@ALL
@torch.no_grad()
def test_the_protocol_of_llava(method, make):
    tower = tower_of(method, make)
    x = torch.cat([tower.image_processor(Image.new("RGB", (30, 20), c)) for c in ("red", "blue")])
    tokens = tower(x)
    assert tokens.shape == (2, tower.num_patches, tower.hidden_size)
    assert tower.dummy_feature.shape == (1, tower.hidden_size)
    assert tower.config.hidden_size == tower.hidden_size and tower.is_loaded
    assert tower.num_patches_per_side**2 == tower.num_patches
    assert tower.dtype == torch.float32 and tower.device.type == "cpu"
    listed = tower([x[0], x[1]])
    assert [t.shape[0] for t in listed] == [1, 1]
    assert torch.allclose(torch.cat(listed), tokens, atol=1e-5)


@MAKERS
@ALL
@torch.no_grad()
def test_save_and_load_give_the_same_tokens(method, make, tmp_path):
    tower = tower_of(method, make, select_layer=-2)
    tower.save_pretrained(tmp_path)
    twin = VisionTower.from_pretrained(tmp_path)
    x = pixels(tower.vit)
    assert torch.equal(tower(x), twin(x))
    assert twin.image_processor == tower.image_processor and twin.select_layer == -2


def test_a_checkpoint_for_another_model_is_refused(tmp_path):
    tower_of().save_pretrained(tmp_path / "a")
    tower_of("PerceiverResampler").save_pretrained(tmp_path / "b")
    (tmp_path / "a" / "config.json").write_text((tmp_path / "b" / "config.json").read_text())
    with pytest.raises(CheckpointError, match="for another model: .* weights missing"):
        VisionTower.from_pretrained(tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        VisionTower.from_pretrained(tmp_path / "c")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@ALL
@torch.no_grad()
def test_half_types(method, dtype, tmp_path):
    tower = tower_of(method)
    x = pixels(tower.vit)
    exact = tower(x)
    half = tower.to(dtype)
    tokens = half(x)
    assert tokens.dtype == torch.float32 and half(x.to(dtype)).dtype == dtype
    if method != "ToMe":  # merging partners may differ after rounding
        assert torch.nn.functional.cosine_similarity(tokens, exact, dim=-1).min() > 0.98
    half.save_pretrained(tmp_path)
    assert VisionTower.from_pretrained(tmp_path).dtype == dtype
    assert VisionTower.from_pretrained(tmp_path, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize(
    ("method", "backend"),
    [("ToMe", "eager"), ("ReCompact+ReAtten", "inductor")],
)
@torch.no_grad()
def test_torch_compile(method, backend):
    tower = tower_of(method)
    x = pixels(tower.vit)
    torch.compiler.reset()
    compiled = torch.compile(tower, backend=backend)
    assert torch.allclose(compiled(x), tower(x), atol=1e-5)


def test_who_trains():
    tower = tower_of()
    for trains, vit, reducer in (
        ("none", False, False),
        ("reducer", False, True),
        ("all", True, True),
    ):
        tower.set_trainable(trains)
        assert {p.requires_grad for p in tower.vit.parameters()} == {vit}
        assert {p.requires_grad for p in tower.reducer.parameters()} == {reducer}
    with pytest.raises(ValueError, match="trains must be one of none, reducer, all"):
        tower.set_trainable("some")


def test_crops_go_through_and_are_counted():
    vit = adapt(timm_vit())
    tower = VisionTower(vit, ReCompact(48, 4, reatten=ReAtten.of(vit))).eval()
    crops = ShapeAdaptiveCrops(tower.image_processor, max_crops=6)
    pictures = [Image.new("RGB", (128, 64), "red"), Image.new("RGB", (64, 192))]
    views = crops(pictures)
    with torch.no_grad():
        tokens = tower(views)
    expected = [tower.num_tokens((p.height, p.width), crops) for p in pictures]
    assert expected == [(2 + 1) * 4, (3 + 1) * 4]
    assert tokens.shape == (sum(expected) // 4, 4, 48)
    assert tower.num_tokens((64, 64)) == 4


def test_impossible_towers_are_refused_when_built():
    vit = adapt(timm_vit())
    with pytest.raises(ValueError, match="divisible by the factor 3"):
        VisionTower(vit, PixelShuffle(3))
    with pytest.raises(ValueError, match="select_layer must be in"):
        VisionTower(vit, select_layer=-9)
    assert VisionTower(vit, PerceiverResampler(48, 5, heads=3)).num_patches == 5
    with pytest.raises(ValueError, match="no square"):
        _ = VisionTower(vit, PerceiverResampler(48, 5, heads=3)).num_patches_per_side


def test_every_reducer_can_be_loaded_by_name():
    made = {type(make(adapt(timm_vit()))).__name__ for make in METHODS.values()}
    assert made == set(REDUCERS)


@pytest.fixture(scope="module")
def llava():
    return llava_of()


def llava_of(width=48):
    """A LLaVA of random weights whose projector takes `width` dimensions."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=width, intermediate_size=96, num_hidden_layers=3, num_attention_heads=3,
        image_size=64, patch_size=16,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
        pad_token_id=0,
    )  # fmt: skip
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=3)
    return LlavaForConditionalGeneration(config).eval()


@pytest.fixture(scope="module")
def processor():
    return processor_of()


def processor_of():
    """Eight words and pictures of 64 pixels."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "<image>", "<unk>", "what", "is", "this"]
    plain = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>", extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    images = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    return LlavaProcessor(
        images, tokenizer, patch_size=16, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip


PICTURE = Image.effect_noise((90, 60), 60).convert("RGB")


@torch.no_grad()
def test_a_whole_llava_with_fewer_tokens(llava, processor):
    """Text and image in, equal counts on both sides, loss, generation; then all as before."""
    inputs = processor(images=PICTURE, text="what is <image> this", return_tensors="pt")
    assert (inputs["input_ids"] == 3).sum() == 16
    before = llava(**inputs).logits
    vit = adapt(clip_vit())
    tower = VisionTower(vit, ReCompact(48, 4)).eval()
    ours = compressed_processor(processor, tower)
    with fewer_image_tokens(llava, tower):
        few = ours(images=PICTURE, text="what is <image> this", return_tensors="pt")
        assert (few["input_ids"] == 3).sum() == 4
        out = llava(**few, labels=few["input_ids"])
        features = llava.model.get_image_features(few["pixel_values"]).pooler_output
        assert torch.cat(tuple(features)).shape == (4, 32) and torch.isfinite(out.loss)
        longer = llava.generate(**few, max_new_tokens=3, do_sample=False)
        assert longer.shape[1] > few["input_ids"].shape[1]
        other = few | {"pixel_values": -few["pixel_values"]}
        assert not torch.allclose(llava(**other).logits, llava(**few).logits)
        with pytest.raises(ValueError, match="tokens: 16, features"):
            llava(**inputs)
    assert torch.equal(llava(**inputs).logits, before)
    assert llava.config.vision_feature_select_strategy == "default"
    assert processor.patch_size == 16, "the given processor must not change"


@torch.no_grad()
def test_pixels_of_the_processor_are_those_of_the_tower(processor):
    tower = VisionTower(adapt(siglip_vit()), AveragePool(4))
    made = compressed_processor(processor, tower)
    theirs = made(images=PICTURE, text="<image>", return_tensors="pt")["pixel_values"]
    assert (theirs - tower.image_processor(PICTURE)).abs().max() < 0.05


def test_two_images_in_one_prompt(llava, processor):
    tower = VisionTower(adapt(clip_vit()), AveragePool(4)).eval()
    made = compressed_processor(processor, tower)
    inputs = made(
        images=[PICTURE, PICTURE.rotate(90)], text="<image> what <image>", return_tensors="pt"
    )
    with torch.no_grad(), fewer_image_tokens(llava, tower):
        assert (inputs["input_ids"] == 3).sum() == 8
        assert torch.isfinite(llava(**inputs).logits).all()


def test_the_reducer_learns_through_the_language_model(llava, processor):
    vit = adapt(clip_vit())
    tower = VisionTower(vit, ReCompact(48, 4, reatten=ReAtten.of(vit)))
    few = compressed_processor(processor, tower)(
        images=PICTURE, text="<image> this", return_tensors="pt"
    )
    with fewer_image_tokens(llava, tower):
        llava(**few, labels=few["input_ids"]).loss.backward()
    assert tower.reducer.registers.grad.abs().sum() > 0
    assert all(p.grad is None for p in tower.vit.parameters())


def test_wrong_widths_are_refused_and_nothing_changes(llava, processor):
    tower = VisionTower(adapt(clip_vit()), PixelShuffle(2))
    old = llava.model.vision_tower
    with pytest.raises(ValueError, match="takes width 48, the tower gives 192"):
        with fewer_image_tokens(llava, tower):
            pass
    assert llava.model.vision_tower is old
    oblong = ImageProcessor.of(tower.vit, 64, 32)
    with pytest.raises(ValueError, match="square images"):
        compressed_processor(processor, VisionTower(adapt(clip_vit()), processor=oblong))


def test_restored_after_an_error(llava):
    old = llava.model.vision_tower
    with pytest.raises(KeyError):
        with fewer_image_tokens(llava, VisionTower(adapt(clip_vit()), AveragePool(4))):
            raise KeyError
    assert llava.model.vision_tower is old and llava.config.vision_feature_layer == -2


def test_views_and_pixels_agree():
    tower = tower_of("ReCompact")
    x = pixels(tower.vit)
    with torch.no_grad():
        assert torch.equal(tower(x), tower(Views.whole(x)))
