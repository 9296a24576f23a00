"""LoRA (2106.09685) of a nano model on demonstrations: what a prefix is held against.

Every matrix of every layer gets a low-rank sum beside it, the rest is frozen; at the end the sums
are added into the weights, so that what comes out is an ordinary model.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgereason.errors import UsageError
from edgereason.export.prefixes.demos import read_demos

from .examples import Example, Piece, encode, prompt
from .model import Nano
from .train import Schedule

ALPHA: Final = 2.0  # the sum is scaled by ALPHA, whatever its rank


class LowRank(nn.Module):
    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + ALPHA * self.up @ self.down


def add(model: Nano, rank: int) -> None:
    """Freezes the model and puts a sum of rank `rank` beside every linear layer."""
    model.requires_grad_(False)
    for layer in [m for m in model.model.layers.modules() if isinstance(m, nn.Linear)]:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def merge(model: Nano) -> None:
    for layer in [m for m in model.model.layers.modules() if isinstance(m, nn.Linear)]:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def optimizers(model: Nano, schedule: Schedule) -> list[torch.optim.Optimizer]:
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    return [torch.optim.AdamW(learned, lr=schedule.lr, weight_decay=0.0)]


def read(path: Path, tokenizer: Tokenizer) -> list[Example]:
    """Demonstrations of one question each."""
    examples = []
    for number, demo in enumerate(read_demos(path)[0], 1):
        if len(demo.messages) != 1:
            raise UsageError(
                f"demonstration {number} of {path.name} has {len(demo.messages)} messages",
                "LoRA learns replies to one question each",
            )
        asked = prompt(demo.messages[0].content)
        pieces = [Piece(asked, False), Piece(f"{demo.reply}<|im_end|>", True)]
        examples.append(encode(pieces, tokenizer))
    return examples


def draw(step: int, *, seed: int, num: int, examples: list[Example]) -> list[Example]:
    return random.Random(f"lora:{seed}:{step}").choices(examples, k=num)
