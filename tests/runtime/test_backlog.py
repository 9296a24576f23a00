"""Limits on what is asked for at once: the error names the value and when to come back."""

from __future__ import annotations

import pytest

from edgereason.engines.llamacpp import Config
from edgereason.errors import BusyError, UsageError
from edgereason.runtime.backlog import Backlog
from edgereason.strategies import vote


def test_says_when_to_come_back() -> None:
    backlog = Backlog(2)
    for now_ms in (0.0, 1.0):
        backlog.enter(now_ms)
    with pytest.raises(BusyError, match="2 requests"):
        backlog.enter(2.0)
    for end in range(1, 100):
        backlog.leave(50.0 * end)
        backlog.enter(50.0 * end)
    with pytest.raises(BusyError) as caught:
        backlog.enter(5000.0)
    assert caught.value.retry_after_ms == pytest.approx(50, rel=0.01)


def test_limits_name_the_value() -> None:
    with pytest.raises(UsageError, match="got 0"):
        Backlog(0)
    with pytest.raises(UsageError, match="got 100000"):
        vote.Config(samples=100000)
    with pytest.raises(UsageError, match="batch must be at least sequences"):
        Config(batch=8)
