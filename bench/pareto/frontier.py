"""Which settings nothing beats: as cheap or cheaper, and right as often or oftener.

Costs are minimised, values maximised. Two dimensions: a sort and a sum.
"""

from __future__ import annotations

import numpy as np

from .statistics import Bools, Floats


def frontier(costs: Floats, values: Floats) -> Bools:
    """True for each point that no other dominates. Of points that are equal in both the first; what
    is worth nothing is on no frontier."""
    order = np.lexsort((np.arange(len(costs)), -values, costs))
    found = np.zeros(len(costs), dtype=np.bool_)
    best = 0.0
    for i in order:
        if values[i] > best:
            found[i] = True
            best = values[i]
    return found


def share_on_frontier(costs: Floats, values: Floats) -> Floats:
    """For each point, the share of draws in which it is on the frontier. Points x draws."""
    hits = np.zeros(costs.shape[0])
    num_draws = costs.shape[1]
    for draw in range(num_draws):
        hits += frontier(costs[:, draw], values[:, draw])
    shares: Floats = hits / num_draws
    return shares


def hypervolume(costs: Floats, values: Floats, reference: float) -> float:
    """Area that the points dominate, in log cost x value, up to cost `reference` and value 0.

    Only two that have the same reference may be compared. Costs are positive.
    """
    if reference <= 0 or np.any(costs <= 0):
        raise ValueError("costs and their reference must be positive")
    on = frontier(costs, values) & (costs < reference)
    order = np.flatnonzero(on)[np.argsort(costs[on])]
    edges = np.log(np.append(costs[order], reference))
    return float(np.sum(np.diff(edges) * values[order]))
