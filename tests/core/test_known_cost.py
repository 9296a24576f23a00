"""A scheduler that is told what steps cost begins with that."""

from __future__ import annotations

import math

import pytest

from edgereason._core import ManualClock, Scheduler, ScriptedEngine
from edgereason.errors import UsageError


def made(step_ms: float = 10) -> tuple[ScriptedEngine, Scheduler]:
    clock = ManualClock()
    engine = ScriptedEngine(clock=clock, step_ms=step_ms, row_ms=1)
    return engine, Scheduler(engine, clock=clock)


def test_a_warm_up_learns_what_a_step_costs() -> None:
    engine, core = made()
    core.warm_up()
    core.open()
    core.step()  # which tells the figures
    assert engine.num_steps == 7
    assert core.stats()["step_ms"] == pytest.approx(11, rel=0.1)


def test_where_that_is_known_the_warm_up_learns_the_load_alone() -> None:
    engine, core = made(step_ms=20)
    core.restore_cost([10.5, 0, 13.0], 1e-3)
    core.warm_up()
    core.open()
    core.step()  # which tells the figures
    assert engine.num_steps == 2  # one that touches the weights and does not count, one that does
    stats = core.stats()
    assert stats["load"] == pytest.approx(1 + 0.45 * (21 / 10.5 - 1), rel=0.02)
    assert stats["step_ms"] == pytest.approx(stats["load"] * 10.5, rel=0.02)


@pytest.mark.parametrize(
    ("knot_ms", "cell_ms"),
    [([1.0] * 12, 0.0), ([-1.0], 0.0), ([math.inf], 0.0), ([1.0], -1.0), ([1.0], math.nan)],
)
def test_what_is_no_cost_is_refused(knot_ms: list[float], cell_ms: float) -> None:
    _, core = made()
    with pytest.raises(UsageError, match=r"milliseconds of 0 or more for 1, 2, 4 \.\.\. 1024 rows"):
        core.restore_cost(knot_ms, cell_ms)


def test_a_loop_that_runs_is_not_told() -> None:
    _, core = made()
    core.start()
    try:
        with pytest.raises(UsageError, match="while the loop does not run"):
            core.restore_cost([1.0])
    finally:
        core.stop()
