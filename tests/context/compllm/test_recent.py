"""Compressed old + raw recent: exact at both ends and in between, and the old part stays cached."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.context.compllm import CompressedContext, SegmentCache, cut, prompt_embeds_part
from attar.context.compllm.segments import recent_start
from tests.context.compllm.conftest import make
from tests.context.compllm.test_compressor import Words, compressor, ids


def tokens(made, wanted):
    return made.llm.get_input_embeddings()(torch.tensor(wanted)).detach()


@pytest.mark.parametrize("cached", [False, True])
def test_the_old_part_is_compressed_and_the_recent_part_is_itself(llm, cached):
    made = compressor(llm)
    segments = cut(ids(95))
    cache = SegmentCache(32) if cached else None
    context = made.context(segments, cache, recent=40)
    assert context.raw == 35 and context.tokens == 95 and len(context.embeddings) == 30 + 35
    assert context.compression == 95 / 65
    old = made.context(segments[:3], cache).embeddings
    if not cached:
        assert torch.equal(old, made.compress_segments(segments[:3]))
    assert torch.equal(context.embeddings, torch.cat([old, tokens(made, ids(95)[60:])]))


def test_nothing_raw_is_compression_and_all_raw_is_the_model_itself(llm):
    made = compressor(llm)
    segments = cut(ids(50))
    none, whole = made.context(segments), made.context(segments, recent=50)
    assert none.raw == 0 and torch.equal(none.embeddings, made.compress_segments(segments))
    assert whole.raw == 50 and torch.equal(whole.embeddings, tokens(made, ids(50)))
    out = whole.generate(ids(4, 1), before=[2], max_new_tokens=8, eos_token_id=None)
    plain = torch.tensor([[2, *ids(50), *ids(4, 1)]])
    expected = llm.generate(plain, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert out.tolist() == expected[0, plain.shape[1] :].tolist()


def test_answers_from_a_hybrid_are_those_of_the_unmodified_model(llm):
    made = compressor(llm)
    context = made.context(cut(ids(80)), recent=20)
    out = context.generate(ids(5, 4), before=[2], max_new_tokens=6, eos_token_id=None)
    rows, embed = context.inputs(ids(5, 4), before=[2]), llm.get_input_embeddings()
    assert rows.shape[1] == 1 + 30 + 20 + 5
    for token in out.tolist():
        assert int(llm(inputs_embeds=rows).logits[0, -1].argmax()) == token
        rows = torch.cat([rows, embed(torch.tensor([[token]]))], dim=1)


def test_while_a_context_grows_only_what_becomes_old_is_computed():
    made, cache = compressor(make("llama")), SegmentCache(32)
    grown, asked = ids(200), []
    real = made.compress_segments
    made.compress_segments = lambda segments, **k: (asked.extend(segments), real(segments, **k))[1]
    for n in (100, 120, 125, 200):
        made.context(cut(grown[:n]), cache, recent=40)
    assert asked == cut(grown[:160])


@settings(deadline=None, max_examples=80)
@given(
    lengths=st.lists(st.integers(1, 20), max_size=8), recent=st.integers(0, 170),
)  # fmt: skip
def test_as_many_whole_segments_stay_raw_as_fit(lengths, recent):
    at = recent_start(lengths, recent)
    assert sum(lengths[at:]) <= recent
    assert at == 0 or sum(lengths[at - 1 :]) > recent


def test_within_positions_the_oldest_segments_are_left_out(llm):
    made = compressor(llm)
    segments = cut(ids(95))
    whole = made.context(segments, recent=40)
    for positions, left in ((65, 95), (64, 75), (55, 75), (46, 55), (45, 55), (44, 35), (40, 35)):
        short = made.context(segments, recent=40, positions=positions)
        assert (short.tokens, short.raw) == (left, 35)
        size = len(short.embeddings)
        assert size <= positions and torch.equal(short.embeddings, whole.embeddings[-size:])
    assert len(made.context(segments, positions=0).embeddings) == 0
    assert made.context(segments, positions=24).tokens == 35
    with pytest.raises(ValueError, match="0 <= recent <= positions, got 40 and 39"):
        made.context(segments, recent=40, positions=39)


def test_texts_go_in_and_bad_numbers_do_not(llm):
    made = compressor(llm)
    made.tokenizer = Words()
    context = made.compress(["One two three. " * 9, "Four five six."], recent=3)
    assert (context.tokens, context.raw) == (30, 3)
    assert isinstance(context, CompressedContext) and prompt_embeds_part(context)
    with pytest.raises(ValueError, match="got -1"):
        made.context(cut(ids(30)), recent=-1)
    with pytest.raises(ValueError, match="segment 1 has 21"):
        made.context([ids(5), ids(21)], recent=40)
    empty = made.context([], recent=5)
    assert empty.tokens == empty.raw == 0 and empty.embeddings.shape == (0, 32)
