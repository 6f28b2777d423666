"""What the blocks of a page find when they run: names, and files in the folder they run in."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

Names = dict[str, Any]


def context(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    """A conversation, a client that keeps what it is given, a tiny model with an adapter."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from attar.context.compllm import CompLLM, Recipe

    texts = ["The bridge was built in 1987.", "Vitamin D did not prevent influenza."]
    words = sorted({word for text in texts for word in text.split()} | {"Question", "Answer"})
    plain = Tokenizer(WordLevel({w: i + 4 for i, w in enumerate(words)} | {"?": 3}, unk_token="?"))
    plain.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="?")
    config = LlamaConfig(
        vocab_size=64, hidden_size=640, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, bos_token_id=2, eos_token_id=1,
    )  # fmt: skip

    def model() -> Any:
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()

    CompLLM(model(), tokenizer, recipe=Recipe()).save("adapter.safetensors")
    sent: list[Names] = []
    completions = SimpleNamespace(create=lambda **request: sent.append(request))
    return {
        "messages": [{"role": "user", "content": "Who built the bridge? " * 3}],
        "tools": [],
        "client": SimpleNamespace(chat=SimpleNamespace(completions=completions)),
        "sent": sent,
        "llm": model(),
        "tokenizer": tokenizer,
        "documents": texts,
    }


def vision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    """Pictures, a tiny LLaVA, and a model of timm at random, shallow, of small pictures."""
    import timm
    import torch
    from PIL import Image

    from tests.vision.test_mllm import llava_of, processor_of

    whole = timm.create_model

    def small(name: str, **options: Any) -> Any:
        torch.manual_seed(0)
        return whole(name, **options | {"pretrained": False, "img_size": 126, "depth": 2})

    monkeypatch.setattr(timm, "create_model", small)
    (folder / "photos").mkdir()
    sizes = {"a.jpg": (90, 60), "b.png": (50, 70), "wide.jpg": (480, 120)}
    sizes |= {f"photos/{i}.jpg": (140, 130) for i in range(2)}
    images = {}
    for name, size in sizes.items():
        images[name] = Image.effect_noise(size, 60).convert("RGB")
        images[name].save(folder / name)
    return {
        "llava": llava_of(384),
        "processor": processor_of(),
        "image": images["a.jpg"],
        "names": ["a", "b"],
        "images": [images["a.jpg"], images["b.png"]],
        "query": images["b.png"],
    }


def upgrade(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    """A store of one model, another model, and documents to train a head on."""
    import attar
    from tests.retrieval.compat.models import NEW, OLD, corpus

    ids, texts = corpus(200)
    with attar.Store.create("index", "int8", OLD) as store:
        store.add(ids, texts=texts)
    corpus_of_the_head = {"ids": ids, "texts": texts, "labels": ids, "encoder": NEW}
    vectors = NEW.encode_documents(texts)
    return {"old": OLD, "new": NEW, "vectors": vectors} | corpus_of_the_head


def planner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    """A corpus as a file and as a BEIR folder, with questions and judgements."""
    rng = np.random.default_rng(0)
    words = "river bridge vitamin stone engine garden winter letter market silver".split()
    texts = [
        f"Entry {i} tells of {' and '.join(rng.choice(words, 5))} near the town of {i % 17}."
        for i in range(150)
    ]
    corpus = "\n".join(json.dumps({"_id": f"d{i}", "text": t}) for i, t in enumerate(texts))
    asked = [{"_id": f"q{i}", "text": texts[i][:40]} for i in range(20)]
    (folder / "corpus" / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "corpus/corpus.jsonl"):
        (folder / name).write_text(corpus + "\n")
    for name in ("queries.jsonl", "corpus/queries.jsonl"):
        (folder / name).write_text("\n".join(map(json.dumps, asked)) + "\n")
    rows = "".join(f"q{i}\td{i}\t1\n" for i in range(20))
    (folder / "corpus" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return {}
