"""A burst of requests is asked at once, and what became of it is summed up."""

from __future__ import annotations

import json

import pytest

from edgereason.bench.harness.runner import run
from edgereason.bench.suites import overload
from edgereason.bench.suites.overload import Ended
from support.places import SCRIPTED


def test_text_and_lateness_are_summed_up() -> None:
    rounds = [
        [Ended(-5.0, True, "stop", 4), Ended(0.5, True, "deadline", 2)],
        [Ended(30.0, False, "deadline", 0), Ended(-40.0, False, "refused", 0)],
    ]
    row = overload.summary(rounds, [1, 2], step_ms=10.0)
    assert row["requests"] == 4
    assert row["with text, of all"] == "50.0 %"
    assert row["a round (least to most)"] == "1.0 (0 to 2)"
    assert (row["could be, a round"], row["refused"]) == (1.5, 1)
    assert (row["late"], row["median ms late"], row["most ms late"]) == (2, 15.25, 30.0)
    assert (row["most steps late"], row["late by over a step"]) == (3.0, 1)
    assert row["mean thinking tokens"] == 1.5
    assert overload.finishes(rounds) == {"stop": 1, "deadline": 2, "refused": 1}


def test_how_many_could_be_answered_one_after_the_other() -> None:
    assert overload.most_in_time([50, 500, 90, 100], owed_ms=50) == 3
    assert overload.most_in_time([49], owed_ms=50) == 0
    assert overload.most_in_time([300] * 64, owed_ms=50) == 6


def test_it_measures_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--requests", "8", "--rounds", "2", "--samples", "4", "--wait-idle", "0", "--quiet"]
    assert run(overload.BENCH, ["--model", SCRIPTED, *sizes]) == 0
    cases = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["cases"]
    assert [case["requests"] for case in cases.values()] == [16, 4]
    assert sum(cases["think"]["finish"].values()) == 16
