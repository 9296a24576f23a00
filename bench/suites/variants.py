"""The nano family, way by way: right answers, tokens, latents, time and memory of each.

Every row is one model, one strategy and one budget on problems that no training has seen. Questions
are asked one after the other, so that a millisecond is that of one user.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean, median
from typing import Final

from edgereason.errors import ModelNotFoundError, UsageError
from edgereason.models.hub import resolve
from edgereason.records import Answer

from ..harness.problems import LONG, problems, task_of
from ..harness.runner import Bench, Findings, Plot, Say, Table, wilson
from ..harness.ways import Way
from ..tasks.base import Problem

_BUDGETS: Final = (16, 32, 64, 128)
Asked = tuple[str, Way]
"""A task, and a way of being asked its problems."""


def ways(prefixes: Sequence[str], trained: str) -> list[Asked]:
    """All rows, a task at a time."""
    nano = partial(Way, model="nano")
    coconut, infty = partial(Way, model="nano-coconut"), partial(Way, model="nano-infty")
    further = [("operator", Way("think", model=trained))] if trained else []
    return [
        ("chain", nano("no-think")),
        ("chain", nano("think")),
        *(("chain", nano("think", budget)) for budget in _BUDGETS),
        *(("chain", nano("hbpo", budget)) for budget in _BUDGETS),
        ("chain", nano("auto-think")),
        ("reach", coconut("no-think")),
        ("reach", coconut("think")),
        ("reach", coconut("coconut")),
        ("iterate", nano("no-think")),
        ("iterate", nano("think")),
        ("iterate", infty("infty-think")),
        (LONG, nano("think")),
        (LONG, infty("infty-think")),
        ("operator", nano("think")),
        *(("operator", nano("think", prefix=name)) for name in prefixes),
        *further,
    ]


@dataclass(frozen=True, slots=True)
class Score:
    """What one way did. Tokens, latents and milliseconds are a question's; bytes the most."""

    task: str
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


def measure(options: argparse.Namespace, say: Say) -> Findings:
    from edgereason.runtime.reasoner import Reasoner

    wanted = [*options.models, *([options.trained] if options.trained else [])]
    models, remarks = those_there(wanted)
    chosen = ways(options.prefixes, options.trained)
    scores = []
    for model in models:
        with Reasoner.open(model, threads=options.threads, context=options.context) as reasoner:
            cell_bytes = reasoner.bundle.kv_bytes_per_token.get("f16", 0)
            for task, way in chosen:
                if way.model != model or (options.tasks and task not in options.tasks):
                    continue
                num = max(1, options.num // 5) if task == LONG else options.num
                asked = problems(task, num, options.seed)
                answers = [
                    reasoner.ask(problem.question, **way.keywords, answer_budget=24)
                    for problem in asked
                ]
                scores.append(score(task, way, asked, answers, cell_bytes))
                say(f"{model}, {task}, {way.label}: {scores[-1].right} of {num}")
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


def score(
    task: str, way: Way, asked: Sequence[Problem], answers: Sequence[Answer], cell_bytes: int
) -> Score:
    check = task_of(task).check
    pairs = zip(asked, answers, strict=True)
    return Score(
        task=task,
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
    tasks = list(dict.fromkeys(s.task for s in scores))
    tables = tuple(
        Table(f"{task}, {group[0].num} test problems", _COLUMNS, [_row(s) for s in group])
        for task in tasks
        for group in [[s for s in scores if s.task == task]]
    )
    rows = [{"task": s.task, **dict(zip(_COLUMNS, _row(s), strict=True))} for s in scores]
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
        if s.task == task
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
