"""The last message as it is, without a template: the model goes on with it.

text -> what follows

For text that is no conversation, such as code, and for scoring what is given.

Cost: what follows
Measured: not against thinking.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgereason.records import Answer, Capability, Phase, Role, Segment
from edgereason.strategies.base import Steps, Turn

needs = Capability.LOGITS
verbatim = True


@dataclass(frozen=True, slots=True)
class Config:
    tokens: tuple[int, ...] = field(
        default=(), metadata={"help": "token ids to go on with, instead of the message's text"}
    )
    score: bool = field(
        default=False, metadata={"help": "how likely each token of the text is, beside `logprobs`"}
    )
    only_score: bool = field(default=False, metadata={"help": "the same, and nothing follows"})


def run(turn: Turn, config: Config) -> Steps:
    scores = config.score or config.only_score
    phase = Phase(
        "text",
        Role.PREFILL if config.only_score else Role.ANSWER,
        fresh=config.tokens or (Segment(turn.messages[-1].content),),
        budget=0 if config.only_score else turn.budget.answer_tokens,
        stop=turn.stop,
        sampling=turn.sampling,
        logprobs=turn.logprobs,
        grammar=None if config.only_score else turn.grammar,
        score_prompt=scores,
    )
    done = yield phase
    return Answer(done.text, confidence=done.confidence)
