"""Think, then answer: the model's own way, within the budget.

prompt -> think -> answer

Cost: a thought and the answer
Measured: the yardstick of all others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from edgereason.errors import UnsupportedError, UsageError
from edgereason.records import Answer, Capability, Phase, Probe, Role
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS
is_plain = True

# NoWait, https://arxiv.org/abs/2506.08343; without "any", "now" and such, which mean too much
_DOUBTS: Final = (
    "wait", "alternatively", "hmm", "but", "however", "alternative", "another", "check",
    "double-check", "oh", "maybe", "verify", "other",
)  # fmt: skip
_NEVER: Final = -100.0  # added to a logit
_MOST_BRAKE: Final = 1000.0
_PROBE_EVERY: Final = 64
_EXIT_PAYS: Final = 0.85  # of the thinking tokens: a perfect exit that needs more saves too little


@dataclass(frozen=True, slots=True)
class Config:
    doubts: bool = field(
        default=True,
        metadata={
            "help": "false: words such as wait, hmm, however are not written in thoughts (NoWait); "
            "shorter, and wrong more often on small models"
        },
    )
    brake: float = field(
        default=0.0,
        metadata={
            "help": "nats: thinking ends at the end of a sentence where the end mark is this near "
            "to the likeliest token (ThinkBrake, from 0.1 on); 0: never. Saves nothing on models "
            "that do not go on once they know"
        },
    )
    sure: float = field(
        default=1.0,
        metadata={
            "help": "thinking ends once a probe answers with so much confidence (DEER, from 0.95 "
            "on; each 64 tokens where no probes are asked for); 1: never. Costs small models right "
            "answers"
        },
    )

    def __post_init__(self) -> None:
        if not 0 <= self.brake <= _MOST_BRAKE:
            raise UsageError(
                f"brake must be between 0 (off) and {_MOST_BRAKE:g} nats, got {self.brake:g}"
            )
        if not 0 < self.sure <= 1:
            raise UsageError(f"sure must be above 0 and at most 1 (off), got {self.sure:g}")


def run(turn: Turn, config: Config) -> Steps:
    phase = turn.think(then=turn.answer())
    if phase.role is Role.THINK:  # else the answer is all there is
        phase = replace(phase, brake=config.brake)
        if config.sure < 1:
            probe = phase.probe or Probe(_PROBE_EVERY, turn.bundle.reasoning.probe)
            phase = replace(phase, probe=replace(probe, sure=config.sure))
        if not config.doubts:
            phase = _without_doubts(turn, phase)
    done = yield phase
    return Answer(done.text, confidence=done.confidence, note=_exit_note(turn, config))


def _exit_note(turn: Turn, config: Config) -> str:
    """Where it is known that no exit can save much, who asks for one is told."""
    needed = turn.calibration.exits if turn.calibration else None
    if needed is None or needed < _EXIT_PAYS or (not config.brake and config.sure == 1):
        return ""
    return f"even a perfect exit would think {needed:.0%} of the tokens here, so none can pay"


def _without_doubts(turn: Turn, phase: Phase) -> Phase:
    """The words are free again in the answer. What the user says of a token holds."""
    tokens = turn.words(_DOUBTS)
    if not tokens:
        raise UnsupportedError(
            "doubts=false: none of its words is a token of this model", "leave the option out"
        )
    bias = {**dict.fromkeys(tokens, _NEVER), **phase.sampling.logit_bias}
    return replace(phase, sampling=replace(phase.sampling, logit_bias=bias))
