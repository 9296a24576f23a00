"""InftyThink (2503.06692): a long way in rounds, each of which knows only the newest summary.

question [history] -> <think> 8 steps </think> <summary> rounds left: x </summary>
                   -> <think> the last steps </think> answer

A round may begin anywhere on the way: any x with any number of applications to go is one. So a
round is drawn by itself, and ways of any length are learned from texts of one length.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from edgereason.bench.tasks import iterate
from edgereason.bench.tasks.base import split_of
from rich.progress import track
from tokenizers import Tokenizer
from torch.nn import functional

from edgereason.reasoning import FINAL_CUE

from .examples import OPEN, SHUT, Example, Piece, encode, prompt
from .model import Nano
from .train import padded

ROUND_STEPS: Final = 8
MAPS: Final = [(factor, term) for factor in range(2, 10) for term in range(1, iterate.MODULUS)]
BATCH: Final = 32  # rounds that are looked at side by side
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


@dataclass(frozen=True, slots=True)
class Start:
    """Where a round begins: its text, x -> factor * x + term, and the applications to go."""

    text: str
    x: int
    factor: int
    term: int
    left: int


def draw(
    step: int,
    *,
    seed: int,
    num: int,
    tokenizer: Tokenizer,
    hard: Sequence[Start] = (),
    share: float = 0.0,
) -> list[Example]:
    """The rounds of a training step, the same whenever and wherever they are drawn; a `share` of
    them begins where one of the `hard` ones does.
    """
    rng = random.Random(f"infty:{seed}:{step}")
    starts = [rng.choice(hard) if rng.random() < share else _start(rng) for _ in range(num)]
    return [encode(_round(rng, start), tokenizer) for start in starts]


def _start(rng: random.Random) -> Start:
    every = range(iterate.MODULUS)
    while True:
        x, (factor, term) = rng.choice(every), rng.choice(MAPS)
        left = round(MOST_TIMES ** rng.random())  # short ways as often as long ones
        question = iterate.ask(x, factor, term, left)
        if split_of(question) == "train":
            break
    if left > 1 and rng.random() < 0.8:
        x, left = rng.choice(every), rng.randint(1, left - 1)
        question += HISTORY.format(summary=f"{left}:{x}")
    return Start(question, x, factor, term, left)


def unsure(
    model: Nano, tokenizer: Tokenizer, *, sure: float = 0.9, maps: Sequence[tuple[int, int]] = MAPS
) -> list[Start]:
    """Rounds in which a step is less likely than `sure`, or wrong: what is left to be learned. All
    steps that there are, from every x by every map, are looked at, some more than once.
    """
    rng = random.Random("unsure")
    starts = [start for one in maps for start in _cover(rng, *one)]
    found = []
    for i in track(range(0, len(starts), BATCH), "looking for unsure steps"):
        some = starts[i : i + BATCH]
        found += [s for s, p in zip(some, _least(model, tokenizer, some), strict=True) if p < sure]
    return found


def _cover(rng: random.Random, factor: int, term: int) -> Iterator[Start]:
    """Rounds that pass through every x."""
    open_ = set(range(iterate.MODULUS))
    while open_:
        x, left = min(open_), rng.randint(ROUND_STEPS, MOST_TIMES)
        question = iterate.ask(rng.randrange(iterate.MODULUS), factor, term, left)
        if split_of(question) != "train":
            continue
        yield Start(question + HISTORY.format(summary=f"{left}:{x}"), x, factor, term, left)
        for _ in range(ROUND_STEPS):
            open_.discard(x)
            x = (x * factor + term) % iterate.MODULUS


def _least(model: Nano, tokenizer: Tokenizer, starts: Sequence[Start]) -> list[float]:
    """The probability of the least likely step of each round."""
    texts = [
        prompt(s.text) + OPEN + "\n".join(walk)
        for s in starts
        for walk, _ in [iterate.walk(s.x, s.factor, s.term, s.left, ROUND_STEPS)]
    ]
    rows = [tokenizer.encode(text).ids for text in texts]
    ids = padded(rows).to(model.device)
    with torch.inference_mode():
        hidden, _ = model(model.embed(ids[:, :-1]))
        logits = model.logits(hidden).float()
        told = -functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    begun = tokenizer.encode(OPEN).ids
    newline = tokenizer.encode("\n").ids[-1]
    out = []
    for row, said in zip(rows, told.tolist(), strict=True):
        first = next(i for i in range(len(row)) if row[i : i + len(begun)] == begun) + len(begun)
        steps = [0.0]
        for token, log in zip(row[first:], said[first - 1 :], strict=False):
            steps[-1] += log
            if token == newline:
                steps.append(0.0)
        out.append(math.exp(min(steps)))
    return out


def _round(rng: random.Random, start: Start) -> list[Piece]:
    num = min(ROUND_STEPS, start.left)
    cut = num > 1 and rng.random() < CUT
    length = rng.randrange(1, num) if cut else num
    steps, notes = iterate.walk(start.x, start.factor, start.term, start.left, length)
    return _cut(rng, start, steps, notes) if cut else _whole(start, steps, notes)


def _whole(start: Start, steps: list[str], notes: list[str]) -> list[Piece]:
    """A round that ends by itself, with a summary or with the answer."""
    rest = start.left - len(steps)
    ending = SUMMARY.format(summary=f"{rest}:{notes[-1]}") if rest else notes[-1]
    thought = OPEN + "\n".join(steps) + SHUT
    return [
        Piece(prompt(start.text), False),
        Piece(thought, True),
        Piece(ending + "<|im_end|>", True),
    ]


def _cut(rng: random.Random, start: Start, steps: list[str], notes: list[str]) -> list[Piece]:
    """A round cut by the runtime, which then forces a summary, or an answer as it stands."""
    given = prompt(start.text) + OPEN + "\n".join(steps) + SHUT
    if rng.random() < 0.3:
        return [Piece(given + FINAL_CUE, False), Piece(f" {notes[-1]}<|im_end|>", True)]
    opening, closing = SUMMARY.split("{summary}")
    told = f"{start.left - len(steps)}:{notes[-1]}{closing}<|im_end|>"
    return [Piece(given, False), Piece(opening, False), Piece(told, True)]
