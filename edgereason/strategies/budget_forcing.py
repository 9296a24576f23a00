"""Budget forcing (s1): when the model stops thinking early, take its end mark back, append "Wait"
and go on.

Paper: https://arxiv.org/abs/2501.19393
prompt -> think -> [Wait -> think] * waits -> answer
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgereason.errors import UsageError
from edgereason.records import Answer, Capability, StopReason
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS | Capability.TRIM


@dataclass(frozen=True, slots=True)
class Config:
    waits: int = field(default=2, metadata={"help": "how often to refuse an early stop"})
    word: str = field(default="Wait", metadata={"help": "what is put in its place"})

    def __post_init__(self) -> None:
        if self.waits < 0:
            raise UsageError(f"waits must be 0 or more, got {self.waits}")


def run(turn: Turn, config: Config) -> Steps:
    if turn.is_silenced:
        done = yield turn.direct()
        return Answer(done.text, confidence=done.confidence)
    answer = turn.answer()
    phase = turn.think()
    for _ in range(config.waits):
        done = yield phase
        if done.reason is not StopReason.STOP:
            break
        phase = replace(turn.think(), fresh=None, retract=True, force=f"\n{config.word}")
    else:
        # The last stretch may end as it likes, and the answer follows without Python.
        phase = replace(phase, owed=0, then=answer)
        done = yield phase
        return Answer(done.text, confidence=done.confidence)
    done = yield answer
    return Answer(done.text, confidence=done.confidence)
