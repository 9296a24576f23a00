"""Votes with early stop against full ones."""

from __future__ import annotations

from dataclasses import replace

from edgereason.bench.harness import questions
from edgereason.bench.suites import vote
from edgereason.records import Answer, Candidate, Usage


def test_winners_are_compared_as_values() -> None:
    question = questions.Question("?", "18")
    stopped = vote.vote_of(_elected("$18.00", 3, 1), 1.0)
    full = vote.vote_of(_elected("The answer is 18.", 4, 4), 2.0)
    pair = vote.Pair(question, stopped, full)
    assert pair.same_winner
    assert pair.tied
    assert (stopped.share, stopped.num_votes) == (0.75, 4)
    assert stopped.tally == (("$18.00", 3), ("7", 1))
    cut = vote.Pair(
        question, replace(stopped, samples=((1, 2), None)), replace(full, samples=((1, 2), (3,)))
    )
    assert cut.same_samples
    assert not replace(cut, full=replace(full, samples=((1, 3), (3,)))).same_samples
    figures = vote.findings([pair]).figures
    assert figures["all"]["early stop"]["accuracy"] == 1
    assert figures["median_time_ratio"] == 0.5


def _elected(answer: str, votes: int, others: int) -> Answer:
    candidates = (Candidate(answer, votes), Candidate("7", others))
    return Answer(answer, candidates=candidates, usage=Usage(answer_tokens=votes + others))
