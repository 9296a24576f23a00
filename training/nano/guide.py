"""A guide (UniR, 2505.19075): a small model beside one that stays as it is, trained so that the sum
of both logits is right. `Reasoner.open(base, guide=...)` runs the two.

The paper rewards what the sum has written (GRPO); here the sum is taught by demonstrations, which a
model of this size can learn from within minutes. The guide alone need not say anything of use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from .examples import Example
from .model import Nano, Shape
from .train import Loss, cross_entropy, padded

SHAPE: Final = Shape(num_layers=2)


class Pair:
    """What `cross_entropy` sees of two models: hidden states side by side, logits as their sum."""

    def __init__(self, base: Nano, guide: Nano) -> None:
        self._base, self._guide = base, guide

    @property
    def device(self) -> torch.device:
        return self._guide.device

    def hidden(self, ids: Tensor) -> Tensor:
        """[batch, length, num_embd of both]. No gradient goes into the base."""
        with torch.no_grad():
            below, _ = self._base(self._base.embed(ids))
        beside, _ = self._guide(self._guide.embed(ids))
        return torch.cat((below, beside), dim=-1)

    def logits(self, hidden: Tensor) -> Tensor:
        below, beside = hidden.split(
            (self._base.shape.num_embd, self._guide.shape.num_embd), dim=-1
        )
        return self._base.logits(below) + self._guide.logits(beside)


def loss_beside(base: Nano) -> Loss[Example]:
    """Of a guide, given the model that it is to guide, which is frozen."""
    base.requires_grad_(False)

    def loss(guide: Nano, batch: Sequence[Example]) -> tuple[Tensor, int]:
        pair = Pair(base, guide)
        ids = padded([e.tokens for e in batch])
        hidden = pair.hidden(ids[:, :-1].to(pair.device))
        return cross_entropy(pair, hidden, ids, padded([e.learned for e in batch]))

    return loss
