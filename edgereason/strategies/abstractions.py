"""Short hints are drawn, several solutions follow each of them, and all answers vote.

Paper: https://arxiv.org/abs/2510.02263 (RLAD)
prompt -> hint * hints -> (hint told -> think -> answer) * hints * samples -> majority of the values

Published: Qwen3-1.7B on AIME25, with its hints from 34 to 36 %, after training for them from 38 to
42 %. Untrained hints took the same model from 86 to 78 % on AMC23. With much to spend, more hints
are better than more solutions of each.
Not for models that were not trained for it: a hint of their own that is wrong misleads.

Cost: `hints` short texts, and `hints` * `samples` thoughts
Measured: Qwen2.5-Coder-0.5B, 16 of GSM8K: 1 right, thinking 3, at 2.3 times its tokens. nano, 60
sums: 0 right, thinking 58: loses on what was measured.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from edgereason.config import ABOVE_0, MOST, require_ranges
from edgereason.errors import UsageError
from edgereason.records import Answer, Capability, Segment
from edgereason.strategies.base import Fork, Steps, Turn, choose
from edgereason.strategies.vote import MOST_SAMPLES, elected, settled

needs = Capability.LOGITS | Capability.FORK

_ASKED: Final = (
    "Do not answer yet. Give one hint: a rule or procedure that helps with such problems."
)


@dataclass(frozen=True, slots=True)
class Config:
    hints: int = field(default=3, metadata={"help": "that are drawn; 0 only thinks"})
    samples: int = field(default=1, metadata={"help": "solutions that follow each hint"})
    tokens: int = field(default=60, metadata={"help": "longest hint"})
    temperature: float = field(
        default=1.0, metadata={"help": "of hints, and of solutions where they are several of one"}
    )
    control: bool = field(
        default=False, metadata={"help": "the words of hints are shuffled, to compare with"}
    )

    def __post_init__(self) -> None:
        require_ranges(
            self, hints=(0, MOST), samples=(1, MOST), tokens=(1, MOST), temperature=(ABOVE_0, MOST)
        )
        if self.hints * self.samples > MOST_SAMPLES:
            raise UsageError(
                f"hints times samples must be {MOST_SAMPLES} or less, "
                f"got {self.hints} times {self.samples}"
            )


def run(turn: Turn, config: Config) -> Steps:
    think = choose("think", bundle=turn.bundle)
    if not turn.can_think or not config.hints:
        answer: Answer = yield from think.run(turn)
        return answer
    drawn = [_hint(turn.reseeded(i), config) for i in range(config.hints)]
    hints: tuple[Answer, ...] = yield Fork(tuple(drawn))
    asked = [_told(turn, hint.answer, config) for hint in hints]
    if config.samples > 1:
        asked = [each.warmed(config.temperature) for each in asked]
    order = enumerate(asked * config.samples)  # so that each draws its own random numbers
    answers = yield Fork(tuple(think.run(each.reseeded(i)) for i, each in order), settled)
    return elected(answers)


def _hint(turn: Turn, config: Config) -> Steps:
    done = yield turn.told(_ASKED).carry("hint", config.tokens, config.temperature)
    return Answer(done.text)


def _told(turn: Turn, hint: str, config: Config) -> Turn:
    """A hint is part of the line of thought that follows it, and spends its budget."""
    if not hint:
        return turn
    asked = turn.spent(turn.count((Segment(hint, control=False),)))
    words = hint.split()
    if config.control:
        random.Random(turn.sampling.seed).shuffle(words)
        hint = " ".join(words)
    return asked.told(f"A hint that may help: {hint}")
