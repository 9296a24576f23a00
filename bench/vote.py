"""What stopping a vote early saves, and whether it changes the winner.

`vote` on word problems with early stop and without, the same seeds, problem by problem in turns.
Any accuracy will do: what counts is that both ways elect the same value.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from edgereason.records import Answer, Sampling
from edgereason.runtime import Reasoner
from edgereason.values import Value, extract_answer, normalize

from .questions import Question, gsm8k, read_questions
from .runner import Bench, Findings, Say, Table, open_reasoner, ratios, run


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote on one problem."""

    winner: str
    share: float  # of the votes cast
    num_votes: int
    num_tokens: int  # of all samples
    seconds: float

    @property
    def value(self) -> Value:
        return normalize(extract_answer(self.winner))


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
    def tied(self) -> bool:
        """Without early stop no value was ahead: the winner is a matter of confidence."""
        return self.full.share <= 0.5 and self.full.num_votes > 1


def measure(options: argparse.Namespace, say: Say) -> Findings:
    questions = read_questions(options.questions or gsm8k(), options.problems)
    pairs = []
    with open_reasoner(options) as reasoner:
        for index, question in enumerate(questions):
            seed = options.seed + 1000 * index
            stopped = _vote(reasoner, options, question, seed, early_stop=True)
            full = _vote(reasoner, options, question, seed, early_stop=False)
            pairs.append(Pair(question, stopped, full))
            if (index + 1) % 10 == 0:
                say(f"{index + 1} of {len(questions)} problems")
    return findings(pairs)


def _vote(
    reasoner: Reasoner,
    options: argparse.Namespace,
    question: Question,
    seed: int,
    *,
    early_stop: bool,
) -> Vote:
    begin = time.monotonic()
    answer = reasoner.ask(
        question.text,
        strategy="vote",
        options={"samples": options.samples, "early_stop": early_stop},
        think_budget=options.think_budget,
        answer_budget=options.answer_budget,
        sampling=Sampling(temperature=options.temperature, seed=seed),
    )
    return vote_of(answer, time.monotonic() - begin)


def vote_of(answer: Answer, seconds: float) -> Vote:
    votes = [candidate.votes for candidate in answer.candidates]
    return Vote(
        winner=answer.candidates[0].answer if answer.candidates else "",
        share=votes[0] / sum(votes) if votes else 0.0,
        num_votes=sum(votes),
        num_tokens=answer.usage.reasoning_tokens + answer.usage.answer_tokens,
        seconds=seconds,
    )


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
    same = sum(pair.same_winner for pair in pairs)
    tied = [pair for pair in pairs if pair.tied]
    same_tied = sum(pair.same_winner for pair in tied)
    time_ratio = median(ratios(*([vote.seconds for vote in votes] for votes in both.values())))
    token_ratio = median(ratios(*([vote.num_tokens for vote in votes] for votes in both.values())))
    columns = ("", "seconds", "tokens", "votes a problem", "accuracy")
    figures: dict[str, Any] = {
        "num_problems": num,
        "same_winner": same / num,
        "num_without_majority": len(tied),
        "same_winner_without_majority": same_tied,
        "median_time_ratio": time_ratio,
        "median_token_ratio": token_ratio,
        "all": {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in rows},
        "different": [_different(pair) for pair in pairs if not pair.same_winner],
    }
    remarks = (
        f"The same winner in {same} of {num} problems. Without a majority among all samples: "
        f"{len(tied)}, of these the same winner in {same_tied}.",
        f"Early stop to all samples, median of problems: {time_ratio:.2f} of the time, "
        f"{token_ratio:.2f} of the tokens.",
    )
    return Findings(figures, (Table(f"{num} problems", columns, rows),), remarks)


def _different(pair: Pair) -> dict[str, Any]:
    return {"stopped": asdict(pair.stopped), "full": asdict(pair.full)}


def _accuracy(pairs: Sequence[Pair], votes: Sequence[Vote]) -> float | None:
    """Over the problems whose answer is known."""
    known = [
        vote.value == normalize(pair.question.gold)
        for pair, vote in zip(pairs, votes, strict=True)
        if pair.question.gold
    ]
    return mean(known) if known else None


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--questions", type=Path, help="JSON lines with question and answer; default: GSM8K's test"
    )
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--think-budget", type=int, default=64)
    parser.add_argument("--answer-budget", type=int, default=12)
    parser.add_argument("--temperature", type=float, default=0.6)


BENCH = Bench("vote", __doc__.splitlines()[0], _add_options, measure)

if __name__ == "__main__":
    sys.exit(run(BENCH))
