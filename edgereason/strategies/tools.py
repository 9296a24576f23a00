"""Think with Python at hand: programs that it writes are run, their output stands in the thought.

Paper: https://arxiv.org/abs/2309.17452 (ToRA), AgentMath's limits made small
prompt -> ```python, forced -> program -> run it -> its output, not sampled -> think -> answer

Published for models trained to do so: AgentMath-30B 90.6 % on AIME24. An untrained small model
opens no block by itself, so the first is forced. A program runs by itself, in a child process with
limits (`runtime/sandbox.py`): it sees no variable of an earlier one.
Not for questions that no calculation answers.

Cost: a program of some 60 tokens, then a thought
Measured: Qwen2.5-Coder-0.5B, 32 of GSM8K: 6 right, thinking 7, at half its tokens; 100 of
reasoning-gym: 24 right, thinking 15, a program 42: not told apart from thinking.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from edgereason.config import MOST, require_ranges
from edgereason.records import Answer, Capability, Phase, Segment
from edgereason.strategies.base import Call, Returned, Steps, Turn, choose

needs = Capability.LOGITS

_OPENS: Final = "```python\n"
_SHUTS: Final = "```"
_TOLD: Final = (
    "You can use Python. A block that begins with ```python is run, and you see what it prints. "
    "For example, to know how many pens are left of 3 boxes of 12 when 5 are given away:\n"
    "```python\npens = 3 * 12\nleft = pens - 5\nprint(left)\n```\n```output\n31\n```\n"
    "Calculate first, then use the output."
)


@dataclass(frozen=True, slots=True)
class Config:
    calls: int = field(default=4, metadata={"help": "programs that are run at most; 0 only thinks"})
    forced: bool = field(default=True, metadata={"help": "thinking begins with a program"})
    tokens: int = field(default=160, metadata={"help": "longest program"})
    output_tokens: int = field(default=200, metadata={"help": "of an output that are shown"})
    seconds: float = field(default=2.0, metadata={"help": "time that a program may run"})
    memory_mib: int = field(default=256, metadata={"help": "memory that a program may take"})

    def __post_init__(self) -> None:
        require_ranges(self, calls=(0, MOST), tokens=(1, MOST), output_tokens=(1, MOST))
        Call("", seconds=self.seconds, memory_mib=self.memory_mib)  # raises what is wrong


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think or not config.calls:
        plain = yield from choose("think", bundle=turn.bundle).run(turn)
        return plain
    reasoning = turn.bundle.reasoning
    first = turn.told(_TOLD).think()
    phase = _thought(first, more=True)
    if config.forced:
        phase = replace(_program(first, config), force=_OPENS)
    num_calls = 0
    while True:
        is_program = phase.shut == (_SHUTS,)
        done = yield phase
        if done.mark == _OPENS:
            phase = replace(_program(first, config), fresh=None)
        elif is_program and done.mark:
            returned: Returned = yield Call(done.text, "", config.seconds, config.memory_mib)
            num_calls += 1
            thought = _thought(first, more=num_calls < config.calls)
            phase = replace(thought, fresh=None, force=_output(turn, returned, config))
        else:
            break
    answer = turn.answer()
    if is_program:  # it was cut in the middle of a program, and nothing has ended the thought
        answer = replace(answer, force=f"\n{_SHUTS}{reasoning.close}{reasoning.answer}")
    said = yield answer
    return Answer(said.text, confidence=said.confidence, note=f"{num_calls} programs were run")


def _program(first: Phase, config: Config) -> Phase:
    budget = config.tokens if first.budget < 0 else min(first.budget, config.tokens)
    return replace(first, budget=budget, shut=(_SHUTS,), close="", probe=None, soft=1.0)


def _thought(first: Phase, *, more: bool) -> Phase:
    """`more`: it may open another program."""
    return replace(first, shut=(*first.shut, _OPENS)) if more else first


def _output(turn: Turn, returned: Returned, config: Config) -> tuple[Segment, ...]:
    """What a program says is data: no control tokens, no fence that ends its block, and not more
    than there is room for."""
    told = (returned.value or returned.error.rpartition("\n")[2]).replace(_SHUTS, "'''")
    while turn.count((Segment(told, control=False),)) > config.output_tokens:
        told = told[: max(1, len(told) * 3 // 4)] if len(told) > 4 else ""
    return (Segment("\n```output\n"), Segment(told, control=False), Segment("\n```\n"))
