"""A model, its guide and both together: right answers and tokens a second, by the guide's strength.

The guide is a small model whose logits are added (`--guide`, UniR). Strength 0 is the model alone,
which is asked by itself as well: the tokens must be equal. Greedily, one after the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.runtime.reasoner import Reasoner

from ..harness.problems import problems, task_of
from ..harness.runner import Bench, Findings, Say, Table, wilson
from ..tasks.base import Problem

_ALONE: Final = "the model alone"
_GUIDE: Final = "the guide alone"
_COLUMNS: Final = ("", "right", "of", "low", "high", "tokens an answer", "tokens/s")


@dataclass(frozen=True, slots=True)
class Reply:
    right: bool
    tokens: tuple[int, ...]
    ms: float


def measure(options: argparse.Namespace, say: Say) -> Findings:
    if options.guide is None:
        raise UsageError("which guide?", "give --guide MODEL, one of the same vocabulary")
    asked = problems(options.task, options.num, options.seed)
    replies = {}
    for name, model, guide in systems(options):
        say(name)
        replies[name] = _replies(options, model, guide, asked)
    return findings(replies)


def systems(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Name, model and guide of each."""
    strengths = [f"{strength:g}" for strength in options.strengths]
    return [
        (_ALONE, options.model, ""),
        (_GUIDE, options.guide, ""),
        *((f"strength {each}", options.model, f"{options.guide}:{each}") for each in strengths),
    ]


def _replies(
    options: argparse.Namespace, model: str, guide: str, asked: Sequence[Problem]
) -> list[Reply]:
    check = task_of(options.task).check
    with Reasoner.open(
        model, guide=guide, threads=options.threads, context=options.context
    ) as reasoner:
        found = []
        for problem in asked:
            handle = reasoner.submit(
                problem.question,
                strategy=options.way,
                think_budget=options.think_budget,
                answer_budget=options.answer_budget,
            )
            answer = handle.result()
            results = [result for chain in handle.chains for result in chain]
            tokens = tuple(token for result in results for token in result.tokens)
            spent = sum(result.decode_ms for result in results)
            found.append(Reply(check(problem, answer.answer), tokens, spent))
        return found


def findings(replies: Mapping[str, Sequence[Reply]]) -> Findings:
    rows: list[tuple[Any, ...]] = []
    for name, own in replies.items():
        right = sum(reply.right for reply in own)
        num_tokens = sum(len(reply.tokens) for reply in own)
        rate = 1000 * num_tokens / max(sum(reply.ms for reply in own), 1e-9)
        length = mean(len(reply.tokens) for reply in own)
        rows.append((name, right, len(own), *wilson(right, len(own)), length, rate))
    figures = {row[0]: dict(zip(_COLUMNS[1:], row[1:], strict=True)) for row in rows}
    said = []
    if "strength 0" in replies:
        pairs = zip(replies[_ALONE], replies["strength 0"], strict=True)
        same = sum(one.tokens == other.tokens for one, other in pairs)
        said.append(
            f"At strength 0 {same} of {len(replies[_ALONE])} answers are those of {_ALONE}."
        )
    return Findings(figures, (Table("With a guide", _COLUMNS, rows),), tuple(said))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--guide", help="a small model of the same vocabulary")
    parser.add_argument("--strengths", type=float, nargs="+", default=(0.0, 0.5, 1.0, 2.0))
    parser.add_argument("--task", default="operator", help="of bench/tasks, its test problems")
    parser.add_argument("--num", type=int, default=200, help="problems")
    parser.add_argument("--way", default="think")
    parser.add_argument("--think-budget", type=int, default=200)
    parser.add_argument("--answer-budget", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)


BENCH = Bench("guide", __doc__.splitlines()[0], _add_options, measure)
