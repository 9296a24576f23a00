"""What rides beside a thought: times are compared in pairs, and no token may change."""

from __future__ import annotations

import pytest

from edgereason.bench.suites import beside
from edgereason.bench.suites.beside import Thought


def test_times_are_told_against_thinking_alone() -> None:
    alone = [Thought(10.0, (1, 2, 3), 0), Thought(20.0, (4, 5, 6), 0)]
    probed = [Thought(11.0, (1, 2, 3), 16), Thought(21.0, (4, 9, 6), 16)]
    found = beside.findings({"thinking alone": alone, "probed": probed})
    _, row = found.tables[0].rows
    assert row == ("probed", 16.0, pytest.approx(1.075), 1.05, pytest.approx(1.1), 16)
    assert found.remarks == ("probed: 1 of 2 thoughts are those of thinking alone.",)


def test_a_thought_that_was_ended_is_compared_as_far_as_it_goes() -> None:
    alone, cut = [Thought(10.0, (1, 2, 3), 0)], [Thought(10.0, (1, 2), 4)]
    found = beside.findings({"thinking alone": alone, "probed": cut})
    assert found.remarks == ("probed: 1 of 1 thoughts are those of thinking alone.",)
