"""Quick ways and thinking side by side: the first quick answer that is sure ends the thinking.

prompt -> (draft -> sure? that is the answer) beside (think -> answer)

Where other requests run, it thinks only after a draft that is not sure: their batch is full enough.

Which ways are tried, and from which confidence their answer is kept, is measured for a model with
`edgereason calibrate`. Without that it thinks, and the answer's note says that nobody measured
whether this model can tell: a threshold that fits no model in particular cost up to a third of the
time and brought nothing.

Cost: the drafts, and the thought where none of them is sure
Measured: Qwen2.5-Coder-0.5B, 659 of GSM8K, calibrated on 200 others: 157 right, thinking 159, at
0.37 of its time in a batch of eight: not told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from edgereason import strategies
from edgereason.config import MOST, require_ranges
from edgereason.errors import UsageError
from edgereason.records import Answer, Candidate, Capability, StopReason
from edgereason.registry import load, names
from edgereason.strategies.base import Fork, Steps, Turn, choose

needs = Capability.LOGITS

THINK: Final = "think"


@dataclass(frozen=True, slots=True)
class Config:
    steps: tuple[str, ...] | None = field(
        default=None,
        metadata={
            "help": "drafts in order, as way/confidence, such as bare/0.9,program/0.3; `think` "
            "alone is no draft; default: as calibrated, else none"
        },
    )
    threshold: float | None = field(
        default=None,
        metadata={
            "help": "confidence from which a direct answer is kept, where steps are not given"
        },
    )
    draft_tokens: int = field(default=32, metadata={"help": "longest answer of a draft"})
    beside: bool | None = field(
        default=None,
        metadata={
            "help": "think beside the drafts, or only after them (false); default: beside them "
            "where no other request runs, since rows that nobody needed are dear in a full batch"
        },
    )

    def __post_init__(self) -> None:
        require_ranges(self, draft_tokens=(1, MOST))
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold must be in [0, 1], got {self.threshold}")
        for text in self.steps or ():
            Step.parse(text)


@dataclass(frozen=True, slots=True)
class Step:
    """One draft: a way, and the confidence from which its answer is kept."""

    way: str
    threshold: float

    @classmethod
    def parse(cls, text: str) -> Step | None:
        """None: the word that stands for no draft."""
        way, _, number = text.partition("/")
        way = way.strip().replace("_", "-")
        if way == THINK and not number:
            return None
        if draft_options(way) is None:
            raise UsageError(f"{way} cannot be a draft", f"these can: {', '.join(drafts())}")
        try:
            threshold = float(number)
        except ValueError:
            threshold = -1.0
        if not 0 <= threshold <= 1:
            raise UsageError(f"step {text!r} needs a confidence in [0, 1]", f"such as {way}/0.8")
        return cls(way, threshold)

    def run(self, turn: Turn) -> Steps:
        return choose(self.way, draft_options(self.way), turn.bundle).run(turn)

    def __str__(self) -> str:
        return f"{self.way} from {self.threshold:.3g}"


def draft_options(way: str) -> Mapping[str, Any] | None:
    """The options that make a way a draft; None: it cannot be one."""
    options: Mapping[str, Any] | None = getattr(load(strategies, way), "draft", None)
    return options


def drafts() -> tuple[str, ...]:
    """All ways that may be a draft."""
    return tuple(name for name in names(strategies) if draft_options(name) is not None)


def planned(turn: Turn, config: Config) -> tuple[tuple[Step, ...], str]:
    """The drafts, and where they are from: what was asked for goes before what was measured here,
    and that before what the bundle recommends.
    """
    if config.steps is not None:
        steps = tuple(step for text in config.steps if (step := Step.parse(text)))
        return steps, ""
    recommended = turn.bundle.recommended.get("auto", {}).get("threshold")
    if config.threshold is not None and config.threshold != recommended:
        return (Step("no-think", config.threshold),), ""
    if turn.calibration is None:
        if config.threshold is None:
            return (), "uncalibrated, so it thinks: see `edgereason calibrate`"
        note = f"as {turn.bundle.name} recommends, kept from a confidence of {config.threshold}"
        return (Step("no-think", config.threshold),), f"{note}: see `edgereason calibrate`"
    steps = tuple(Step(way, threshold) for way, threshold in turn.calibration.steps)
    told = ", ".join(map(str, steps)) or "no draft, this model cannot tell when it is right"
    on = f"{turn.calibration.num} questions of {turn.calibration.questions}"
    return steps, f"calibrated on {on} by its {turn.calibration.labels}: {told}"


@dataclass(slots=True)
class _Drafts:
    """What the drafts came to; changed by their line, read by the one that thinks."""

    turn: Turn
    steps: tuple[Step, ...]
    sure: bool = False
    candidates: list[Candidate] = field(default_factory=list)

    def run(self, tokens: int) -> Steps:
        length = min(tokens, self.turn.budget.answer_tokens)
        is_whole = length == self.turn.budget.answer_tokens  # what is cut would be cut anyway
        turn = replace(self.turn, budget=replace(self.turn.budget, answer_tokens=length))
        best = Answer("", confidence=0.0)
        for step in self.steps:
            answer: Answer
            (answer,) = yield Fork((step.run(turn),))  # a line of its own: it says how it ended
            score = answer.confidence or 0.0
            complete = answer.finish is StopReason.STOP or is_whole
            answer = replace(answer, confidence=self._chance(step, score))
            if answer.answer:
                said = Candidate(answer.answer, votes=1, confidence=answer.confidence)
                self.candidates.append(said)
                best = max(best, answer, key=lambda each: (bool(each.answer), each.confidence))
            if answer.answer and complete and score >= step.threshold:
                self.sure = True
                return answer
            if answer.finish in (StopReason.CANCELLED, StopReason.DEADLINE):
                break
        return best

    def _chance(self, step: Step, score: float) -> float:
        """How likely such an answer is right, where that was measured; else the score itself."""
        known = self.turn.calibration.ways.get(step.way) if self.turn.calibration else None
        return known.chance(score).value if known else score


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think:
        done = yield turn.direct()
        return Answer(done.text, confidence=done.confidence)
    steps, note = planned(turn, config)
    if turn.grammar is not None:
        steps = tuple(step for step in steps if choose(step.way).takes_grammar)
    think = choose(THINK, bundle=turn.bundle)
    if not steps:
        answer = yield from think.run(turn)
        return replace(answer, note=note)
    drafts = _Drafts(turn, steps)
    if turn.is_alone() if config.beside is None else config.beside:
        yield turn.prefill(thinking=True)  # which both lines go on from
        draft, thought = yield Fork(
            (drafts.run(config.draft_tokens), think.run(turn)),
            enough=lambda answers: drafts.sure or bool(answers[1] and answers[1].answer),
            shown=1,
        )
    else:
        (draft,) = yield Fork((drafts.run(config.draft_tokens),))
        (thought,) = (None,) if drafts.sure else (yield Fork((think.run(turn),), shown=0))
    return replace(_best(draft, thought, drafts.candidates), note=note)


def _best(draft: Answer | None, thought: Answer | None, drafts: list[Candidate]) -> Answer:
    """The thought, unless it was given up for a draft that is sure, or had no time to answer."""
    if thought is None:
        return replace(draft or Answer(""), candidates=tuple(drafts))
    if not thought.answer:
        best = draft or Answer("")
        finish = best.finish if thought.finish is StopReason.STOP else thought.finish
        return replace(best, candidates=tuple(drafts), finish=finish)
    said = Candidate(thought.answer, votes=1, confidence=thought.confidence)
    return replace(thought, candidates=(*drafts, said))
