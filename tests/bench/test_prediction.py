"""Predicted times against measured ones: the table, and one small run."""

from __future__ import annotations

import argparse

import pytest

from edgereason.bench.suites import prediction
from edgereason.bench.suites.prediction import Stream, Timed
from edgereason.planning.cost import Cost


def test_the_table_tells_bias_and_error_apart() -> None:
    timed = [Timed("a/m", "think", 10, 100.0, ms) for ms in (90.0, 110.0, 130.0)]
    stream = Stream("m", 100, 6, 30.0, (0.1, 0.05, 0.05, 0.0, 0.1))
    found = prediction.findings(timed, [stream], {"m": Cost("m", "made up", {1: 1.0})})
    (row,) = found.tables[0].rows
    assert row[:5] == ("m", "think", 3, 10, 100.0)
    assert row[5] == pytest.approx(10)  # bias
    assert row[6] == pytest.approx(50 / 3)
    assert found.tables[1].rows == [("m", 100, 6, 6.0, 30.0)]


@pytest.mark.slow
def test_a_small_run_on_nano() -> None:
    parser = argparse.ArgumentParser()
    prediction.BENCH.add_options(parser)
    options = parser.parse_args(
        [
            "--models",
            "nano",
            "--ways",
            "no-think",
            "think:8",
            "--questions",
            "2",
            "--seconds",
            "0.1",
            "--requests",
            "30",
        ]
    )
    options.seed = 0
    found = prediction.measure(options, lambda text: None)
    assert [row[1] for row in found.tables[0].rows] == ["no-think", "think:8"]
    ((_, num, late, *_),) = found.tables[1].rows
    assert num == 30
    assert 0 <= late <= 30
