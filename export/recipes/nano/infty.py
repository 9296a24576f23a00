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

from edgereason.reasoning import FINAL_CUE

from .examples import OPEN, SHUT, Example, Piece, encode, prompt

ROUND_STEPS: Final = 8
MOST_TIMES: Final = 999
CUT: Final = 0.15  # of the rounds
HISTORY: Final = "\n<history>\n{summary}\n</history>"
SUMMARY: Final = "<summary>\n{summary}\n</summary>"
VARIANT: Final = {
    "kind": "infty_think",
    "round_tokens": 320,  # the longest round has 210: a soft budget begins at four fifths
    "summary_tokens": 16,
    "history": HISTORY,
    "open": "<summary>\n",
    "shut": "\n</summary>",
}


def draw(
    step: int, *, seed: int, num: int, tokenizer: Tokenizer, hard: float = 0.0
) -> list[Example]:
    """The rounds of a training step, the same whenever and wherever they are drawn. `hard`: the
    share of them in whose first sum the ones add up to ten, a carry that is learned last.
    """
    rng = random.Random(f"infty:{seed}:{step}")
    return [encode(_one(rng, hard=rng.random() < hard), tokenizer) for _ in range(num)]


def _one(rng: random.Random, *, hard: bool = False) -> list[Piece]:
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
    left = times
    if times > 1 and rng.random() < 0.8:
        every = range(iterate.MODULUS)
        tens = [x for x in every if x * factor % 10 + term % 10 == 10] if hard else []
        x, left = rng.choice(tens or every), rng.randint(1, times - 1)
        question += HISTORY.format(summary=f"{left}:{x}")
    num = min(ROUND_STEPS, left)
    cut = num > 1 and rng.random() < CUT
    steps, notes = iterate.walk(x, factor, term, left, rng.randrange(1, num) if cut else num)
    if cut:
        return _cut(rng, question, steps, notes, left)
    return _whole(question, steps, notes, left)


def _whole(text: str, steps: list[str], notes: list[str], left: int) -> list[Piece]:
    """A round that ends by itself, with a summary or with the answer."""
    rest = left - len(steps)
    ending = SUMMARY.format(summary=f"{rest}:{notes[-1]}") if rest else notes[-1]
    thought = OPEN + "\n".join(steps) + SHUT
    return [Piece(prompt(text), False), Piece(thought, True), Piece(ending + "<|im_end|>", True)]


def _cut(
    rng: random.Random, text: str, steps: list[str], notes: list[str], left: int
) -> list[Piece]:
    """A round cut by the runtime, which then forces a summary, or an answer as it stands."""
    given = prompt(text) + OPEN + "\n".join(steps) + SHUT
    if rng.random() < 0.3:
        return [Piece(given + FINAL_CUE, False), Piece(f" {notes[-1]}<|im_end|>", True)]
    opening, closing = SUMMARY.split("{summary}")
    told = f"{left - len(steps)}:{notes[-1]}{closing}<|im_end|>"
    return [Piece(given, False), Piece(opening, False), Piece(told, True)]
