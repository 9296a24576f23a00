"""The simulation of dropping: worlds, work, what is compared with what."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from edgereason.bench.pareto.dropping import Rule
from edgereason.bench.suites import dropping


def test_a_world_has_near_ties_and_a_wide_range() -> None:
    world = dropping.draw(0, 300)
    values = world.right.mean(axis=1)
    assert world.right.shape == (200, 300)
    assert world.costs.max() / world.costs.min() > 500
    assert values.min() < 0.2
    assert values.max() > 0.5
    assert sorted(i for trace in world.traces for i in trace) == list(range(200))


def test_a_trace_costs_its_dearest_budget_that_is_asked() -> None:
    world = dropping.World(np.array([1.0, 2.0, 4.0]), np.zeros((3, 10), bool), ((0, 1, 2),))
    assert dropping.shared_work(world, [10, 10, 10]) == 40
    assert dropping.shared_work(world, [10, 10, 4]) == 4 * 4 + 6 * 2
    assert dropping.shared_work(world, [10, 2, 4]) == 4 * 4 + 6 * 1


def test_a_rule_that_drops_nothing_is_the_full_sweep() -> None:
    world = dropping.draw(1, 60)
    found = dropping.dropped(world, Rule(1e9, 1))
    assert (found.same, found.volume, found.work) == (True, 1, pytest.approx(1))
    assert found.shared_work < 0.8


def test_figures_of_a_few_worlds() -> None:
    options = argparse.Namespace(seed=7, worlds=3, questions=60)
    found = dropping.measure(options, lambda text: None)
    assert len(found.tables[0].rows) == 5
    for name in ("one look, z 2.6", "two looks, z 2.6"):
        assert 0 < found.figures[name]["shared_work"] < found.figures[name]["work"] <= 1
        assert found.figures[name]["volume"] <= 3
    assert found.figures["one look, z 2.6"]["work"] <= found.figures["two looks, z 2.6"]["work"]
    assert found.figures["sharing_alone"] == pytest.approx(0.6, abs=0.25)
