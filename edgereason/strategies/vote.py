"""Several chains of thought side by side; the value most of them agree on wins, and the rest is
cancelled early.

Self-consistency: https://arxiv.org/abs/2203.11171
prompt -> (think -> answer) * samples, on one shared prefix -> majority of the values

A sample is one run of strategy `of`, with the options that the model recommends for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgereason import strategies
from edgereason.errors import UsageError
from edgereason.records import Answer, Candidate, Capability, Sampling
from edgereason.registry import load
from edgereason.strategies.base import Fork, Steps, Turn, choose
from edgereason.values import Kind, Value, extract_answer, normalize

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
    temperature: float = field(
        default=0.6,
        metadata={"help": "used where the request's own is 0: equal samples say nothing"},
    )

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise UsageError(f"samples must be in [1, {MOST_SAMPLES}], got {self.samples}")
        if load(strategies, self.of).__name__ == __name__:
            raise UsageError("the samples of a vote cannot be votes", "say of=think, for one")
        if not 0 < self.confidence <= 1:
            raise UsageError(f"confidence must be in (0, 1], got {self.confidence}")
        if self.temperature <= 0:
            raise UsageError(f"temperature must be more than 0, got {self.temperature}")


_CONFIDENCE_DIGITS = 3  # of confidences; further ones depend on what else was in a batch


def _confidence(answer: Answer) -> float:
    return round(answer.confidence or 0.0, _CONFIDENCE_DIGITS)


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes by value; `final` says that no further answer can change how one is read."""

    votes: dict[Value, list[Answer]]
    final: bool

    @classmethod
    def of(cls, answers: Sequence[Answer | None], *, numeric: bool = False) -> Tally:
        """Counts the answers that are there, by sample.

        All voters answer one question: where one gives a number (or with `numeric`), a sentence is
        read for its number.
        """
        given = [answer for answer in answers if answer is not None and answer.answer.strip()]
        values = [normalize(extract_answer(answer.answer)) for answer in given]
        numeric = numeric or any(value.kind is Kind.NUMBER for value in values)
        votes: dict[Value, list[Answer]] = {}
        for answer, value in zip(given, values, strict=True):
            is_sentence = numeric and value.kind is Kind.TEXT
            read = normalize(extract_answer(answer.answer, numeric=True)) if is_sentence else value
            votes.setdefault(read, []).append(answer)
        return cls(votes, final=numeric)

    def ranked(self) -> list[tuple[Value, list[Answer]]]:
        """By votes, then by the best confidence, then by the first sample."""

        def key(item: tuple[Value, list[Answer]]) -> tuple[int, float]:
            return len(item[1]), max(map(_confidence, item[1]))

        return sorted(self.votes.items(), key=key, reverse=True)

    def winner(self, num_open: int) -> list[Answer] | None:
        """Those who lead by more votes than are open; None: the lead can still be overtaken."""
        counts = [len(voters) for _, voters in self.ranked()]
        lead = counts[0] - (counts[1] if len(counts) > 1 else 0) if counts else 0
        return self.ranked()[0][1] if lead > num_open else None


def settled(answers: Sequence[Answer | None]) -> bool:
    """True when the samples still running (None) cannot change the winner."""
    num_open = sum(answer is None for answer in answers)
    tally = Tally.of(answers)
    winner = tally.winner(num_open)
    # A number among the samples still running would change how sentences are read.
    return winner is not None and (
        tally.final or winner == Tally.of(answers, numeric=True).winner(num_open)
    )


def _sampling(turn: Turn, config: Config) -> Sampling:
    if turn.sampling.temperature > 0:
        return turn.sampling
    return replace(turn.sampling, temperature=config.temperature)


def run(turn: Turn, config: Config) -> Steps:
    turn = replace(turn, sampling=_sampling(turn, config))
    way = choose(config.of if turn.can_think else "no-think", bundle=turn.bundle)
    yield turn.prefill(thinking=turn.can_think)

    def enough(answers: Sequence[Answer | None]) -> bool:
        if settled(answers):
            return True
        num_done = sum(answer is not None for answer in answers)
        leader = max(map(len, Tally.of(answers).votes.values()), default=0)
        return config.confidence < 1 and num_done >= 3 and leader >= config.confidence * num_done

    children = tuple(way.run(turn.reseeded(index)) for index in range(config.samples))
    answers = yield Fork(children, enough) if config.early_stop else Fork(children)
    ranked = Tally.of(answers).ranked()
    if not ranked:
        return next((answer for answer in answers if answer is not None), Answer(""))
    num_votes = sum(len(voters) for _, voters in ranked)
    best = max(ranked[0][1], key=_confidence)
    candidates = tuple(
        Candidate(voters[0].answer, votes=len(voters), confidence=len(voters) / num_votes)
        for _, voters in ranked
    )
    return replace(best, confidence=len(ranked[0][1]) / num_votes, candidates=candidates)
