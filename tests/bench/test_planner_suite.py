"""Regret of a plan: halves, scores, and who is asked."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from edgereason.bench.harness.trials import Store
from edgereason.bench.harness.trials import Trial as Written
from edgereason.bench.suites import planner
from edgereason.errors import UsageError
from edgereason.planning.planner import Limits
from edgereason.planning.trials import Trial

NUM = 8
LIMIT_MS = 100.0


def trial(way: str, question: int, *, right: bool, ms: float | None = 10.0) -> Trial:
    return Trial("nano", way, f"q{question}", 20, 5, 2, total_ms=ms, right=right, task="t")


def in_time(each: Trial) -> bool:
    return (each.total_ms or 0.0) <= LIMIT_MS


SCENARIO = planner.Scenario("deadline", Limits(deadline_ms=LIMIT_MS), in_time)
SLOW, FAST, WRONG = ("nano", "think"), ("nano", "think:5"), ("nano", "no-think")
TRIALS = [
    each
    for i in range(NUM)
    for each in (
        trial("think", i, right=True, ms=1000.0),
        trial("think:5", i, right=i % 2 == 0),
        trial("no-think", i, right=False, ms=1.0),
    )
]


def test_a_late_answer_counts_as_wrong_and_no_plan_as_nothing() -> None:
    cells, questions = planner.cells_of(TRIALS)
    assert SCENARIO.score(cells, SLOW, questions) == 0
    assert SCENARIO.score(cells, FAST, questions) == 0.5
    assert SCENARIO.score(cells, None, questions) == 0


def test_only_questions_that_all_settings_have_are_compared() -> None:
    more = [trial("bare", i, right=True) for i in range(NUM - 2)]
    few = [trial("auto", 0, right=True), trial("brief", 0, right=True, ms=None)]
    cells, questions = planner.cells_of([*TRIALS, *more, *few])
    assert questions == [f"q{i}" for i in range(NUM - 2)]
    assert cells.keys() == {SLOW, FAST, WRONG, ("nano", "bare")}
    with pytest.raises(UsageError, match="fewer than two questions"):
        planner.cells_of(TRIALS[:3])


class Picks:
    """Stands in for a planner: takes what it is told to."""

    def __init__(self, cell: planner.Cell | None) -> None:
        self.cell = cell
        self.halves: list[list[str]] = []

    def pick(self, scenario: planner.Scenario, half: list[str]) -> planner.Cell | None:
        self.halves.append(half)
        return self.cell

    def ordered(self) -> list[planner.Cell]:
        return [WRONG, FAST, SLOW]


@pytest.mark.parametrize(("cell", "behind"), [(FAST, 0), (SLOW, 50), (WRONG, 50), (None, 50)])
def test_regret_is_what_the_best_has_more_on_questions_that_nobody_chose_by(
    cell: planner.Cell | None, behind: float
) -> None:
    cells, questions = planner.cells_of(TRIALS)
    options, picks = argparse.Namespace(seed=0, splits=200), Picks(cell)
    rows = planner.regrets(SCENARIO, cells, questions, picks, options)  # type: ignore[arg-type]
    _, points, *_ = rows["the plan"]["shown"]
    assert points == pytest.approx(behind, abs=5)
    assert rows["the plan"]["no_plan"] == (200 if cell is None else 0)
    assert {len(half) for half in picks.halves} == {NUM // 2}
    assert rows["best by trials"]["shown"][1] == 0
    assert rows["smallest model, fewest tokens"]["picked"].startswith("nano no-think in 200")


def test_the_real_planner_chooses_by_the_trials_it_is_given(tmp_path: Path) -> None:
    """`think:5` is right, `no-think` never; nothing is late, everything costs energy."""
    with Store.open(tmp_path, "here") as store:
        for each in TRIALS:
            if each.way != "think":
                store.append(Written(
                    suite="pareto", device="here", config=each.way, model="nano", quant="",
                    engine="", way=each.way, answer_limit=1, temperature=0, threads=1, context=1,
                    think_limit=-1, task="t", question=each.question, seed=0, answer="",
                    right=each.way == "think:5", finish="stop", prompt_tokens=20,
                    reasoning_tokens=5, answer_tokens=2, total_ms=each.total_ms,
                ))  # fmt: skip
    options = argparse.Namespace(
        trials=[tmp_path], models=["nano"], task="t", device="laptop-ddr5-5600", seed=0, splits=2,
        deadline_ms=60000.0, joules=1e-9, watts=10.0, memory_gib=64.0,
    )  # fmt: skip
    found = planner.measure(options, lambda text: None)
    by_name = found.figures["scenarios"]
    for name in ("deadline 60000 ms", "memory 64 GiB"):
        assert by_name[name]["the plan"]["picked"] == "nano think:5 in 2 of 2 splits"
        assert by_name[name]["the plan"]["shown"][1] == 0
    assert by_name["energy 1e-09 J"]["the plan"]["no_plan"] == 2
    with pytest.raises(UsageError, match=r"no trial is of task 'u' \(there are: t\)"):
        planner.measure(argparse.Namespace(**{**vars(options), "task": "u"}), lambda text: None)
    with pytest.raises(UsageError, match="no --models is nano"):
        planner.measure(argparse.Namespace(**{**vars(options), "models": []}), lambda text: None)
