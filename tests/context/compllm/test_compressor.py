"""Laws of CompLLM, exact, on tiny models."""

import base64
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from attar.context.compllm import (
    CompLLM,
    CompressedContext,
    Recipe,
    cut,
    kv_bytes,
    prompt_embeds_part,
    segment_text,
)
from attar.context.compllm.compressor import fingerprint, group_means
from tests.context.compllm.conftest import make

VARIANTS = pytest.mark.parametrize("variant", ["pooled", "eos"])


def ids(n, seed=0, low=3):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(low, 97, (n,), generator=g).tolist()


def compressor(llm, variant="pooled", C=2, S=20, shake=True):
    """A compressor whose adapter is not at its start, so that every part of it matters."""
    made = CompLLM(llm, recipe=Recipe(C, S, variant, rank=4, alpha=8))
    if shake:
        g = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for value in made.trained().values():
                value += 0.1 * torch.randn(value.shape, generator=g)
    return made


@VARIANTS
@pytest.mark.parametrize("C", [2, 4])
def test_a_segment_of_n_tokens_becomes_n_over_c_embeddings(llm, variant, C):
    made = compressor(llm, variant, C)
    out = made.compress_segments([ids(20), ids(7), ids(1)])
    assert out.shape == (20 // C + -(-7 // C) + 1, 32)
    assert made.compress_segments([]).shape == (0, 32)


@VARIANTS
def test_segments_do_not_see_each_other(llm, variant):
    made = compressor(llm, variant)
    a, b, c = ids(20, 1), ids(13, 2), ids(20, 3)
    with torch.no_grad(), made.adapted():
        one = made([a, b, c])
        two = made([a, ids(13, 9), c])
    assert torch.equal(one[0], two[0]) and torch.equal(one[2], two[2])
    assert not torch.allclose(one[1], two[1], atol=1e-3)


@VARIANTS
def test_a_segment_alone_equals_it_in_a_batch(llm, variant):
    made = compressor(llm, variant)
    segments = [ids(n, n) for n in (20, 1, 13, 20, 2)]
    together = made.compress_segments(segments)
    alone = torch.cat([made.compress_segments([s]) for s in segments])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-6)
    torch.testing.assert_close(made.compress_segments(segments, batch=2), alone, rtol=0, atol=2e-6)


def test_pooled_starts_at_mean_pooling(llm):
    made = compressor(llm, shake=False)
    tokens = llm.get_input_embeddings()(torch.tensor(ids(13)))
    torch.testing.assert_close(
        made.compress_segments([ids(13)]), group_means(tokens, 2), rtol=0, atol=0
    )


def test_eos_reads_the_appended_positions(llm):
    """The formula of the paper, computed by hand with the LoRA at its start (zero)."""
    made = compressor(llm, "eos", shake=False)
    segment = ids(6)
    hidden = llm.get_decoder()(input_ids=torch.tensor([[*segment, 1, 1, 1]])).last_hidden_state
    by_hand = made.linear(hidden[0, 6:])
    torch.testing.assert_close(made.compress_segments([segment]), by_hand, rtol=0, atol=1e-6)


@VARIANTS
def test_every_token_of_a_segment_matters(llm, variant):
    made = compressor(llm, variant)
    segment = ids(20)
    base = made.compress_segments([segment])
    for i in (0, 9, 19):
        other = list(segment)
        other[i] = 3 + (other[i] - 2) % 90
        assert not torch.allclose(made.compress_segments([other]), base, atol=1e-5)


def test_the_model_answers_as_before(llm):
    question = torch.tensor([ids(12)])
    before = llm(question).logits
    made = compressor(llm)
    torch.testing.assert_close(llm(question).logits, before, rtol=0, atol=0)
    made.compress_segments([ids(20)])
    torch.testing.assert_close(llm(question).logits, before, rtol=0, atol=0)
    with made.adapted():
        assert not torch.allclose(llm(question).logits, before, atol=1e-4)


def test_the_adapter_is_off_after_an_error(llm):
    made = compressor(llm)
    before = llm(torch.tensor([ids(5)])).logits
    with pytest.raises(ValueError, match="1 to 20 tokens, segment 1 has 21"):
        made.compress_segments([ids(5), ids(21)])
    torch.testing.assert_close(llm(torch.tensor([ids(5)])).logits, before, rtol=0, atol=0)


def test_positions_and_kv_are_divided_by_c(llm):
    made = compressor(llm)
    context = CompressedContext(made, made.compress_segments(cut(ids(80))), 80)
    plain = llm(torch.tensor([ids(80)]), use_cache=True).past_key_values
    inputs = context.inputs([], before=[])
    short = llm(inputs_embeds=inputs, use_cache=True).past_key_values
    assert context.compression == 2.0 and inputs.shape[1] == 40
    assert plain.get_seq_length() == 80 and short.get_seq_length() == 40
    assert kv_bytes(plain)["total"] == 2 * kv_bytes(short)["total"] > 0
    assert kv_bytes(short)["full_attention"] == kv_bytes(short)["total"]


def test_answers_are_those_of_the_unmodified_model(llm):
    made = compressor(llm)
    context = CompressedContext(made, made.compress_segments(cut(ids(40))), 40)
    question = ids(5, 4)
    out = context.generate(question, before=[2], max_new_tokens=6, eos_token_id=None)
    rows, embed = context.inputs(question, before=[2]), llm.get_input_embeddings()
    for token in out.tolist():
        assert int(llm(inputs_embeds=rows).logits[0, -1].argmax()) == token
        rows = torch.cat([rows, embed(torch.tensor([[token]]))], dim=1)
    assert out.shape == (6,)


def test_uncompressed_embeddings_give_the_models_own_answer(llm):
    made = compressor(llm)
    context = CompressedContext(made, llm.get_input_embeddings()(torch.tensor(ids(30))), 30)
    out = context.generate(ids(4, 1), before=[2], max_new_tokens=8, eos_token_id=None)
    whole = torch.tensor([[2, *ids(30), *ids(4, 1)]])
    expected = llm.generate(whole, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert out.tolist() == expected[0, whole.shape[1] :].tolist()


def test_empty_contexts_and_the_window(llm):
    made = compressor(llm)
    empty = CompressedContext(made, made.compress_segments([]), 0)
    assert empty.compression == 1.0 and empty.inputs([5, 6], before=[]).shape[1] == 2
    with pytest.raises(ValueError, match="both empty"):
        empty.inputs([], before=[])
    long = CompressedContext(made, made.compress_segments(cut(ids(400))), 400)
    with pytest.raises(ValueError, match="window is 160 positions.*take 201"):
        long.inputs([5], before=[])
    with pytest.raises(ValueError, match="needs a tokenizer"):
        empty.inputs("text", before=[])
    with pytest.raises(ValueError, match="at least one embedding"):
        prompt_embeds_part(empty)


@pytest.mark.parametrize(
    "bad", [{"compression": 0}, {"segment": 1}, {"variant": "x"}, {"rank": 0}], ids=str
)
def test_recipes_are_validated(bad):
    with pytest.raises(ValueError, match="got"):
        Recipe(**bad)


@pytest.mark.parametrize(
    ("bad", "what"), [([[]], "has 0"), ([[97]], "vocabulary|ids lie"), ([[-1]], "ids lie")]
)
def test_bad_segments_are_named(llm, bad, what):
    with pytest.raises(ValueError, match=what):
        compressor(llm).compress_segments(bad)


@VARIANTS
def test_save_and_load(llm, variant, tmp_path):
    made = compressor(llm, variant)
    made.save(tmp_path / "adapter.safetensors")
    name = type(llm).__name__.removesuffix("ForCausalLM").lower()
    again = CompLLM.load(tmp_path / "adapter.safetensors", make(name))
    assert again.recipe == made.recipe and again.adapter_hash() == made.adapter_hash()
    segments = cut(ids(50))
    assert torch.equal(again.compress_segments(segments), made.compress_segments(segments))
    with pytest.raises(ValueError, match="was trained for the model"):
        CompLLM.load(tmp_path / "adapter.safetensors", make(name, seed=1))
    made.save(tmp_path / "half.safetensors", torch.bfloat16)
    small, large = (tmp_path / f"{n}.safetensors" for n in ("half", "adapter"))
    assert small.stat().st_size < 0.7 * large.stat().st_size
    half = CompLLM.load(small, make(name))
    assert half.adapter_hash() != made.adapter_hash()
    close = half.compress_segments(segments)
    torch.testing.assert_close(close, made.compress_segments(segments), rtol=0, atol=0.1)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", {"format": "x"})
    with pytest.raises(ValueError, match="is not attar-compllm-2; got 'x'"):
        CompLLM.load(tmp_path / "other.safetensors", make(name))


def test_a_model_is_known_by_its_weights(llm):
    name = type(llm).__name__.removesuffix("ForCausalLM").lower()
    first = fingerprint(llm)
    compressor(llm)
    assert fingerprint(llm) == first == fingerprint(make(name))
    assert fingerprint(make(name, seed=1)) != first


def test_adapters_differ_by_their_values(llm):
    made = compressor(llm)
    before = made.adapter_hash()
    with torch.no_grad():
        made.linear.bias[3] += 1e-3
    assert made.adapter_hash() != before


@settings(deadline=None, max_examples=60)
@given(n=st.integers(0, 90), size=st.integers(1, 25), data=st.data())
def test_segments_join_back(n, size, data):
    starts = data.draw(st.lists(st.integers(0, n), max_size=5))
    pieces = cut(list(range(n)), size, starts)
    assert [i for p in pieces for i in p] == list(range(n))
    assert all(1 <= len(p) <= size for p in pieces)
    first = {p[0] for p in pieces}
    assert all(s in first for s in starts if s < n)


class Words:
    """A tokenizer of words; control tokens exist, and must not be made from text."""

    bos_token_id = None

    def __call__(self, text, add_special_tokens, split_special_tokens=False):
        assert not add_special_tokens
        words = text.split()
        return {
            "input_ids": [3 + len(w) if split_special_tokens or w != "<eos>" else 1 for w in words]
        }

    def decode(self, ids, skip_special_tokens):
        return " ".join(map(str, ids.tolist()))


def test_texts_are_cut_at_documents_and_sentences():
    long = "One two three four. " * 3
    assert [len(s) for s in segment_text(long, Words(), size=6)] == [4, 4, 4]
    assert [len(s) for s in segment_text(long, Words(), size=20)] == [12]
    assert [len(s) for s in segment_text([long, "", long], Words(), size=20)] == [12, 12]
    together, apart = segment_text([long, "x y."], Words()), segment_text("x y.", Words())
    assert together[1:] == apart
    assert segment_text("", Words()) == [] and segment_text("a", Words()) == [[4]]
    assert segment_text("<eos> 👩‍👧 世界", Words()) == [[8, 6, 5]]


def test_text_in_text_out(llm):
    made = compressor(llm)
    made.tokenizer = Words()
    context = made.compress("One two three. Four five.")
    assert context.tokens == 5
    answer = context.generate("why ?", max_new_tokens=3)
    assert len(answer.split()) == 3 or "1" in answer


def test_prompt_embeds_are_a_safe_dense_tensor(llm):
    made = compressor(llm)
    context = CompressedContext(made, made.compress_segments(cut(ids(40))), 40)
    part = prompt_embeds_part(context)
    loaded = torch.load(io.BytesIO(base64.b64decode(part["data"])), weights_only=True)
    assert part["type"] == "prompt_embeds" and torch.equal(loaded, context.embeddings)
