"""The simplex, its loss, and the measures of compatibility with their published values."""

import numpy as np
import pytest
import torch

from attar.retrieval.compat import (
    CompatibilityMatrix,
    DSimplex,
    empirical_criterion,
    simplex_vertices,
)
from attar.retrieval.compat.hoc_loss import contrast, hoc_loss

# Stored outputs of the authors' notebooks (miccunifi/iamcl2r), 7 tasks.
HOC = [
    [0.58892],
    [0.597, 0.6156],
    [0.6305, 0.65276, 0.69314],
    [0.63336, 0.65298, 0.70626, 0.72374],
    [0.65006, 0.67872, 0.70754, 0.72114, 0.73828],
    [0.6408, 0.67188, 0.71166, 0.72712, 0.74704, 0.76194],
    [0.6314, 0.6635, 0.72096, 0.73496, 0.75232, 0.76652, 0.77164],
]
ER = [
    [0.6342],
    [0.61556, 0.63092],
    [0.11708, 0.1123, 0.72734],
    [0.1143, 0.1053, 0.69232, 0.703],
    [0.0908, 0.07756, 0.09296, 0.08552, 0.74464],
    [0.08512, 0.07364, 0.10338, 0.09524, 0.7226, 0.72312],
    [0.09718, 0.08578, 0.0975, 0.09748, 0.70352, 0.7063, 0.71544],
]


@pytest.mark.parametrize("classes", [2, 3, 10, 1024])
def test_vertices_are_as_far_apart_as_can_be(classes: int) -> None:
    w = simplex_vertices(classes).astype(np.float64)
    gram = w @ w.T
    assert w.shape == (classes, classes - 1)
    assert np.allclose(np.diag(gram), 1, atol=1e-6)
    assert np.allclose(gram[~np.eye(classes, dtype=bool)], -1 / (classes - 1), atol=1e-6)


def test_published_values() -> None:
    ours, theirs = CompatibilityMatrix.of_rows(HOC), CompatibilityMatrix.of_rows(ER)
    assert ours.average_compatibility == pytest.approx(20 / 21)
    assert 100 * ours.average_accuracy == pytest.approx(68.8991, abs=5e-5)
    assert theirs.average_compatibility == 0
    assert 100 * theirs.average_accuracy == pytest.approx(35.1789, abs=5e-5)


def test_a_tie_is_not_compatible() -> None:
    assert CompatibilityMatrix.of_rows([[0.5], [0.5, 0.6]]).average_compatibility == 0
    assert CompatibilityMatrix.of_rows([[0.5], [0.51, 0.6]]).average_compatibility == 1


def test_the_matrix_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match="Row 1 has 2 entries"):
        CompatibilityMatrix.of_rows([[0.5], [0.5]])
    with pytest.raises(ValueError, match="finite"):
        CompatibilityMatrix.of_rows([[0.5], [np.nan, 0.5]])


def test_allocation_never_moves_a_class() -> None:
    first = DSimplex(5).allocate("ab")
    second = first.allocate("cba")
    assert [second.targets([c])[0] for c in "abc"] == [0, 1, 2]
    assert np.array_equal(first.weights, second.weights)
    with pytest.raises(ValueError, match="5 vertices, 6 classes"):
        second.allocate("xyz")
    with pytest.raises(ValueError, match="No vertex is allocated for class 'q'"):
        second.targets("q")


def test_same_class_pairs_are_left_out_of_the_contrast() -> None:
    draw = torch.Generator().manual_seed(0)
    new = torch.randn(6, 4, generator=draw, dtype=torch.float64)
    old = torch.randn(6, 4, generator=draw, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    f = new / new.norm(dim=1, keepdim=True)
    g = old / old.norm(dim=1, keepdim=True)
    want = 0.0
    for i in range(6):
        terms = [
            np.exp(10 * float(g[i] @ f[j])) for j in range(6) if j == i or labels[j] != labels[i]
        ]
        want += (np.log(sum(terms)) - 10 * float(f[i] @ g[i])) / 6
    assert float(contrast(new, old, labels)) == pytest.approx(want)
    # A batch of one class: nothing to contrast with, so nothing to pay.
    assert float(contrast(new, old, torch.zeros(6, dtype=torch.long))) == pytest.approx(0)


def test_the_loss_is_the_papers_mixture_and_leaves_the_old_model_alone() -> None:
    draw = torch.Generator().manual_seed(1)
    new = torch.randn(8, 3, generator=draw, requires_grad=True)
    old = torch.randn(8, 3, generator=draw, requires_grad=True)
    labels, w = torch.arange(8) % 4, torch.from_numpy(simplex_vertices(4))
    entropy = torch.nn.functional.cross_entropy(new @ w.T, labels)
    loss = hoc_loss(new, old, labels, w)
    assert loss.item() == pytest.approx(
        float(0.1 * entropy + 0.9 * contrast(new, old, labels)), rel=1e-5
    )
    assert hoc_loss(new, None, labels, w).item() == pytest.approx(float(entropy))
    loss.backward()
    assert new.grad is not None and old.grad is None


def test_the_criterion_asks_for_more_than_a_tie() -> None:
    rng = np.random.default_rng(0)
    own = rng.random(400)
    assert not empirical_criterion(own, own).holds
    better = empirical_criterion(own + 0.1, own)
    assert better.holds and better.shown
    unsure = empirical_criterion(own + 0.001 + rng.standard_normal(400), own)
    assert not unsure.shown
