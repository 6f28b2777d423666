"""Image encoders for stores."""

import numpy as np
import pytest
import torch
from PIL import Image

from attar.vision.adapters import adapt
from attar.vision.encoders import PooledImageEncoder, RegisterImageEncoder, max_sim
from attar.vision.falcon import ReCompact, ShapeAdaptiveCrops
from attar.vision.mllm import VisionTower
from tests.vision.models import FAMILIES, timm_vit

PICTURES = [Image.effect_noise((20 + 9 * i, 50), 40 + i).convert("RGB") for i in range(5)]


@pytest.mark.parametrize("family", FAMILIES)
def test_pooled_is_the_model(family):
    model = FAMILIES[family].make()
    encoder = PooledImageEncoder(adapt(model), batch=2)
    vectors = encoder.encode_images(PICTURES)
    assert vectors.dtype == np.float32 and vectors.shape[0] == 5
    with torch.no_grad():
        expected = FAMILIES[family].pooled(model, encoder._prepare(PICTURES)).numpy()
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


def test_shapes_batches_and_nothing():
    vit = adapt(timm_vit())
    tower = VisionTower(vit, ReCompact(48, 4)).eval()
    crops = ShapeAdaptiveCrops(tower.image_processor, max_crops=3)
    for encoder, shape in (
        (PooledImageEncoder(vit, "mean"), (48,)),
        (RegisterImageEncoder(tower), (4, 48)),
        (RegisterImageEncoder(tower, crops), (16, 48)),
    ):
        assert encoder.encode_images([]).shape == (0, *shape)
        whole = encoder.encode_images(PICTURES)
        assert whole.shape == (5, *shape) and whole.dtype == np.float32
        np.testing.assert_allclose(encoder.encode_images(PICTURES[3:4])[0], whole[3], atol=2e-5)


def test_padding_of_crops_does_not_change_max_sim():
    vit = adapt(timm_vit())
    tower = VisionTower(vit, ReCompact(48, 4)).eval()
    crops = ShapeAdaptiveCrops(tower.image_processor, max_crops=5)
    padded = RegisterImageEncoder(tower, crops).encode_images(PICTURES[:1])
    with torch.no_grad():
        real = tower(crops(PICTURES[:1])).flatten(0, 1)[None].numpy()
    query = np.random.default_rng(0).normal(size=(2, 3, 48)).astype(np.float32)
    assert padded.shape[1] > real.shape[1]
    np.testing.assert_allclose(max_sim(query, padded), max_sim(query, real), rtol=1e-5)


def test_max_sim_by_hand():
    query = np.array([[[1.0, 0.0], [0.0, 2.0]]])
    documents = np.array([[[1.0, 1.0], [3.0, 0.0]], [[0.0, 0.0], [-1.0, -1.0]]])
    assert max_sim(query, documents).tolist() == [[5.0, 0.0]]


def test_fingerprints_tell_models_and_settings_apart():
    vit = adapt(timm_vit())
    other = timm_vit()
    with torch.no_grad():
        other.norm.bias[0] += 1e-3
    prints = {
        PooledImageEncoder(vit).fingerprint,
        PooledImageEncoder(vit, "mean").fingerprint,
        PooledImageEncoder(adapt(other)).fingerprint,
        RegisterImageEncoder(VisionTower(vit, ReCompact(48, 4))).fingerprint,
        RegisterImageEncoder(VisionTower(vit, ReCompact(48, 4, seed=1))).fingerprint,
    }
    assert len(prints) == 5
    assert PooledImageEncoder(adapt(timm_vit())).fingerprint == PooledImageEncoder(vit).fingerprint
    with pytest.raises(ValueError, match='pool must be "model" or "mean"'):
        PooledImageEncoder(vit, "max")
