"""Answers by the model itself: greedy decoding from the whole context, kept, resumed, seeded."""

import json

import pytest
import torch

from attar.context.compllm import CompLLM, Prompt, Recipe, Training, Writing, train, write_answers
from attar.context.compllm import answers as module
from tests.context.compllm.conftest import make


def prompts(count=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    out = []
    for i in range(count):
        ids = torch.randint(3, 97, (20 + 3 * i,), generator=g).tolist()
        out.append(Prompt(ids[:-4], ids[-4:], (2,)))
    return out


def shaken(llm):
    """A compressor whose LoRA would change every answer, were it on."""
    made = CompLLM(llm, recipe=Recipe(rank=4))
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in made.trained().values():
            value += 0.3 * torch.randn(value.shape, generator=g)
    return made


def by_hand(llm, ids, tokens, end):
    """Greedy decoding of one prompt, without padding and without a cache."""
    out = []
    while len(out) < tokens and end not in out:
        whole = torch.tensor([[*ids, *out]])
        out.append(int(llm(whole, use_cache=False).logits[0, -1].argmax()))
    return out


def test_an_answer_is_what_the_plain_model_writes_alone(llm):
    made = shaken(llm)
    for adapted in (False, True):
        with made.adapted(adapted):
            samples = write_answers(made, prompts(), Writing(tokens=7, batch=3))
    for prompt, sample in zip(prompts(), samples, strict=True):
        assert (sample.context, sample.instruction) == (prompt.context, prompt.instruction)
        assert list(sample.answer) == by_hand(made.llm, prompt.ids, 7, end=1)
    with made.adapted():
        assert by_hand(made.llm, prompts()[0].ids, 7, end=1) != list(samples[0].answer)


def test_an_answer_ends_with_the_end_of_text(llm):
    made = shaken(llm)
    long = write_answers(made, prompts(), Writing(tokens=9))
    end = long[2].answer[3]
    llm.generation_config.eos_token_id = [1, end]
    samples = write_answers(made, prompts(), Writing(tokens=9))
    for before, sample in zip(long, samples, strict=True):
        cut = list(before.answer)
        cut = cut[: cut.index(end) + 1] if end in cut else cut
        assert list(sample.answer) == cut
    assert samples[2].answer[-1] == end and len(samples[2].answer) <= 4


def test_drawn_answers_depend_on_the_seed_alone(llm):
    made = shaken(llm)
    hot = Writing(tokens=12, batch=2, temperature=2.0, seed=3)
    torch.manual_seed(0)
    first = write_answers(made, prompts(), hot)
    state = torch.random.get_rng_state()
    second = write_answers(made, prompts(), hot)
    assert first == second and torch.equal(state, torch.random.get_rng_state())
    other = Writing(tokens=12, batch=2, temperature=2.0, seed=4)
    assert write_answers(made, prompts(), other) != first
    assert write_answers(made, prompts(), Writing(tokens=12, batch=2)) != first


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_run_that_was_cut_ends_like_one_that_was_not(tmp_path, monkeypatch, temperature):
    made = shaken(make("llama"))
    writing = Writing(tokens=5, batch=2, temperature=temperature)
    whole = write_answers(made, prompts(), writing, tmp_path / "whole.jsonl")
    real, calls = module._written, []

    def twice(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "_written", twice)
    file = tmp_path / "sub" / "cut.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write_answers(made, prompts(), writing, file)
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    file.write_text("".join(lines[:4]) + lines[4][: len(lines[4]) // 2])
    assert write_answers(made, prompts(), writing, file) == whole
    assert file.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    calls[:] = [1] * 5
    assert write_answers(made, prompts(), writing, file) == whole and len(calls) == 5


def test_answers_of_others_are_refused(tmp_path):
    made, file = shaken(make("llama")), tmp_path / "answers.jsonl"
    writing = Writing(tokens=3)
    write_answers(made, prompts(), writing, file)
    for model, asked, how in (
        (shaken(make("llama", seed=1)), prompts(), writing),
        (made, prompts(seed=1), writing),
        (made, prompts(), Writing(tokens=4)),
    ):
        with pytest.raises(ValueError, match="other answers"):
            write_answers(model, asked, how, file)
    lines = file.read_text().splitlines()
    for bad in ("[]", "3", json.dumps([1, 2])):
        file.write_text("\n".join([*lines, bad]) + "\n")
        with pytest.raises(ValueError, match="damaged at answer 5"):
            write_answers(made, prompts(), writing, file)
    file.write_text("nonsense")
    with pytest.raises(ValueError, match="other answers"):
        write_answers(made, prompts(), writing, file)


def test_training_on_answers_written_step_by_step_equals_written_before(tmp_path):
    """Also when the LoRA is on around the step: the teacher's answers are the plain model's."""

    def lessons(step):
        return prompts(2, seed=step)

    training = Training(steps=3, rate=3e-2, warmup=1)
    online, before = shaken(make("llama")), shaken(make("llama"))
    train(online, lambda s: write_answers(online, lessons(s), Writing(6)), training, tmp_path / "a")
    made = [write_answers(before, lessons(s), Writing(6)) for s in range(3)]
    train(before, made.__getitem__, training, tmp_path / "b")
    assert online.adapter_hash() == before.adapter_hash() != shaken(make("llama")).adapter_hash()


def test_settings_are_validated():
    with pytest.raises(ValueError, match="at least one token"):
        Prompt([])
    for bad in ({"tokens": 0}, {"batch": 0}, {"temperature": -1.0}):
        with pytest.raises(ValueError, match="got"):
            Writing(**bad)
    assert write_answers(shaken(make("llama")), []) == []
