"""Actor and critic; and who judges: the model, or a program of the user's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.strategies._judge import belief
from support.scripted_models import DIRECT, model

ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
CRITIC = ("or why it is not." + ASSISTANT + DIRECT, "Step one is wrong.")
VERDICT = "Yes or No and nothing else." + ASSISTANT + DIRECT
AGAIN = "Solve it anew, and heed that." + ASSISTANT + "<think>\n"
SECOND = ((AGAIN, "Eight.\n</think>"), ("Eight.\n</think>", "\n\n8"))


@pytest.fixture
def program(tmp_path: Path) -> Any:
    def written(body: str) -> Path:
        path = tmp_path / "check.py"
        path.write_text(f"def check(question, text):\n    {body}\n", encoding="utf-8")
        return path

    return written


def test_what_is_judged_right_is_left_alone() -> None:
    with model(CRITIC, (VERDICT, "Yes"), *SECOND) as reasoner:
        handle = reasoner.submit("Why?", strategy="critique")
        answer = handle.result()
        assert (answer.answer, answer.note) == ("7", "judged right by critique 1")
        assert [len(line) for line in handle.chains] == [0, 2, 2]
        critique, check = handle.chains[2]
        assert (critique.text, critique.role.value) == ("Step one is wrong.", "carry")
        assert check.num_tokens == 0
        thought = handle.chains[1][0]
        assert answer.usage.reasoning_tokens == thought.num_reasoning + critique.num_reasoning
        assert critique.num_reasoning > 0


def test_what_is_judged_wrong_gives_way_to_an_answer_that_is_told_why() -> None:
    told = ("A critic says:\nStep one is wrong.", " ")  # or the next rules would not hold
    with model(CRITIC, (VERDICT, "No"), told, *SECOND) as reasoner:
        handle = reasoner.submit("Why?", strategy="critique", options={"rounds": 1})
        answer = handle.result()
        assert answer.answer == "8"
        assert answer.note == ""  # nobody has judged the last one
        assert [each.answer for each in answer.candidates] == ["7", "8"]
        assert [line[0].name for line in handle.chains[1:]] == ["think", "critique", "think"]


@pytest.mark.parametrize(
    ("right", "rounds", "answer", "critiques"),
    [("7", 3, "7", 0), ("8", 3, "8", 1), ("9", 2, "8", 2), ("9", 0, "7", 0)],
)
def test_an_oracle_decides_which_answer_is_kept(
    program: Any, right: str, rounds: int, answer: str, critiques: int
) -> None:
    options = {"rounds": rounds, "check": program(f"return text == {right!r}")}
    with model(CRITIC, *SECOND) as reasoner:
        handle = reasoner.submit("Why?", strategy="critique", options=options)
        assert handle.result().answer == answer
        names = [phase.name for line in handle.chains for phase in line]
        assert names.count("critique") == critiques
        assert names.count("check") == 0


def test_a_verdict_alone_writes_no_critique(program: Any) -> None:
    options = {"rounds": 1, "tokens": 0, "check": program("return 0.4")}
    with model(*SECOND) as reasoner:
        told = reasoner.submit("Why?", strategy="critique", options=options)
        assert told.result().answer == "8"
        names = [phase.name for line in told.chains for phase in line]
        assert names == ["think", "answer", "think", "answer"]
        kept = reasoner.ask("Why?", strategy="critique", options={**options, "sure": 0.4})
        assert kept.answer == "7"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return 1 / 0", "division"),
        ("return question", "it returned 'Why?'"),
        ("pass", "nothing"),
        ("return 2", "not between 0 and 1"),
    ],
)
def test_a_check_that_fails_is_told_and_changes_nothing(program: Any, body: str, why: str) -> None:
    with model(*SECOND) as reasoner:
        options = {"check": program(body)}
        answer = reasoner.ask("Why?", strategy="critique", options=options)
        assert answer.answer == "7"
        assert answer.note.startswith("the check failed: ")
        assert why in answer.note


@pytest.mark.parametrize("budget", [0, 1, 6])
def test_critiques_spend_the_thinking_budget_of_their_line(budget: int) -> None:
    with model() as reasoner:
        handle = reasoner.submit("Why?", strategy="critique", think_budget=budget)
        answer = handle.result()
        assert answer.budget.think_tokens.used <= budget
        critiques = [p for line in handle.chains for p in line if p.name == "critique"]
        assert all(each.num_tokens <= budget for each in critiques)
        assert bool(critiques) is bool(budget)


def test_belief() -> None:
    assert belief(()) == 0.5
    assert belief((math.log(0.6), math.log(0.2))) == pytest.approx(0.75)
    assert belief((-2000.0, 0.0)) == pytest.approx(0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"rounds": 101}, "rounds must be in"),
        ({"tokens": -1}, "tokens must be 0 or more, got -1"),
        ({"sure": 2}, r"sure must be in \[0, 1\], got 2"),
        ({"check": "nowhere.py"}, "there is no program nowhere.py"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy="critique", options=options)


@pytest.mark.parametrize(
    ("text", "error"), [("def check(", "is no Python"), ("x = 1\n", "has no function check")]
)
def test_programs_that_cannot_be(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "check.py"
    path.write_text(text, encoding="utf-8")
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy="critique", options={"check": path})
