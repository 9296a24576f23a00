"""From which confidence should `auto` keep a draft? Drafts and thought answers to the same sums.

Each question is answered at once and after thinking, greedily. For each threshold: how many drafts
`auto` would keep, how many of them are right, and how many answers are right in all.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from edgereason.records import Answer
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies.base import choose

from ..harness.questions import Question, easy_sum, short_question
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner

_COLUMNS: Final = ("threshold", "drafts kept", "right of them", "right in all", "tokens")
_THRESHOLDS: Final = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)


@dataclass(frozen=True, slots=True)
class Sum:
    """One question, answered both ways."""

    confidence: float
    draft_right: bool
    thought_right: bool
    draft_tokens: int
    thought_tokens: int


def measure(options: argparse.Namespace, say: Say) -> Findings:
    figures: dict[str, Any] = {}
    tables = []
    with open_reasoner(options) as reasoner:
        for name, draw in (("easy sums", easy_sum), ("short questions", short_question)):
            say(f"{options.questions} {name}")
            generator = random.Random(options.seed)
            sums = [_ask(reasoner, options, draw(generator)) for _ in range(options.questions)]
            rows = [row(sums, threshold) for threshold in _THRESHOLDS]
            figures[name] = {"questions": [asdict(one) for one in sums], "thresholds": rows}
            tables.append(Table(f"{len(sums)} {name}", _COLUMNS, rows))
        own = choose("auto", bundle=reasoner.bundle).config.threshold
        remark = f"Recommended for the model: {own}. Without one, and uncalibrated, auto thinks."
    return Findings(figures, tuple(tables), (remark,))


def row(sums: Sequence[Sum], threshold: float) -> tuple[float, ...]:
    """What `auto` would do; a draft that is not kept has been written all the same."""
    kept = [one for one in sums if one.confidence >= threshold]
    thought = [one for one in sums if one.confidence < threshold]
    right = sum(one.draft_right for one in kept)
    tokens = sum(one.draft_tokens for one in sums) + sum(one.thought_tokens for one in thought)
    return threshold, len(kept), right, right + sum(one.thought_right for one in thought), tokens


def _ask(reasoner: Reasoner, options: argparse.Namespace, question: Question) -> Sum:
    def ask(strategy: str) -> Answer:
        return reasoner.ask(
            question.text,
            strategy=strategy,
            think_budget=options.think_budget,
            answer_budget=options.answer_budget,
            stop=["\n\n"],  # SmolLM2 goes on after its answer
        )

    draft, thought = ask("no-think"), ask("think")
    return Sum(
        draft.confidence or 0.0,
        question.is_right(draft.answer),
        question.is_right(thought.answer),
        draft.usage.answer_tokens,
        thought.usage.answer_tokens + thought.usage.reasoning_tokens,
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--questions", type=int, default=60, help="of each kind")
    parser.add_argument("--think-budget", type=int, default=64)
    parser.add_argument("--answer-budget", type=int, default=32, help="as long as auto's draft")


BENCH = Bench("auto", __doc__.splitlines()[0], _add_options, measure)
