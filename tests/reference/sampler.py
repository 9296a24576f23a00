"""Slow twin of `edgereason/sampler.h`: sorts the whole vocabulary, in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from edgereason.records import Sampling

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def _mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def counter_uniform(seed: int, index: int) -> float:
    stream = _mix((seed + GOLDEN) & MASK)
    return (_mix((stream + (index + 1) * GOLDEN) & MASK) >> 11) / 2**53


@dataclass(frozen=True, slots=True)
class Nudge:
    """Moves the limits by as much as single precision may be off."""

    top_p: float = 0.0
    min_p: float = 0.0
    uniform: float = 0.0


def statistics(logits: Sequence[float], token: int) -> tuple[float, float, float]:
    """(log-probability of the token, margin, entropy) under softmax."""
    best = max(logits)
    mass = sum(math.exp(x - best) for x in logits)
    probabilities = [math.exp(x - best) / mass for x in logits]
    first, second = sorted([*probabilities, 0.0], reverse=True)[:2]
    entropy = -sum(p * math.log(p) for p in probabilities if p > 0)
    return logits[token] - best - math.log(mass), first - second, entropy


def adjust(
    logits: Sequence[float],
    sampling: Sampling,
    recent: Sequence[int],
    lift: int | None,
    lift_share: float,
) -> list[float]:
    adjusted = list(logits)
    for token in set(recent[max(0, len(recent) - sampling.penalty_window) :]):
        x = adjusted[token]
        penalty = sampling.repetition_penalty
        adjusted[token] = (x / penalty if x > 0 else x * penalty) - sampling.presence_penalty
    for token, bias in sampling.logit_bias.items():
        adjusted[token] += bias
    if lift is not None and lift_share > 0 and adjusted[lift] > -math.inf:
        best_other = max((x for t, x in enumerate(adjusted) if t != lift), default=-math.inf)
        adjusted[lift] += lift_share * max(0.0, best_other - adjusted[lift] + 1)
    return adjusted


def shortest_prefix(weights: Sequence[float], mass: float) -> int:
    """How many of the weights it takes to reach `mass`; all where that is not reached."""
    sums = accumulate(weights)
    return next((i + 1 for i, so_far in enumerate(sums) if so_far >= mass), len(weights))


def draw(logits: Sequence[float], sampling: Sampling, index: int, nudge: Nudge = Nudge()) -> int:
    order = sorted(
        (t for t, x in enumerate(logits) if x > -math.inf), key=lambda t: (-logits[t], t)
    )
    if not order:
        return 0
    if sampling.temperature == 0:
        return order[0]
    best = logits[order[0]]
    weights = [math.exp((logits[t] - best) / sampling.temperature) for t in order]
    if sampling.top_k > 0:
        weights = weights[: sampling.top_k]
    if sampling.top_p < 1:
        weights = weights[: shortest_prefix(weights, sum(weights) * (sampling.top_p + nudge.top_p))]
    weights = [w for w in weights if w >= sampling.min_p * (1 + nudge.min_p)] or weights[:1]
    uniform = counter_uniform(sampling.seed, index) + nudge.uniform
    return order[shortest_prefix(weights, uniform * sum(weights)) - 1]
