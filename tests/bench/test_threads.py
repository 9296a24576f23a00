"""Rates in windows, and how soon threads adapt."""

from __future__ import annotations

import math

import pytest

from edgereason.bench.harness.stream import Stream
from edgereason.bench.suites.threads import adaptation, windows


def test_windows_count_tokens() -> None:
    times = [index / 10 for index in range(31)]  # ten a second
    rates = list(windows(times, 0.0, 2.0))
    assert len(rates) == 31
    assert all(rate in (8.0, 10.0, 12.0) for _, rate in rates)
    assert Stream(times, []).rate() == pytest.approx(10.0)


def test_adaptation_begins_with_the_first_window_that_is_fast_enough() -> None:
    slow = [index / 10 for index in range(10)]  # ten a second, then a hundred
    fast = [1.0 + index / 100 for index in range(300)]
    found = adaptation("change", Stream(slow + fast, [(0.0, 2), (1.0, 1)]), 0.0, 3.9, 100.0)
    assert found.adapted_s == pytest.approx(0.95, abs=0.06)
    assert found.below == 0
    assert found.settled == pytest.approx(1.0, abs=0.01)
    assert found.lowest == 10.0
    assert found.threads == 1
    kept = adaptation("change", Stream(slow + fast, [(-5.0, 1), (3.95, 2)]), 0.0, 3.9, 100.0)
    assert kept.threads == 1  # what was in force when nothing changed any more
    never = adaptation("change", Stream(slow, [(0.0, 2)]), 0.0, 0.9, 100.0)
    assert never.adapted_s == math.inf
