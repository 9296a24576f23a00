"""Deadlines under overload: more requests than can all think, not more than can all answer.

Ours against llama-cpp-python's `Llama` behind a first-in-first-out queue, which has to choose
`max_tokens` from the deadline: when a request arrives (`advance`), or when its turn comes
(`start`). The same requests at the same moments, in turns; what still waits in a queue when the
last deadline is over is given up and counted as late. `arrivals.py` draws the requests.

With `--http` ours is asked once more, through its server; with `--llama-server` that one is asked,
to think and to answer at once, with the deadline as its `t_max_predict_ms`. Each has this machine
to itself while it is asked.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from statistics import mean, median
from typing import Any, Final, Protocol

from edgereason.models.bundle import model_file
from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner
from edgereason.values import Kind, extract_answer, normalize

from ..harness.arrivals import Arrival, Costs, Demand, Mix, demand, draw, late_at_best
from ..harness.questions import read_questions
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner, turns
from ..rivals import in_time
from ..rivals.servers import Program, Server, llama_server, ours, started

_BANDS: Final = (0.3, 0.6, 1.2, 2.5, 5.0)  # seconds, of deadlines
_COLUMNS: Final = (
    "num",
    "in time",
    "late",
    "late by over a step",
    "given up",
    "median ms late",
    "most ms late",
    "most steps late",
    "no answer",
    "no number",
    "mean thinking tokens",
)
_SLOTS: Final = 8
_NO_HURRY_S: Final = 10.0
_GROUP_COLUMNS: Final = ("num", "in time", "late", "most ms late", "no answer", "no number")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. `late_ms` is measured by whoever asked; of one that was given up
    (`answer` None) it is the least it would have been.
    """

    arrival: Arrival
    answer: str | None
    late_ms: float
    thinking_tokens: int

    @property
    def answered(self) -> bool:
        return self.answer is not None and not normalize(extract_answer(self.answer)).is_empty

    @property
    def numeric(self) -> bool:
        """All questions ask for a number."""
        if self.answer is None:
            return False
        return normalize(extract_answer(self.answer, numeric=True)).kind is Kind.NUMBER


class System(Protocol):
    def submit(self, arrival: Arrival, done: Callable[[str | None, int], None]) -> None:
        """Starts a request; `done(answer, thinking tokens)` is called once, from any thread. None:
        it was given up.
        """
        ...

    def give_up(self) -> None:
        """Ends what has not begun; called once every deadline is over."""
        ...


def play(system: System, arrivals: Sequence[Arrival]) -> list[Outcome]:
    """Submits every request at its moment and waits until all are answered or given up."""
    outcomes: list[Outcome | None] = [None] * len(arrivals)
    finished = threading.Semaphore(0)
    begin = time.monotonic()

    def submit(index: int, arrival: Arrival) -> None:
        arrived = time.monotonic()

        def done(answer: str | None, thinking: int) -> None:
            late = 1000 * (time.monotonic() - arrived - arrival.deadline_s)
            outcomes[index] = Outcome(arrival, answer, late, thinking)
            finished.release()

        system.submit(arrival, done)

    for index, arrival in enumerate(arrivals):
        time.sleep(max(0.0, begin + arrival.at_s - time.monotonic()))
        submit(index, arrival)
    over = begin + max(arrival.at_s + arrival.deadline_s for arrival in arrivals)
    time.sleep(max(0.0, over - time.monotonic()))
    system.give_up()
    for _ in arrivals:
        finished.acquire()
    return [outcome for outcome in outcomes if outcome is not None]


class Ours:
    def __init__(self, reasoner: Reasoner, answer_tokens: int) -> None:
        self._reasoner = reasoner
        self._answer_tokens = answer_tokens

    def submit(self, arrival: Arrival, done: Callable[[str | None, int], None]) -> None:
        handle = self._reasoner.submit(
            arrival.question,
            strategy="think",
            answer_budget=self._answer_tokens,
            deadline_ms=1000 * arrival.deadline_s,
            priority=arrival.priority,
            sampling=Sampling(temperature=0),
        )

        def finished(_: Any) -> None:
            answer = handle.result()
            done(answer.answer, answer.usage.reasoning_tokens)

        handle.future.add_done_callback(finished)

    def give_up(self) -> None:
        """None is late by more than a step."""


class Fifo:
    """`llama_cpp.Llama` and a queue: one request after the other, each with a fixed `max_tokens`.

    A request thinks up to `max_tokens` tokens or up to the cue, then the cue is appended and the
    answer read in a second call, which finds the KV of the first. `at_start` chooses `max_tokens`
    when the request's turn comes, from the time that is left; else when it arrives, as if it were
    alone.
    """

    def __init__(
        self, reasoner: Reasoner, costs: Costs, *, answer_tokens: int, threads: int, at_start: bool
    ) -> None:
        from llama_cpp import Llama

        self._reasoner = reasoner
        self._costs = costs
        self._answer_tokens = answer_tokens
        self._at_start = at_start
        self._llama = Llama(
            str(model_file(reasoner.bundle)),
            n_ctx=reasoner.engine.info["num_cells"],
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
        self._given_up = False
        self._queue: SimpleQueue[tuple[Arrival, float, Callable[[str | None, int], None]] | None]
        self._queue = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, arrival: Arrival, done: Callable[[str | None, int], None]) -> None:
        self._given_up = False
        self._queue.put((arrival, time.monotonic(), done))

    def give_up(self) -> None:
        """What waits now is late already: how late need not be waited for."""
        self._given_up = True

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._llama.close()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            arrival, arrived, done = item
            if self._given_up:
                done(None, 0)
                continue
            spent = time.monotonic() - arrived if self._at_start else 0.0
            done(*self._answer(arrival, arrival.deadline_s - spent))

    def _answer(self, arrival: Arrival, left_s: float) -> tuple[str, int]:
        reasoning = self._reasoner.bundle.reasoning
        tokens = self._reasoner.prompt_tokens(arrival.question)
        owed_s = self._costs.owed_s(len(tokens), self._answer_tokens)
        num_think = max(0, int((left_s - owed_s) / self._costs.step_s))
        thought: list[int] = []
        if num_think:
            thought = self._generate(tokens, num_think, reasoning.shuts)
        cue = self._llama.tokenize(reasoning.close.encode(), add_bos=False, special=True)
        answer = self._generate([*tokens, *thought, *cue], self._answer_tokens, ())
        return self._text(answer), len(thought)

    def _generate(self, prompt: Sequence[int], most: int, stops: Sequence[str]) -> list[int]:
        """The likeliest tokens, without the one that ends them and without a stop text."""
        found: list[int] = []
        for token in self._llama.generate(prompt, temp=0.0, repeat_penalty=1.0):
            if token == self._llama.token_eos():
                break
            found.append(token)
            text = self._text(found[-8:])
            stop = next((stop for stop in stops if stop in text), None)
            if stop is not None:
                while stop in self._text(found[-8:]):
                    found.pop()
                break
            if len(found) >= most:
                break
        return found

    def _text(self, tokens: Sequence[int]) -> str:
        return self._llama.detokenize(list(tokens)).decode(errors="replace")


def calibrate(reasoner: Reasoner, questions: Sequence[str], answer_tokens: int) -> Costs:
    """Thinks about some questions without a limit, one by one."""
    prompt_s, step_s, thoughts = [], [], []
    for question in questions:
        handle = reasoner.submit(
            question,
            strategy="think",
            answer_budget=answer_tokens,
            think_budget=512,
            sampling=Sampling(temperature=0),
        )
        handle.result()
        think = handle.chains[0][0]
        num_read = len(reasoner.prompt_tokens(question)) - think.num_cached
        prompt_s.append(think.prefill_ms / 1000 / num_read)
        if think.num_tokens > 4:
            step_s.append(think.decode_ms / 1000 / (think.num_tokens - 1))
        thoughts.append(think.num_reasoning)
    cue = reasoner.engine.tokenize(reasoner.bundle.reasoning.close, parse_control=True)
    return Costs(
        prompt_s=median(prompt_s),
        step_s=median(step_s),
        thinking_tokens=mean(thoughts),
        cue_tokens=len(cue),
    )


def measure(options: argparse.Namespace, say: Say) -> Findings:
    problems = read_questions(options.questions) if options.questions else ()
    mix = Mix(problems=tuple(problems), long_share=options.long_share)
    with open_reasoner(options) as reasoner:
        say("measuring what a step costs")
        samples = draw(options.calibrate, 1.0, mix, options.seed + 1)
        costs = calibrate(reasoner, [one.question for one in samples], options.answer_tokens)

        def owed_s(question: str) -> float:
            return costs.owed_s(len(reasoner.prompt_tokens(question)), options.answer_tokens)

        # The rate at which answers alone take the share that was asked for.
        asked = draw(options.requests, 1.0, mix, options.seed, owed_s)
        rate = options.owed / mean(owed_s(arrival.question) for arrival in asked)
        arrivals = draw(options.requests, rate, mix, options.seed, owed_s)
        load = Load(
            rate,
            costs,
            demand(arrivals, costs, owed_s),
            impossible=sum(owed_s(arrival.question) > arrival.deadline_s for arrival in arrivals),
            late_at_best=late_at_best(arrivals, owed_s),
        )
        say(load.sentence())
        with contextlib.ExitStack() as stack:
            systems: dict[str, System] = {"ours": Ours(reasoner, options.answer_tokens)}
            for kind in options.baselines:
                fifo = Fifo(
                    reasoner,
                    costs,
                    answer_tokens=options.answer_tokens,
                    threads=reasoner.engine.info["max_threads"],
                    at_start=kind == "start",
                )
                stack.callback(fifo.close)
                systems[f"llama-cpp-python, {kind}"] = fifo
            plays: dict[str, Callable[[], list[Outcome]]] = {
                **{name: partial(play, system, arrivals) for name, system in systems.items()},
                **_servers(options, reasoner, arrivals, [one.question for one in samples]),
            }
            played = turns(plays, options.turns, say)
    pooled = {name: [one for turn in runs for one in turn] for name, runs in played.items()}
    return findings(pooled, load)


def _servers(
    options: argparse.Namespace,
    reasoner: Reasoner,
    arrivals: Sequence[Arrival],
    samples: Sequence[str],
) -> dict[str, Callable[[], list[Outcome]]]:
    """Those that are asked over HTTP; each is started for its turn and ended after it."""
    threads, context = reasoner.engine.info["max_threads"], reasoner.engine.info["num_cells"]
    shared = (threads, context, _SLOTS)
    asks: dict[str, tuple[Program, Callable[[Server, Arrival], tuple[str, int]]]] = {}
    if options.http:
        keeps = ("--answer-tokens", str(options.answer_tokens), "--max-requests", "1000")
        program = ours(options.model, 0, context, _SLOTS, keeps)  # threads as the Python API has
        asks["ours over HTTP"] = (program, in_time.ask_ours)
    if options.llama_server is not None:
        gguf, reasoning = model_file(reasoner.bundle), reasoner.bundle.reasoning

        program = llama_server(options.llama_server, gguf, *shared)
        thinks = partial(in_time.ask_llama, mode=reasoning.on, shuts=reasoning.shuts)
        answers = partial(in_time.ask_llama, mode=reasoning.off, shuts=())
        asks["llama-server, thinking"] = (program, thinks)
        asks["llama-server, at once"] = (program, answers)

    def run(program: Program, ask: Callable[[Server, Arrival], tuple[str, int]]) -> list[Outcome]:
        with started(program) as server:
            for question in samples:  # it learns what steps cost, as the open model has
                ask(server, Arrival(0.0, _NO_HURRY_S, 0, question))
            return play(in_time.AskedServer(partial(ask, server)), arrivals)

    return {name: partial(run, *each) for name, each in asks.items()}


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked of the machine."""

    rate: float  # requests a second
    costs: Costs
    demand: Demand
    impossible: int  # requests whose own prompt and answer take more than their deadline
    late_at_best: int

    def sentence(self) -> str:
        return (
            f"{self.costs.step_s * 1000:.1f} ms a token, {1 / self.costs.prompt_s:.0f} prompt "
            f"tokens a second, {self.rate:.2f} requests a second. Answers alone would take "
            f"{self.demand.owed:.2f} of the time, thinking without a limit "
            f"{self.demand.thinking:.1f} times all of it. Without thinking, one after the other "
            f"and in the best order, {self.late_at_best} requests would be late, {self.impossible} "
            "of them even if they were alone."
        )


def findings(pooled: Mapping[str, Sequence[Outcome]], load: Load) -> Findings:
    step_ms = 1000 * load.costs.step_s
    of_all = {name: summary(found, step_ms) for name, found in pooled.items()}
    tables = [
        Table(
            "All requests",
            ("", *pooled),
            [(label, *(of_all[name][label] for name in pooled)) for label in _COLUMNS],
        )
    ]
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for name, found in pooled.items():
        groups[name] = {
            label: summary(part, step_ms) for label, part in grouped(found).items() if part
        }
        rows = [
            (label, *(part[column] for column in _GROUP_COLUMNS))
            for label, part in groups[name].items()
        ]
        title = f"By deadline and priority: {name}"
        tables.append(Table(title, ("requests", *_GROUP_COLUMNS), rows))
    figures = {
        "load": asdict(load),
        "all": of_all,
        "groups": groups,
    }
    return Findings(figures, tuple(tables), (load.sentence(),))


def grouped(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """By band of deadlines, then by priority."""
    groups = {
        f"{low}-{high} s": [one for one in outcomes if low <= one.arrival.deadline_s < high]
        for low, high in itertools.pairwise(_BANDS)
    }
    for priority in sorted({one.arrival.priority for one in outcomes}):
        label = f"priority {priority}"
        groups[label] = [one for one in outcomes if one.arrival.priority == priority]
    return groups


def summary(outcomes: Sequence[Outcome], step_ms: float) -> dict[str, Any]:
    """One row of the report; lateness over those that are late."""
    late = [one.late_ms for one in outcomes if one.late_ms > 0]
    most = max(late, default=0.0)
    values = (
        len(outcomes),
        len(outcomes) - len(late),
        len(late),
        sum(one.late_ms > step_ms for one in outcomes),
        sum(one.answer is None for one in outcomes),
        median(late) if late else 0.0,
        most,
        most / step_ms,
        sum(not one.answered for one in outcomes if one.answer is not None),
        sum(not one.numeric for one in outcomes if one.answer is not None),
        mean(one.thinking_tokens for one in outcomes),
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--owed", type=float, default=0.55, help="share of time answers alone take")
    parser.add_argument("--answer-tokens", type=int, default=12)
    parser.add_argument("--long-share", type=float, default=0.5, help="of long questions")
    parser.add_argument("--questions", type=Path, help="long ones, JSON lines with key question")
    parser.add_argument("--calibrate", type=int, default=8, help="questions to measure costs with")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument(
        "--baselines",
        nargs="*",
        choices=("advance", "start"),
        default=["advance", "start"],
        help="when llama-cpp-python's max_tokens is chosen",
    )
    parser.add_argument("--http", action="store_true", help="ask ours through its server as well")
    parser.add_argument("--llama-server", type=Path, help="the program, to be asked as well")


BENCH = Bench("deadline", __doc__.splitlines()[0], _add_options, measure)
