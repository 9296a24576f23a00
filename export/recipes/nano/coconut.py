"""Coconut (2412.06769): written steps are replaced by latent ones, a stage at a time.

prompt <|start-latent|> k latents <|end-latent|> remaining steps # answer

Stage s replaces the first s steps by s * c latents; after the last stage no step is left. Loss only
on what remains, gradients through every latent step. Each stage begins with a fresh optimizer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from edgereason.bench.tasks import reach
from edgereason.bench.tasks.base import Problem
from tokenizers import Tokenizer
from torch import Tensor

from .examples import prompt
from .latent import Feed, grow, seen, think
from .model import Nano
from .train import cross_entropy, padded

START: Final = "<|start-latent|>"
END: Final = "<|end-latent|>"
CONTROLS: Final = (START, "<|latent|>", END)
MAX_STAGE: Final = 6


@dataclass(frozen=True, slots=True)
class Latent:
    """An example of a stage: what is read, how long is thought, what is to be written."""

    prompt: tuple[int, ...]
    num_latents: int
    written: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + self.num_latents + len(self.written)


def stage_of(
    problem: Problem,
    stage: int,
    tokenizer: Tokenizer,
    *,
    per_step: int = 1,
    max_stage: int = MAX_STAGE,
) -> Latent:
    """Stage `max_stage + 1` drops every step that is left, however many there were."""
    replaced = len(problem.steps) if stage > max_stage else stage
    kept = problem.steps[replaced:]
    text = "".join(f"{step}\n" for step in kept) + f"# {problem.answer}<|im_end|>"
    return Latent(
        prompt=tuple(tokenizer.encode(prompt(problem.question) + START).ids),
        num_latents=min(stage, max_stage) * per_step,
        written=tuple(tokenizer.encode(END + text).ids),
    )


def draw(step: int, *, seed: int, stage: int, num: int, tokenizer: Tokenizer) -> list[Latent]:
    rng = random.Random(f"coconut:{seed}:{stage}:{step}")
    return [stage_of(reach.generate(rng), stage, tokenizer) for _ in range(num)]


def loss_of(
    model: Nano, batch: Sequence[Latent], feed: Feed = lambda state: state
) -> tuple[Tensor, int]:
    """Summed over the written tokens but the first, <|end-latent|>, which the runtime forces."""
    _, cache, real = think(model, [e.prompt for e in batch], batch[0].num_latents, feed)
    ids = padded([e.written for e in batch])
    length = ids.shape[1] - 1
    rows = model.embed(ids[:, :-1].to(model.device))
    hidden, _ = model(rows, cache, seen(grow(real, length), length))
    return cross_entropy(model, hidden, ids, padded([[1] * len(e.written) for e in batch]))


def begin(model: Nano, tokenizer: Tokenizer) -> None:
    """The three new tokens start as the end of a line, after which the base knows to go on."""
    with torch.no_grad():
        rows = model.model.embed_tokens.weight
        for token in CONTROLS:
            rows[tokenizer.token_to_id(token)] = rows[tokenizer.encode("\n").ids[0]]
