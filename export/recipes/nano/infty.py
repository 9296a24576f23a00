"""InftyThink (2503.06692): a long way in rounds, each of which knows only the newest summary.

question [history] -> <think> 8 steps </think> <summary> rounds left: x </summary>
                   -> <think> the last steps </think> answer

A round may begin anywhere on the way: any x with any number of applications to go is one. So a
round is drawn by itself, and ways of any length are learned from texts of one length.
"""

from __future__ import annotations

import random
from typing import Final

from edgereason.bench.tasks import iterate
from edgereason.bench.tasks.base import split_of
from tokenizers import Tokenizer

from .examples import OPEN, SHUT, Example, Piece, encode, prompt

ROUND_STEPS: Final = 8
MOST_TIMES: Final = 999
HISTORY: Final = "\n<history>\n{summary}\n</history>"
SUMMARY: Final = "<summary>\n{summary}\n</summary>"
VARIANT: Final = {
    "kind": "infty_think",
    "round_tokens": 256,
    "summary_tokens": 16,
    "history": HISTORY,
    "open": "<summary>\n",
    "shut": "\n</summary>",
}


def draw(step: int, *, seed: int, num: int, tokenizer: Tokenizer) -> list[Example]:
    """The rounds of a training step, the same whenever and wherever they are drawn."""
    rng = random.Random(f"infty:{seed}:{step}")
    return [encode(_one(rng), tokenizer) for _ in range(num)]


def _one(rng: random.Random) -> list[Piece]:
    while True:
        x, factor, term = (
            rng.randrange(iterate.MODULUS),
            rng.randint(2, 9),
            rng.randint(1, iterate.MODULUS - 1),
        )
        times = round(MOST_TIMES ** rng.random())  # short ways as often as long ones
        question = iterate.ask(x, factor, term, times)
        if split_of(question) == "train":
            break
    if times == 1 or rng.random() < 0.2:
        return _round(question, x, factor, term, times)
    now, left = rng.randrange(iterate.MODULUS), rng.randint(1, times - 1)
    history = HISTORY.format(summary=f"{left}:{now}")
    return _round(question + history, now, factor, term, left)


def _round(text: str, x: int, factor: int, term: int, left: int) -> list[Piece]:
    num = min(ROUND_STEPS, left)
    steps, notes = iterate.walk(x, factor, term, left, num)
    summary = SUMMARY.format(summary=f"{left - num}:{notes[-1]}")
    ending = notes[-1] if num == left else summary
    thought = OPEN + "\n".join(steps) + SHUT
    return [Piece(prompt(text), False), Piece(thought, True), Piece(ending + "<|im_end|>", True)]
