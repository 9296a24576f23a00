"""The bench of foresight: what is drawn, what its twin with foresight knows, what is counted."""

from __future__ import annotations

from edgereason.bench.suites.foresight import CASES, Case, Machine, Outcome, Request, draw, row

EASY = [Request(5000.0 * i, 3000.0, 10) for i in range(6)]


def test_the_load_is_what_is_owed_of_the_time() -> None:
    for load in (0.2, 0.8):
        drawn = draw(CASES[1], load, 2000, 0)
        owed_ms = sum(9 + 60 + 13 + 10 * request.length for request in drawn)
        assert abs(owed_ms / drawn[-1].at_ms - load) < 0.1 * load


def test_lengths_change_half_way() -> None:
    drawn = draw(Case("later", 10.0, later=4.0), 0.5, 1000, 0)
    before, after = drawn[:500], drawn[500:]
    ratio = sum(one.length for one in after) / sum(one.length for one in before)
    assert 3.4 < ratio < 4.6


def test_alone_each_thinks_nearly_as_long_as_with_foresight() -> None:
    ours = Machine(CASES[1], EASY, foresight=False).play()
    best = Machine(CASES[1], EASY, foresight=True).play()
    for mine, known in zip(ours[3:], best[3:], strict=True):  # the first three teach the length
        assert 0.8 * known.thinking_tokens <= mine.thinking_tokens <= known.thinking_tokens
        assert mine.late_ms == known.late_ms == 0
        assert not mine.empty
        assert not mine.cut


def test_a_row_holds_ours_against_the_best() -> None:
    ours = [Outcome(80, 0.0, 0.8, False, False), Outcome(40, 3.0, 1.01, True, True)]
    best = [Outcome(100, 0.0, 1.0, False, False)] * 2
    assert row(0.5, CASES[0], ours, best) == (
        0.5, CASES[0].name, 0.6, 1, 3.0, 0, 1, 0, 1, 1.01,
    )  # fmt: skip
