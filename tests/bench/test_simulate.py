"""Deadlines in virtual time."""

from __future__ import annotations

import json

import pytest

from edgereason.bench.harness import runner
from edgereason.bench.suites import simulate


def test_nobody_is_late_in_virtual_time(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--owed", "0.5", "--seeds", "2", "--wait-idle", "0", "--quiet"]
    assert runner.run(simulate.BENCH, arguments) == 0
    (load,) = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["loads"]
    assert load["requests"] == 400
    assert load["late"] == 0
    assert load["under 4 tokens"] <= 20  # a few come too late for any order of work
    assert load["mean thinking"] > 20
