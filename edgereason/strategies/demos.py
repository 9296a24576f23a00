"""Worked examples that may be wrong are mended before they are told; then several thoughts vote.

Paper: https://arxiv.org/abs/2410.23856 (CD-CoT)
(noisy example beside a clean one -> written anew) * rephrase -> those that keep their answer ->
examples drawn * sets -> (think -> answer) * samples -> majority of the values

The file has JSON lines: `question`, `answer` with its steps and at last `#### 72`, and where its
steps are known to be right `clean: true`.
Published: 17.8 points over prompts with noisy examples, GPT-3.5; such examples cost it 1 to 20
points where they are beside the point, 2 to 40 where they are wrong.
Not for small models, which write new mistakes into examples: `noisy=drop` is the cheap rival. And
not for the same examples each time: what was mended once can go into the file.

Cost: `rephrase` texts for each noisy example, and `samples` thoughts behind a longer prompt
Measured: Qwen2.5-Coder-0.5B, 16 of GSM8K, two of four examples noisy: 2 right, thinking 3, at 7.5
times its tokens. nano, 60 sums: 1 right, thinking 58: loses on what was measured.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from edgereason.config import ABOVE_0, MOST, build, require_ranges
from edgereason.errors import UsageError
from edgereason.records import Answer, Capability, Message, StopReason
from edgereason.strategies.base import Fork, Steps, Turn, choose
from edgereason.strategies.vote import MOST_SAMPLES, elected, settled
from edgereason.values import Value, extract_answer, normalize

needs = Capability.LOGITS | Capability.FORK

_MOST_DEMOS: Final = 16
_MOST_REPHRASED: Final = 16
_HOT: Final = 1.0  # temperature of what is written anew
_MEND: Final = """\
Question: {clean.question}
Solution: {clean.answer}

The next solution comes to the right result, but some of its steps may be wrong or beside the point.
Question: {noisy.question}
Solution: {noisy.answer}

Write that solution anew, like the first: only steps that are right and needed, and at last ####
and the result."""


@dataclass(frozen=True, slots=True)
class Config:
    file: Path | None = field(
        default=None, metadata={"help": "JSON lines of examples; without one it only thinks"}
    )
    noisy: Literal["mend", "drop", "tell"] = field(
        default="mend", metadata={"help": "examples that are not clean: mend, leave out, or tell"}
    )
    rephrase: int = field(default=5, metadata={"help": "times that each is written anew"})
    sets: int = field(default=2, metadata={"help": "sets that are drawn of what was mended"})
    samples: int = field(default=5, metadata={"help": "chains of thought, dealt out to the sets"})
    tokens: int = field(default=200, metadata={"help": "longest example that is written anew"})
    temperature: float = field(
        default=0.6, metadata={"help": "used where the request's own is 0, and samples are several"}
    )

    def __post_init__(self) -> None:
        require_ranges(
            self,
            rephrase=(1, _MOST_REPHRASED),
            sets=(1, MOST_SAMPLES),
            samples=(1, MOST_SAMPLES),
            tokens=(1, MOST),
            temperature=(ABOVE_0, MOST),
        )
        if self.file and self.noisy == "mend" and not any(demo.clean for demo in read(self.file)):
            raise UsageError(
                f"{self.file} has no example to mend others by",
                'mark one with "clean": true, or say noisy=drop or noisy=tell',
            )


@dataclass(frozen=True, slots=True)
class Demo:
    """A worked example. `clean`: its steps are known to be right."""

    question: str
    answer: str
    clean: bool = False


def run(turn: Turn, config: Config) -> Steps:
    think = choose("think", bundle=turn.bundle)
    demos = read(config.file) if config.file else ()
    if not demos:
        answer: Answer = yield from think.run(turn)
        return answer
    known = {demo: [demo.answer] for demo in demos if demo.clean or config.noisy == "tell"}
    if config.noisy == "mend" and turn.can_think:  # what is written anew is thought
        clean = next(demo for demo in demos if demo.clean)
        lines = [demo for demo in demos if demo not in known for _ in range(config.rephrase)]
        mended = yield Fork(
            tuple(_mended(turn.reseeded(i), clean, demo, config) for i, demo in enumerate(lines))
        )
        for demo, anew in zip(lines, mended, strict=True):
            if anew.answer:
                known.setdefault(demo, []).append(anew.answer)
    drawn = random.Random(turn.sampling.seed)
    told = [demo for demo in demos if demo in known]
    sets = [[(demo, drawn.choice(known[demo])) for demo in told] for _ in range(config.sets)]
    asked = turn if config.samples == 1 else turn.warmed(config.temperature)
    turns = [_shown(asked.reseeded(i), sets[i % config.sets]) for i in range(config.samples)]
    answers = yield Fork(tuple(think.run(each) for each in turns), settled)
    return replace(elected(answers), note=f"{len(told)} of {len(demos)} examples told")


def _mended(turn: Turn, clean: Demo, noisy: Demo, config: Config) -> Steps:
    """Nothing where it was cut, or does not come to the same answer any more."""
    text = _MEND.format(clean=clean, noisy=noisy)
    asked = replace(turn, messages=(Message("user", text),))
    done = yield asked.carry("mended", config.tokens, _HOT)
    kept = done.reason is StopReason.STOP and _result(done.text) == _result(noisy.answer)
    return Answer(done.text if kept else "")


def _result(answer: str) -> Value:
    return normalize(extract_answer(answer))


def _shown(turn: Turn, demos: Sequence[tuple[Demo, str]]) -> Turn:
    """Examples stand as earlier turns, behind what the system says."""
    shown = [
        message
        for demo, answer in demos
        for message in (Message("user", demo.question), Message("assistant", answer))
    ]
    first = next(i for i, message in enumerate(turn.messages) if message.role != "system")
    return replace(turn, messages=(*turn.messages[:first], *shown, *turn.messages[first:]))


def read(path: Path) -> tuple[Demo, ...]:
    """The examples of a file. Raises `UsageError` where it has none, or too many."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read examples from {path}: {error}") from None
    demos = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise UsageError(f'{path}, line {number}: expected {{"question": ..., "answer": ...}}')
        demos.append(build(Demo, record, what=f"key of {path}, line {number},"))
    if not 1 <= len(demos) <= _MOST_DEMOS:
        raise UsageError(f"{path} must hold 1 to {_MOST_DEMOS} examples, got {len(demos)}")
    return tuple(demos)
