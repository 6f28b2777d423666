"""make_encoder: every form of a name, and its way back."""

import sys

import numpy as np
import pytest

from attar.retrieval.encoders import (
    OpenAICompatible,
    OpenCLIP,
    Precomputed,
    PythonCallable,
    SentenceTransformers,
    make_encoder,
)
from attar.stores.protocols import Encoder

NAMES = {
    "all-MiniLM-L6-v2": SentenceTransformers(),
    "sentence-transformers:BAAI/bge-small-en-v1.5": SentenceTransformers("BAAI/bge-small-en-v1.5"),
    "openai:text-embedding-3-small": OpenAICompatible("text-embedding-3-small"),
    "openai:org/e5@v2@http://localhost:8000/v1": OpenAICompatible(
        "org/e5@v2", "http://localhost:8000/v1"
    ),
    "openai:m@https://h/v1/#dimensions=256": OpenAICompatible("m", "https://h/v1", dimensions=256),
    "open-clip:ViT-B-32/laion2b_s34b_b79k": OpenCLIP("ViT-B-32", "laion2b_s34b_b79k"),
    "open-clip:ViT-B-32//models/weights.pt": OpenCLIP("ViT-B-32", "/models/weights.pt"),
    "precomputed:x.npy": Precomputed("x.npy"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_make_encoders_and_encoders_name_themselves(name):
    encoder = make_encoder(name)
    assert encoder == NAMES[name]
    assert make_encoder(encoder.name) == encoder


def test_a_folder_is_a_model(static_model):
    for name in (static_model, str(static_model), f"sentence-transformers:{static_model}"):
        assert make_encoder(name).dim == 8
    assert make_encoder(make_encoder(static_model).name) == make_encoder(static_model)


def test_functions_are_imported_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(
        "def embed(texts):\n    return [[len(text), 2.0] for text in texts]\n"
        "from attar.retrieval.encoders import PythonCallable\n"
        "signed = PythonCallable(embed, 'signed', 'v7')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    encoder = make_encoder("my_models:embed")
    assert isinstance(encoder, PythonCallable) and encoder.name == "my_models:embed"
    assert encoder.encode_queries(["abc"]).tolist() == [[3, 2]]
    assert make_encoder("my_models:signed").fingerprint == "v7"
    with pytest.raises(ValueError, match=r"has no 'absent'"):
        make_encoder("my_models:absent")
    sys.modules.pop("my_models")


def test_an_error_inside_the_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_models.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        make_encoder("broken_models:embed")


@pytest.mark.parametrize(
    "name",
    ["all-MiniLM-L6-v3", "BAAI/bge", "", "openai:", "open-clip:ViT-B-32", "x.y.z:f", "no such/dir"],
)
def test_an_unknown_name_lists_the_forms(name):
    with pytest.raises(ValueError, match="sentence-transformers:NAME") as caught:
        make_encoder(name)
    for form in ("all-MiniLM-L6-v2", "openai:MODEL", "open-clip:ARCH/PRETRAINED", "FOLDER"):
        assert form in str(caught.value)


def test_objects_pass_through_without_being_loaded():
    class Mine:
        name = fingerprint = "mine"

        @property
        def dim(self):
            raise AssertionError("looked at the dimension")

        def encode_documents(self, texts):
            return np.zeros((len(texts), 2), np.float32)

        encode_queries = encode_documents

    mine = Mine()
    assert make_encoder(mine) is mine
    with pytest.raises(TypeError, match="got the class Mine; call it"):
        make_encoder(Mine)
    with pytest.raises(TypeError, match="got int"):
        make_encoder(3)


def test_every_encoder_satisfies_the_protocol(static_model, tiny_clip):
    function = PythonCallable(lambda texts: [[1.0]] * len(texts))
    for encoder in (SentenceTransformers(str(static_model)), OpenCLIP(*tiny_clip), function):
        assert isinstance(encoder, Encoder)


def test_a_missing_extra_names_the_command(monkeypatch):
    for module, encoder, extra in (
        ("sentence_transformers", SentenceTransformers("x"), "text"),
        ("open_clip", OpenCLIP("ViT-B-32", "x"), "vision"),
        ("httpx", OpenAICompatible("m", "http://localhost:1"), "http"),
    ):
        # None in sys.modules is how Python itself spells "this cannot be imported".
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ModuleNotFoundError, match=rf"pip install 'attar\[{extra}\]'"):
            encoder.encode_queries(["x"])
