"""Think, then answer: the model's own way, within the budget.

prompt -> think -> answer
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from edgereason.errors import UnsupportedError
from edgereason.records import Answer, Capability, Phase
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS
is_plain = True

# NoWait, https://arxiv.org/abs/2506.08343; without "any", "now" and such, which mean too much
_DOUBTS: Final = (
    "wait", "alternatively", "hmm", "but", "however", "alternative", "another", "check",
    "double-check", "oh", "maybe", "verify", "other",
)  # fmt: skip
_NEVER: Final = -100.0  # added to a logit


@dataclass(frozen=True, slots=True)
class Config:
    doubts: bool = field(
        default=True,
        metadata={
            "help": "false: words such as wait, hmm, however are not written in thoughts (NoWait); "
            "shorter, and wrong more often on small models"
        },
    )


def run(turn: Turn, config: Config) -> Steps:
    phase = turn.think(then=turn.answer())
    done = yield phase if config.doubts else _without_doubts(turn, phase)
    return Answer(done.text, confidence=done.confidence)


def _without_doubts(turn: Turn, phase: Phase) -> Phase:
    """The words are free again in the answer. What the user says of a token holds."""
    tokens = turn.words(_DOUBTS)
    if not tokens:
        raise UnsupportedError(
            "doubts=false: none of its words is a token of this model", "leave the option out"
        )
    bias = {**dict.fromkeys(tokens, _NEVER), **phase.sampling.logit_bias}
    return replace(phase, sampling=replace(phase.sampling, logit_bias=bias))
