"""Deadlines in virtual time: the scheduler's policy without a model, in seconds.

The native scheduler on the scripted engine and a clock that only steps move: a step takes a fixed
time, and more for each row; `--noise` and `--slow-share` make it uncertain. The same requests as in
`deadline.py`, thinking for a random while; all chance comes from the seed. For trying out the
scheduler's own figures: `--margin`, `--chunk-ms`.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Final

from edgereason import _core
from edgereason.prompt.lowering import CorePhase, lower
from edgereason.records import Phase, Role, Sampling, StopReason

from ..harness.arrivals import Arrival, Costs, Mix, draw, late_at_best
from ..harness.runner import Bench, Findings, Say, Table

_SHARED: Final = 27  # tokens that all prompts begin with, as chat templates write them
_INSTRUCTION: Final = 25  # tokens that tell a model to think
_CHARACTERS: Final = 4  # a token, about
_CLOSE: Final = (10, 11, 12, 13)
_PACES: Final = 9973
_WAIT_MS: Final = 5.0  # with nothing to do time goes on by so much


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one request."""

    arrival: Arrival
    late_ms: float
    thinking_tokens: int
    answer_tokens: int
    reason: StopReason


class Machine:
    """A scheduler, an engine and a clock of their own."""

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        self._options = options
        self._clock = _core.ManualClock()
        self._engine = _core.ScriptedEngine(
            (),
            clock=self._clock,
            step_ms=options.step_ms,
            row_ms=options.row_ms,
            pace=_pace(options, random.Random(seed)),
            context=8192,
        )
        self._core = _core.Scheduler(
            self._engine, clock=self._clock, margin=options.margin, chunk_ms=options.chunk_ms
        )
        self._core.warm_up()
        self._random = random.Random(seed)
        num_vocab = self._engine.info["num_vocab"]
        ends = [token for token in range(num_vocab) if self._engine.ends(token)]
        self._sampling = Sampling(logit_bias={token: -1e9 for token in ends})

    def play(self, arrivals: Sequence[Arrival]) -> list[Ended]:
        begin = self._clock.now_ms()
        waiting = list(enumerate(arrivals))[::-1]
        running: dict[int, int] = {}
        spent_ms: dict[int, float] = {}
        thoughts: dict[int, int] = {}
        ended: dict[int, Ended] = {}
        while len(ended) < len(arrivals):
            now = self._clock.now_ms()
            while waiting and begin + 1000 * waiting[-1][1].at_s <= now:
                index, arrival = waiting.pop()
                running[self._submit(arrival, begin + 1000 * arrival.at_s)] = index
                spent_ms[index] = now - (begin + 1000 * arrival.at_s)
            did = self._core.step()
            for id_, fields in self._results():
                index = running[id_]
                spent_ms[index] += sum(
                    fields[key] for key in ("queue_ms", "prefill_ms", "decode_ms")
                )
                if not fields["last"]:
                    thoughts[index] = len(fields["tokens"])
                    continue
                self._core.close(id_)
                ended[index] = Ended(
                    arrivals[index],
                    spent_ms[index] - 1000 * arrivals[index].deadline_s,
                    thoughts.get(index, 0),
                    # A request that never came to its answer reports its thinking last.
                    len(fields["tokens"]) if index in thoughts else 0,
                    StopReason(fields["reason"]),
                )
            if not did:
                self._clock.advance(_WAIT_MS)
        return [ended[index] for index in range(len(arrivals))]

    def _results(self) -> list[tuple[int, Mapping[str, Any]]]:
        events = self._core.take(0)
        return [
            (event[0], {**event[3], "last": event[2]}) for event in events if event[1] == "phase"
        ]

    def _submit(self, arrival: Arrival, arrival_ms: float) -> int:
        id_ = self._core.open(
            priority=arrival.priority,
            arrival_ms=arrival_ms,
            deadline_ms=arrival_ms + 1000 * arrival.deadline_s,
        )
        num_own = num_prompt(arrival.question) - _SHARED
        own = tuple(self._random.randrange(2, 200) for _ in range(num_own))
        would_think = 20 + int(self._random.expovariate(1 / self._options.thinking))
        self._core.run(
            id_,
            [
                self._phase(Role.THINK, would_think, (1,) * _SHARED + own),
                self._phase(Role.ANSWER, self._options.answer_tokens, None),
            ],
        )
        return id_

    def _phase(self, role: Role, budget: int, fresh: tuple[int, ...] | None) -> CorePhase:
        """A phase as `lower` gives it, but for a prompt that is tokens already."""
        phase = Phase(role.value, role, budget=budget, sampling=self._sampling)
        (lowered,) = lower(phase, self._engine)
        lowered.fresh = fresh
        lowered.close = _CLOSE if role is Role.THINK else ()
        return lowered


def _pace(options: argparse.Namespace, generator: random.Random) -> list[float]:
    """How much longer or shorter than usual steps take, in turn."""
    return [
        math.exp(generator.gauss(0, options.noise))
        * (options.slow if generator.random() < options.slow_share else 1.0)
        for _ in range(_PACES)
    ]


def num_prompt(question: str) -> int:
    return _SHARED + _INSTRUCTION + len(question) // _CHARACTERS


def measure(options: argparse.Namespace, say: Say) -> Findings:
    costs = Costs(
        prompt_s=options.row_ms / 1000,
        step_s=(options.step_ms + options.row_ms) / 1000,
        thinking_tokens=20.0 + options.thinking,
        cue_tokens=len(_CLOSE),
    )

    def owed_s(question: str) -> float:
        return costs.owed_s(num_prompt(question), options.answer_tokens)

    rows = []
    for owed in options.owed:
        say(f"answers alone take {owed} of the time")
        ended: list[Ended] = []
        at_best = 0
        for seed in range(options.seed, options.seed + options.seeds):
            asked = draw(options.requests, 1.0, Mix(), seed, owed_s)
            rate = owed / mean(owed_s(arrival.question) for arrival in asked)
            arrivals = draw(options.requests, rate, Mix(), seed, owed_s)
            ended += Machine(options, seed).play(arrivals)
            at_best += late_at_best(arrivals, owed_s)
        step_ms = options.step_ms + options.row_ms
        rows.append((owed, *summary(ended, options.answer_tokens, step_ms), at_best))
    figures = {"costs": asdict(costs), "loads": [dict(zip(_COLUMNS, r, strict=True)) for r in rows]}
    return Findings(figures, (Table("In virtual time", _COLUMNS, rows),))


_COLUMNS: Final = (
    "owed share",
    "requests",
    "late",
    "late by over a step",
    "most ms late",
    "answer cut",
    "no token",
    "under 4 tokens",
    "mean thinking",
    "late in sequence",
)


def summary(ended: Sequence[Ended], answer_tokens: int, step_ms: float) -> tuple[float, ...]:
    return (
        len(ended),
        sum(one.late_ms > 0 for one in ended),
        sum(one.late_ms > step_ms for one in ended),
        max(0.0, *(one.late_ms for one in ended)),
        sum(one.answer_tokens < answer_tokens for one in ended),
        sum(one.answer_tokens == 0 for one in ended),
        sum(one.answer_tokens < 4 for one in ended),
        mean(one.thinking_tokens for one in ended),
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    # SmolLM2-135M in Q4_1 on two cores of an x86-64 server.
    parser.add_argument("--step-ms", type=float, default=4.4, help="of a step without rows")
    parser.add_argument("--row-ms", type=float, default=2.9, help="of each row")
    parser.add_argument("--noise", type=float, default=0.0, help="spread of a step's logarithm")
    parser.add_argument("--slow", type=float, default=2.0, help="times as long as usual")
    parser.add_argument("--slow-share", type=float, default=0.0, help="of steps that are slow")
    parser.add_argument("--owed", type=float, nargs="+", default=[0.3, 0.55, 0.8])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=6, help="runs of that many requests")
    parser.add_argument("--answer-tokens", type=int, default=12)
    parser.add_argument("--thinking", type=float, default=120, help="mean tokens, and 20 more")
    parser.add_argument("--margin", type=float, default=1.15, help="the scheduler's")
    parser.add_argument("--chunk-ms", type=float, default=50, help="the scheduler's")


BENCH = Bench("simulate", __doc__.splitlines()[0], _add_options, measure)
