"""Which drafts a threshold keeps."""

from __future__ import annotations

from edgereason.bench.suites import auto


def test_a_threshold_keeps_drafts_and_pays_for_the_others() -> None:
    sums = [
        auto.Sum(0.9, draft_right=True, thought_right=False, draft_tokens=5, thought_tokens=50),
        auto.Sum(0.5, draft_right=False, thought_right=True, draft_tokens=6, thought_tokens=60),
    ]
    assert auto.row(sums, 0.0) == (0.0, 2, 1, 1, 11)
    assert auto.row(sums, 0.8) == (0.8, 1, 1, 2, 71)
    assert auto.row(sums, 1.01) == (1.01, 0, 0, 1, 121)
