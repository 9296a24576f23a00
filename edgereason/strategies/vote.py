"""Several chains of thought side by side; the value most of them agree on wins, and the rest is
cancelled early.

Self-consistency: https://arxiv.org/abs/2203.11171
prompt -> (think -> answer) * samples, on one shared prefix -> majority of the values

A sample is one run of strategy `of`, with the options that the model recommends for it.

With `weigh` or `drop` (DeepConf, https://arxiv.org/abs/2508.15260) a sample thinks in stretches of
`window` tokens, and is worth its least sure stretch. The paper's windows slide and its confidence
is of 20 tokens; ours are side by side, and it is `PhaseResult.confidence`.

Cost: as many thoughts as `samples`, side by side
Measured: Qwen2.5-Coder-0.5B, 64 of GSM8K, three thoughts: 16 right, thinking 15; 50 of them, five
programs: 10 right, one program 11. nano, 200 sums, eight samples: 198 right; with `consensus` 198
at 0.54 of the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from edgereason import strategies
from edgereason.config import ABOVE_0, MOST, require_ranges
from edgereason.errors import UsageError
from edgereason.records import Answer, Candidate, Capability, StopReason
from edgereason.registry import load
from edgereason.strategies.base import Fork, Steps, Turn, choose
from edgereason.values import Kind, Value, extract_answer, normalize, value_of

needs = Capability.LOGITS | Capability.FORK

MOST_SAMPLES = 256  # each is a line of thought that others wait behind


@dataclass(frozen=True, slots=True)
class Config:
    samples: int = field(default=8, metadata={"help": "chains of thought"})
    of: str = field(default="think", metadata={"help": "strategy of each of them"})
    early_stop: bool = field(
        default=True, metadata={"help": "cancel the rest once the lead cannot be overtaken"}
    )
    confidence: float = field(
        default=1.0,
        metadata={"help": "also stop once this share of the samples so far, at least 3, agrees"},
    )
    consensus: float = field(
        default=0.0,
        metadata={
            "help": "also stop once the leader is the majority with this probability, such as 0.95 "
            "(Adaptive-Consistency), and begin with 4 samples; 0 is off"
        },
    )
    weigh: bool = field(
        default=False, metadata={"help": "votes count as much as their sample was sure"}
    )
    drop: float = field(
        default=0.0,
        metadata={"help": "end samples less sure than this share of the first 4; 0 is off"},
    )
    window: int = field(default=256, metadata={"help": "thinking tokens that are judged together"})
    temperature: float = field(
        default=0.6,
        metadata={"help": "used where the request's own is 0: equal samples say nothing"},
    )

    def __post_init__(self) -> None:
        require_ranges(
            self, samples=(1, MOST_SAMPLES), window=(1, MOST), temperature=(ABOVE_0, MOST)
        )
        if load(strategies, self.of).__name__ == __name__:
            raise UsageError("the samples of a vote cannot be votes", "say of=think, for one")
        if not 0 < self.confidence <= 1:
            raise UsageError(f"confidence must be in (0, 1], got {self.confidence}")
        if not (self.consensus == 0 or 0.5 <= self.consensus < 1):
            raise UsageError(f"consensus must be 0 (off) or in [0.5, 1), got {self.consensus}")
        if not 0 <= self.drop < 1:
            raise UsageError(f"drop must be in [0, 1), got {self.drop}")
        if self.judges and self.of != "think":
            raise UsageError(f"weigh and drop judge thoughts of think, not of {self.of}")

    @property
    def judges(self) -> bool:
        """Thoughts are looked at while they are written."""
        return self.weigh or self.drop > 0

    @property
    def has_two_rounds(self) -> bool:
        """Side by side samples end together: what the first decide the others need not begin."""
        return self.drop > 0 or (self.early_stop and self.consensus > 0)


_WARM_UP = 4  # samples that say how sure this model is of this question; the fewest that can agree
_GIVEN_UP = "given up: less sure than the first samples"  # note of a sample without a vote
_CONFIDENCE_DIGITS = 3  # of confidences; further ones depend on what else was in a batch


def _confidence(answer: Answer) -> float:
    return round(answer.confidence or 0.0, _CONFIDENCE_DIGITS)


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes by value; `final` says that no further answer can change how one is read."""

    votes: dict[Value, list[Answer]]
    final: bool
    weigh: bool = False  # a vote counts as much as it is sure, at most 1

    @classmethod
    def of(
        cls, answers: Sequence[Answer | None], *, numeric: bool = False, weigh: bool = False
    ) -> Tally:
        """Counts the answers that are there, by sample.

        All voters answer one question: where one gives a number (or with `numeric`), a sentence is
        read for its number.
        """
        given = [answer for answer in answers if answer is not None and answer.answer.strip()]
        values = [normalize(extract_answer(answer.answer)) for answer in given]
        numeric = numeric or any(value.kind is Kind.NUMBER for value in values)
        if numeric:
            values = [value_of(answer.answer) for answer in given]
        votes: dict[Value, list[Answer]] = {}
        for answer, value in zip(given, values, strict=True):
            votes.setdefault(value, []).append(answer)
        return cls(votes, final=numeric, weigh=weigh)

    def weight(self, voters: Sequence[Answer]) -> float:
        return sum(map(_confidence, voters)) if self.weigh else len(voters)

    def ranked(self) -> list[tuple[Value, list[Answer]]]:
        """By votes, then by the best confidence, then by the first sample."""

        def key(item: tuple[Value, list[Answer]]) -> tuple[float, float]:
            return self.weight(item[1]), max(map(_confidence, item[1]))

        return sorted(self.votes.items(), key=key, reverse=True)

    def winner(self, num_open: int) -> list[Answer] | None:
        """Those who lead by more votes than are open; None: the lead can still be overtaken."""
        counts = [self.weight(voters) for _, voters in self.ranked()]
        lead = counts[0] - (counts[1] if len(counts) > 1 else 0) if counts else 0
        return self.ranked()[0][1] if lead > num_open else None


def settled(answers: Sequence[Answer | None], *, weigh: bool = False) -> bool:
    """True when the samples still running (None) cannot change the winner."""
    num_open = sum(answer is None for answer in answers)
    tally = Tally.of(answers, weigh=weigh)
    winner = tally.winner(num_open)
    # A number among the samples still running would change how sentences are read.
    return winner is not None and (
        tally.final or winner == Tally.of(answers, numeric=True, weigh=weigh).winner(num_open)
    )


def agreed(answers: Sequence[Answer | None], probability: float) -> bool:
    """The leader is more likely than that the majority of all samples there could be: the chance
    that a share with a uniform prior is above one half, against the second (2305.11860).
    """
    counts = sorted(map(len, Tally.of(answers).votes.values()), reverse=True)
    first, second = (*counts, 0, 0)[:2]
    num = first + second + 1
    below: int = sum(math.comb(num, k) for k in range(first + 1))
    return below / 2.0**num >= probability


def run(turn: Turn, config: Config) -> Steps:
    turn = turn.warmed(config.temperature)
    yield turn.prefill(thinking=turn.can_think)
    answers: tuple[Answer | None, ...] = ()
    first = min(_WARM_UP, config.samples) if config.has_two_rounds else config.samples
    for indices in (range(first), range(first, config.samples)):
        if not indices or (answers and config.early_stop and _enough(answers, config)):
            break
        bar = _bar(answers, config.drop)
        children = tuple(_sample(turn.reseeded(index), config, bar) for index in indices)
        enough = partial(_enough_with, before=answers, config=config)
        answers += yield Fork(children, enough) if config.early_stop else Fork(children)
    return elected(_voting(answers), weigh=config.weigh)


def _enough_with(
    answers: Sequence[Answer | None], before: Sequence[Answer | None], config: Config
) -> bool:
    return _enough((*before, *answers), config)


def _enough(answers: Sequence[Answer | None], config: Config) -> bool:
    """Asked of the samples so far; those that have not even begun are open, too."""
    num_done = sum(answer is not None for answer in answers)
    answers = _voting((*answers, *(None,) * (config.samples - len(answers))))
    if settled(answers, weigh=config.weigh):
        return True
    if config.consensus and agreed(answers, config.consensus):
        return True
    leader = max(map(len, Tally.of(answers).votes.values()), default=0)
    return config.confidence < 1 and num_done >= 3 and leader >= config.confidence * num_done


def _voting(answers: Sequence[Answer | None]) -> tuple[Answer | None, ...]:
    """Samples that were given up have no vote, whatever they had said."""
    return tuple(
        Answer("") if answer is not None and answer.note == _GIVEN_UP else answer
        for answer in answers
    )


def _bar(answers: Sequence[Answer | None], drop: float) -> float:
    """How sure a sample must be: surer than this share of the first."""
    known = sorted(_confidence(answer) for answer in answers if answer is not None)
    return known[min(len(known) - 1, math.ceil(drop * len(known)) - 1)] if known and drop else 0.0


def _sample(turn: Turn, config: Config, bar: float) -> Steps:
    if config.judges and turn.can_think:
        return _judged(turn, config.window, bar)
    return choose(config.of if turn.can_think else "no-think", bundle=turn.bundle).run(turn)


def _judged(turn: Turn, window: int, bar: float) -> Steps:
    """Thinking in stretches: as plain thinking, but that a soft budget begins in the last one."""
    left = turn.budget.think_tokens
    lowest = 1.0
    phase, is_last = turn.stretch(window, left)
    while True:
        thought = yield phase
        if 2 * thought.num_tokens >= window or lowest == 1:  # the end of a thought says little
            lowest = min(lowest, thought.confidence)
        if thought.reason is not StopReason.BUDGET or is_last:
            break
        if lowest < bar:
            return Answer("", confidence=lowest, note=_GIVEN_UP)
        left -= window if left > 0 else 0
        phase, is_last = turn.stretch(window, left)
        phase = replace(phase, fresh=None)
    answer = turn.answer() if thought.mark or is_last else turn.shut()
    done = yield answer
    return Answer(done.text, confidence=lowest)


def elected(answers: Sequence[Answer | None], *, weigh: bool = False) -> Answer:
    """The answer that most agree on, with all that were given as candidates."""
    tally = Tally.of(answers, weigh=weigh)
    ranked = tally.ranked()
    if not ranked:
        return next((answer for answer in answers if answer is not None), Answer(""))
    total = sum(tally.weight(voters) for _, voters in ranked) or 1.0
    best = max(ranked[0][1], key=_confidence)
    candidates = tuple(
        Candidate(voters[0].answer, votes=len(voters), confidence=tally.weight(voters) / total)
        for _, voters in ranked
    )
    return replace(best, confidence=candidates[0].confidence, candidates=candidates)
