"""Trials of a bench, as far as planning needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.planning.lateness import Length
from edgereason.planning.trials import Trial, Way, read, read_questions


def line(**more: Any) -> str:
    told = {
        **{"model": "m", "way": "think", "question": "q1", "prompt_tokens": 40},
        **{"reasoning_tokens": 100, "answer_tokens": 12, "total_ms": 900.5, "right": True},
        **{"suite": "pareto", "latent_tokens": 0},  # not needed here
        **more,
    }
    return json.dumps(told)


def test_files_and_folders_are_read_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "trials-a.jsonl").write_text(
        line() + "\n" + line(question="q2", right=None) + "\n" + line()[:20]
    )
    (tmp_path / "trials-b.jsonl").write_text(line(way="think:64") + "\n")
    (tmp_path / "other.jsonl").write_text("not a trial\n")
    found = read([tmp_path])
    assert [trial.right for trial in found] == [True, None, True]
    assert found[0] == Trial("m", "think", "q1", 40, 100, 12, 900.5, right=True)
    assert read([tmp_path / "trials-b.jsonl"]) == found[2:]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "field model must be given"),
        ("[1]", "it is not a JSON object"),
        ("{x}", "it is not a JSON object"),
        (line(prompt_tokens="many"), "prompt_tokens must be a whole number, got 'many'"),
    ],
)
def test_a_line_that_is_no_trial_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text(line() + "\n" + text + "\n")
    with pytest.raises(UsageError, match=says) as raised:
        read([path])
    assert "line 2" in raised.value.message


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read([tmp_path / "none.jsonl"])
    with pytest.raises(UsageError, match=r"holds no trials\*\.jsonl"):
        read([tmp_path])


@pytest.mark.parametrize(
    ("way", "tokens", "finish", "expected"),
    [
        ("think", 100, "stop", Length(100)),
        ("think", 100, "budget", Length(100)),  # of the answer
        ("think", 100, "deadline", Length(100, cut=True)),
        ("think:128", 100, "stop", Length(100)),
        ("think:128", 128, "budget", Length(128, cut=True)),
        ("no-think", 0, "stop", Length(0)),
    ],
)
def test_a_thought_that_was_cut_is_at_least_so_long(
    way: str, tokens: int, finish: str, expected: Length
) -> None:
    assert Trial("m", way, "q", 1, tokens, 1, finish=finish).length == expected


def test_a_run_counts_before_what_was_read_off(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    told = [line(source="read off", right=False), line(source="run"), line(source="read off")]
    path.write_text("\n".join([*told, line(question="q2", source="read off")]) + "\n")
    assert [(t.question, t.source) for t in read([path])] == [("q1", "run"), ("q2", "read off")]


def test_the_limit_of_a_vote_is_that_of_each_line() -> None:
    told = Trial("m", "vote:4", "q", 1, 400, 4, think_limit=128)
    assert not told.length.cut
    assert Trial("m", "vote:4", "q", 1, 512, 4, think_limit=128).length.cut


def test_ways() -> None:
    assert str(Way.parse(" budget_forcing:64 ")) == "budget-forcing:64"
    assert (Way.parse("vote:4").samples, Way.parse("vote").samples) == (4, 8)
    assert (Way.parse("vote:4").budget, Way.parse("no-think").budget) == (None, 0)
    vote = Way.parse("vote:2:of=bare:early_stop=false")
    assert vote.options == ("early_stop=false", "of=bare")
    assert Way.parse(str(vote)) == vote
    assert (
        vote.kind == Way.parse("vote:4:of=bare:early_stop=false").kind != Way.parse("vote:2").kind
    )
    for wrong in ("", ":4", "think:", "think:many"):
        with pytest.raises(UsageError, match="a way is NAME, NAME:NUMBER"):
            Way.parse(wrong)


def test_questions(tmp_path: Path) -> None:
    path = tmp_path / "robot.jsonl"
    path.write_text('{"question": "Left or right?"}\n\n{"question": "Stop?", "answer": "yes"}')
    assert read_questions(path) == ["Left or right?", "Stop?"]
    path.write_text('{"question": "a"}\n{"quest')
    with pytest.raises(UsageError, match=r"line 2: expected \{\"question\""):
        read_questions(path)
    path.write_text("\n")
    with pytest.raises(UsageError, match="has no questions"):
        read_questions(path)
