"""Questions of a file, and those that are drawn."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from edgereason.bench.harness import questions
from edgereason.errors import UsageError

PER = {"minutes": 60, "legs": 4, "days": 7, " * ": None}


def test_questions_are_read_with_their_gold_answers(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(
        '{"question": "1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}\n\n{"question": "why?"}\n',
        encoding="utf-8",
    )
    assert questions.read_questions(path) == [
        questions.Question("1 + 1?", "2"),
        questions.Question("why?", ""),
    ]
    assert len(questions.read_questions(path, 1)) == 1


@pytest.mark.parametrize("text", ["", "no json\n", '{"q": 1}\n', "[1]\n"])
def test_a_file_without_questions_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        questions.read_questions(path)


def test_results_of_sums_are_right() -> None:
    generator = random.Random(1)
    drawn = {q.text: q.gold for q in (questions.short_question(generator) for _ in range(200))}
    for text, gold in drawn.items():
        numbers = [int(number) for number in re.findall(r"\d+", text)]
        if " + " in text or text.startswith("Add"):
            assert int(gold) == sum(numbers)
        elif "half" in text:
            assert 2 * int(gold) == numbers[0]
        elif "minus" in text:
            assert int(gold) == numbers[0] - numbers[1]
        else:
            (per,) = (n for word, n in PER.items() if word in text)
            assert int(gold) == numbers[0] * (per or numbers[-1])
    easy = questions.easy_sum(generator)
    assert int(easy.gold) == sum(int(number) for number in re.findall(r"\d+", easy.text))


def test_word_problems_are_longer_than_sums() -> None:
    generator = random.Random(0)
    short = [len(questions.short_question(generator).text) for _ in range(50)]
    long = [len(questions.word_problem(generator).text) for _ in range(50)]
    assert max(short) < min(long)


def test_choices_are_listed_and_answered_by_letter(tmp_path: Path) -> None:
    path = tmp_path / "choices.jsonl"
    path.write_text(
        '{"question": "Which?", "answer": "blue", "choices": ["red", "blue"]}\n', encoding="utf-8"
    )
    (read,) = questions.read_questions(path)
    assert read == questions.Question("Which?\nA) red\nB) blue", "B")
    path.write_text('{"question": "?", "answer": "x", "choices": ["a"]}\n', encoding="utf-8")
    with pytest.raises(UsageError):
        questions.read_questions(path)
