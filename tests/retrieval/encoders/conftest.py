"""Tiny real models, saved as their libraries save them."""

import json

import numpy as np
import pytest

WORDS = ["[UNK]", "the", "cat", "dog", "sat", "ran", "query", "document", ":"]


def write_static_model(folder, seed=0, words=WORDS, weights=None, prompts=None):
    """A sentence-transformers model with one vector a word: real files, a few kB."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: row for row, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if weights is None:
        weights = np.random.default_rng(seed).standard_normal((len(words), 8)).astype(np.float32)
    module = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[module], device="cpu", prompts=prompts).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def save_static_model():
    return write_static_model


@pytest.fixture(scope="session")
def static_model(tmp_path_factory):
    return write_static_model(tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """Architecture name and checkpoint of a CLIP of 0.4 M parameters with random weights."""
    import open_clip
    import torch

    folder = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 8,
            "heads": 1,
            "layers": 1,
        },
    }
    (folder / "attar-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "attar-tiny.json")
    torch.manual_seed(0)
    model = open_clip.create_model("attar-tiny")
    torch.save(model.state_dict(), folder / "weights.pt")
    return "attar-tiny", str(folder / "weights.pt")
