"""Lengths of answers are learned, kept, and decide how much of a deadline is thought with."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edgereason import Reasoner
from edgereason.models.bundle import open_bundle
from edgereason.planning import measured
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"


def learned() -> dict[str, list[float]]:
    return dict(measured.read(open_bundle(SCRIPTED), "answer_lengths"))


def test_kept_from_run_to_run_by_strategy_and_phase() -> None:
    for _ in range(2):
        with Reasoner.open(SCRIPTED) as reasoner:
            for strategy in ("think", "no-think"):
                assert reasoner.ask(QUESTION, strategy=strategy).usage.answer_tokens > 0
    assert set(learned()) == {"any", "think/answer", "no-think/answer"}
    assert [round(learned()[name][0], 1) for name in ("any", "think/answer")] == [3.8, 2.0]


@pytest.mark.parametrize(
    "known", [{"any": [1, 2]}, {"any": ["x", 2, 3]}, {"think/answer": [5, 1e9, 1]}, {"any": None}]
)
def test_damaged_numbers_are_as_none(known: dict[str, object]) -> None:
    measured.write(open_bundle(SCRIPTED), "answer_lengths", known)
    with Reasoner.open(SCRIPTED) as reasoner:
        answer = reasoner.ask(QUESTION, strategy="think", deadline_ms=5000)
    assert answer.answer == "51"
    assert answer.budget.deadline_ms.late_ms == 0


def test_a_cache_that_cannot_be_written_is_told_to_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEREASON_MEASURED", str(tmp_path / "file" / "below"))
    with caplog.at_level(logging.INFO), Reasoner.open(SCRIPTED) as reasoner:
        assert reasoner.ask(QUESTION, strategy="think").answer == "51"
    assert "is not kept" in caplog.text


def test_the_share_of_the_time_is_reported() -> None:
    with Reasoner.open(SCRIPTED) as reasoner:
        told = reasoner.ask(QUESTION, deadline_ms=4000).budget.deadline_ms
        assert told.share == pytest.approx(told.used / 4000)
        assert reasoner.ask(QUESTION).budget.deadline_ms.share is None
