"""Distillation: the loss by hand, the direction of training, and runs that resume exactly."""

import pytest
import torch
from torch.nn.functional import smooth_l1_loss

from attar.context.compllm import CompLLM, Recipe, Sample, Training, cut, distillation_loss, train
from tests.context.compllm.conftest import make


def samples(step, count=2):
    g = torch.Generator().manual_seed(step)
    out = []
    for _ in range(count):
        ids = torch.randint(3, 97, (60,), generator=g).tolist()
        out.append(Sample(ids[:40], ids[40:44], ids[44:], (2,)))
    return out


def fresh(variant="pooled"):
    return CompLLM(make("llama"), recipe=Recipe(variant=variant, rank=4, alpha=8))


@pytest.mark.parametrize("variant", ["pooled", "eos"])
def test_the_loss_is_the_papers(variant):
    made = fresh(variant)
    (one,) = samples(3, 1)
    whole = torch.tensor([[2, *one.context, *one.instruction, *one.answer]])
    llm, embed = made.llm, made.llm.get_input_embeddings()
    teacher = llm(whole, output_hidden_states=True).hidden_states[1:]
    middle = made.compress_segments(cut(one.context))[None]
    ends = embed(torch.tensor([[2]])), embed(torch.tensor([[*one.instruction, *one.answer]]))
    inputs = torch.cat([ends[0], middle, ends[1]], dim=1)
    student = llm(inputs_embeds=inputs, output_hidden_states=True).hidden_states[1:]
    a = len(one.answer)
    by_hand = sum(
        smooth_l1_loss(s[0, -a:], t[0, -a:]) / t[0, -a:].std()
        for s, t in zip(student, teacher, strict=True)
    )
    with made.adapted():
        loss = distillation_loss(made, [one])
    assert len(teacher) == 3
    torch.testing.assert_close(loss.detach(), by_hand.detach(), rtol=1e-5, atol=1e-6)


def test_gradients_reach_the_adapter_and_nothing_else():
    made = fresh()
    with torch.no_grad():
        made.linear.weight += 0.1
    with made.adapted():
        distillation_loss(made, samples(0)).backward()
    for name, value in made.trained().items():
        assert value.grad is not None, name
    assert any(p.grad.abs().sum() > 0 for n, p in made.trained().items() if "lora_B" in n)
    frozen = [p for n, p in made.llm.named_parameters() if "lora_" not in n]
    assert frozen and all(p.grad is None and not p.requires_grad for p in frozen)


def test_training_lowers_the_loss_on_samples_it_has_not_seen():
    made = fresh("eos")

    def check(model):
        with model.adapted(), torch.no_grad():
            return {"loss": float(distillation_loss(model, samples(10_000, 8)))}

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        training = Training(steps=30, rate=3e-3, warmup=3, check_every=15, save_every=10)
        records = train(made, samples, training, folder, check)
    assert [r["step"] for r in records] == [0, 15, 30]
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path):
    training = Training(steps=8, rate=3e-3, warmup=2, check_every=4, save_every=3)
    seen = []

    def check(model):
        return {"loss": float(sum(v.detach().abs().sum() for v in model.trained().values()))}

    straight = fresh()
    records = train(straight, samples, training, tmp_path / "a", check, seen.append)
    for _ in range(20):
        broken = fresh()
        again = train(broken, samples, training, tmp_path / "b", check, seconds=1e-9)
        broken = fresh()

        def one_step(step, at=[None]):  # noqa: B006 - remembers the first step of this call
            if at[0] is not None and step != at[0]:
                raise KeyboardInterrupt
            at[0] = step
            return samples(step)

        try:
            again = train(
                broken,
                one_step,
                Training(**vars(training) | {"save_every": 1}),
                tmp_path / "b",
                check,
            )
            break
        except KeyboardInterrupt:
            continue
    assert [s["step"] for s in seen] == list(range(1, 9))
    assert broken.adapter_hash() == straight.adapter_hash() != fresh().adapter_hash()
    assert again == records


def test_foreign_checkpoints_are_refused(tmp_path):
    train(fresh(), samples, Training(steps=2, save_every=1), tmp_path)
    with pytest.raises(ValueError, match="at step 2 of 1"):
        train(fresh(), samples, Training(steps=1), tmp_path)
    with pytest.raises(ValueError, match="differ"):
        other = CompLLM(make("llama"), recipe=Recipe(rank=2))
        train(other, samples, Training(steps=3), tmp_path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "checkpoint.safetensors")
    with pytest.raises(ValueError, match="is not attar-training-1"):
        train(fresh(), samples, Training(steps=3), tmp_path)


def test_samples_and_settings_are_validated():
    for bad in (lambda: Sample([1], [], []), lambda: Sample([], [], [1])):
        with pytest.raises(ValueError, match="at least one token"):
            bad()
    for bad in ({"steps": 0}, {"rate": 0.0}, {"clip": -1.0}, {"warmup": -1}):
        with pytest.raises(ValueError, match="got"):
            Training(**bad)
    ramp = Training(steps=10, rate=1.0, warmup=4)
    assert [ramp.rate_at(s) for s in (0, 3, 4, 9)] == [0.25, 1.0, 1.0, pytest.approx(1 / 6)]
