"""Reach a number with three or four others and + - * /; made here, the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from .base import Item, Source

SOURCE = Source((), "CC0, made here")
_NUM = 200


def items(files: Sequence[Path]) -> Iterator[Item]:
    generator = random.Random("countdown")
    for number in range(_NUM):
        numbers, expression, target = _deal(generator)
        listed = ", ".join(map(str, numbers))
        question = (
            f"Using each of the numbers {listed} exactly once, with + - * / and brackets, write an "
            f"expression that equals {target}."
        )
        extra = {"numbers": numbers, "target": target}
        yield Item(f"countdown-{number}", question, expression, "countdown", (), extra)


def _deal(generator: random.Random) -> tuple[list[int], str, int]:
    """Numbers, one way to the target, the target: whole, of two or three digits."""
    while True:
        numbers = [generator.randint(1, 50) for _ in range(generator.choice((3, 4)))]
        parts = [(str(number), Fraction(number)) for number in numbers]
        while len(parts) > 1:
            (a, x), (b, y) = (parts.pop(generator.randrange(len(parts))) for _ in range(2))
            sign = generator.choice("+-*" if not y else "+-*/")
            value = {"+": x + y, "-": x - y, "*": x * y, "/": x / y if y else x}[sign]
            parts.append((f"({a} {sign} {b})", value))
        text, target = parts[0]
        if target.denominator == 1 and 10 <= target < 1000 and target not in numbers:
            generator.shuffle(numbers)
            return numbers, text[1:-1], int(target)
