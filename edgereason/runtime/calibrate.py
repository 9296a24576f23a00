"""Measures how well a model knows when it is right: every way asked the same questions.

    asked = read(path)
    calibration = calibrate(reasoner, asked, "train.jsonl")

Labels are right answers where the file has them, else the majority of the model's own thoughts:
then it is measured which quick answers agree with long thinking, not which are true.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.planning import cascade
from edgereason.planning.calibration import Calibration, Scores
from edgereason.planning.cascade import Outcome
from edgereason.records import Answer, Sampling, StopReason
from edgereason.runtime.exits import needed_share
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies import auto
from edgereason.values import Value, extract_answer, normalize, value_of

Say = Callable[[str], None]

_VOTERS: Final = 5
_EXITS: Final = 32  # thoughts whose perfect exit is looked for, at most
_LEAST: Final = 10  # questions, below which nothing can be said


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the right answer where it is known."""

    question: str
    gold: Value | None = None


def read(path: Path, num: int = 0, *, answers: bool = True) -> list[Asked]:
    """The first `num` (0: all) of a file with `{"question": ..., "answer": ...}` a line. A gold
    answer may follow `####`. Without `answers` those in the file are not looked at.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read questions from {path}: {error.strerror}") from None
    asked = []
    for number, line in enumerate(filter(str.strip, lines), 1):
        if num and number > num:
            break
        try:
            record = json.loads(line)
            gold = str(record["answer"]) if answers else None
            value = None if gold is None else normalize(extract_answer(gold, numeric=True))
            asked.append(Asked(str(record["question"]), value))
        except (ValueError, KeyError, TypeError):
            wanted = '{"question": ..., "answer": ...}' if answers else '{"question": ...}'
            raise UsageError(
                f"{path}, line {number}: expected {wanted}",
                "without answers the model's own majority can serve: leave --answers out",
            ) from None
    if len(asked) < _LEAST:
        raise UsageError(f"{path} has {len(asked)} questions", f"give it {_LEAST} or more")
    return asked


def calibrate(
    reasoner: Reasoner,
    asked: Sequence[Asked],
    name: str,
    *,
    ways: Sequence[str] = (),
    think_budget: int = 400,
    draft_tokens: int = 32,
    parallel: int = 4,
    say: Say = lambda text: None,
) -> Calibration:
    """Asks all questions every way, and chooses the drafts.

    `name` of the questions, for people. `ways` that may be drafts; none are all that may.
    """
    ways = ways or auto.drafts()
    for way in ways:
        auto.Step.parse(f"{way}/1")  # raises where that is no draft
    ask = _Asker(reasoner, asked, think_budget, parallel, say)
    labels, golds = _labels(ask)
    known = [index for index, gold in enumerate(golds) if gold is not None]

    def outcomes(answers: Sequence[Answer]) -> list[Outcome]:
        return [_outcome(answers[i], golds[i]) for i in known]

    thoughts = ask.all("think", {})
    think = outcomes(thoughts)
    drafts = {
        way: outcomes(ask.all(way, auto.draft_options(way) or {}, answer_budget=draft_tokens))
        for way in ways
    }
    asked_on = [(one.question, thought) for one, thought in zip(asked, thoughts, strict=True)]
    say(f"exits of {min(_EXITS, len(asked_on))} thoughts")
    exits = needed_share(reasoner, asked_on[:_EXITS], parallel=parallel)
    choice = cascade.choose(drafts, think)
    return Calibration(
        model=reasoner.bundle.name,
        questions=name,
        num=len(known),
        labels=labels,
        steps=tuple((way, math.floor(1e4 * score) / 1e4) for way, score in choice.steps),
        ways={way: _scores(found) for way, found in {**drafts, "think": think}.items()},
        about=_about(choice),
        exits=None if exits is None else round(exits, 3),
    )


def _labels(ask: _Asker) -> tuple[str, list[Value | None]]:
    """Where the labels are from, and what is right for each question; None: nobody knows."""
    if all(one.gold is not None for one in ask.asked):
        return "answers", [one.gold for one in ask.asked]
    golds = ask.majorities()
    num = sum(gold is not None for gold in golds)
    if num < _LEAST:
        raise UsageError(
            f"only {num} of {len(golds)} questions have a majority answer",
            f"give more questions, or right answers with --answers; {_LEAST} are needed",
        )
    return "majority", golds


def _scores(outcomes: Sequence[Outcome]) -> Scores:
    points = tuple((round(one.score, 4), one.right) for one in outcomes)
    return Scores(points, mean(one.tokens for one in outcomes))


def _about(choice: cascade.Choice) -> str:
    def told(bill: cascade.Bill) -> str:
        return f"{bill.right} right at {bill.tokens / choice.num:.0f} tokens"

    return (
        f"of {choice.num}: thinking {told(choice.thinking)}; these drafts "
        f"{told(choice.chosen_on)}; drafts chosen so on other questions {told(choice.held_out)}"
    )


class _Asker:
    def __init__(
        self,
        reasoner: Reasoner,
        asked: Sequence[Asked],
        think_budget: int,
        parallel: int,
        say: Say,
    ) -> None:
        self._reasoner, self.asked, self._say = reasoner, asked, say
        self._think_budget, self._parallel = think_budget, parallel

    def all(self, way: str, options: Mapping[str, Any], **keywords: Any) -> list[Answer]:
        """Every question this way, `parallel` at a time."""
        answers: list[Answer] = []
        for begin in range(0, len(self.asked), self._parallel):
            handles = [
                self._reasoner.submit(
                    one.question,
                    strategy=way,
                    options=options,
                    think_budget=self._think_budget,
                    keep=True,  # prompts of a way begin alike
                    **keywords,
                )
                for one in self.asked[begin : begin + self._parallel]
            ]
            answers += [handle.result() for handle in handles]
            self._say(f"{way}: {len(answers)} of {len(self.asked)}")
        return answers

    def majorities(self) -> list[Value | None]:
        """What the model's own thoughts mostly come to; None where no two agree."""
        votes = self.all(
            "vote",
            {"samples": _VOTERS, "early_stop": False},
            sampling=Sampling(temperature=0.6, top_p=0.95, seed=1),
        )
        return [
            value_of(vote.answer) if vote.candidates and vote.candidates[0].votes > 1 else None
            for vote in votes
        ]


def _outcome(answer: Answer, gold: Value | None) -> Outcome:
    whole = answer.answer and answer.finish is StopReason.STOP
    return Outcome(
        score=(answer.confidence or 0.0) if whole else 0.0,
        right=bool(answer.answer) and value_of(answer.answer) == gold,
        tokens=answer.usage.reasoning_tokens + answer.usage.answer_tokens,
    )


__all__ = ["Asked", "calibrate", "read"]
