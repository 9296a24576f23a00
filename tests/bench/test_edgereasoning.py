"""EdgeReasoning's list on a model: what is asked, what is kept, what stands beside it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from edgereason.bench.rivals import edgereasoning as published
from edgereason.bench.suites import edgereasoning
from edgereason.errors import UsageError
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED


def options(folder: Path, **changed: object) -> argparse.Namespace:
    path = folder / "q.jsonl"
    rows = [{"question": "What is 17 * 3?", "answer": "51"}, {"question": "Why?", "answer": "1"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    known = {
        "model": SCRIPTED, "context": 4096, "seed": 0, "threads": 1, "questions": path, "num": 2,
        "minutes": 1e9, "budgets": [5, 128], "samples": 6, "vote_budget": 20, "formats": [],
        "think_limit": 200, "answer_budget": 16, "short_answer": 4, "latency_turns": 2,
        "record": folder / "rows.jsonl",
    }  # fmt: skip
    return argparse.Namespace(**known | changed)


def silent(text: str) -> None:
    """No progress."""


def test_a_run_that_was_cut_goes_on_and_finds_the_same(tmp_path: Path) -> None:
    found = edgereasoning.measure(options(tmp_path), silent).figures
    record = tmp_path / "rows.jsonl"
    lines = record.read_text().splitlines()
    settings, votes, turns = 2 + 2 * 3, 4, 2 * 4  # votes of 1, 2, 4 and 6
    assert len(lines) == 2 * (settings + votes) + turns
    record.write_text("\n".join(lines[:15]) + "\n" + lines[15][:20])
    again = edgereasoning.measure(options(tmp_path), silent).figures
    assert len(record.read_text().splitlines()) == len(lines)
    assert list(found["votes"]) == ["vote 1", "vote 2", "vote 4", "vote 6"]
    assert list(found["side_by_side_s"]) == [1, 2, 4, 6]
    for part in ("budgets", "votes"):
        for name, each in found[part].items():
            assert each["num"] == 2
            for same in ("right", "tokens", "difference"):
                assert again[part][name][same] == each[same], name
    # Only the largest vote was timed; a cut thought has no more tokens than it may.
    assert [each["seconds"] is None for each in found["votes"].values()] == [True] * 3 + [False]
    assert found["budgets"]["cut 5"]["tokens"] <= 5 + 4
    assert found["budgets"]["no budget"]["right"] == 1


def test_what_is_read_off_is_what_a_smaller_vote_says(tmp_path: Path) -> None:
    large = edgereasoning.measure(options(tmp_path, latency_turns=0), silent).figures["votes"]
    for num in (1, 2, 4):
        alone = options(tmp_path, samples=num, record=None, latency_turns=0)
        own = edgereasoning.measure(alone, silent).figures["votes"]
        for same in ("right", "tokens"):
            assert own[f"vote {num}"][same] == large[f"vote {num}"][same]


def test_the_budget_is_told_in_the_question_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[tuple[str, int], int] = {}
    ask = Reasoner.ask

    def spy(self: Reasoner, question: str, **keywords: object) -> object:
        said = "at most" in question
        asked[question.partition("\n")[0] + (" told" if said else ""), keywords["think_budget"]] = 1  # type: ignore[index]
        return ask(self, question, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(edgereasoning, "_opened", lambda o, file: Reasoner.open(file, threads=1))
    monkeypatch.setattr(Reasoner, "ask", spy)
    edgereasoning.measure(options(tmp_path, num=1, budgets=[5], latency_turns=0), silent)
    why = "What is 17 * 3?"
    assert asked.keys() == {(why, 200), (why, 5), (f"{why} told", 200), (f"{why} told", 5)}


def test_other_formats_are_asked_what_shows_their_loss(tmp_path: Path) -> None:
    found = edgereasoning.measure(options(tmp_path, formats=[SCRIPTED]), silent)
    (name,) = found.figures["formats"]  # the same file twice is one
    assert found.figures["formats"][name].keys() == {"no budget", "no reasoning"}
    assert found.tables[-1].title == "Formats"


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"minutes": -1}, "no question was asked in every way"), ({"samples": 0}, "--samples must")],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        edgereasoning.measure(options(tmp_path, **changed), silent)


def test_what_they_published_is_what_their_text_says() -> None:
    """Asking the 1.5B for 128 tokens doubled its output; samples of 128 tokens cost 2.4 times."""
    told = published.shares("told 128")
    assert 1.9 < told[0] < 2.1
    assert max(told[1:]) < 0.6
    one, many = published.SAMPLES_S[1], published.SAMPLES_S[32]
    assert [round(b / a, 1) for a, b in zip(one, many, strict=True)] == [2.4, 2.3]
    assert published.shares("cut 128") == ()
