"""Who says how good a text is: a program of the user's, or the model itself, asked Yes or No.

The program is a file of Python with one function:

    def check(question, text):      # -> whether the text is right, or how good, from 0 to 1
        return text.strip() == "7"

It runs in the child process of a `Call`, which has a few mathematical modules. Knows no strategy.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.records import Message, Phase, Role
from edgereason.strategies.base import Call, Returned, Turn

UNKNOWN: Final = 0.5  # what a text is worth that could not be judged
MOST_SHOWN: Final = 4000  # characters of a text that the model is shown, from its end
_VERDICTS: Final = ("Yes", "No")
_FUNCTION: Final = "check"
_TRUTHS: Final = {"True": 1.0, "False": 0.0}


@dataclass(frozen=True, slots=True)
class Judgement:
    """`share`: from 0, surely wrong, to 1. `error`: why the program did not say; then `UNKNOWN`."""

    share: float = UNKNOWN
    error: str = ""


def judged(
    turn: Turn, said: str, asked: str, program: Path | None = None
) -> Generator[Phase | Call, Any, Judgement]:
    """How good is what was `said`? Without a program the model is `asked`, which samples nothing.

    The phase begins a context of its own: behind it, a line of thought must begin anew.
    """
    if program is None:
        done = yield verdict(turn, Message("assistant", said[-MOST_SHOWN:]), Message("user", asked))
        return Judgement(belief(done.scores))
    call = f"def solution():\n    return {_FUNCTION}({turn.messages[-1].content!r}, {said!r})"
    returned: Returned = yield Call(f"{program.read_text(encoding='utf-8')}\n\n{call}")
    try:
        value = _TRUTHS[returned.value] if returned.value in _TRUTHS else float(returned.value)
    except ValueError:
        return Judgement(error=returned.error or f"it returned {returned.value!r}")
    if not 0 <= value <= 1:
        return Judgement(error=f"it returned {returned.value}, which is not between 0 and 1")
    return Judgement(value)


def verdict(turn: Turn, *shown: Message) -> Phase:
    """Behind the conversation and what is shown: how likely is Yes, how likely No?"""
    prompt = replace(turn, messages=(*turn.messages, *shown)).prompt(thinking=False)
    return Phase("check", Role.PREFILL, fresh=prompt, budget=0, score=_VERDICTS)


def belief(scores: tuple[float, ...]) -> float:
    """The probability of Yes against No."""
    if not scores:
        return UNKNOWN
    yes, no = scores
    return 1 / (1 + math.exp(min(no - yes, 700.0)))


def check_program(program: Path | None) -> None:
    """Raises `UsageError` where there is no such program, or it has no `check`."""
    if program is None:
        return
    if not program.is_file():
        raise UsageError(f"there is no program {program}", "see docs/ways.md")
    try:
        tree = ast.parse(program.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{program} is no Python: {error}") from None
    if not any(isinstance(node, ast.FunctionDef) and node.name == _FUNCTION for node in tree.body):
        raise UsageError(f"{program} has no function {_FUNCTION}(question, text)")
