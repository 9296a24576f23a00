"""What is thinking worth of one that knows how long every answer will be? In virtual time.

Requests with deadlines arrive at random and think for as long as they may. The scheduler has to
keep time free for answers whose lengths it does not know. It is held against itself with foresight:
every answer's length is known, steps take what is expected, nothing is kept for requests to come.
Load is owed work: prompts and answers, one after the other, of the time there is.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from edgereason import _core
from edgereason.prompt.lowering import CorePhase, lower
from edgereason.records import Phase, Role, StopReason

from ..harness.runner import Bench, Findings, Say, Table

_STEP_MS: Final = 9.0
_ROW_MS: Final = 1.0
_PROMPT: Final = 60  # tokens
_CLOSE: Final = "</think>"
_LONGEST: Final = 200
_WAIT_MS: Final = 5.0  # with nothing to do time goes on by so much
_COLUMNS: Final = (
    "load",
    "case",
    "thinking tokens of those with foresight",
    "late",
    "most ms late",
    "late with foresight",
    "empty",
    "empty with foresight",
    "cut answers",
    "median share of the time",
)


@dataclass(frozen=True, slots=True)
class Request:
    at_ms: float
    deadline_ms: float
    length: int  # tokens of its answer


@dataclass(frozen=True, slots=True)
class Outcome:
    thinking_tokens: int
    late_ms: float
    share: float
    empty: bool
    cut: bool


@dataclass(frozen=True, slots=True)
class Case:
    """What is unusual. `median`: tokens of an answer; `later`: times as long from half-way on;
    `pace`: how much longer steps take from half-way on.
    """

    name: str
    median: float = 12.0
    later: float = 1.0
    pace: float = 1.0


CASES: Final = (
    Case("as the prior says", 32.0),
    Case("shorter answers", 8.0),
    Case("longer answers", 90.0),
    Case("suddenly longer", 10.0, later=4.0),
    Case("the machine slows down", 12.0, pace=1.8),
)


def draw(case: Case, load: float, num: int, seed: int) -> list[Request]:
    """Poisson arrivals; deadlines from 0.8 to 6 s, log-uniform; log-normal lengths."""
    generator = random.Random(seed)
    at_ms, drawn = 0.0, []
    for i in range(num):
        later = case.later if i >= num / 2 else 1.0
        length = generator.lognormvariate(math.log(case.median * later), 0.5)
        given_ms = math.exp(generator.uniform(math.log(800), math.log(6000)))
        drawn.append(Request(at_ms, given_ms, min(max(round(length), 1), _LONGEST)))
        at_ms += generator.expovariate(load / _owed_ms(case))
    return drawn


def _owed_ms(case: Case) -> float:
    """Of a usual request, alone."""
    mean = case.median * math.exp(0.5**2 / 2) * (1 + case.later) / 2
    reading = _STEP_MS + _ROW_MS * (_PROMPT + len(_CLOSE) + 5)
    return reading + min(mean, _LONGEST) * (_STEP_MS + _ROW_MS)


class Machine:
    """A scheduler, an engine and a clock of their own. With foresight, an answer's budget is its
    length, and nothing is kept for what is not known.
    """

    def __init__(self, case: Case, requests: Sequence[Request], *, foresight: bool) -> None:
        self._clock = _core.ManualClock()
        # An answer begins with its length in three digits, and ends of itself after as many tokens.
        self._engine = _core.ScriptedEngine(
            [(_mark(length), "y" * length) for length in range(1, _LONGEST + 1)],
            clock=self._clock,
            step_ms=_STEP_MS,
            row_ms=_ROW_MS,
            context=16384,
            max_seqs=64,
        )
        self._foresight = foresight
        self._core = (
            _core.Scheduler(self._engine, clock=self._clock, margin=1.0, most_slack=1.0)
            if foresight
            else _core.Scheduler(self._engine, clock=self._clock)
        )
        self._core.warm_up()
        self._case, self._requests = case, requests
        self._random = random.Random(1)

    def play(self) -> list[Outcome]:
        begin = self._clock.now_ms()
        half = self._requests[len(self._requests) // 2].at_ms
        waiting = list(enumerate(self._requests))[::-1]
        running: dict[int, int] = {}
        phases: dict[int, list[Mapping[str, Any]]] = {}
        outcomes: dict[int, Outcome] = {}
        waited_ms: dict[int, float] = {}  # until the step that was running had ended
        while len(outcomes) < len(self._requests):
            now = self._clock.now_ms()
            while waiting and begin + waiting[-1][1].at_ms <= now:
                index, request = waiting.pop()
                running[self._submit(request, begin)] = index
                waited_ms[index] = now - begin - request.at_ms
            before = self._clock.now_ms()
            did = self._core.step()
            if before - begin > half:
                self._clock.advance((self._case.pace - 1) * (self._clock.now_ms() - before))
            for id_, last, fields in self._results():
                phases.setdefault(id_, []).append(fields)
                if last:
                    index = running[id_]
                    outcomes[index] = _outcome(self._requests[index], phases[id_], waited_ms[index])
                    self._core.close(id_)
            if not did:
                self._clock.advance(_WAIT_MS)
        return [outcomes[index] for index in range(len(self._requests))]

    def _results(self) -> Iterator[tuple[int, bool, Mapping[str, Any]]]:
        for id_, kind, last, fields in self._core.take(0):
            if kind == "phase":
                yield id_, bool(last), fields  # type: ignore[misc]  # of a phase it is a dict

    def _submit(self, request: Request, begin: float) -> int:
        arrival_ms = begin + request.at_ms
        id_ = self._core.open(arrival_ms=arrival_ms, deadline_ms=arrival_ms + request.deadline_ms)
        prompt = tuple(self._random.randrange(65, 91) for _ in range(_PROMPT))
        budget = request.length if self._foresight else 256
        self._core.run(id_, [self._thinks(prompt), self._answers(request.length, budget)])
        return id_

    def _thinks(self, prompt: tuple[int, ...]) -> CorePhase:
        phase = Phase("think", Role.THINK, shut=(_CLOSE,), close=_CLOSE)
        (lowered,) = lower(phase, self._engine)
        lowered.fresh = prompt
        return lowered

    def _answers(self, length: int, budget: int) -> CorePhase:
        (lowered,) = lower(Phase("answer", force=_mark(length), budget=budget), self._engine)
        return lowered


def _mark(length: int) -> str:
    return f"={length:03}:"


def _outcome(request: Request, phases: Sequence[Mapping[str, Any]], waited_ms: float) -> Outcome:
    answer = phases[-1] if len(phases) == 2 else None
    num = len(answer["tokens"]) if answer else 0
    # Not until the events were taken: those of before a step are taken after it here.
    spent_ms = waited_ms + sum(
        phase[part] for phase in phases for part in ("queue_ms", "prefill_ms", "decode_ms")
    )
    return Outcome(
        thinking_tokens=phases[0]["num_reasoning"],
        late_ms=max(spent_ms - request.deadline_ms, 0.0),
        share=spent_ms / request.deadline_ms,
        empty=num == 0,
        cut=answer is not None and answer["reason"] == StopReason.DEADLINE.value,
    )


def measure(options: argparse.Namespace, say: Say) -> Findings:
    rows: list[tuple[object, ...]] = []
    figures: list[dict[str, Any]] = []
    for case in CASES:
        for load in options.loads:
            say(f"{case.name}, load {load:g}")
            requests = draw(case, load, options.requests, options.seed)
            ours = Machine(case, requests, foresight=False).play()
            best = Machine(case, requests, foresight=True).play()
            rows.append(row(load, case, ours, best))
            figures.append(
                {
                    "case": asdict(case),
                    "load": load,
                    "ours": sums(ours),
                    "with foresight": sums(best),
                }
            )
    remark = (
        "With foresight: the same scheduler, told each answer's length, with no safety margin. "
        "Where the machine slows down it expects that as little as ours does."
    )
    return Findings({"runs": figures}, (Table("Foresight", _COLUMNS, rows),), (remark,))


def sums(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Of all requests together; `share` is the mean of theirs."""
    return {
        "num": len(outcomes),
        "thinking_tokens": sum(one.thinking_tokens for one in outcomes),
        "late": sum(one.late_ms > 0 for one in outcomes),
        "late_ms": sum(one.late_ms for one in outcomes),
        "empty": sum(one.empty for one in outcomes),
        "cut": sum(one.cut for one in outcomes),
        "share": sum(one.share for one in outcomes) / len(outcomes),
    }


def row(
    load: float, case: Case, ours: Sequence[Outcome], best: Sequence[Outcome]
) -> tuple[object, ...]:
    thought = sum(one.thinking_tokens for one in ours)
    shares = sorted(one.share for one in ours)
    return (
        load,
        case.name,
        thought / max(sum(one.thinking_tokens for one in best), 1),
        sum(one.late_ms > 0 for one in ours),
        max(one.late_ms for one in ours),
        sum(one.late_ms > 0 for one in best),
        sum(one.empty for one in ours),
        sum(one.empty for one in best),
        sum(one.cut for one in ours),
        shares[len(shares) // 2],
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--loads", type=float, nargs="+", default=[0.2, 0.5, 0.8, 1.2])
    parser.add_argument("--requests", type=int, default=400, help="of each case and load")


BENCH = Bench("foresight", __doc__.splitlines()[0], _add_options, measure)
