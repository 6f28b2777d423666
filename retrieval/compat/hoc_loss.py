"""The higher-order compatibility loss: cross-entropy and contrast with the old model."""

from typing import TYPE_CHECKING

from attar.retrieval.extras import require

if TYPE_CHECKING:
    from torch import Tensor


def contrast(new: "Tensor", old: "Tensor", labels: "Tensor", mu: float = 10.0) -> "Tensor":
    """The contrastive term of HOC (arXiv 2405.02581, eq. 4), a scalar.

    new, old: features [b d] of one batch by the two models, any length; labels [b].

    1. Scale all features to length 1.
    2. mean_i( -mu <new_i, old_i> + log sum_j [j = i or y_j != y_i] exp(mu <old_i, new_j>) ).

    The published code multiplies the scores of the same class by 0, so that each of them still
    counts exp(0) = 1 in the sum. Here they are left out of it; the pair itself stays in, as in
    InfoNCE, so that the term is bounded below by 0.
    """
    torch = require("torch", "context")
    normal = torch.nn.functional.normalize
    scores = mu * normal(old, dim=1) @ normal(new, dim=1).T
    same = labels[:, None] == labels[None, :]
    same.fill_diagonal_(False)
    every: Tensor = torch.logsumexp(scores.masked_fill(same, -torch.inf), dim=1)
    loss: Tensor = (every - scores.diagonal()).mean()
    return loss


def hoc_loss(
    new: "Tensor",
    old: "Tensor | None",
    labels: "Tensor",
    weights: "Tensor",
    share: float = 0.1,
    mu: float = 10.0,
) -> "Tensor":
    """Share * CE(new W^T, y) + (1 - share) * contrast (arXiv 2405.02581, eq. 3), a scalar.

    new [b d] features of the model in training; old [b d] those of the frozen model before it, None
    for the first model, which has nothing to be compatible with: then CE alone. weights W [K d]:
    the vertices, fixed. share: lambda, 0.1 in the paper; mu: 10.
    """
    torch = require("torch", "context")
    entropy: Tensor = torch.nn.functional.cross_entropy(new @ weights.T, labels)
    if old is None:
        return entropy
    return share * entropy + (1 - share) * contrast(new, old.detach(), labels, mu)
