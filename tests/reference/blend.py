"""Slow twin of `Sampler::Weigh` and of `policy/blend.h`, in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgereason.records import Blend, Sampling
from reference.sampler import counter_uniform

STREAM = 0x736F667420726F77
MOST = 64


def log_probs(logits: Sequence[float], tokens: Sequence[int]) -> list[float]:
    best = max(logits)
    mass = math.fsum(math.exp(x - best) for x in logits)
    return [logits[token] - best - math.log(mass) for token in tokens]


def weigh(
    logits: Sequence[float], sampling: Sampling, blend: Blend, draw: int
) -> list[tuple[int, float]]:
    order = sorted(
        (t for t, x in enumerate(logits) if x > -math.inf), key=lambda t: (-logits[t], t)
    )
    if sampling.temperature == 0:
        return [(order[0], 1.0)]
    best = logits[order[0]]
    weights = {t: math.exp((logits[t] - best) / sampling.temperature) for t in order}
    most = math.fsum(weights.values()) * sampling.top_p
    top = min(blend.top, sampling.top_k or blend.top)
    kept: list[int] = []
    for token in order[:top]:
        mass = math.fsum(weights[t] for t in kept)
        if kept and (weights[token] < sampling.min_p or mass >= most):
            break
        kept.append(token)
    heavy = {token: weights[token] for token in kept}
    if blend.noise > 0 and len(kept) > 1:
        heavy = _noisy(heavy, sampling.seed, blend.noise, draw)
    total = math.fsum(heavy.values())
    pairs = [(token, weight / total) for token, weight in heavy.items()]
    return sorted(pairs, key=lambda pair: -pair[1]) if blend.noise > 0 else pairs


def _noisy(weights: dict[int, float], seed: int, noise: float, draw: int) -> dict[int, float]:
    scores = {}
    for i, (token, weight) in enumerate(weights.items()):
        uniform = counter_uniform(seed ^ STREAM, draw * MOST + i)
        gumbel = -math.log(-math.log(uniform + 2.0**-54))
        scores[token] = (math.log(weight) + gumbel) / noise
    highest = max(scores.values())
    return {token: math.exp(score - highest) for token, score in scores.items()}


def turns(blend: Blend, entropies: Sequence[float]) -> tuple[list[bool], int]:
    """Which rows are blends, and how often it turned."""
    if blend.top < 2 or blend.dwell == 0:
        return [blend.top >= 2] * len(entropies), 0
    blends, num, reference, since = True, 0, None, 0
    found = []
    for entropy in entropies:
        since += 1
        reference = entropy if reference is None else reference
        surer, unsure = entropy < reference, entropy > reference and since > blend.dwell
        if surer if blends else unsure:
            blends, reference, since, num = not blends, entropy, 0, num + 1
        found.append(blends)
    return found, num
