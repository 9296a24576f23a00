"""The nano family, way by way: right answers, tokens, latents, time and memory of each.

Every row is one model, one strategy and one budget on problems that no training has seen. Questions
are asked one after the other, so that a millisecond is that of one user.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import mean, median
from types import ModuleType
from typing import Any, Final

from edgereason.errors import ModelNotFoundError, UsageError
from edgereason.models.hub import resolve
from edgereason.records import UNLIMITED, Answer

from ..harness.runner import Bench, Findings, Plot, Say, Table, wilson
from ..tasks import chain, iterate, operator, reach
from ..tasks.base import Problem

_BUDGETS: Final = (16, 32, 64, 128)
_TIMES: Final = 100  # applications, a way of more than four contexts of 512 tokens
LONG: Final = f"iterate, {_TIMES} times"


@dataclass(frozen=True, slots=True)
class Way:
    """One row of the table. `prefix`: of the model's bundle."""

    task: str
    model: str
    strategy: str
    budget: int = UNLIMITED
    prefix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        budget = "" if self.budget == UNLIMITED else f" {self.budget}"
        return f"{self.strategy}{budget}{f' + {self.prefix}' if self.prefix else ''}"


def ways(prefixes: Sequence[str], trained: str) -> list[Way]:
    """All rows, a task at a time."""
    further = [Way("operator", trained, "think")] if trained else []
    return [
        Way("chain", "nano", "no-think"),
        Way("chain", "nano", "think"),
        *(Way("chain", "nano", "think", budget) for budget in _BUDGETS),
        *(Way("chain", "nano", "hbpo", budget) for budget in _BUDGETS),
        Way("chain", "nano", "auto-think"),
        Way("reach", "nano-coconut", "no-think"),
        Way("reach", "nano-coconut", "think"),
        Way("reach", "nano-coconut", "coconut"),
        Way("iterate", "nano", "no-think"),
        Way("iterate", "nano", "think"),
        Way("iterate", "nano-infty", "infty-think"),
        Way(LONG, "nano", "think"),
        Way(LONG, "nano-infty", "infty-think"),
        Way("operator", "nano", "think"),
        *(Way("operator", "nano", "think", prefix=name) for name in prefixes),
        *further,
    ]


TASKS: Final[Mapping[str, tuple[ModuleType, Any]]] = {
    "chain": (chain, chain.generate),
    "reach": (reach, reach.generate),
    "iterate": (iterate, iterate.generate),
    LONG: (iterate, partial(iterate.generate, times=(_TIMES, _TIMES))),
    "operator": (operator, operator.generate),
}


@dataclass(frozen=True, slots=True)
class Score:
    """What one way did. Tokens, latents and milliseconds are a question's; bytes the most."""

    way: Way
    num: int
    right: int
    tokens: float
    latents: float
    ms: float
    peak_bytes: int

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.num)


def problems(task: str, num: int, seed: int) -> list[Problem]:
    """Test problems, the same for every way of a task."""
    generator = random.Random(f"variants:{seed}:{task}")
    return [TASKS[task][1](generator, "test") for _ in range(num)]


def measure(options: argparse.Namespace, say: Say) -> Findings:
    from edgereason.runtime.reasoner import Reasoner

    wanted = [*options.models, *([options.trained] if options.trained else [])]
    models, remarks = those_there(wanted)
    chosen = ways(options.prefixes, options.trained)
    scores = []
    for model in models:
        with Reasoner.open(model, threads=options.threads, context=options.context) as reasoner:
            cell_bytes = reasoner.bundle.kv_bytes_per_token.get("f16", 0)
            for way in chosen:
                if way.model != model or (options.tasks and way.task not in options.tasks):
                    continue
                num = max(1, options.num // 5) if way.task == LONG else options.num
                asked = problems(way.task, num, options.seed)
                answers = [_ask(reasoner, way, problem) for problem in asked]
                scores.append(score(way, asked, answers, cell_bytes))
                say(f"{model}, {way.task}, {way.label}: {scores[-1].right} of {num}")
    return findings(scores, remarks)


def those_there(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Models that are on this machine, and a remark for each that is not."""
    models, remarks = [], []
    for model in wanted:
        try:
            resolve(model)
            models.append(model)
        except ModelNotFoundError as error:
            remarks.append(f"{model} is left out: {error}")
    if not models:
        raise UsageError("none of the models is there", "; ".join(remarks))
    return models, remarks


def _ask(reasoner: Any, way: Way, problem: Problem) -> Answer:
    answer: Answer = reasoner.ask(
        problem.question,
        strategy=way.strategy,
        options=way.options,
        think_budget=way.budget,
        answer_budget=24,
        prefix=way.prefix,
    )
    return answer


def score(way: Way, asked: Sequence[Problem], answers: Sequence[Answer], cell_bytes: int) -> Score:
    check = TASKS[way.task][0].check
    pairs = zip(asked, answers, strict=True)
    return Score(
        way=way,
        num=len(asked),
        right=sum(check(problem, answer.answer) for problem, answer in pairs),
        tokens=mean(a.usage.reasoning_tokens + a.usage.answer_tokens for a in answers),
        latents=mean(a.usage.latent_tokens for a in answers),
        ms=median(a.timings.total_ms for a in answers),
        peak_bytes=max(a.usage.peak_cells for a in answers) * cell_bytes,
    )


_COLUMNS: Final = (
    "way",
    "model",
    "right %",
    "95 % interval",
    "tokens",
    "of them latent",
    "ms",
    "peak KV KiB",
)


def findings(scores: Sequence[Score], remarks: Sequence[str] = ()) -> Findings:
    tasks = list(dict.fromkeys(s.way.task for s in scores))
    tables = tuple(
        Table(f"{task}, {group[0].num} test problems", _COLUMNS, [_row(s) for s in group])
        for task in tasks
        for group in [[s for s in scores if s.way.task == task]]
    )
    rows = [{"task": s.way.task, **dict(zip(_COLUMNS, _row(s), strict=True))} for s in scores]
    plots = tuple(_plot(task, scores) for task in tasks if task != LONG)
    return Findings({"rows": rows}, tables, tuple(remarks), plots)


def _row(s: Score) -> tuple[object, ...]:
    low, high = s.interval
    span = f"{100 * low:.1f}-{100 * high:.1f}"
    share = round(100 * s.right / s.num, 1)
    kib = s.peak_bytes / 1024
    return (s.way.label, s.way.model, share, span, s.tokens, s.latents, s.ms, kib)


def _plot(task: str, scores: Sequence[Score]) -> Plot:
    points = {
        s.way.label: [(s.tokens + s.latents, 100 * s.right / s.num)]
        for s in scores
        if s.way.task == task
    }
    title = f"{task}: right answers against tokens"
    return Plot(
        f"variants-{task}", title, "tokens and latents a question", "right, %", points, joined=False
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num", type=int, default=500, help="test problems a row; a fifth of it for long ways"
    )
    parser.add_argument("--models", nargs="*", default=["nano", "nano-coconut", "nano-infty"])
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument(
        "--prefixes", nargs="*", default=["operator-8", "operator-32", "operator-128"]
    )
    parser.add_argument("--threads", type=int, default=1, help="more do not help so small a model")
    parser.add_argument(
        "--trained", default="", help="a model whose weights learned the operator, to compare with"
    )
    parser.set_defaults(context=512)


BENCH: Final = Bench("variants", __doc__ or "", _add_options, measure)
