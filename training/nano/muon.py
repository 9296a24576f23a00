"""Muon: a step along the orthogonal matrix nearest to the momentum. For matrices between layers.

In float32, because a processor without bfloat16 arithmetic takes minutes for torch's own. Steps are
as long as Adam's (scaled by 0.2 * sqrt(larger side)), so that one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Newton-Schulz: singular values go to about 1, with the quintic of Keller Jordan's Muon."""
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        square = x @ x.T
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    out: Tensor = x if matrix.shape[0] <= matrix.shape[1] else x.T
    return out


class Muon(torch.optim.Optimizer):
    def __init__(self, params: Iterable[Tensor], lr: float, decay: float) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(momentum, group["momentum"])  # Nesterov
                rate = group["lr"]
                weight.mul_(1 - rate * group["decay"])
                scale = 0.2 * max(weight.shape) ** 0.5
                weight.add_(orthogonal(ahead), alpha=-rate * scale)
