"""Think, let a critic look, and think again with what it says, until it finds nothing wrong.

Paper: https://arxiv.org/abs/2411.16579 (MathCritique)
prompt -> think -> answer -> (critique -> right? the answer : critique told -> think -> answer) *
rounds

The critic is the same model: it writes about each step, then is asked for a verdict, which is
scored and not written. A program (`check`) may give the verdict in its place. An answer that is
judged right is left alone; one that is judged wrong gives way to the next.
Published: a critic that was tuned on 76,000 critiques helps an actor of 8B on hard questions.
Not for small models without a program: what they think of an answer says little (see `verify`).

Cost: a thought, and for each round a critique and a thought more
Measured: Qwen2.5-Coder-0.5B, 16 of GSM8K: 3 right, as thinking, at 1.8 times its tokens. nano, 60
sums: 1 right, thinking 58: loses on what was measured. With the verdict of an oracle 58, with one
by lot 32.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from edgereason.config import MOST, require_ranges
from edgereason.records import Answer, Capability, Message, StopReason
from edgereason.strategies._judge import MOST_SHOWN, belief, check_program, judged, verdict
from edgereason.strategies.base import Fork, Steps, Turn, choose
from edgereason.strategies.vote import elected

needs = Capability.LOGITS | Capability.FORK

_MOST_ROUNDS: Final = 100
_OVER: Final = (StopReason.DEADLINE, StopReason.CANCELLED, StopReason.REFUSED)
_ASKED: Final = "Check this solution. Say of each step whether it is right, or why it is not."
_VERDICT: Final = "So is the solution right? Answer Yes or No and nothing else."


@dataclass(frozen=True, slots=True)
class Config:
    rounds: int = field(default=2, metadata={"help": "critiques at most; 0 only thinks"})
    tokens: int = field(default=256, metadata={"help": "longest critique; 0: a verdict alone"})
    sure: float = field(
        default=0.5, metadata={"help": "an answer this likely to be right is left alone"}
    )
    check: Path | None = field(
        default=None, metadata={"help": "Python file whose check(question, text) is the verdict"}
    )

    def __post_init__(self) -> None:
        require_ranges(self, rounds=(0, _MOST_ROUNDS), tokens=(0, MOST), sure=(0, 1))
        check_program(self.check)


def run(turn: Turn, config: Config) -> Steps:
    think = choose("think", bundle=turn.bundle)
    if not config.rounds or not turn.can_think:
        answer: Answer = yield from think.run(turn)
        return answer
    (answer,) = yield Fork((think.run(turn),))
    answers, note = [answer], ""
    for number in range(1, config.rounds + 1):
        critique: Answer
        (critique,) = yield Fork((_criticized(turn, answers[-1], config),))
        if critique.note or critique.finish in _OVER:
            note = critique.note
            break
        if (critique.confidence or 0.0) >= config.sure:
            note = f"judged right by critique {number}"
            break
        (answer,) = yield Fork((think.run(_told(turn, answers[-1], critique.answer)),))
        answers.append(answer)
        if answer.finish in _OVER:
            break
    last = next((each for each in reversed(answers) if each.answer), answers[-1])
    return replace(last, candidates=elected(answers).candidates, note=note)


def _criticized(turn: Turn, answer: Answer, config: Config) -> Steps:
    """The critique as text, and as `confidence` how likely the answer is right."""
    if config.check:  # an answer that is right needs no critique
        judgement = yield from judged(turn, answer.answer, _VERDICT, config.check)
        if judgement.error:
            return Answer("", note=f"the check failed: {judgement.error}")
        if judgement.share >= config.sure:
            return Answer("", confidence=judgement.share)
    solution = Message("assistant", _solution(answer))
    shown: tuple[Message, ...] = (solution, Message("user", _ASKED))
    text = ""
    if config.tokens:
        critic = replace(turn, messages=(*turn.messages, *shown))
        done = yield critic.carry("critique", config.tokens, 0.0)
        text = done.text.strip()
    if config.check:
        return Answer(text, confidence=judgement.share)
    shown = (*shown, Message("assistant", text)) if text else (solution,)
    done = yield verdict(turn, *shown, Message("user", _VERDICT))
    return Answer(text, confidence=belief(done.scores))


def _solution(answer: Answer) -> str:
    return f"{answer.reasoning}\n\n{answer.answer}".strip()[-MOST_SHOWN:]


def _told(turn: Turn, answer: Answer, critique: str) -> Turn:
    found = f"A critic says:\n{critique}" if critique else "It is wrong."
    return turn.told(
        f"Here is a solution:\n{_solution(answer)}\n\n{found}\n\nSolve it anew, and heed that."
    )
