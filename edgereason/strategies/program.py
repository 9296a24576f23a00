"""Write a short Python function and run it: what it returns is the answer.

Papers: https://arxiv.org/abs/2211.10435 (PAL), https://arxiv.org/abs/2211.12588 (PoT)
prompt with three examples -> program -> run it -> [think -> answer, where it does not run]

For questions whose answer is a number. The program runs in a child process with limits: see
`runtime/sandbox.py` for what that keeps out and what not.

Cost: some 55 tokens, and a child process
Measured: Qwen2.5-Coder-0.5B, 659 of GSM8K: 159 right, as thinking has, at a quarter of its tokens
and 0.35 of its time; 100 of reasoning-gym: 42, thinking 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edgereason.config import MOST, require_ranges
from edgereason.records import Answer, Capability, Message, Phase, Role, StopReason
from edgereason.strategies.base import Call, Fork, Returned, Steps, Turn, choose

needs = Capability.LOGITS
draft: Mapping[str, Any] = {"rescue": False}
takes_grammar = False  # the answer is what a program returns

_FUNCTION: Final = "solution"
_OPENING: Final = f"```python\ndef {_FUNCTION}():\n"
_TOLD: Final = f"Write a short Python function {_FUNCTION}() that returns the answer."
_EXAMPLES: Final = (
    (
        "Ann has 3 boxes of 12 pens. She gives 5 pens away. How many are left?",
        "    pens = 3 * 12\n    left = pens - 5\n    return left",
    ),
    (
        "A shirt costs $20 and is 25% off. How much do two of them cost?",
        "    price = 20 * (1 - 0.25)\n    total = 2 * price\n    return total",
    ),
    (
        "Tom is twice as old as Eva. In 4 years Eva will be 14. How old is Tom?",
        "    eva = 14 - 4\n    tom = 2 * eva\n    return tom",
    ),
)


@dataclass(frozen=True, slots=True)
class Config:
    tokens: int = field(default=160, metadata={"help": "longest program"})
    seconds: float = field(default=2.0, metadata={"help": "time that the program may run"})
    memory_mib: int = field(default=256, metadata={"help": "memory that the program may take"})
    rescue: bool = field(
        default=True, metadata={"help": "think where the program does not run; else answer nothing"}
    )

    def __post_init__(self) -> None:
        require_ranges(self, tokens=(1, MOST))
        Call("", seconds=self.seconds, memory_mib=self.memory_mib)  # raises what is wrong


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think:
        done = yield turn.direct()
        return Answer(done.text, confidence=done.confidence)
    written = yield _program(turn, config)
    if written.reason is StopReason.STOP:
        returned: Returned = yield Call(
            f"def {_FUNCTION}():\n{written.text}", _FUNCTION, config.seconds, config.memory_mib
        )
        if returned.value:
            return Answer(returned.value, confidence=written.confidence)
        why = returned.error
    else:
        why = f"it was cut by {written.reason.value}"
    note = f"the program gave no answer: {why}"
    if not config.rescue or written.reason is StopReason.CANCELLED:
        return Answer("", confidence=0.0, note=note)
    # In a line of its own: what stands before every program's question stays read in this one.
    think = choose("think", bundle=turn.bundle).run(turn.spent(written.num_tokens))
    answer: Answer
    (answer,) = yield Fork((think,), shown=0)
    return replace(answer, note=note)


def _program(turn: Turn, config: Config) -> Phase:
    """A program is a thought: it spends the thinking budget."""
    return Phase(
        "program",
        Role.THINK,
        fresh=_with_examples(turn).prompt(thinking=False),
        force=_OPENING,
        budget=turn.at_most(config.tokens),
        shut=("```", "\ndef "),
        sampling=turn.sampling,
        loop=turn.loop,
        owed=turn.budget.answer_tokens if config.rescue else 0,
    )


def _with_examples(turn: Turn) -> Turn:
    """The examples stand after what the system says and before the conversation."""
    shown: list[Message] = []
    for question, body in _EXAMPLES:
        shown.append(Message("user", f"{question}\n\n{_TOLD}"))
        shown.append(Message("assistant", f"{_OPENING}{body}\n```"))
    asked = turn.told(_TOLD).messages
    first = next(i for i, message in enumerate(asked) if message.role != "system")
    return replace(turn, messages=(*asked[:first], *shown, *asked[first:]))
