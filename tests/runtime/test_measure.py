"""What steps cost, from timed steps; and that an open model starts from it."""

from __future__ import annotations

import pytest

from edgereason.models.bundle import open_bundle
from edgereason.models.hub import EMBEDDED
from edgereason.planning import here
from edgereason.planning.cost import KNOTS
from edgereason.runtime.measure import Step, bandwidth_gb_per_s, cost_of, measure_cost
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

NANO = open_bundle(EMBEDDED / "nano")


def test_a_cost_is_read_off_steps() -> None:
    steps: list[Step] = []
    for turn in range(5):
        slow = 1.5 if turn == 2 else 1.0  # one turn that something else disturbed
        for rows, at in ((1, 0), (1, 1), (1, 2), (2, 3), (64, 5), (1, 500), (1, 501), (1, 502)):
            cells = rows * at + rows * (rows - 1) / 2
            ms = 10 * rows**0.5 + 0.004 * cells * min(1, 16 / rows)
            steps.append((rows, cells, slow * ms))
    cost = cost_of(NANO, steps, 2)
    assert cost.cell_ms == pytest.approx(0.004, rel=0.02)
    assert dict(cost.step_ms) == pytest.approx({1: 10, 2: 14.14, 64: 80}, rel=0.02)
    assert 0.1 < cost.spread < 0.3  # of the disturbed turn
    assert "2 threads" in cost.source


def test_a_model_is_measured_and_then_starts_from_that() -> None:
    cost = measure_cost("nano", seconds=0.1, threads=1)
    assert set(cost.step_ms) <= set(KNOTS)
    assert len(cost.step_ms) > 5
    assert cost.overhead_ms > 0
    assert cost.request_ms > 0
    with Reasoner.open("nano", threads=1) as reasoner:
        reasoner.ask("What is 2+3?", strategy="no-think", answer_budget=2)
        stats = reasoner.stats()
    assert stats["step_ms"] / stats["load"] == pytest.approx(cost.step_ms[1], rel=0.5)
    assert here.load_cost(NANO) == cost


def test_a_model_that_was_never_measured_warms_up() -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        assert here.load_cost(reasoner.bundle) is None
        assert reasoner.engine.num_steps == 7
    measure_cost(SCRIPTED, seconds=0.01)
    with Reasoner.open(SCRIPTED) as reasoner:
        assert reasoner.engine.num_steps == 2


def test_memory_is_read() -> None:
    assert 0.5 < bandwidth_gb_per_s(1, mib=64, turns=3) < 2000
