"""Every way of answering on the same questions: right answers, tokens, seconds, and what differs.

What prompts of a way have in common, such as worked examples, stays read, as in a server.

Questions go to each way alone or `--batch` at a time, the next as soon as one is answered; the
ways take turns, block by block. With `--record FILE` each answer is kept as one JSON line when its
block is over, and a run that was cut goes on where it stopped: figures of another model or way are
never mixed in.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final, Protocol

import numpy as np

from edgereason.errors import UsageError
from edgereason.records import Answer
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies.auto import THINK, draft_options

from ..harness import items
from ..harness.questions import Question, easy_sum, gsm8k, read_questions, short_question
from ..harness.record import Record
from ..harness.runner import Bench, Findings, Plot, Say, Table, open_reasoner, wilson
from ..harness.ways import parse
from ..pareto.frontier import frontier, share_on_frontier
from ..pareto.statistics import Draws
from ..tasks.base import Item

_WAYS: Final = ("think", "no-think", "bare", "brief", "program", "auto", "budget-forcing")
_BLOCK: Final = 8  # times as many questions as are under way at a time, before the next way's turn
_COLUMNS: Final = (
    *("way", "right", "of", "interval", "tokens", "seconds", "share of time", "cells", "frontier"),
    "of draws",
)

Key = tuple[str, str, str]


class Asked(Protocol):
    """A question that knows what is right."""

    @property
    def text(self) -> str: ...

    def is_right(self, answer: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class _OfTask:
    """A question of a task, whose checker says what is right."""

    item: Item

    @property
    def text(self) -> str:
        return items.asked(self.item)

    def is_right(self, answer: str, /) -> bool:
        return items.is_right(self.item, answer)


@dataclass(frozen=True, slots=True)
class Row:
    """One question, one way. `seconds`: its share of the time that its block took. `cells`: of KV,
    at most in one line of thought. `confidence`: what the way says of its answer; with it, what
    `auto` would come to from other thresholds is read off the rows of its draft and of thinking."""

    asked: str  # model, budgets, batch: rows of one table have the same
    way: str
    question: str
    right: bool
    tokens: int
    seconds: float
    answer: str
    note: str = ""
    cells: int = 0
    confidence: float = 0.0

    @property
    def key(self) -> Key:
        return self.asked, self.way, self.question


def _asked(options: argparse.Namespace) -> str:
    return (
        f"{Path(options.model).name}, thinking {options.think_budget}, "
        f"answer {options.answer_budget}, {options.batch} at a time, prompts kept"
    )


def measure(options: argparse.Namespace, say: Say) -> Findings:
    questions = _questions(options)
    ways = split_ways(options.ways) if options.ways else list(_WAYS)
    rows = Record(options.record, lambda line: Row(**line))
    with open_reasoner(options, threads=options.threads) as reasoner:
        size = _BLOCK * options.batch
        for number, begin in enumerate(range(0, len(questions), size)):
            block = questions[begin : begin + size]
            for way in ways if number % 2 == 0 else reversed(ways):
                _ask(reasoner, options, way, block, rows)
            say(f"{begin + len(block)} of {len(questions)} questions")
    texts = [question.text for question in questions]
    return findings(chosen(rows, _asked(options), texts, ways), ways)


def chosen(
    rows: Iterable[Row], asked: str, questions: Sequence[str], ways: Sequence[str]
) -> list[Row]:
    """Those of a record that belong into one table."""
    wanted = frozenset(questions)
    return [
        row for row in rows if row.asked == asked and row.question in wanted and row.way in ways
    ]


def _questions(options: argparse.Namespace) -> list[Asked]:
    """The first rows behind `--skip`, and as many easy ones as `--sums` and `--facts` say; or
    `--num` of each of the tasks."""
    if options.tasks:
        of_file = options.questions or options.skip or options.sums or options.facts
        if of_file:
            raise UsageError("--tasks goes without --questions, --skip, --sums and --facts")
        tasks = options.tasks.split(",")
        return [
            _OfTask(item) for task in tasks for item in items.items(task, options.num, options.seed)
        ]
    found: list[Question] = []
    if options.num:
        last = options.skip + options.num
        found = read_questions(options.questions or gsm8k(), last)[options.skip :]
    if not found and not options.sums and not options.facts:
        raise UsageError(f"--skip {options.skip} and --num {options.num} leave no question")
    drawn = random.Random(options.seed)
    easy = {easy_sum(drawn) for _ in range(options.sums)}
    easy |= {short_question(drawn) for _ in range(options.facts)}
    return [*found, *sorted(easy, key=lambda question: question.text)]


def _ask(
    reasoner: Reasoner,
    options: argparse.Namespace,
    way: str,
    block: Sequence[Asked],
    rows: Record[Row],
) -> None:
    missing = [one for one in block if (_asked(options), way, one.text) not in rows]
    if not missing:
        return
    asked = parse(way)

    def answer_to(one: Asked) -> Answer:
        return reasoner.ask(
            one.text,
            strategy=asked.strategy,
            options=asked.options,
            think_budget=options.think_budget,
            answer_budget=options.answer_budget,
            keep=True,
        )

    begin = time.monotonic()
    with ThreadPoolExecutor(options.batch) as pool:
        answers = list(pool.map(answer_to, missing))
    seconds = (time.monotonic() - begin) / len(missing)
    for one, answer in zip(missing, answers, strict=True):
        row = Row(
            _asked(options),
            way,
            one.text,
            one.is_right(answer.answer),
            answer.usage.reasoning_tokens + answer.usage.answer_tokens,
            seconds,
            answer.answer[:200],
            answer.note,
            answer.usage.peak_cells,
            answer.confidence or 0.0,
        )
        rows.add(row)


def findings(rows: Sequence[Row], ways: Sequence[str]) -> Findings:
    """A table of the ways, and one of their differences to the first, question by question. On the
    frontier is what no other way beats in right answers and seconds; `of draws`: in that share of
    draws of the questions, with replacement.
    """
    by_way = {way: {row.question: row for row in rows if row.way == way} for way in ways}
    first = by_way[ways[0]]
    base = mean(row.seconds for row in first.values())
    times = {way: mean(row.seconds for row in own.values()) for way, own in by_way.items()}
    shares = {way: mean(row.right for row in own.values()) for way, own in by_way.items()}
    undominated = frontier(np.array([*times.values()]), np.array([*shares.values()]))
    of_draws = _of_draws(by_way)
    table = []
    figures: dict[str, Any] = {}
    for (way, own), is_on, drawn in zip(by_way.items(), undominated, of_draws, strict=True):
        right, num = sum(row.right for row in own.values()), len(own)
        low, high = wilson(right, num)
        tokens = mean(row.tokens for row in own.values())
        seconds = times[way]
        cells = max(row.cells for row in own.values())
        interval = f"{100 * low:.1f} to {100 * high:.1f} %"
        on = "yes" if is_on else ""
        table.append((way, right, num, interval, tokens, seconds, seconds / base, cells, on, drawn))
        figures[way] = {
            "right": right,
            "num": num,
            "interval": [low, high],
            "tokens": tokens,
            "seconds": seconds,
            "cells": cells,
            "on_frontier": bool(is_on),
            "of_draws": drawn,
            "difference": difference(first, own),
        }
    pairs = [
        (way, *figures[way]["difference"].values(), told(figures[way]["difference"]))
        for way in ways[1:]
    ]
    columns = ("way", "only it right", f"only {ways[0]} right", "points", "low", "high", "so")
    tables = [Table(f"{len(first)} questions", _COLUMNS, table)]
    if pairs:
        tables.append(Table(f"Paired with {ways[0]}", columns, pairs))
    for way in ways:
        if way != THINK and THINK in ways and draft_options(parse(way).strategy) is not None:
            cascades = read_off(by_way[THINK], by_way[way])
            figures[way]["as_draft"] = cascades
            title = f"auto with {way} as draft, thinking after it: read off, not run"
            tables.append(Table(title, tuple(cascades[0]), [tuple(c.values()) for c in cascades]))
    return Findings(figures, tuple(tables), plots=(_plot(figures),))


def _of_draws(by_way: Mapping[str, Mapping[str, Row]]) -> list[float]:
    """For each way, the share of draws in which it is on the frontier; questions all ways have."""
    shared = sorted(set.intersection(*map(set, by_way.values())))
    draws = Draws.of(len(shared))
    seconds = np.array([[own[question].seconds for question in shared] for own in by_way.values()])
    right = np.array([[own[question].right for question in shared] for own in by_way.values()])
    return [*map(float, share_on_frontier(draws.means(seconds), draws.means(right)))]


def _plot(figures: Mapping[str, Mapping[str, Any]]) -> Plot:
    points = {
        way: [(found["seconds"], 100 * found["right"] / found["num"])]
        for way, found in figures.items()
    }
    title = "right answers against time"
    return Plot("ways", title, "seconds a question", "right, %", points, joined=False, log_x=True)


def read_off(
    thoughts: Mapping[str, Row], drafts: Mapping[str, Row], num: int = 10
) -> list[dict[str, Any]]:
    """What a cascade comes to from several thresholds: a draft that is as sure is the answer, else
    the thought is, and takes its time besides. The first keeps all drafts, the last none."""
    both = [question for question in drafts if question in thoughts]
    sure = sorted(drafts[question].confidence for question in both)
    thresholds = [sure[i * len(sure) // num] for i in range(num)] + [math.inf]
    base = sum(thoughts[question].seconds for question in both)
    found = []
    for threshold in dict.fromkeys(thresholds):
        kept = [question for question in both if drafts[question].confidence >= threshold]
        asked_on = [question for question in both if drafts[question].confidence < threshold]
        right = sum(drafts[q].right for q in kept) + sum(thoughts[q].right for q in asked_on)
        seconds = sum(drafts[q].seconds for q in both)
        seconds += sum(thoughts[q].seconds for q in asked_on)
        told = None if math.isinf(threshold) else threshold
        cascade = {"from": told, "kept": len(kept), "right": right, "of": len(both)}
        found.append({**cascade, "share of time": seconds / base})
    return found


class Judged(Protocol):
    """A row of any suite that says whether its answer is right."""

    @property
    def right(self) -> bool: ...


def difference(first: Mapping[str, Judged], own: Mapping[str, Judged]) -> dict[str, float]:
    """In points of accuracy, with the 95 % interval of paired shares (Wald, Agresti-Min: +0.5)."""
    both = first.keys() & own.keys()
    gained = sum(own[q].right and not first[q].right for q in both)
    lost = sum(first[q].right and not own[q].right for q in both)
    num = len(both) + 2
    more, less = gained + 0.5, lost + 0.5
    middle = (more - less) / num
    half = 1.96 * ((more + less) - (more - less) ** 2 / num) ** 0.5 / num
    return {
        "gained": gained,
        "lost": lost,
        "points": 100 * (gained - lost) / max(1, len(both)),
        "low": 100 * (middle - half),
        "high": 100 * (middle + half),
    }


def split_ways(text: str) -> list[str]:
    return text.split(";" if ";" in text else ",")


def told(difference: Mapping[str, float]) -> str:
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "not told apart"


def _add_options(parser: argparse.ArgumentParser) -> None:
    told_ways = f"with commas, or semicolons where a way has commas; default {','.join(_WAYS)}"
    parser.add_argument("--ways", default="", help=told_ways)
    parser.add_argument("--questions", type=Path, help="JSON lines; default GSM8K's test rows")
    parser.add_argument(
        "--tasks", default="", help="instead of a file, such as svamp,reasoning-gym:lcm"
    )
    parser.add_argument("--num", type=int, default=100, help="questions of the file, or of a task")
    parser.add_argument("--skip", type=int, default=0, help="questions of the file left out first")
    parser.add_argument("--sums", type=int, default=0, help="easy sums besides")
    parser.add_argument("--facts", type=int, default=0, help="questions of a few words besides")
    parser.add_argument("--batch", type=int, default=1, help="questions at a time")
    parser.add_argument("--think-budget", type=int, default=400)
    parser.add_argument("--answer-budget", type=int, default=400)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--record", type=Path, help="JSON lines to keep, and to go on from")


BENCH = Bench("ways", __doc__.splitlines()[0], _add_options, measure)
