"""InftyThink (2503.06692): a long way in rounds, each of which knows only the newest summary.

question [history] -> <think> 8 steps </think> <summary> rounds left: x </summary>
                   -> <think> the last steps </think> answer

A round may begin anywhere on the way: any x with any number of applications to go is one. So a
round is drawn by itself, and ways of any length are learned from texts of one length.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from tokenizers import Tokenizer

from edgereason.bench.tasks import iterate
from edgereason.bench.tasks.base import split_of
from edgereason.prompt.reasoning import FINAL_CUE

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
    share of them that is chosen, each from eight, for sums in which a carry is nearly none.
    """
    rng = random.Random(f"infty:{seed}:{step}")
    return [encode(_one(rng, hard=rng.random() < hard), tokenizer) for _ in range(num)]


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a round begins: its text, x -> factor * x + term, and the applications to go."""

    text: str
    x: int
    factor: int
    term: int
    left: int

    @property
    def num_steps(self) -> int:
        return min(ROUND_STEPS, self.left)

    @property
    def num_close(self) -> int:
        """Digits of the round's sums that make 9 or 10 with what is added to them: a carry that
        is missed or made up is what a model gets wrong last.
        """
        x, num = self.x, 0
        for _ in range(self.num_steps):
            product = self.factor * x
            ones = product % 10 + self.term % 10
            tens = product // 10 % 10 + self.term // 10 + ones // 10
            num += (ones in (9, 10)) + (ones in (9, 10) and tens in (9, 10))
            x = (product + self.term) % iterate.MODULUS
        return num


def _start(rng: random.Random) -> _Start:
    every = range(iterate.MODULUS)
    while True:
        x, factor, term = rng.choice(every), rng.randint(2, 9), rng.choice(every[1:])
        left = round(MOST_TIMES ** rng.random())  # short ways as often as long ones
        question = iterate.ask(x, factor, term, left)
        if split_of(question) == "train":
            break
    if left > 1 and rng.random() < 0.8:
        x, left = rng.choice(every), rng.randint(1, left - 1)
        question += HISTORY.format(summary=f"{left}:{x}")
    return _Start(question, x, factor, term, left)


def _one(rng: random.Random, *, hard: bool = False) -> list[Piece]:
    start = _start(rng)
    if hard:
        start = max((start, *(_start(rng) for _ in range(7))), key=lambda one: one.num_close)
    num = start.num_steps
    cut = num > 1 and rng.random() < CUT
    length = rng.randrange(1, num) if cut else num
    steps, notes = iterate.walk(start.x, start.factor, start.term, start.left, length)
    return _cut(rng, start, steps, notes) if cut else _whole(start, steps, notes)


def _whole(start: _Start, steps: list[str], notes: list[str]) -> list[Piece]:
    """A round that ends by itself, with a summary or with the answer."""
    rest = start.left - len(steps)
    ending = SUMMARY.format(summary=f"{rest}:{notes[-1]}") if rest else notes[-1]
    thought = OPEN + "\n".join(steps) + SHUT
    return [
        Piece(prompt(start.text), False),
        Piece(thought, True),
        Piece(ending + "<|im_end|>", True),
    ]


def _cut(rng: random.Random, start: _Start, steps: list[str], notes: list[str]) -> list[Piece]:
    """A round cut by the runtime, which then forces a summary, or an answer as it stands."""
    given = prompt(start.text) + OPEN + "\n".join(steps) + SHUT
    if rng.random() < 0.3:
        return [Piece(given + FINAL_CUE, False), Piece(f" {notes[-1]}<|im_end|>", True)]
    opening, closing = SUMMARY.split("{summary}")
    told = f"{start.left - len(steps)}:{notes[-1]}{closing}<|im_end|>"
    return [Piece(given, False), Piece(opening, False), Piece(told, True)]
