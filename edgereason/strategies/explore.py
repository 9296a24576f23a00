"""Several short plans are drawn, each is followed, and the answers vote.

Paper: https://arxiv.org/abs/2509.23946 (Explore-Execute Chain)
prompt -> (plan -> think along it -> answer) * samples -> majority of the values

Published for trained models: 58 % on AIME24 with a tenth of the tokens of a tree.
Not for small models that were not trained to plan: they ignore the plan, or answer in it.

Cost: as many plans and thoughts as `samples`
Measured: Qwen2.5-Coder-0.5B, 16 of GSM8K: 1 right, thinking 3, at twice its tokens. nano, 60 sums:
0 right, thinking 58: loses on what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from edgereason.config import MOST, require_ranges
from edgereason.records import Capability
from edgereason.strategies.base import Fork, Steps, Turn, choose
from edgereason.strategies.vote import MOST_SAMPLES, elected, settled

needs = Capability.LOGITS | Capability.FORK

_ASKED: Final = (
    "Do not answer yet. Say in two to four short sentences how you will find the answer."
)


@dataclass(frozen=True, slots=True)
class Config:
    samples: int = field(default=3, metadata={"help": "plans that are followed; 0 only thinks"})
    tokens: int = field(default=60, metadata={"help": "longest plan"})
    temperature: float = field(
        default=1.0, metadata={"help": "of plans; the rest is the request's"}
    )

    def __post_init__(self) -> None:
        require_ranges(self, samples=(0, MOST_SAMPLES), tokens=(1, MOST), temperature=(0, MOST))


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think or not config.samples:
        answer = yield from choose("think", bundle=turn.bundle).run(turn)
        return answer
    children = tuple(_followed(turn.reseeded(i), config) for i in range(config.samples))
    answers = yield Fork(children, settled)
    return elected(answers)


def _followed(turn: Turn, config: Config) -> Steps:
    plan = yield turn.told(_ASKED).carry("plan", config.tokens, config.temperature)
    text = plan.text.strip()
    asked = turn.told(f"Follow this plan: {text}") if text else turn
    answer = yield from choose("think", bundle=turn.bundle).run(asked.spent(plan.num_tokens))
    return answer
