"""What the student is trained on."""

import torch.nn.functional as F
from torch import Tensor


def distillation_loss(student: Tensor, target: Tensor, mse_scale: float = 1.0) -> Tensor:
    """Mean over patches of (1 - cosine) + mse_scale * squared error (arXiv 2505.21501, eq. 4).

    Both [b n d]; only patches, neither prefix nor registers. mse_scale is 1.0 in the published
    training code (0.2 in a default that it overrides).
    """
    cosine = F.cosine_similarity(student, target, dim=-1)
    return (1 - cosine).mean() + mse_scale * F.mse_loss(student, target)
