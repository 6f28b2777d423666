"""OpenCLIP: texts and images in one space, equal to the bare library."""

import pickle

import numpy as np
import pytest

from attar.retrieval.encoders import OpenCLIP

open_clip = pytest.importorskip("open_clip")
Image = pytest.importorskip("PIL.Image")
TEXTS = ["a photograph of a cat", "dog", "", "a very long sentence " * 20, "blue"]


@pytest.fixture
def encoder(tiny_clip):
    return OpenCLIP(*tiny_clip, batch_size=2, threads=1)


def images(seed=0, count=5):
    draw = np.random.default_rng(seed)
    shapes = [(40 + 7 * each, 64, 3) for each in range(count)]
    return [Image.fromarray(draw.integers(0, 256, shape, np.uint8)) for shape in shapes]


def test_texts_and_images_equal_the_library(encoder, tiny_clip):
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms(
        tiny_clip[0], pretrained=tiny_clip[1]
    )
    model.eval()
    with torch.inference_mode():
        texts = model.encode_text(open_clip.get_tokenizer(tiny_clip[0])(TEXTS))
        pixels = torch.stack([preprocess(image) for image in images()])
        pictures = model.encode_image(pixels)
    for ours, bare in (
        (encoder.encode_documents(TEXTS), texts),
        (encoder.encode_queries(TEXTS), texts),
        (encoder.encode_images(images()), pictures),
    ):
        expected = (bare / bare.norm(dim=-1, keepdim=True)).numpy()
        assert ours.dtype == np.float32 and ours.shape == (5, encoder.dim) == (5, 16)
        assert np.allclose(ours, expected, atol=1e-5)


def test_batches_do_not_matter(encoder, tiny_clip):
    whole = OpenCLIP(*tiny_clip, batch_size=99)
    assert np.allclose(whole.encode_images(images()), encoder.encode_images(images()), atol=1e-5)
    assert encoder.encode_images([]).shape == encoder.encode_documents([]).shape == (0, 16)


def test_fingerprint_is_of_the_weights(encoder, tiny_clip, tmp_path):
    import torch

    weights = torch.load(tiny_clip[1])
    torch.save(weights, tmp_path / "copy.pt")
    assert OpenCLIP(tiny_clip[0], str(tmp_path / "copy.pt")).fingerprint == encoder.fingerprint
    weights["visual.conv1.weight"][0, 0, 0, 0] += 1e-3
    torch.save(weights, tmp_path / "other.pt")
    assert OpenCLIP(tiny_clip[0], str(tmp_path / "other.pt")).fingerprint != encoder.fingerprint


def test_what_is_not_an_image_or_text_is_named(encoder):
    with pytest.raises(TypeError, match="takes PIL images, got str in row 1"):
        encoder.encode_images([images()[0], "cat.jpg"])
    with pytest.raises(TypeError, match="got one string"):
        encoder.encode_queries("cat")


def test_unknown_architectures_and_weights_are_named(tiny_clip):
    with pytest.raises(ValueError, match="no architecture 'ViT-Z'"):
        OpenCLIP("ViT-Z", "openai").encode_queries(["x"])
    with pytest.raises(ValueError, match=r"Weights of ViT-B-32 are .*laion2b.*got 'nothing'"):
        OpenCLIP("ViT-B-32", "nothing").encode_queries(["x"])
    with pytest.raises(ValueError, match="random"):
        OpenCLIP(tiny_clip[0], "")


def test_pickled_encoders_load_their_own_model(encoder):
    expected = encoder.encode_queries(TEXTS)
    copy = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(copy.encode_queries(TEXTS), expected)
