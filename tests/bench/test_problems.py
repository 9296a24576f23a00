"""Test problems of every task."""

from __future__ import annotations

from edgereason.bench.harness.problems import LONG, problems, task_of
from edgereason.bench.suites import variants


def test_every_way_has_a_task_and_problems_are_for_testing() -> None:
    for task, _ in variants.ways(("operator-8",), "further"):
        module = task_of(task)
        asked = problems(task, 3, seed=1)
        assert asked == problems(task, 3, seed=1)
        assert all(module.check(problem, problem.answer) for problem in asked)
    long = problems(LONG, 2, seed=0)
    assert all(len(problem.steps) == 100 for problem in long)
