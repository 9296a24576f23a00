"""The bench of a busy robot: what is counted, and one whole run on the scripted engine."""

from __future__ import annotations

import json

import pytest

from edgereason.bench.harness.runner import run
from edgereason.bench.suites.robot import BENCH, Asked, Turn, asked_row, loop_row
from support.places import SCRIPTED


def test_every_question_is_in_one_column() -> None:
    asked = [
        Asked("stop", 100, 0, has_text=True),
        Asked("deadline", 310, 10, has_text=True),
        Asked("deadline", 299, 0),
        Asked("refused", 5, 0),
        Asked(None),
    ]
    row = asked_row(1, asked)
    assert row == (1, 5, 1, 2, 1, 1, 1, 20.0, 199.5, 10)


def test_a_loop_is_judged_over_all_turns() -> None:
    row = loop_row("alone", [Turn((), [0.1] * 99, 0), Turn((), [-5.0], 2)])
    assert row[:3] == ("alone", 100, 0.1)
    assert row[-2:] == (5.0, 2)


def test_a_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--seconds 1 --turns 1 --busy 0 --rate 10 --wait-idle 0 --quiet --context 2048"
    assert run(BENCH, ["--model", SCRIPTED, *options.split()]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    (row,) = report["figures"]["asked"]
    assert (row["asked"], row["lost"]) == (10, 0)
    assert row["with text"] == 10
    assert {loop["loop"] for loop in report["figures"]["loops"]} == {"alone", "with the model"}
    assert all(loop["ticks"] >= 50 for loop in report["figures"]["loops"])
