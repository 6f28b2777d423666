"""A linear probe: patch features -> classes."""

import torch
from torch import Tensor, nn

from bench.vision.pictures import CLASSES, VOID


def linear_probe(
    train: Tensor, labels: Tensor, test: Tensor, steps: int = 60, decay: float = 1e-4
) -> Tensor:
    """Multinomial regression by L-BFGS on standardised features; returns the guesses [n p].

    train, test: [n p d]. labels: [n p], void left out.
    """
    torch.manual_seed(0)
    x, y = train.flatten(0, 1), labels.flatten()
    x, y = x[y != VOID], y[y != VOID]
    mean, std = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
    x = (x - mean) / std
    head = nn.Linear(x.shape[1], CLASSES)
    nn.init.zeros_(head.weight)
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(head(x), y) + decay * head.weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        return head((test - mean) / std).argmax(dim=-1)
