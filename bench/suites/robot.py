"""A robot whose cores are taken: questions with short deadlines, and a control loop beside them.

Questions are asked at `--rate` with `--deadline-ms` while `--busy` processes spin. In the same
process a control loop of `--loop-hz` notes how far from its moment it wakes, once with the model
and once without, in turns. A question is lost if nothing ever comes back for it.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Final

from edgereason.errors import EdgereasonError
from edgereason.records import Budget, Request, StopReason, messages_of
from edgereason.robot import Outcome, Station
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import open_questions
from ..harness.runner import Bench, BusyCores, Findings, Say, Table, quantile, turns

_PATIENCE_S: Final = 30.0  # for what is still on its way at the end
_ASKED_COLUMNS: Final = (
    "turn",
    "asked",
    "lost",
    "with text",
    "empty",
    "refused",
    "late",
    "late %",
    "median ms",
    "most ms late",
)
_LOOP_COLUMNS: Final = ("loop", "ticks", "median ms off", "p99 ms off", "p99.9", "most", "skipped")


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a question. `ended` is None where nothing came back."""

    ended: str | None
    used_ms: float = 0.0
    late_ms: float = 0.0
    has_text: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: with questions, or the loop alone."""

    asked: Sequence[Asked]
    off_ms: Sequence[float]  # of each tick of the loop
    skipped: int  # ticks that were over before they began


class Loop:
    """A control loop on a thread of its own that does nothing but look at the clock."""

    def __init__(self, hz: float) -> None:
        self._period_s = 1 / hz
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control-loop")
        self.off_ms: list[float] = []
        self.skipped = 0

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic() + self._period_s
        while not self._ends.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            off_s = time.monotonic() - due
            self.off_ms.append(1000 * off_s)
            missed = int(off_s / self._period_s)
            self.skipped += missed
            due += self._period_s * (1 + missed)


def ask_all(
    station: Station, options: argparse.Namespace, sleep: Callable[[float], None] = time.sleep
) -> list[Asked]:
    """Asks at the rate for `options.seconds`, then waits for what is on its way."""
    found: list[Asked | None] = [None] * round(options.seconds * options.rate)
    arrived = threading.Semaphore(0)
    begin = time.monotonic()

    def ended(index: int, asked_at: float, outcome: Outcome) -> None:
        found[index] = _asked(outcome, 1000 * (time.monotonic() - asked_at))
        arrived.release()

    for index in range(len(found)):
        sleep(max(0.0, begin + index / options.rate - time.monotonic()))
        asked_at = time.monotonic()
        try:
            running = station.submit(_request(index, options))
        except EdgereasonError as error:
            found[index] = Asked(error.code)
            arrived.release()
        else:
            running.add_done_callback(partial(ended, index, asked_at))
    until = time.monotonic() + _PATIENCE_S
    for _ in found:
        if not arrived.acquire(timeout=max(0.0, until - time.monotonic())):
            break
    return [one or Asked(None) for one in found]


def _request(index: int, options: argparse.Namespace) -> Request:
    questions = open_questions()
    return Request(
        messages_of(questions[index % len(questions)]),
        strategy="think",
        budget=Budget(answer_tokens=options.answer_budget, deadline_ms=options.deadline_ms),
    )


def _asked(outcome: Outcome, used_ms: float) -> Asked:
    if outcome.answer is None:
        return Asked("error", used_ms, outcome.late_ms)
    answer = outcome.answer
    return Asked(answer.finish.value, used_ms, outcome.late_ms, bool(answer.answer))


def measure(options: argparse.Namespace, say: Say) -> Findings:
    def alone() -> Turn:
        with BusyCores(options.busy), Loop(options.loop_hz) as loop:
            time.sleep(options.alone_seconds or options.seconds)
        return Turn((), loop.off_ms, loop.skipped)

    def with_model() -> Turn:
        with Station(partial(_open, options)) as station:
            ask_all(station, _shorter(options))  # what steps cost, and how long answers are
            with BusyCores(options.busy), Loop(options.loop_hz) as loop:
                asked = ask_all(station, options)
            return Turn(asked, loop.off_ms, loop.skipped)

    played = turns({"alone": alone, "with the model": with_model}, options.turns, say)
    rows = [asked_row(index + 1, turn.asked) for index, turn in enumerate(played["with the model"])]
    loops = [loop_row(name, some) for name, some in played.items()]
    asked = [turn.asked for turn in played["with the model"]]
    figures = {
        "ended": [Counter(str(one.ended) for one in some) for some in asked],
        "asked": [dict(zip(_ASKED_COLUMNS, row, strict=True)) for row in rows],
        "loops": [dict(zip(_LOOP_COLUMNS, row, strict=True)) for row in loops],
    }
    tables = (
        Table("Questions", _ASKED_COLUMNS, rows),
        Table("The control loop beside them", _LOOP_COLUMNS, loops),
    )
    remark = (
        f"{options.rate:g} questions a second, each within {options.deadline_ms:g} ms, for "
        f"{options.seconds:g} s a turn, while {options.busy} processes spin."
    )
    return Findings(figures, tables, (remark,))


def _open(options: argparse.Namespace) -> Reasoner:
    return Reasoner.open(options.model, context=options.context, nice=options.nice)


def _shorter(options: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "seconds": min(3.0, options.seconds)})


def asked_row(turn: int, asked: Sequence[Asked]) -> tuple[Any, ...]:
    back = [one for one in asked if one.ended is not None]
    refused = [one for one in back if one.ended == StopReason.REFUSED.value]
    late = [one for one in back if one.late_ms > 0]
    return (
        turn,
        len(asked),
        len(asked) - len(back),
        sum(one.has_text for one in back),
        sum(not one.has_text for one in back) - len(refused),
        len(refused),
        len(late),
        100 * len(late) / len(asked),
        median(one.used_ms for one in back) if back else None,
        max((one.late_ms for one in back), default=0.0),
    )


def loop_row(name: str, some: Sequence[Turn]) -> tuple[Any, ...]:
    """Ticks of all turns together."""
    off = [abs(ms) for turn in some for ms in turn.off_ms]
    return (
        name,
        len(off),
        median(off),
        quantile(off, 0.99),
        quantile(off, 0.999),
        max(off),
        sum(turn.skipped for turn in some),
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=10.0, help="questions a second")
    parser.add_argument("--deadline-ms", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=120.0, help="of a turn")
    parser.add_argument(
        "--alone-seconds", type=float, help="of a turn without the model; left out: as long"
    )
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--busy", type=int, default=2, help="processes that spin")
    parser.add_argument("--loop-hz", type=float, default=100.0)
    parser.add_argument("--answer-budget", type=int, default=12)
    parser.add_argument("--nice", type=int, default=0, help="of the threads that decode")


BENCH = Bench("robot", __doc__.splitlines()[0], _add_options, measure)
