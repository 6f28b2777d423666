"""How noisy dense features are, measured from both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class NormOutliers:
    """Patches whose norm does not belong to their image.

    score: [b n] robust z-score of log ||patch||, per image. high, low: shares of all patches with
    score above and below the threshold. Registers-like artifacts are high in DINOv2 and DFN-CLIP,
    low in OpenAI's CLIP and OpenCLIP (arXiv 2505.21501), so both sides count.
    """

    score: Tensor
    high: float
    low: float


def norm_outliers(patches: Tensor, threshold: float = 3.5) -> NormOutliers:
    """Find them: z = 0.6745 (x - median) / MAD, x = log norm; [b n d] -> NormOutliers.

    3.5 is Iglewicz and Hoaglin's usual threshold. Refuses features that are not finite.
    """
    if not torch.isfinite(patches).all():
        raise ValueError("Features must be finite, got NaN or infinity; check the images.")
    x = patches.float().norm(dim=-1).clamp_min(1e-12).log()
    centred = x - x.median(dim=1, keepdim=True).values
    mad = centred.abs().median(dim=1, keepdim=True).values
    # Half of the patches equal: any difference counts, equality does not.
    score = 0.6745 * centred / mad.clamp_min(1e-6)
    return NormOutliers(
        score, (score > threshold).float().mean().item(), (score < -threshold).float().mean().item()
    )


def cosine_percentiles(
    features: Tensor, target: Tensor, shares: Sequence[int] = (50, 70, 90, 95, 99)
) -> dict[int, float]:
    """The cosine to the target that so many per cent of the patches exceed; both [b n d]."""
    if features.shape != target.shape:
        raise ValueError(
            f"Features and target must have one shape, got {list(features.shape)} and "
            f"{list(target.shape)}."
        )
    cosines = F.cosine_similarity(features.float(), target.float(), dim=-1).flatten()
    levels = torch.tensor([1 - share / 100 for share in shares], device=cosines.device)
    values = cosines.quantile(levels).tolist()
    return dict(zip(shares, values, strict=True))
