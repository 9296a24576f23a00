"""Answer now, with what a slower planner has thought so far: the reactive half of AgileThinker.

AgileThinker: https://arxiv.org/abs/2511.04898
the planner's thoughts + prompt -> think -> answer

The planner is a request of its own and may still be running; `edgereason.robot.Agile` has both.
Without thoughts this is strategy `of`, token for token. Not for single questions, which have no
earlier state to think about. Thoughts come before the state, so that of a thought that goes on only
what is new is read.

Cost: that of `of`, and a prompt longer by the thoughts
Measured: no gain with a 0.5B or nano in three games, and a loss in one (docs/robots.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from edgereason import strategies
from edgereason.config import MOST, require_ranges
from edgereason.errors import UsageError
from edgereason.records import Capability
from edgereason.registry import load
from edgereason.strategies.base import Steps, Turn, choose

needs = Capability.LOGITS

_QUOTED: Final = (
    "A slower thinker works on this too. What it has thought so far, which may break off in the "
    "middle:\n<thoughts>\n{thoughts}\n</thoughts>\n\n"
)
_AGED: Final = "The thoughts above are about {when}. Use what still holds."


@dataclass(frozen=True, slots=True)
class Config:
    thoughts: str = field(default="", metadata={"help": "what the planner has thought so far"})
    age: int = field(default=0, metadata={"help": "turns since the state the thoughts are about"})
    quoted_chars: int = field(
        default=2000, metadata={"help": "of the thoughts the last so many characters are read"}
    )
    of: str = field(default="think", metadata={"help": "strategy that answers"})

    def __post_init__(self) -> None:
        require_ranges(self, age=(0, MOST), quoted_chars=(1, MOST))
        if load(strategies, self.of).__name__ == __name__:
            raise UsageError("agile cannot answer by agile", "say of=think, for one")


def run(turn: Turn, config: Config) -> Steps:
    thoughts = config.thoughts.strip()[-config.quoted_chars :]
    if thoughts:
        turn = turn.told(
            _AGED.format(when=_when(config.age)), before=_QUOTED.format(thoughts=thoughts)
        )
    return choose(config.of if turn.can_think else "no-think", bundle=turn.bundle).run(turn)


def _when(age: int) -> str:
    if age == 0:
        return "the present state"
    return f"the state of {age} turn{'s' if age > 1 else ''} ago"
