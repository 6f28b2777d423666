"""The mask, exactly; freed KV; and the curriculum, on tiny models with and without windows."""

import random
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from attar.context.training import Training
from attar.context.vist2 import (
    READING,
    STAGES,
    Chunk,
    Layout,
    Reader,
    Renderer,
    SketchEncoder,
    Stage,
    Vist2,
    train_stage,
    visible,
)
from attar.context.vist2.curriculum import stage_loss
from tests.context.compllm.conftest import MODELS, SIZES

GEMMA = dict(SIZES, head_dim=8, num_hidden_layers=3, sliding_window=9)
RENDERER = Renderer(columns=8, patch_columns=4)
TINY = {"width": 16, "depth": 1, "heads": 2}


def gemma():
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    return Gemma3ForCausalLM(Gemma3TextConfig(**GEMMA, layer_types=kinds))


ALL = MODELS | {"gemma3, sliding": gemma}


@pytest.fixture(params=sorted(ALL))
def model(request):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Vist2(ALL[request.param]().eval(), renderer=RENDERER, **TINY)


def ids(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, 97, (n,), generator=g).tolist())


def chunk(n, seed, verbatim=0):
    text = "".join(chr(97 + i % 26) for i in ids(4 * n // 2, seed))
    return Chunk(ids(n, seed), torch.from_numpy(RENDERER.patches(text)), ids(verbatim, seed + 50))


def chunks():
    return [chunk(12, 1), chunk(7, 2, verbatim=2), chunk(9, 3)]


def truth(layout, window):
    """The rules, element by element."""
    chunk, is_text, position = (x.tolist() for x in layout.columns())
    n = len(chunk)
    seen = torch.zeros(n, n, dtype=torch.bool)
    for i in range(n):
        for j in range(i + 1):
            same = chunk[i] == chunk[j]
            rule = (same if is_text[i] else False) if is_text[j] else (not same or not is_text[i])
            seen[i, j] = rule and (window is None or position[i] - position[j] < window)
    return seen


@settings(deadline=None, max_examples=80)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=4),
    window=st.sampled_from([None, 3, 7]),
)
def test_the_mask_is_the_rules(lengths, window):
    layout = Layout(tuple(t for t, _ in lengths), tuple(k for _, k in lengths))
    assert torch.equal(visible(layout, window), truth(layout, window))
    assert visible(layout, window).diagonal().all()


def test_positions_count_what_stays():
    chunk, is_text, position = Layout((4, 3), (2, 0)).columns()
    assert position.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert (
        chunk.tolist() == [0] * 6 + [1] * 3
        and is_text.tolist() == [True] * 4 + [False] * 2 + [True] * 3
    )
    with pytest.raises(ValueError, match="length >= 0"):
        Layout((1,), (1, 2))


def test_old_text_changes_later_states_only_through_its_image(model):
    seq = chunks()
    kept = [model.kept(c) for c in seq[:-1]]
    inputs, layout = model.sequence(seq, kept)
    base = model.states(inputs, layout)
    other = Chunk(ids(12, 99), seq[0].patches)
    changed, _ = model.sequence([other, *seq[1:]], kept)
    states = model.states(changed, layout)
    assert torch.equal(states[12:], base[12:])
    assert not torch.allclose(states[:12], base[:12], atol=1e-4)
    shown = [chunk(12, 98).patches[: len(seq[0].patches)], seq[0].patches]
    image = Chunk(seq[0].ids, shown[0])
    changed, _ = model.sequence([image, *seq[1:]])
    states = model.states(changed, layout)
    assert torch.equal(states[:12], base[:12])
    assert not torch.allclose(states[-9:], base[-9:], atol=1e-5)


def test_the_mask_holds_whatever_computes_attention(model):
    seq = chunks()
    fused = model.states(*model.sequence(seq))
    read = Reader(model).read(seq[0].ids)
    model.llm.set_attn_implementation("eager")
    torch.testing.assert_close(model.states(*model.sequence(seq)), fused, rtol=0, atol=3e-6)
    torch.testing.assert_close(Reader(model).read(seq[0].ids), read, rtol=0, atol=3e-6)


def test_the_first_chunk_is_the_model_itself(model):
    alone = [chunk(14, 4)]
    states = model.states(*model.sequence(alone))
    whole = model.llm.get_decoder()(torch.tensor([alone[0].ids])).last_hidden_state[0]
    torch.testing.assert_close(states, whole, rtol=0, atol=2e-6)


def test_reading_with_freed_kv_equals_one_pass_under_the_mask(model):
    seq = chunks()
    states = model.states(*model.sequence(seq))
    reader = Reader(model)
    got = []
    for i, c in enumerate(seq):
        got += [reader.read(c.ids[:5]), reader.read(c.ids[5:])]
        if i < len(seq) - 1:
            got.append(reader.close(c))
    torch.testing.assert_close(torch.cat(got), states, rtol=0, atol=3e-6)


def test_the_kv_of_dead_text_is_freed(model):
    reader = Reader(model)
    reader.read(ids(12, 1))
    per_position = reader.nbytes // 12
    reader.close(chunk(12, 1))
    kept = chunk(12, 1).kept
    assert reader.positions == kept and reader.nbytes == kept * per_position
    for layer in reader._cache.layers:
        storage = layer.keys.untyped_storage().nbytes()
        assert storage == layer.keys.numel() * layer.keys.element_size()
    with pytest.raises(ValueError, match="0 tokens were read"):
        reader.close(chunk(3, 1))
    with pytest.raises(ValueError, match="at least one token"):
        reader.read([])


def test_writing_is_greedy_decoding(model):
    reader = Reader(model)
    out = reader.write(6, reader.read(ids(10, 7))[-1])
    whole = torch.tensor([ids(10, 7)])
    expected = model.llm.generate(whole, max_new_tokens=6, do_sample=False, eos_token_id=None)
    assert out == expected[0, 10:].tolist()
    assert reader.positions == 10 + 5


def test_a_sequence_may_start_with_the_beginning_of_text(model):
    model.tokenizer = Fast()
    begin = model.start()
    reader = Reader(model)
    reader.close(begin)
    assert reader.positions == 1 and reader.nbytes > 0
    got = reader.read(ids(6, 2))
    whole = model.llm.get_decoder()(torch.tensor([(2, *ids(6, 2))])).last_hidden_state[0, 1:]
    torch.testing.assert_close(got, whole, rtol=0, atol=2e-6)
    states = model.states(*model.sequence([begin, chunk(6, 2)]))
    torch.testing.assert_close(states[1:], whole, rtol=0, atol=2e-6)


def test_the_loss_is_next_token_loss_and_the_llm_stays_frozen(model):
    seq = chunks()
    inputs, layout = model.sequence(seq)
    logits = model.llm.lm_head(model.states(inputs, layout)).log_softmax(-1)
    starts = [0, 12 + seq[0].kept, 12 + seq[0].kept + 7 + seq[1].kept]
    by_hand = [
        -logits[s + k - 1, t] for c, s in zip(seq, starts, strict=True)
        for k, t in enumerate(c.ids) if s + k
    ]  # fmt: skip
    loss = model.loss(seq)
    torch.testing.assert_close(loss, torch.stack(by_hand).mean(), rtol=1e-5, atol=1e-6)
    last = model.loss(seq, only_last=True)
    torch.testing.assert_close(last, torch.stack(by_hand[-9:]).mean(), rtol=1e-5, atol=1e-6)
    loss.backward()
    assert all(p.grad is None for p in model.llm.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.aligner.parameters())


@pytest.mark.parametrize("depth", [0, 1])
def test_images_do_not_see_each_other(depth):
    torch.manual_seed(0)
    encoder = SketchEncoder(RENDERER, 32, width=16, depth=depth, heads=2)
    images = [chunk(n, n).patches for n in (12, 2, 30)]
    images.insert(1, images[0][:0])
    alone = [encoder(x) for x in images]
    together = encoder.many(images)
    assert [len(x) for x in together] == [len(x) for x in images]
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=2e-6)
    other = encoder.many([*images[:3], images[3].flip(0)])
    assert all(torch.equal(a, b) for a, b in zip(other[:3], together[:3], strict=True))
    assert [len(x) for x in encoder.many([images[1], images[1]])] == [0, 0]
    assert encoder.many([]) == []


def test_old_text_is_seen_in_the_warm_up(model):
    seq = chunks()
    inputs, layout = model.sequence(seq)
    assert not torch.allclose(
        model.states(inputs, layout, old_text=True)[-9:], model.states(inputs, layout)[-9:]
    )


def test_the_curriculum_learns_and_resumes(tmp_path):
    torch.set_num_threads(1)

    def fresh():
        torch.manual_seed(0)
        return Vist2(ALL["llama"]().eval(), renderer=RENDERER, **TINY)

    def sequences(step):
        return [[chunk(6, 10 * step + i), chunk(5, 10 * step + i + 5)] for i in range(2)]

    training = Training(steps=6, rate=3e-3, warmup=1, check_every=3, save_every=2)
    straight, broken = fresh(), fresh()
    for stage in STAGES:
        held = train_stage(straight, stage, sequences, training, tmp_path / "a")
        assert held == []
        for _ in range(40):
            broken = fresh() if stage is STAGES[0] else broken
            train_stage(broken, stage, sequences, training, tmp_path / "b", seconds=0.02)
    for a, b in zip(straight.encoder.parameters(), broken.encoder.parameters(), strict=True):
        assert torch.equal(a, b)
    moved = [not torch.equal(a, b) for a, b in zip(
        straight.encoder.parameters(), fresh().encoder.parameters(), strict=True)]  # fmt: skip
    assert all(moved[:2]) and moved[-1]


class Fast:
    """A fast tokenizer of words: ids and the places of their letters."""

    is_fast = True
    bos_token_id = 2

    def __call__(self, text, add_special_tokens, return_offsets_mapping=False):
        found = [(m.start(), m.end()) for m in re.finditer(r"\s*\S+", text)]
        ids = [3 + sum(text[a:b].strip().encode()) % 90 for a, b in found]
        return {"input_ids": ids} | ({"offset_mapping": found} if return_offsets_mapping else {})


def test_the_reading_loss_is_the_distance_to_what_a_patch_shows(model):
    model.tokenizer, model.keep_identifiers = Fast(), False
    w = model.importance = torch.rand(97, generator=torch.Generator().manual_seed(0))
    made = model.chunk("ab cde\n\nfghi jklmn")
    first, second, third, fourth = made.ids
    assert made.drawn == (
        *[(0, first)] * 2, (0, second), *[(1, second)] * 2,
        *[(4, third)] * 4, *[(5, fourth)] * 3, *[(6, fourth)] * 2,
    )  # fmt: skip
    a, b, c, d = model.llm.get_input_embeddings()(torch.tensor(made.ids)).detach()
    target = torch.stack([2 * a * w[first] + b * w[second], b, c, d, d]).float()
    target *= model.encoder.scale / target.pow(2).mean(1, keepdim=True).sqrt()
    got = model.encoder(made.patches)[[0, 1, 4, 5, 6]]
    by_hand = (got - target).pow(2).mean() / target.pow(2).mean()
    torch.testing.assert_close(model.reading_loss([made, chunk(3, 1)]), by_hand)
    with pytest.raises(ValueError, match="what is drawn where"):
        model.reading_loss([chunk(3, 1)])


def test_a_stage_may_go_on_reading(model):
    """Its loss is added, and so is its gradient."""
    shown = replace(chunk(4, 0), drawn=((0, 5), (1, 6)))
    sequence = [[shown, replace(chunk(3, 1), ids=(7, 8, 9))]]
    plain = stage_loss(model, Stage("olm", only_last=True), sequence)
    both = stage_loss(model, Stage("olm", only_last=True, still_reading=0.5), sequence)
    torch.testing.assert_close(both, plain + 0.5 * model.reading_loss([shown]))
    assert both.requires_grad and float(both) > float(plain)


def test_reading_is_learnt_without_the_llm(tmp_path):
    torch.manual_seed(0)
    model = Vist2(ALL["llama"]().eval(), Fast(), RENDERER, keep_identifiers=False, **TINY)
    words = "pump valve seven limit closed unit".split()

    def draw(step):
        rng = random.Random(step)
        return [[model.chunk(" ".join(rng.choices(words, k=6)))] for _ in range(8)]

    def held():
        with torch.no_grad():
            return {"loss": float(stage_loss(model, READING, draw(10_000)))}

    ran = []
    model.llm.register_forward_pre_hook(lambda *_: ran.append(1))
    training = Training(steps=60, rate=1e-2, warmup=5, check_every=60)
    records = train_stage(model, READING, draw, training, tmp_path, held)
    assert not ran and records[-1]["loss"] < 0.5 * records[0]["loss"], records


def test_a_run_inside_autocast_follows_its_weights(tmp_path):
    """Autocast remembers cast weights until its outermost context ends: here, all of the run."""

    def trained(folder, **how):
        torch.manual_seed(0)
        model = Vist2(ALL["llama"]().eval(), Fast(), RENDERER, keep_identifiers=False, **TINY)

        def draw(step):
            words = random.Random(step).choices("pump valve limit closed".split(), k=6)
            return [[model.chunk(" ".join(words))]]

        training = Training(steps=5, rate=3e-2, warmup=1)
        with torch.autocast("cpu", torch.bfloat16, **how):
            train_stage(model, READING, draw, training, tmp_path / folder)
        return [p.detach().clone() for p in model.encoder.parameters()]

    remembered, never = trained("a"), trained("b", cache_enabled=False)
    assert all(torch.equal(a, b) for a, b in zip(remembered, never, strict=True))


def test_text_becomes_a_chunk_and_bad_input_is_named(model):
    class Bytes:
        def __call__(self, text, add_special_tokens):
            return {"input_ids": [3 + b % 90 for b in text.encode()]}

    with pytest.raises(ValueError, match="needs a tokenizer"):
        model.chunk("x")
    model.tokenizer = Bytes()
    made = model.chunk("code QX-4471 ok")
    assert made.verbatim == tuple(Bytes()("QX-4471", False)["input_ids"]) and len(made.patches) == 4
    assert made.compression == 15 / 11 and model.kept(made).shape == (11, 32)
    model.keep_identifiers = False
    assert model.chunk("code QX-4471 ok").compression == 15 / 4
    assert model.kept(model.chunk("")).shape == (0, 32)
    model.keep_identifiers, model.separator = True, "#"
    assert model.chunk("code QX-4471 ok").verbatim == (*made.verbatim, 3 + ord("#"))
    with pytest.raises(ValueError, match="no beginning-of-text"):
        model.start()
    with pytest.raises(ValueError, match="each of 97 tokens, got 5"):
        Vist2(model.llm, importance=torch.ones(5), **TINY)
    with pytest.raises(ValueError, match="ends with a chunk"):
        model.sequence([])
    with pytest.raises(ValueError, match="keep something"):
        model.sequence(chunks(), kept=[])
    with pytest.raises(ValueError, match="nothing to predict"):
        model.loss([chunk(1, 1)])
