"""What the benches ask: short sums and word problems, or the questions of a file.

Everything is drawn from a seeded generator, so that two systems, or two days, are asked the same.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.values import extract_answer, normalize

from .runner import checkout

_SHORT: Final[tuple[tuple[str, Callable[..., int]], ...]] = (
    ("What is {a} + {b}?", lambda a, b, c, d, e: a + b),
    ("What is {c} * {d}?", lambda a, b, c, d, e: c * d),
    ("How many minutes are {d} hours?", lambda a, b, c, d, e: 60 * d),
    ("How many legs have {c} cats?", lambda a, b, c, d, e: 4 * c),
    ("What is half of {e}?", lambda a, b, c, d, e: e // 2),
    ("How many days are {d} weeks?", lambda a, b, c, d, e: 7 * d),
    ("What is {a} minus {d}?", lambda a, b, c, d, e: a - d),
    ("Add {a}, {b} and {d}.", lambda a, b, c, d, e: a + b + d),
)

_PROBLEMS: Final = (
    "A farmer collects {a} eggs in the morning and {b} eggs in the evening. He packs them into "
    "boxes of {d} eggs and sells each full box for ${c}. How many dollars does he earn if he sells "
    "every full box?",
    "Maria reads {c} pages of her book on each of the first {d} days. On the next day she reads "
    "twice as many pages as on one of the days before. The book has {a} pages more than she has "
    "read by then. How many pages does the book have?",
    "A train with {d} carriages leaves the station. Each carriage has {e} seats, and {c} seats in "
    "every carriage are taken by passengers with a reservation. Of the seats that remain, {b} are "
    "taken at the next stop. How many seats of the train are still free after that?",
    "Tom saves ${c} every week. After {d} weeks he buys a ball for ${d} and a pair of shoes that "
    "costs {d} dollars more than the ball. His grandmother then doubles what he has left. How many "
    "dollars does Tom have now?",
    "A bakery bakes {a} loaves of bread on Monday, {b} more loaves on Tuesday than on Monday, and "
    "on Wednesday half as many as on Tuesday, rounded down. Each loaf needs {d} spoons of salt. "
    "How many spoons of salt does the bakery use on these three days?",
    "In a school there are {d} classes with {e} children each. On Friday {c} children are ill and "
    "stay at home, and {b} children go to the museum. The others are split into groups of {d}. How "
    "many complete groups are there?",
)

_OPEN: Final = (
    "Write a short story about a lighthouse keeper who finds a message in a bottle.",
    "Explain how a bicycle stays upright while it is moving.",
    "Describe what happens to a drop of water from the sea to a mountain and back.",
    "Give me a recipe for a vegetable soup, with amounts.",
    "Why is the sky blue in the day and red in the evening?",
    "Write a letter to a friend about a trip to the desert.",
    "What are the differences between a frog and a toad?",
    "Explain to a child what a computer program is.",
    "List the planets of the solar system and say something about each of them.",
    "How does a refrigerator keep food cold?",
    "Write a poem about the first snow of the winter.",
    "What should I think of before I plant a tree?",
    "Explain the rules of chess to somebody who has never seen it.",
    "Tell me the history of the printing press.",
    "How do bees make honey?",
    "Write a Python function that reverses a list, and explain it.",
    "What causes the tides, and why are there two of them a day?",
    "Describe a market in a small town on a Saturday morning.",
    "What does a robot need so that it can find its way through a room?",
    "Explain why ice floats on water.",
)
"""Questions whose answers are long: for benches that need many tokens."""


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    gold: str = ""  # the right answer where it is known

    def is_right(self, answer: str) -> bool:
        """Whether a text comes to it, as a number where it has one."""
        return normalize(extract_answer(answer, numeric=True)) == normalize(self.gold)


def short_question(random_: random.Random) -> Question:
    """A sum of a few words, with its result."""
    template, result = random_.choice(_SHORT)
    numbers = _numbers(random_)
    return Question(template.format(**numbers), str(result(**numbers)))


def easy_sum(random_: random.Random) -> Question:
    """Of two digits: what a very small model gets right now and then."""
    a, b = random_.randrange(2, 10), random_.randrange(2, 10)
    return Question(f"What is {a} + {b}?", str(a + b))


def word_problem(random_: random.Random) -> Question:
    """A problem of several steps, as long as those of GSM8K."""
    return Question(random_.choice(_PROBLEMS).format(**_numbers(random_)))


def open_questions() -> Sequence[str]:
    return _OPEN


def _numbers(random_: random.Random) -> dict[str, int]:
    return {
        "a": random_.randrange(40, 100),
        "b": random_.randrange(20, 60),
        "c": random_.randrange(3, 13),
        "d": random_.randrange(2, 8),
        "e": 2 * random_.randrange(10, 40),
    }


def gsm8k() -> Path:
    """Where the problems lie beside a checkout: `../shared/data/gsm8k/test.jsonl`."""
    return checkout().parent / "shared" / "data" / "gsm8k" / "test.jsonl"


def read_questions(path: Path, num: int = 0) -> list[Question]:
    """The first `num` questions (0: all) of a file with one JSON object a line.

    Key `question`, and `answer` where it is known; a gold answer may follow `####`. `choices` are
    what the answer is one of.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(
            f"cannot read questions from {path}: {error.strerror}",
            'give --questions a file with one {"question": ..., "answer": ...} a line',
        ) from None
    questions = []
    for number, line in enumerate(filter(str.strip, lines), 1):
        if num and number > num:
            break
        try:
            record = json.loads(line)
            questions.append(_question(record))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f'{path}, line {number}: expected {{"question": ...}}') from None
    if not questions:
        raise UsageError(f"{path} has no questions")
    return questions


def _question(record: Mapping[str, Any]) -> Question:
    """With `choices` they are listed as A), B), ..., and the letter is the answer."""
    gold, choices = record.get("answer", ""), record.get("choices")
    if not choices:
        return Question(record["question"], extract_answer(gold, numeric=True))
    letters = "ABCDEFGHIJKLMNOP"[: len(choices)]
    listed = [f"{letter}) {text}" for letter, text in zip(letters, choices, strict=True)]
    return Question("\n".join([record["question"], *listed]), letters[choices.index(gold)])
