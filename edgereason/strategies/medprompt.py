"""Choices are scored, not written: in several orders, since models prefer places to contents.

Paper: https://arxiv.org/abs/2311.16452 (Medprompt), of which this is the shuffled choices
prompt with choices -> score of each letter, * orders -> mean of the probabilities -> the choice

Published: 5 shuffled runs with chains and neighbours' examples, GPT-4 on MMLU 89.1 %. Here nothing
is generated, so that a question costs its prompts only.
Not for questions without choices, which it thinks about, nor where the choice needs a calculation.

Cost: the prompt, `orders` times; no token is sampled
Measured: Qwen2.5-Coder-0.5B, 8 of ARC-Challenge, five orders: 2 right, bare 3: not told apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from edgereason.config import MOST, require_ranges
from edgereason.errors import UsageError
from edgereason.records import Answer, Candidate, Capability, Phase, Role
from edgereason.strategies.base import Steps, Turn, choose

needs = Capability.LOGITS
takes_grammar = False  # the answer is a choice that was given

_LETTERS: Final = "ABCDEFGHIJKLMNOP"
_LINE: Final = re.compile(r"^\s*\(?([A-P])[).:]\s+(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Config:
    choices: tuple[str, ...] = field(
        default=(),
        metadata={"help": 'what there is to choose from; default: lines "A) ..." of the question'},
    )
    orders: int = field(default=5, metadata={"help": "orders in which they are shown"})

    def __post_init__(self) -> None:
        require_ranges(self, orders=(1, MOST))
        if len(self.choices) == 1 or len(self.choices) > len(_LETTERS):
            raise UsageError(f"choices must be 2 to {len(_LETTERS)}, got {len(self.choices)}")
        if len(set(self.choices)) < len(self.choices) or "" in self.choices:
            raise UsageError("choices must differ, and none may be empty")


def run(turn: Turn, config: Config) -> Steps:
    listed = () if config.choices else _listed(turn.messages[-1].content)
    choices = config.choices or listed
    if not choices:
        answer = yield from choose("think", bundle=turn.bundle).run(turn)
        return replace(answer, note="there are no choices to score")
    sums = [0.0] * len(choices)
    for order in _orders(len(choices), config.orders):
        done = yield _scored(turn, choices, order, asked=not listed)
        if not done.scores:  # cut short: what is known decides
            break
        for index, share in zip(order, _shares(done.scores), strict=True):
            sums[index] += share
    return _chosen(choices, sums, letters=bool(listed))


def _listed(question: str) -> tuple[str, ...]:
    """The choices that a question lists itself, from A on; else none."""
    found = _LINE.findall(question)
    letters = "".join(letter for letter, _ in found)
    return (
        tuple(text for _, text in found) if len(found) > 1 and _LETTERS.startswith(letters) else ()
    )


def _orders(num: int, orders: int) -> list[tuple[int, ...]]:
    """Each moves the choices on by one, so that as many orders show each choice at each place; the
    first is as given."""
    return [tuple((i + shift) % num for i in range(num)) for shift in range(min(orders, num))]


def _scored(turn: Turn, choices: Sequence[str], order: Sequence[int], *, asked: bool) -> Phase:
    """Nothing is sampled: how likely is each letter as the first token of the answer?"""
    letters = _LETTERS[: len(order)]
    shown = "\n".join(f"{name}) {choices[i]}" for name, i in zip(letters, order, strict=True))
    told = f"{shown}\n\nAnswer with the letter of the right choice and nothing else."
    if not asked:  # in place of the list in the question
        last = turn.messages[-1]
        bare = replace(last, content=_LINE.sub("", last.content).strip())
        turn = replace(turn, messages=(*turn.messages[:-1], bare))
    prompt = turn.told(told).prompt(thinking=False)
    return Phase("score", Role.PREFILL, fresh=prompt, budget=0, score=tuple(letters))


def _shares(scores: Sequence[float]) -> list[float]:
    """Probabilities among the letters alone."""
    best = max(scores)
    weights = [math.exp(score - best) for score in scores]
    return [weight / math.fsum(weights) for weight in weights]


def _chosen(choices: Sequence[str], sums: Sequence[float], *, letters: bool) -> Answer:
    total = math.fsum(sums)
    if not total:
        return Answer("", confidence=0.0)
    texts = [f"{_LETTERS[i]}) {text}" if letters else text for i, text in enumerate(choices)]
    shares = [each / total for each in sums]
    ranked = sorted(zip(texts, shares, strict=True), key=lambda pair: -pair[1])
    candidates = tuple(Candidate(text, votes=1, confidence=share) for text, share in ranked)
    return Answer(ranked[0][0], confidence=ranked[0][1], candidates=candidates)
