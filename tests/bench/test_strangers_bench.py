"""The bench of strangers, small, on a real server."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any

import pytest

from edgereason.bench.suites import strangers

pytest.importorskip("uvicorn", reason="the server")


def test_a_few_strangers_are_counted_and_the_stream_beside_them() -> None:
    options = argparse.Namespace(
        **{"model": "nano", "threads": 1, "context": 4096, "num": 16, "clients": 4},
        **{"most_requests": 4, "seconds": 0.5},
    )
    found = strangers.measure(options, lambda line: None)
    ends: Counter[str] = found.figures["ends"]
    assert sum(ends.values()) == 16
    assert [when for when, *_ in found.figures["held"]] == [
        *("before", "after 4", "after 8", "after 12", "after 16")
    ]
    assert all(threads > 1 and rss > 10 for _, _, threads, rss in found.figures["held"])
    (_, num_alone, *_, first_ms), (_, num_beside, _, _, most, longest_ms) = found.figures["streams"]
    assert num_alone > 10 < num_beside
    assert most == max(found.figures["beside"])
    assert 0 < first_ms <= longest_ms


def test_gaps_are_between_the_pieces_of_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def pieces(port: int) -> list[float]:
        nonlocal now
        now += 10.0
        return [now, now + 0.5, now + 2.0]

    monkeypatch.setattr(strangers, "_pieces", pieces)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    found: list[Any] = strangers.gaps_ms(0, 15.0)
    assert found == pytest.approx([500.0, 1500.0] * 2)
