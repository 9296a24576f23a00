"""Far more at once than there is time for: how many get text, and how late is anybody?

So many requests arrive at the same moment, with deadlines of 50 to 500 ms; all would think for as
long as they may. Then as many lines of thought as votes of `--samples`. Each round has its own
questions and deadlines. How many could be answered is how many could be one after the other, in the
best order and without thinking, at what a prompt and a token cost alone: steps that are shared do
better.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any, Final

from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner

from ..harness.problems import problems
from ..harness.questions import short_question
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner

_TRIALS: Final = 5  # questions to measure costs with
_COLUMNS: Final = (
    "requests",
    "with text, of all",
    "a round (least to most)",
    "could be, a round",
    "refused",
    "late",
    "median ms late",
    "most ms late",
    "most steps late",
    "late by over a step",
    "mean thinking tokens",
)


@dataclass(frozen=True, slots=True)
class Asked:
    question: str
    deadline_ms: float
    priority: int


@dataclass(frozen=True, slots=True)
class Ended:
    """`late_ms` is measured by whoever asked; below 0: in time."""

    late_ms: float
    has_text: bool
    finish: str
    thinking_tokens: int


@dataclass(frozen=True, slots=True)
class Costs:
    """Medians, of requests that are alone."""

    prompt_ms: float  # of a whole prompt
    step_ms: float

    def owed_ms(self, answer_tokens: int) -> float:
        return self.prompt_ms + answer_tokens * self.step_ms


def draw(options: argparse.Namespace, num: int, seed: int) -> list[Asked]:
    """Deadlines are uniform, priorities one of three."""
    generator = random.Random(f"overload:{seed}")
    if options.task:
        questions = [problem.question for problem in problems(options.task, num, seed)]
    else:
        questions = [short_question(generator).text for _ in range(num)]
    low, high = options.deadlines_ms
    return [
        Asked(question, generator.uniform(low, high), generator.randrange(3))
        for question in questions
    ]


def most_in_time(deadlines_ms: Sequence[float], owed_ms: float) -> int:
    """How many can be served one after the other, each by its deadline, if all take the same."""
    num = 0
    for deadline_ms in sorted(deadlines_ms):
        num += (num + 1) * owed_ms <= deadline_ms
    return num


def ask_at_once(
    reasoner: Reasoner, asked: Sequence[Asked], keywords: Mapping[str, Any]
) -> list[Ended]:
    """One call of `submit` after the other, none waits; each deadline counts from its call."""
    ended: list[Ended | None] = [None] * len(asked)
    finished = threading.Semaphore(0)

    def submit(index: int, one: Asked) -> None:
        arrived = time.monotonic()
        handle = reasoner.submit_soon(
            one.question, deadline_ms=one.deadline_ms, priority=one.priority, **keywords
        )

        def done(_: Any) -> None:
            late_ms = 1000 * (time.monotonic() - arrived) - one.deadline_ms
            answer = handle.result()
            text, thought = bool(answer.answer.strip()), answer.usage.reasoning_tokens
            ended[index] = Ended(late_ms, text, answer.finish.value, thought)
            finished.release()

        handle.future.add_done_callback(done)

    for index, one in enumerate(asked):
        submit(index, one)
    for _ in asked:
        finished.acquire()
    return [one for one in ended if one is not None]


def measure_costs(reasoner: Reasoner, asked: Sequence[Asked], answer_tokens: int) -> Costs:
    prompt_ms, step_ms = [], []
    for one in asked:
        handle = reasoner.submit(
            one.question,
            strategy="think",
            think_budget=24,
            answer_budget=answer_tokens,
            sampling=Sampling(temperature=0),
        )
        handle.result()
        thought = handle.chains[0][0]
        prompt_ms.append(thought.prefill_ms)
        step_ms.append(thought.decode_ms / max(thought.num_tokens - 1, 1))
    return Costs(median(prompt_ms), median(step_ms))


def measure(options: argparse.Namespace, say: Say) -> Findings:
    cases: dict[str, tuple[int, dict[str, Any]]] = {
        "think": (options.requests, {"strategy": "think"}),
        f"vote of {options.samples}": (
            options.requests // options.samples,
            {"strategy": "vote", "options": {"samples": options.samples}},
        ),
    }
    figures: dict[str, Any] = {}
    rows = []
    with open_reasoner(options) as reasoner:
        say("measuring what a request costs alone")
        samples = draw(options, _TRIALS, options.seed + 10**6)
        costs = measure_costs(reasoner, samples, options.answer_tokens)
        for name, (num, ways) in cases.items():
            rounds, best = [], []
            for number in range(options.rounds):
                asked = draw(options, num, options.seed + number)
                keywords = {
                    **ways,
                    "answer_budget": options.answer_tokens,
                    "sampling": Sampling(temperature=0, seed=number),
                }
                rounds.append(ask_at_once(reasoner, asked, keywords))
                owed_ms = costs.owed_ms(options.answer_tokens)
                best.append(most_in_time([one.deadline_ms for one in asked], owed_ms))
                say(f"{name}, round {number + 1}: {sum(e.has_text for e in rounds[-1])} with text")
                reasoner.wait_idle()
            found = summary(rounds, best, costs.step_ms)
            figures[name] = {**found, "finish": finishes(rounds)}
            rows.append((name, *(found[column] for column in _COLUMNS)))
    remark = (
        f"Alone a prompt takes {costs.prompt_ms:.1f} ms and a token {costs.step_ms:.2f} ms; a step "
        "is one of those. Lateness is that of the call of whoever asked."
    )
    table = Table(f"{options.rounds} rounds", ("", *_COLUMNS), rows)
    return Findings({"costs": asdict(costs), "cases": figures}, (table,), (remark,))


def finishes(rounds: Sequence[Sequence[Ended]]) -> dict[str, int]:
    return dict(Counter(one.finish for ended in rounds for one in ended))


def summary(
    rounds: Sequence[Sequence[Ended]], best: Sequence[int], step_ms: float
) -> dict[str, Any]:
    """One row of the report. `best`: how many could have had text, by round."""
    all_ = [one for ended in rounds for one in ended]
    late = [one.late_ms for one in all_ if one.late_ms > 0]
    texts = [sum(one.has_text for one in ended) for ended in rounds]
    most = max(late, default=0.0)
    values = (
        len(all_),
        f"{100 * sum(texts) / len(all_):.1f} %",
        f"{mean(texts):.1f} ({min(texts)} to {max(texts)})",
        mean(best),
        sum(one.finish == "refused" for one in all_),
        len(late),
        median(late) if late else 0.0,
        most,
        most / step_ms,
        sum(late_ms > step_ms for late_ms in late),
        mean(one.thinking_tokens for one in all_),
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=64, help="lines of thought at once")
    parser.add_argument("--rounds", type=int, default=13)
    parser.add_argument("--samples", type=int, default=4, help="of a vote")
    parser.add_argument("--answer-tokens", type=int, default=6)
    parser.add_argument(
        "--deadlines-ms", type=float, nargs=2, default=[50, 500], metavar=("LEAST", "MOST")
    )
    parser.add_argument("--task", default="", help="of bench/tasks; default: short questions")
    parser.set_defaults(context=8192)


BENCH: Final = Bench("overload", __doc__.splitlines()[0], _add_options, measure)
