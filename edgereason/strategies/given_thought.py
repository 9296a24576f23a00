"""Answer after a thought that is given: written before, by this model or by another.

prompt + thought -> answer

The thought is put into the context, not sampled, and no thinking budget is spent. It is text: what
looks like a control token in it is not one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgereason.prompt.standing import overlap
from edgereason.records import Answer, Capability, Segment
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS


@dataclass(frozen=True, slots=True)
class Config:
    thought: str = field(default="", metadata={"help": "what was thought, without its end mark"})


def run(turn: Turn, config: Config) -> Steps:
    if turn.is_silenced:  # the prompt has no place for a thought
        done = yield turn.direct()
        return Answer(done.text, confidence=done.confidence)
    # Each is tokenized by itself, as where the thought was sampled and its end forced.
    thought = (Segment(config.thought, control=False),) if config.thought else ()
    close = turn.bundle.reasoning.close
    close = close[overlap(config.thought, close) :]  # as the core ends a thought
    fresh = (*turn.prompt(thinking=True), *thought, *((Segment(close),) if close else ()))
    done = yield replace(turn.answer(), fresh=fresh)
    return Answer(done.text, reasoning=config.thought.strip(), confidence=done.confidence)
