"""Lessons that are kept and found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgereason.errors import BundleError, UsageError
from edgereason.planning.bank import Bank
from support.scripted_models import model

QUESTIONS = [
    "A train needs 3 hours for 240 km. How fast is it?",
    "Ann has 5 apples and eats 2. How many are left?",
    "What is the capital of France?",
]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    with Bank(tmp_path / "bank.sqlite") as opened:
        for number, question in enumerate(QUESTIONS):
            opened.add(question, f"lesson {number}")
    return tmp_path / "bank.sqlite"


def test_its_own_question_is_found_first(bank: Path) -> None:
    with Bank(bank) as opened:
        assert len(opened) == 3
        for number, question in enumerate(QUESTIONS):
            assert opened.find(question, 3)[0].lesson == f"lesson {number}"
        assert (
            opened.find("How fast is a car that takes 2 hours for 90 km?")[0].lesson == "lesson 0"
        )
        assert opened.find("???") == ()
        assert opened.find('"; DROP TABLE lessons') == ()
        assert len(opened) == 3


def test_a_question_has_one_lesson_and_the_oldest_give_way(tmp_path: Path) -> None:
    with Bank(tmp_path / "bank.sqlite", most=2) as opened:
        opened.add(QUESTIONS[0], "old")
        opened.add(QUESTIONS[0], "new")
        assert [each.lesson for each in opened.find(QUESTIONS[0], 5)] == ["new"]
        opened.add(QUESTIONS[1], "second")
        opened.add(QUESTIONS[2], "third")
        assert len(opened) == 2
        assert not [each for each in opened.find(QUESTIONS[0], 5) if each.lesson == "new"]


def test_a_lesson_that_loses_is_dropped(bank: Path) -> None:
    with Bank(bank) as opened:
        lesson = opened.find(QUESTIONS[0])[0]
        for right in (False, True, False):
            opened.tell(lesson.id, right=right)
        assert len(opened) == 3
        opened.tell(lesson.id, right=False)
        assert len(opened) == 2


def test_what_is_no_lesson(tmp_path: Path) -> None:
    with Bank(tmp_path / "bank.sqlite") as opened, pytest.raises(UsageError, match="some words"):
        opened.add("???", "lesson")
    with pytest.raises(UsageError, match="1 lesson or more, got 0"):
        Bank(tmp_path / "bank.sqlite", most=0)
    (tmp_path / "text").write_text("no database, but long enough to be looked at as one" * 20)
    with pytest.raises(BundleError, match="no bank of lessons"):
        Bank(tmp_path / "text")


def test_the_way_tells_what_it_found(bank: Path) -> None:
    told = (
        "This helped with a similar question: lesson 1<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )
    rules = ((told, "Yes.\n</think>"), ("Yes.\n</think>", "\n\n3"))
    with model(*rules) as reasoner:
        answer = reasoner.ask(QUESTIONS[1], strategy="memory", options={"bank": str(bank)})
        assert (answer.answer, answer.note) == ("3", "1 lessons told")
        none = reasoner.ask("???", strategy="memory", options={"bank": str(bank)})
        assert none.answer == "7"
    with model() as reasoner, pytest.raises(UsageError, match="there is no bank"):
        reasoner.ask("Why?", strategy="memory", options={"bank": "/nowhere"})


def test_asking_stores_nothing(bank: Path) -> None:
    with model() as reasoner:
        reasoner.ask("A question that is not there", strategy="memory", options={"bank": str(bank)})
    with Bank(bank) as opened:
        assert len(opened) == 3
