"""Thinking in the hidden state: the last hidden state is the next input, k times.

Prompts of different lengths are padded in front, so that the latent steps of a batch fall together:
one pass over the prompts, k passes over one row each, one pass over what follows, all on one cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .model import Cache, Nano, causal

Feed = Callable[[Tensor], Tensor]  # [batch, 1, num_embd], the state just seen -> the one fed back


def pad_front(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """ids [batch, length] and real [batch, length], False where padding stands."""
    length = max(len(p) for p in prompts)
    ids = torch.zeros(len(prompts), length, dtype=torch.long)
    real = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = torch.tensor(prompt)
        real[row, length - len(prompt) :] = True
    return ids, real


def seen(real: Tensor, length: int) -> Tensor:
    """What the newest `length` rows see, [batch, 1, length, total]; a padded row sees itself.

    real [batch, total].
    """
    total = real.shape[1]
    mask = causal(total - length, length, real.device)
    alone = torch.eye(total, dtype=torch.bool, device=real.device)[total - length :]
    return (mask & real[:, None, :] | alone)[:, None]


def grow(real: Tensor, num_rows: int) -> Tensor:
    """`num_rows` real rows more."""
    return torch.cat((real, real.new_ones(real.shape[0], num_rows)), dim=1)


def think(
    model: Nano,
    prompts: Sequence[Sequence[int]],
    num_latents: int,
    feed: Feed = lambda state: state,
) -> tuple[Tensor, Cache, Tensor]:
    """Reads the prompts and thinks `num_latents` steps.

    Returns:
        the last hidden state [batch, 1, num_embd], the cache, real [batch, rows of the cache].
    """
    ids, real = (each.to(model.device) for each in pad_front(prompts))
    hidden, cache = model(model.embed(ids), mask=seen(real, ids.shape[1]))
    return feed_back(model, (hidden[:, -1:], cache, real), num_latents, feed)


def feed_back(
    model: Nano, thought: tuple[Tensor, Cache, Tensor], num_latents: int, feed: Feed
) -> tuple[Tensor, Cache, Tensor]:
    """`num_latents` steps on from what `think` returned. Returns the same again."""
    state, cache, real = thought
    for _ in range(num_latents):
        real = grow(real, 1)
        state, cache = model(feed(state), cache, seen(real, 1))
    return state, cache, real


def zeroed(state: Tensor) -> Tensor:
    """A control: nothing is fed back. A model that loses nothing by it has not learned to think."""
    return torch.zeros_like(state)


def shuffled(state: Tensor) -> Tensor:
    """A control: every problem thinks its neighbour's thoughts."""
    return state.roll(1, dims=0)
