"""What stopping a vote early saves, and whether it changes the winner.

`vote` with early stop and without, the same seeds, problem by problem in turns, on the same number
of threads: both ways see the same batches until one stops, so what differs is a fault of ours. Any
accuracy will do, but only where samples agree there is something to stop: `--task sums`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

from edgereason.planning.device import this_machine
from edgereason.records import Answer, PhaseResult, Sampling, StopReason
from edgereason.runtime.reasoner import Reasoner
from edgereason.values import Value, extract_answer, normalize

from ..harness.questions import Question, easy_sum, gsm8k, read_questions
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner, ratios


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote on one problem."""

    winner: str
    share: float  # of the votes cast
    num_votes: int
    num_tokens: int  # of all samples
    seconds: float
    tally: tuple[tuple[str, int], ...] = ()  # answer and votes, best first
    samples: tuple[tuple[int, ...] | None, ...] = ()  # tokens of each, None: cancelled

    @property
    def value(self) -> Value:
        """All problems ask for a number."""
        return normalize(extract_answer(self.winner, numeric=True))


@dataclass(frozen=True, slots=True)
class Pair:
    """Both ways of voting on one problem."""

    question: Question
    stopped: Vote
    full: Vote

    @property
    def same_winner(self) -> bool:
        return self.stopped.value == self.full.value

    @property
    def same_samples(self) -> bool:
        """What was sampled to its end with early stop is, token by token, what was without."""
        pairs = zip(self.stopped.samples, self.full.samples, strict=True)
        return all(a is None or a == b for a, b in pairs)

    @property
    def tied(self) -> bool:
        """Without early stop no value was ahead: the winner is a matter of confidence."""
        return self.full.share <= 0.5 and self.full.num_votes > 1


def measure(options: argparse.Namespace, say: Say) -> Findings:
    pairs = []
    # A change of threads in the middle of a sample would change its last bits.
    with open_reasoner(options, threads=options.threads) as reasoner:
        for index, question in enumerate(_questions(options)):
            ways = {
                early_stop: _vote(reasoner, options, question, index, early_stop=early_stop)
                for early_stop in (index % 2 == 0, index % 2 != 0)
            }
            pairs.append(Pair(question, stopped=ways[True], full=ways[False]))
            if not pairs[-1].same_winner:
                say(f"problem {index + 1}: {_different(pairs[-1])}")
            if (index + 1) % 10 == 0:
                say(f"{index + 1} of {options.problems} problems")
    return findings(pairs)


def _questions(options: argparse.Namespace) -> Sequence[Question]:
    if options.questions is None and options.task == "sums":
        generator = random.Random(options.seed)
        return [easy_sum(generator) for _ in range(options.problems)]
    return read_questions(options.questions or gsm8k(), options.problems)


def _vote(
    reasoner: Reasoner,
    options: argparse.Namespace,
    question: Question,
    index: int,
    *,
    early_stop: bool,
) -> Vote:
    begin = time.monotonic()
    handle = reasoner.submit(
        question.text,
        strategy="vote",
        options={"samples": options.samples, "early_stop": early_stop},
        think_budget=options.think_budget,
        answer_budget=options.answer_budget,
        sampling=Sampling(temperature=options.temperature, seed=options.seed + 1000 * index),
        stop=["\n\n"],  # SmolLM2 goes on after its answer
    )
    answer = handle.result()
    seconds = time.monotonic() - begin
    return replace(vote_of(answer, seconds), samples=tuple(map(_sample, handle.chains[1:])))


def _sample(chain: Sequence[PhaseResult]) -> tuple[int, ...] | None:
    if any(result.reason is StopReason.CANCELLED for result in chain):
        return None
    return tuple(token for result in chain for token in result.tokens)


def vote_of(answer: Answer, seconds: float) -> Vote:
    votes = [candidate.votes for candidate in answer.candidates]
    return Vote(
        winner=answer.candidates[0].answer if answer.candidates else "",
        share=votes[0] / sum(votes) if votes else 0.0,
        num_votes=sum(votes),
        num_tokens=answer.usage.reasoning_tokens + answer.usage.answer_tokens,
        seconds=seconds,
        tally=tuple((candidate.answer, candidate.votes) for candidate in answer.candidates),
    )


_COLUMNS: Final = ("", "seconds", "tokens", "votes a problem", "accuracy")


def findings(pairs: Sequence[Pair]) -> Findings:
    num = len(pairs)
    both = {"early stop": [p.stopped for p in pairs], "all samples": [p.full for p in pairs]}
    rows = [
        (
            name,
            sum(vote.seconds for vote in votes),
            sum(vote.num_tokens for vote in votes),
            mean(vote.num_votes for vote in votes),
            _accuracy(pairs, votes),
        )
        for name, votes in both.items()
    ]
    tied = [pair for pair in pairs if pair.tied]
    figures: dict[str, Any] = {
        "num_problems": num,
        "num_same_winner": sum(pair.same_winner for pair in pairs),
        "num_same_samples": sum(pair.same_samples for pair in pairs),
        "num_stopped": sum(pair.stopped.num_votes < pair.full.num_votes for pair in pairs),
        "num_without_majority": len(tied),
        "same_winner_without_majority": sum(pair.same_winner for pair in tied),
        "median_time_ratio": _ratio([(p.stopped.seconds, p.full.seconds) for p in pairs]),
        "median_token_ratio": _ratio([(p.stopped.num_tokens, p.full.num_tokens) for p in pairs]),
        "all": {row[0]: dict(zip(_COLUMNS[1:], row[1:], strict=True)) for row in rows},
        "different": [_different(pair) for pair in pairs if not pair.same_winner],
    }
    return Findings(figures, (Table(f"{num} problems", _COLUMNS, rows),), _remarks(figures))


def _ratio(values: Sequence[tuple[float, float]]) -> float:
    return median(ratios([a for a, _ in values], [b for _, b in values]))


def _remarks(figures: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"The same winner in {figures['num_same_winner']} of {figures['num_problems']} problems; "
        f"in {figures['num_same_samples']} every sample that was not stopped is the same, token by "
        f"token. Votes stopped early: {figures['num_stopped']}.",
        f"Without a majority among all samples: {figures['num_without_majority']}, of these the "
        f"same winner in {figures['same_winner_without_majority']}.",
        f"Early stop to all samples, median of problems: {figures['median_time_ratio']:.2f} of the "
        f"time, {figures['median_token_ratio']:.2f} of the tokens.",
    )


def _different(pair: Pair) -> dict[str, Any]:
    return {
        "question": pair.question.text,
        "stopped": pair.stopped.tally,
        "full": pair.full.tally,
        "same_samples": pair.same_samples,
    }


def _accuracy(pairs: Sequence[Pair], votes: Sequence[Vote]) -> float | None:
    """Over the problems whose answer is known."""
    known = [
        vote.value == normalize(pair.question.gold)
        for pair, vote in zip(pairs, votes, strict=True)
        if pair.question.gold
    ]
    return mean(known) if known else None


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=("gsm8k", "sums"), default="gsm8k")
    parser.add_argument(
        "--questions", type=Path, help="JSON lines with question and answer, instead of --task"
    )
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--think-budget", type=int, default=48)
    parser.add_argument("--answer-budget", type=int, default=12)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--threads", type=int, default=this_machine().num_cores)


BENCH = Bench("vote", __doc__.splitlines()[0], _add_options, measure)
