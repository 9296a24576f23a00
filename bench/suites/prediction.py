"""How far predicted times lie from measured ones, and whether 5 % predicted late are 5 % late.

First what steps cost is measured (`edgereason profile measure`), then requests in several ways are
timed. Times are predicted from that cost and the numbers of tokens that were there: the cost model
alone is tested. Then a stream of requests is asked without a deadline: each has one that 5 % were
predicted to miss, and it is counted who would have.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, Final

import numpy as np

from edgereason.planning.cost import Cost
from edgereason.planning.lateness import Array, Lateness
from edgereason.planning.planner import request_ms
from edgereason.planning.trials import Way
from edgereason.records import Answer, Sampling
from edgereason.runtime.measure import measure_cost
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import easy_sum
from ..harness.runner import Bench, Findings, Say, Table, quantile
from ..tasks import chain

_LATE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Timed:
    """One request: what it took, and what it was predicted to."""

    model: str
    way: str
    tokens: int
    took_ms: float
    predicted_ms: float

    @property
    def error(self) -> float:
        return self.predicted_ms / self.took_ms - 1


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of which each was predicted to be late with 5 %."""

    model: str
    num: int
    num_late: int
    median_tokens: float
    windows: tuple[float, ...]  # share late of each fifth of the stream


def measure(options: argparse.Namespace, say: Say) -> Findings:
    costs: dict[str, Cost] = {}
    timed: list[Timed] = []
    for model in options.models:
        say(f"{model}: what steps cost")
        costs[model] = measure_cost(model, seconds=options.seconds, threads=options.threads)
        timed += _timed(options, model, costs[model], say)
    streams = [_stream(options, model, costs[model], say) for model in options.streams]
    return findings(timed, streams, costs)


def _timed(options: argparse.Namespace, model: str, cost: Cost, say: Say) -> list[Timed]:
    rng = random.Random(options.seed)
    found = []
    ways = [Way.parse(text) for text in options.ways]
    with Reasoner.open(model, threads=options.threads) as reasoner:
        _ask(reasoner, ways[0], "What is 1+1?", 0)
        for turn in range(options.questions):
            text = easy_sum(rng).text if turn % 2 else chain.generate(rng).question
            for way in ways if turn % 2 else ways[::-1]:
                found.append(_compared(model, way, _ask(reasoner, way, text, turn), cost))
            say(f"{model}: {turn + 1} of {options.questions} questions")
    return found


def _ask(reasoner: Reasoner, way: Way, text: str, seed: int) -> tuple[Answer, list[int]]:
    """The answer, and the tokens of each line of thought."""
    is_vote = way.name == "vote"
    handle = reasoner.submit(
        text,
        strategy=way.name,
        options={"samples": way.samples, "early_stop": False} if is_vote else {},
        think_budget=96 if is_vote or way.budget is None else way.budget,
        answer_budget=24,
        sampling=Sampling(temperature=0.7, seed=seed),
    )
    answer = handle.result()
    lines = [sum(result.num_tokens for result in chain) for chain in handle.chains]
    return answer, [num for num in lines if num]


def _compared(model: str, way: Way, asked: tuple[Answer, list[int]], cost: Cost) -> Timed:
    answer, lines = asked
    usage = answer.usage
    prompt = np.array([float(max(usage.prompt_tokens - usage.cached_tokens, 1))])
    predicted = float(request_ms(cost, prompt, np.array([lines], dtype=float))[0])
    return Timed(model, str(way), round(mean(lines)), answer.timings.total_ms, predicted)


def _stream(options: argparse.Namespace, model: str, cost: Cost, say: Say) -> Stream:
    rng = random.Random(options.seed + 1)
    prompt = np.array([60.0])

    def time_ms(tokens: Array) -> Array:
        return request_ms(cost, prompt.repeat(tokens.size), tokens + 8)

    lateness = Lateness(time_ms, seed=options.seed)
    lengths, late = [], []
    with Reasoner.open(model, threads=options.threads) as reasoner:
        for i in range(options.before + options.requests):
            due_ms = lateness.within(1 - _LATE) if i >= options.before else None
            answer = reasoner.ask(
                chain.generate(rng).question,
                strategy="think",
                think_budget=options.most_thoughts,
                answer_budget=16,
                sampling=Sampling(temperature=0.7, seed=i),
            )
            tokens, took_ms = answer.usage.reasoning_tokens, answer.timings.total_ms
            lateness.observe(tokens, took_ms, cut=tokens >= options.most_thoughts)
            lengths.append(tokens)
            if due_ms is not None:
                late.append(took_ms > due_ms)
            if i % 100 == 99:
                say(f"{model}: {i + 1} requests")
    fifth = max(len(late) // 5, 1)
    windows = tuple(mean(late[i : i + fifth]) for i in range(0, fifth * 5, fifth))
    return Stream(model, len(late), sum(late), median(lengths), windows)


_COLUMNS: Final = ("model", "way", "requests", "tokens", "ms", "bias %", "mean error %", "p95 %")


def findings(timed: Sequence[Timed], streams: Sequence[Stream], costs: dict[str, Cost]) -> Findings:
    cells = sorted({(one.model, one.way) for one in timed})
    rows = [
        _row(model, way, [t for t in timed if (t.model, t.way) == (model, way)])
        for model, way in cells
    ]
    late = [
        (one.model, one.num, one.num_late, 100 * one.num_late / one.num, one.median_tokens)
        for one in streams
    ]
    figures: dict[str, Any] = {
        "errors": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
        "late": [
            {"model": s.model, "num": s.num, "late": s.num_late, "windows": s.windows}
            for s in streams
        ],
        "costs": {
            name: {"step_ms": dict(cost.step_ms), "cell_ms": cost.cell_ms, "spread": cost.spread}
            for name, cost in costs.items()
        },
    }
    tables = (
        Table("predicted against measured, whole requests", _COLUMNS, rows),
        Table(
            "requests that 5 % were predicted to miss",
            ("model", "requests", "late", "late %", "median thought"),
            late,
        ),
    )
    return Findings(figures, tables, (_REMARK,))


_REMARK: Final = (
    "Bias is the median of predicted / measured - 1. Lengths are those that were there: tested is "
    "the cost of steps. Of the streams the lengths are predicted, too."
)


def _row(model: str, way: str, timed: Sequence[Timed]) -> tuple[object, ...]:
    off = [100 * abs(one.error) for one in timed]
    return (
        model.rpartition("/")[2],
        way,
        len(timed),
        median(one.tokens for one in timed),
        median(one.took_ms for one in timed),
        100 * median(one.error for one in timed),
        mean(off),
        quantile(off, 0.95),
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", default=["nano", "smollm2-135m"])
    parser.add_argument("--streams", nargs="*", default=["nano"], help="models asked for P(late)")
    parser.add_argument("--ways", nargs="+", default=["no-think", "think:32", "think:96", "vote:4"])
    parser.add_argument("--questions", type=int, default=12, help="for each model and way")
    parser.add_argument("--seconds", type=float, default=20, help="of turns of steps a model")
    parser.add_argument("--threads", type=int, default=0, help="0 follows the load")
    parser.add_argument("--before", type=int, default=50, help="requests before the first deadline")
    parser.add_argument("--requests", type=int, default=500, help="of a stream")
    parser.add_argument("--most-thoughts", type=int, default=400, help="tokens, in a stream")


BENCH = Bench("prediction", __doc__.splitlines()[0], _add_options, measure)
