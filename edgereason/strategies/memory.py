"""Think with lessons at hand that were learned from questions like this one.

Paper: https://arxiv.org/abs/2509.25140 (ReasoningBank), with a checker in the judge's place
prompt with the lessons of similar questions -> think -> answer

The bank is filled by whoever knows what is right (`planning/bank.py`); a small model that judged
itself would keep its mistakes.
Published: better than raw traces on web and software tasks, with large models.
Not for single questions of many kinds: a lesson that does not fit misleads.

Cost: a thought and a longer prompt
Measured: Qwen2.5-Coder-0.5B, 16 of GSM8K, a bank of 7,473 worked solutions: 0 right, thinking 3:
behind a solution it answers at once. Loses on what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from edgereason.config import MOST, require_ranges
from edgereason.errors import UsageError
from edgereason.planning.bank import Bank
from edgereason.records import Answer, Capability
from edgereason.strategies.base import Steps, Turn, choose

needs = Capability.LOGITS

_TOLD: Final = "This helped with a similar question:"


@dataclass(frozen=True, slots=True)
class Config:
    bank: Path | None = field(
        default=None, metadata={"help": "file of lessons; without one it only thinks"}
    )
    lessons: int = field(default=1, metadata={"help": "that are told at most"})

    def __post_init__(self) -> None:
        require_ranges(self, lessons=(0, MOST))
        if self.bank and not self.bank.is_file():
            raise UsageError(f"there is no bank {self.bank}", "fill one: see docs/ways.md")


def run(turn: Turn, config: Config) -> Steps:
    lessons = _found(turn.messages[-1].content, config)
    told = "\n".join(f"{_TOLD} {lesson}" for lesson in lessons)
    asked = turn.told(told) if told else turn
    answer: Answer = yield from choose("think", bundle=turn.bundle).run(asked)
    return replace(answer, note=f"{len(lessons)} lessons told") if lessons else answer


def _found(question: str, config: Config) -> tuple[str, ...]:
    if not config.bank or not config.lessons:
        return ()
    with Bank(config.bank) as bank:
        return tuple(each.lesson for each in bank.find(question, config.lessons))
