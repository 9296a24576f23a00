"""What a latent thought of `reach` is to hold while the model learns to have any.

Thought t is to name the species that are t steps away from who is asked about, all of them alike:
breadth first search, every way at once. It is read by the model's own head. Left to the answers
alone, thoughts stay empty for thousands of questions. Knows no curriculum.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from .latent import Feed, grow, seen
from .model import Cache, Nano

Near = tuple[tuple[int, ...], ...]  # ids of what is one step away, two steps, ...
Hop = tuple[tuple[int, ...], tuple[int, ...]]  # ids of some nodes, ids of all that follow them

NAMING: Final = 0.5  # weight of a thought's loss, of a written token's
HOPPING: Final = 0.3
SIZES: Final = (1, 2, 2, 3, 3, 4, 5)  # nodes of a hop


def followers(facts: str) -> dict[str, list[str]]:
    """Of every name what it is."""
    found: dict[str, list[str]] = {}
    for name, kind in re.findall(r"(\w+) is a (\w+)\.", facts):
        found.setdefault(name, []).append(kind)
    return found


def near(follows: Mapping[str, Sequence[str]], who: str, depth: int, words: Tokenizer) -> Near:
    """What is 1, 2, ... `depth` steps from `who`, and not nearer."""
    known, now, out = {who}, [who], []
    for _ in range(depth):
        now = list(dict.fromkeys(kind for name in now for kind in follows.get(name, ())))
        now = [name for name in now if name not in known]
        known.update(now)
        out.append(_ids(words, now))
    return tuple(out)


def hops(
    rng: random.Random, follows: Mapping[str, Sequence[str]], num: int, words: Tokenizer
) -> tuple[Hop, ...]:
    """From some nodes at once to all that follow any of them."""
    out = []
    for _ in range(num):
        names = rng.sample(list(follows), min(len(follows), rng.choice(SIZES)))
        kinds = {kind for name in names for kind in follows[name]}
        out.append((_ids(words, names), _ids(words, sorted(kinds))))
    return tuple(out)


def _ids(words: Tokenizer, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(words.encode(name).ids[0] for name in names)


def alike(model: Nano, groups: Sequence[Sequence[int]]) -> Tensor:
    """[groups, num_vocab], each row's ids with equal weights that add up to one."""
    out = torch.zeros(len(groups), model.shape.num_vocab)
    for row, ids in zip(out, groups, strict=True):
        if ids:
            row[list(ids)] = 1 / len(ids)
    return out.to(model.device)


def thought_of(model: Nano, weights: Tensor, length: Tensor | float) -> Tensor:
    """The middle of embeddings, [rows, num_embd]; `length`: root mean square of each row."""
    middle = weights @ model.model.embed_tokens.weight
    return middle * (length / (middle.square().mean(-1, keepdim=True) + 1e-8).sqrt())


class Guide:
    """Feeds thoughts back, some of them as they ought to be, and keeps all to be judged.

    `near` of every row; a row's thought is replaced where `shown` has True for it.
    """

    def __init__(
        self, model: Nano, near: Sequence[Near], shown: Sequence[Sequence[bool]], feed: Feed
    ) -> None:
        self.model, self.near, self.shown, self.feed = model, near, shown, feed
        self.states: list[Tensor] = []

    def __call__(self, state: Tensor) -> Tensor:
        step = len(self.states)
        self.states.append(state)
        replaced = torch.tensor(
            [
                bool(near) and bool(near[step]) and bool(shown) and shown[step]
                for near, shown in zip(self.near, self.shown, strict=True)
            ]
        )
        if not replaced.any():
            return self.feed(state)
        weights = alike(self.model, [near[step] if near else () for near in self.near])
        length = state[:, 0].square().mean(-1, keepdim=True).sqrt().detach()
        right = thought_of(self.model, weights, length)[:, None]
        return torch.where(replaced.to(state.device)[:, None, None], right, self.feed(state))

    def loss(self) -> Tensor:
        total = torch.zeros((), device=self.model.device)
        for step, state in enumerate(self.states):
            rows = [i for i, near in enumerate(self.near) if near and near[step]]
            if rows:
                wanted = alike(self.model, [self.near[i][step] for i in rows])
                logits = self.model.logits(state[rows, 0]).float()
                total = total + functional.cross_entropy(logits, wanted, reduction="sum")
        return NAMING * total


def hop_loss(model: Nano, start: int, hops: Sequence[Hop], past: tuple[Cache, Tensor]) -> Tensor:
    """Behind `start` stands one thought that holds some nodes; what follows them is to be named.
    One pass, where a thought that is fed back takes one for itself.
    """
    cache, real = past
    rows = thought_of(model, alike(model, [nodes for nodes, _ in hops]), 1.0)
    begun = model.embed(torch.full((len(hops), 1), start, device=model.device))
    embeds = torch.cat((begun, rows[:, None]), dim=1)
    hidden, _ = model(embeds, cache, seen(grow(real, 2), 2))
    wanted = alike(model, [kinds for _, kinds in hops])
    logits = model.logits(hidden[:, 1]).float()
    return HOPPING * functional.cross_entropy(logits, wanted, reduction="sum")
