"""The bench of given time: what is counted, and one whole run on the scripted engine."""

from __future__ import annotations

import json

import pytest

from edgereason.bench.harness.runner import run
from edgereason.bench.suites.given_time import BENCH, Asked, row
from support.places import SCRIPTED


def asked(share: float, *, by_clock: bool = True, late_ms: float = 0, empty: bool = False) -> Asked:
    return Asked(256, 0, 2.0, share, 30, 8, by_clock, late_ms, 10.0, empty)


def test_a_row_is_about_those_whom_the_clock_cut() -> None:
    found = row([asked(0.9), asked(0.8), asked(0.97), asked(0.1, by_clock=False)])
    assert found[:6] == (256, 0, 2.0, 3, 0.9, 0.8)
    assert found[-1] == 1


def test_lateness_and_empty_answers_count_whoever_ended_them() -> None:
    found = row([asked(1.01, late_ms=20), asked(0.2, by_clock=False, empty=True)])
    assert found[8:] == (1, 20, 2.0, 1, 1)
    assert row([asked(0.1, by_clock=False)])[4] is None


def test_a_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--deadlines 1 --answer-budget 8 --busy 0 --requests 2 --turns 1 --context 1024"
    options += " --wait-idle 0 --quiet"
    assert run(BENCH, ["--model", SCRIPTED, *options.split()]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(report["figures"]["requests"]) == 2
    assert all(one["late_ms"] == 0 for one in report["figures"]["requests"])
