"""A way longer than the context: right answers, time and KV against its length, in rounds and not.

Task `iterate`, from half a context to twenty. In rounds (`infty-think`) a question is a chain of
fresh contexts; plain thinking has one, and is asked with the model's own and with one that holds
the whole way. One question after the other, so that a millisecond is that of one user.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean, median
from typing import Final

from edgereason.records import Answer, Role, Sampling, StopReason
from edgereason.runtime.reasoner import Reasoner

from ..harness.runner import Bench, Findings, Plot, Say, Table, wilson
from ..harness.ways import Way
from ..tasks import iterate
from ..tasks.base import Problem

_CONTEXTS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_ANSWER_TOKENS: Final = 16
_SPARE: Final = 2  # thinking tokens that may be used, as a multiple of those of the way
_SAMPLE_STEPS: Final = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One way at one length. Tokens, rounds and milliseconds are a question's."""

    way: str
    contexts: float  # length of the written way, in contexts of the model
    times: int
    num: int
    right: int
    tokens: float
    rounds: float
    cut_rounds: float
    ms: float
    ms_per_token: float
    peak_cells: int
    peak_bytes: int
    ended: Mapping[str, int]  # finish -> questions

    @property
    def share(self) -> float:
        return self.right / self.num


def measure(options: argparse.Namespace, say: Say) -> Findings:
    with Reasoner.open(options.model, threads=options.threads, context=options.context) as reasoner:
        per_step = _tokens_per_step(reasoner)
    longest = int(max(options.contexts) * options.context)
    rows: list[Row] = []
    for way, cells in ways(options, longest + options.context):
        with Reasoner.open(way.model, threads=options.threads, context=cells) as reasoner:
            for contexts in options.contexts:
                times = max(1, round(contexts * options.context / per_step))
                asked = problems(options.num, times, options.seed)
                answers = [_ask(reasoner, way, problem, options) for problem in asked]
                way_tokens = mean(_num_tokens(reasoner, problem) for problem in asked)
                cell_bytes = reasoner.bundle.kv_bytes_per_token.get("f16", 0)
                found = row(way.label, asked, answers, cell_bytes)
                found = replace(found, contexts=way_tokens / options.context)
                rows.append(found)
                say(f"{way.label}, {contexts:g} contexts: {found.right} of {found.num}")
    return findings(rows)


def ways(options: argparse.Namespace, all_cells: int) -> list[tuple[Way, int]]:
    """In rounds, and plainly with the same model and with `--plain`, in a short and a long KV; each
    with its cells, `all_cells` where the whole way shall fit."""
    context, rounds = options.context, {"rounds": options.rounds}
    plain = dict.fromkeys((options.model, *([options.plain] if options.plain else [])))
    found = [(Way("infty-think", options=rounds, model=options.model, name="rounds"), context)]
    for model in plain:
        name = "plain" if model == options.model else f"plain {options.plain}"
        found.append((Way("think", model=model, name=f"{name}, KV of {context}"), context))
        found.append((Way("think", model=model, name=f"{name}, KV for all"), all_cells))
    return found


def problems(num: int, times: int, seed: int) -> list[Problem]:
    """Test problems, the same for every way, of the next count that cannot be misread."""
    generator = random.Random(f"sawtooth:{seed}:{times}")
    while not iterate.countable(times):
        times += 1
    return [iterate.generate(generator, "test", (times, times)) for _ in range(num)]


def _tokens_per_step(reasoner: Reasoner) -> float:
    problem = problems(1, _SAMPLE_STEPS, seed=0)[0]
    return _num_tokens(reasoner, problem) / len(problem.steps)


def _num_tokens(reasoner: Reasoner, problem: Problem) -> int:
    """Of the whole way, written down."""
    return len(reasoner.engine.tokenize("\n".join(problem.steps)))


def _ask(reasoner: Reasoner, way: Way, problem: Problem, options: argparse.Namespace) -> Answer:
    budget = _SPARE * _num_tokens(reasoner, problem) + options.context
    return reasoner.ask(
        problem.question,
        **replace(way, budget=budget).keywords,
        answer_budget=_ANSWER_TOKENS,
        sampling=Sampling(temperature=options.temperature, seed=options.seed),
    )


def row(name: str, asked: Sequence[Problem], answers: Sequence[Answer], cell_bytes: int) -> Row:
    tokens = [a.usage.reasoning_tokens + a.usage.answer_tokens for a in answers]
    thoughts = [[phase for phase in a.phases if phase.role == Role.THINK.value] for a in answers]
    pairs = zip(asked, answers, strict=True)
    cells = max(a.usage.peak_cells for a in answers)
    ms = [a.timings.total_ms for a in answers]
    return Row(
        way=name,
        contexts=0.0,
        times=len(asked[0].steps),
        num=len(asked),
        right=sum(iterate.check(problem, answer.answer) for problem, answer in pairs),
        tokens=mean(tokens),
        rounds=mean(map(len, thoughts)),
        cut_rounds=mean(
            sum(phase.reason == StopReason.BUDGET.value for phase in all_) for all_ in thoughts
        ),
        ms=median(ms),
        ms_per_token=sum(ms) / max(sum(tokens), 1),
        peak_cells=cells,
        peak_bytes=cells * cell_bytes,
        ended=dict(Counter(answer.finish.value for answer in answers)),
    )


_COLUMNS: Final = (
    "contexts",
    "applications",
    "right %",
    "95 % interval",
    "tokens",
    "rounds",
    "cut",
    "ms",
    "ms a token",
    "peak KV tokens",
    "peak KV KiB",
    "ended",
)


def findings(rows: Sequence[Row]) -> Findings:
    by_way: dict[str, list[Row]] = {}
    for found in rows:
        by_way.setdefault(found.way, []).append(found)
    tables = tuple(
        Table(f"{way}, {group[0].num} test problems a length", _COLUMNS, list(map(_cells, group)))
        for way, group in by_way.items()
    )
    figures = [{**asdict(r), "interval": wilson(r.right, r.num)} for r in rows]
    return Findings({"rows": figures}, tables, tuple(_remarks(by_way)), tuple(_plots(by_way)))


def _cells(r: Row) -> tuple[object, ...]:
    low, high = wilson(r.right, r.num)
    return (
        round(r.contexts, 1),
        r.times,
        round(100 * r.share, 1),
        f"{100 * low:.1f}-{100 * high:.1f}",
        r.tokens,
        r.rounds,
        r.cut_rounds,
        r.ms,
        r.ms_per_token,
        r.peak_cells,
        r.peak_bytes / 1024 if r.peak_bytes else None,
        ", ".join(f"{reason} {num}" for reason, num in sorted(r.ended.items())),
    )


def _remarks(by_way: Mapping[str, Sequence[Row]]) -> list[str]:
    remarks = []
    for way, group in by_way.items():
        first, last = group[0], group[-1]
        slower = last.ms_per_token / max(first.ms_per_token, 1e-9)
        fuller = last.peak_cells / max(first.peak_cells, 1)
        remarks.append(
            f"{way}: from {first.contexts:.1f} to {last.contexts:.1f} contexts a token takes "
            f"{slower:.2f} times as long, and the KV holds {fuller:.2f} times as much at its peak."
        )
    return remarks


def _plots(by_way: Mapping[str, Sequence[Row]]) -> list[Plot]:
    unit = "KiB" if any(r.peak_bytes for group in by_way.values() for r in group) else "tokens"
    axes: Sequence[tuple[str, str, str, Callable[[Row], float]]] = (
        ("right", "right answers", "right, %", lambda r: 100 * r.share),
        (
            "kv",
            "KV at its peak",
            f"KV, {unit}",
            lambda r: r.peak_bytes / 1024 if unit == "KiB" else r.peak_cells,
        ),
        ("time", "time of a question", "milliseconds", lambda r: r.ms),
    )
    return [
        Plot(
            f"sawtooth-{name}",
            f"iterate: {title} against the length of the way",
            "length of the way, contexts",
            label,
            {way: [(r.contexts, value(r)) for r in group] for way, group in by_way.items()},
        )
        for name, title, label, value in axes
    ]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", help="a further model that is asked to think plainly")
    parser.add_argument("--num", type=int, default=50, help="test problems a length")
    parser.add_argument(
        "--contexts", type=float, nargs="+", default=list(_CONTEXTS), help="lengths of the way"
    )
    parser.add_argument("--rounds", type=int, default=200, help="rounds at most")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=1, help="more do not help so small a model")
    parser.set_defaults(model="nano-infty", context=512)


BENCH: Final = Bench("sawtooth", __doc__.splitlines()[0], _add_options, measure)
