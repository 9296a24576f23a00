"""Do threads follow the load? Cores are kept busy by other processes while one stream decodes.

Automatic threads against fixed numbers of ours and of the bare loop over libllama, in turns, each
turn in a process of its own. Then the load changes in the middle of a stream of short answers: how
soon is automatic as fast as our best fixed number is, in the same turn, in the new condition?
"""

from __future__ import annotations

import argparse
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve

from ..harness.runner import Bench, BusyCores, Findings, Say, Table, ratios, turns
from ..harness.stream import Stream, stream
from ..rivals.bare_loop import BareLoop, bare_loop

_WINDOW_S: Final = 0.5
_STEP_S: Final = 0.05
_GOAL: Final = 0.9  # of the best fixed number of threads
_DEPTH: Final = 64  # tokens of an answer while the load changes
_AUTOMATIC: Final = "ours, automatic"


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What automatic threads did after the load changed.

    `adapted_s` is when the first window began whose rate reached the goal; infinite: none did.
    From a second after the change on, `settled` is the rate to the best fixed number's, and `below`
    the share of windows below the goal.
    """

    change: str
    goal: float  # tokens per second
    before: float
    after: float
    settled: float
    adapted_s: float
    below: float
    lowest: float
    threads: float  # in force after the first second, over the time


def windows(times: Sequence[float], begin: float, end: float) -> Iterator[tuple[float, float]]:
    """(start, tokens per second) of each window in [begin, end]; `times` in order."""
    for index in range(int((end - begin - _WINDOW_S) / _STEP_S + 1e-6) + 1):
        start = begin + index * _STEP_S
        num = bisect_right(times, start + _WINDOW_S) - bisect_right(times, start)
        yield start, num / _WINDOW_S


def adaptation(
    change: str, found: Stream, changed_at: float, until: float, best_fixed: float
) -> Adaptation:
    goal = _GOAL * best_fixed
    rates = [(at - changed_at, rate) for at, rate in windows(found.times, changed_at, until)]
    later = [rate for after_s, rate in rates if after_s >= 1.0]
    before = [at for at in found.times if at <= changed_at]
    after = [at for at in found.times if changed_at < at <= until]
    settled = Stream(
        [at for at in after if at >= changed_at + 1.0], _since(found.threads, changed_at + 1.0)
    )
    return Adaptation(
        change=change,
        goal=goal,
        before=Stream(before, []).rate(),
        after=Stream(after, []).rate(),
        settled=settled.rate() / best_fixed,
        adapted_s=next((max(0.0, after_s) for after_s, rate in rates if rate >= goal), math.inf),
        below=sum(rate < goal for rate in later) / len(later) if later else 0.0,
        lowest=min((rate for _, rate in rates), default=0.0),
        threads=settled.usual_threads,
    )


def _since(changes: Sequence[tuple[float, int]], begin: float) -> list[tuple[float, int]]:
    """The changes after `begin`, and first what was in force then."""
    before = [num for at, num in changes if at <= begin]
    return [(begin, num) for num in before[-1:]] + [(at, num) for at, num in changes if at > begin]


def measure(options: argparse.Namespace, say: Say) -> Findings:
    model = model_file(open_bundle(resolve(options.model)))
    rates: dict[int, dict[str, list[float]]] = {}
    with bare_loop(model, options.decode_bench) as bare:
        for busy in options.busy:
            say(f"{busy} busy cores")
            with BusyCores(busy):
                time.sleep(0.5)
                rates[busy] = turns(_systems(options, bare), options.turns, say)
    best = {busy: max(_fixed(found).values()) for busy, found in rates.items()}
    adapted: list[list[Adaptation]] = []
    if 0 in rates and len(rates) > 1:
        for turn in range(options.turns):
            say(f"turn {turn + 1} of {options.turns}: the load changes in the middle of a stream")
            goals = _goals(options)
            adapted.append(
                [one for busy in options.busy if busy for one in _change(options, busy, goals)]
            )
    return _findings(rates, best, adapted)


def _goals(options: argparse.Namespace) -> dict[int, float]:
    """Our best fixed rate by number of busy cores, on the stream that `_change` looks at."""
    goals = {}
    for busy in options.busy:
        with BusyCores(busy):
            goals[busy] = max(
                stream(options, count, 2.0 + options.skip, depth=_DEPTH).rate(options.skip)
                for count in options.threads
            )
    return goals


def _systems(options: argparse.Namespace, bare: BareLoop) -> dict[str, Callable[[], float]]:
    def ours(threads: int) -> float:
        return stream(options, threads, options.seconds + options.skip).rate(options.skip)

    def theirs(threads: int) -> float:
        # As many tokens as would fit; the time ends it.
        most = options.context - 64
        figures = bare(
            prompt=46,
            decode=most,
            threads=threads,
            context=options.context,
            seconds=round(options.seconds + options.skip),
            skip=options.skip,
        )
        return float(figures["decode_tokens_per_s"])

    systems: dict[str, Callable[[], float]] = {_AUTOMATIC: partial(ours, 0)}
    for count in options.threads:
        systems[f"ours, {count} threads"] = partial(ours, count)
    for count in options.threads:
        systems[f"bare loop, {count} threads"] = partial(theirs, count)
    return systems


def _fixed(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Medians of the fixed numbers, ours and the bare loop's."""
    return {name: median(rates) for name, rates in found.items() if name != _AUTOMATIC}


def _change(options: argparse.Namespace, busy: int, best: Mapping[int, float]) -> list[Adaptation]:
    """One stream: idle, then busy, then idle again."""
    marks: list[float] = []

    def meanwhile() -> None:
        time.sleep(options.skip + 2.0)
        with BusyCores(busy):
            marks.append(time.monotonic())
            time.sleep(options.seconds)
        marks.append(time.monotonic())

    seconds = options.skip + 2.0 + 2 * options.seconds + 0.5
    found = stream(options, 0, seconds, meanwhile, depth=_DEPTH)
    on, off = marks
    end = min(off + options.seconds, found.times[-1])
    return [
        adaptation(f"0 -> {busy} busy", found, on, off, best[busy]),
        adaptation(f"{busy} -> 0 busy", found, off, end, best[0]),
    ]


def _findings(
    rates: Mapping[int, Mapping[str, Sequence[float]]],
    best: Mapping[int, float],
    adapted: Sequence[Sequence[Adaptation]],
) -> Findings:
    names = list(next(iter(rates.values())))
    rows = [(name, *(median(found[name]) for found in rates.values())) for name in names]
    against = {
        busy: {
            # Two busy cores may leave a bare loop of two threads nothing at all.
            name: median(pairs) if (pairs := ratios(found[_AUTOMATIC], rates_of)) else None
            for name, rates_of in found.items()
            if name != _AUTOMATIC
        }
        for busy, found in rates.items()
    }
    share = {busy: median(found[_AUTOMATIC]) / best[busy] for busy, found in rates.items()}
    rows.append(("automatic to the best fixed", *share.values()))
    rows += [
        (f"automatic to {name}", *(against[busy][name] for busy in rates))
        for name in names
        if name != _AUTOMATIC
    ]
    figures: dict[str, Any] = {
        "tokens_per_s": rates,
        "automatic_to_best_fixed": share,
        "automatic_to": against,
        "adaptation": [[asdict(one) for one in turn] for turn in adapted],
    }
    tables = [Table("Tokens a second", ("", *(f"{busy} busy" for busy in rates)), rows)]
    if adapted:
        tables.append(_adaptations(adapted))
    return Findings(figures, tuple(tables))


def _adaptations(adapted: Sequence[Sequence[Adaptation]]) -> Table:
    columns = ("change", *(field.name.replace("_", " ") for field in fields(Adaptation)[1:]))
    return Table(
        f"After a change of load; goal: {_GOAL} of the best fixed number, in windows of "
        f"{_WINDOW_S} s; medians of the turns",
        columns,
        [
            (same[0].change, *(median(column) for column in zip(*map(_figures, same), strict=True)))
            for same in zip(*adapted, strict=True)
        ],
    )


def _figures(one: Adaptation) -> tuple[float, ...]:
    return tuple(asdict(one).values())[1:]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="busy cores")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="fixed numbers")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="measured of each turn")
    parser.add_argument("--skip", type=int, default=1, help="seconds of a turn not counted")
    parser.add_argument("--decode-bench", type=Path, help="the built program; default: build it")


BENCH = Bench("threads", __doc__.splitlines()[0], _add_options, measure)
