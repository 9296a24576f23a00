"""Is a think budget ever exceeded? Every strategy, with and without probes, alone and in a batch.

Thinking tokens are counted three times: as the answer reports them, from the bytes of each phase's
tokens, and from the scheduler's own counter of drawn tokens, which knows nothing of budgets. All
must agree, and none may pass the budget.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from edgereason.prompt.reasoning import Reasoning
from edgereason.records import Answer, Channel, PhaseResult, Sampling, StopReason
from edgereason.runtime.reasoner import Handle, Reasoner

from ..harness.questions import short_question, word_problem
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner

_BATCH: Final = 4
_PROBE_EVERY: Final = 16
_STRATEGIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "think": {},
    "no-think": {},
    "budget-forcing": {"waits": 2},
    "auto-think": {},
    "hbpo": {},
    "auto": {"threshold": 1.0, "draft_tokens": 8},  # never sure: it always thinks as well
    "infty-think": {"round_tokens": 24, "summary_tokens": 8},
    "vote": {"samples": 3, "early_stop": False},
}
_COLUMNS: Final = (
    "budget",
    "runs",
    "most used",
    "reported over",
    "counted over",
    "miscounted",
    "undeclared",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One way of asking under one budget."""

    budget: int
    strategy: str
    probes: bool
    batch: int


@dataclass(slots=True)
class Count:
    """What the runs of one case used, and what was wrong with them."""

    runs: int = 0
    most_used: int = 0  # thinking tokens of one chain
    reported_over: int = 0  # answers that say so themselves
    counted_over: int = 0  # chains with more thinking tokens than the budget
    miscounted: int = 0  # answers whose report is not what their phases have
    undeclared: int = 0  # tokens drawn and in no phase: of probes cut short, else a fault
    details: list[str] = field(default_factory=list)

    @property
    def violations(self) -> int:
        return self.reported_over + self.counted_over + self.miscounted


def cases(budgets: Sequence[int]) -> Iterator[Case]:
    for budget in budgets:
        for strategy in _STRATEGIES:
            for probes in (False, True):
                for batch in (1, _BATCH):
                    yield Case(budget, strategy, probes, batch)


def count_thinking(
    pieces: Sequence[bytes],
    opens: Sequence[str],
    shuts: Sequence[str],
    *,
    inside: bool,
    told: str | None = None,
    left: int = 0,
) -> int:
    """How many of these tokens were thoughts, from their bytes alone.

    A token that completes a mark, of either kind, is none. A block that was opened again may be
    closed by force, by tokens that are not among these: where all that was `told` as thought has
    been seen, and `left` tokens were thought or no mark follows.
    """
    total = 0
    thought = text = b""  # of blocks that have ended; since the last mark
    for number, piece in enumerate(pieces, 1):
        text += piece
        marks = [mark.encode() for mark in (shuts if inside else opens) if mark.encode() in text]
        if marks:
            before, _, text = text.partition(marks[0])
            thought += before if inside else b""
            inside = not inside
        else:
            total += inside
        if inside and told is not None and _shown(thought + text, opens) == told:
            follows = b"".join(pieces[number:]).startswith(tuple(mark.encode() for mark in shuts))
            if total >= left or not follows:
                inside, thought, text = False, thought + text, b""
    return total


def _shown(thought: bytes, opens: Sequence[str]) -> str:
    """As a phase tells it: a mark that opens an open block is no text."""
    for mark in opens:
        thought = thought.replace(mark.encode(), b"")
    return thought.decode("utf-8", "replace")


def count_chain(
    chain: Sequence[PhaseResult], tokenizer: Any, reasoning: Reasoning, budget: int
) -> int:
    """Thinking tokens of one chain of thought. A thought ends once, by what its phase says."""
    total = 0
    for result in chain:
        thought = result.channel is Channel.REASONING
        shuts = ([result.mark] if result.mark else []) if thought else reasoning.shuts
        pieces = [tokenizer.piece(token) for token in result.tokens]
        told = None if thought else result.reasoning
        total += count_thinking(
            pieces, reasoning.opens, shuts, inside=thought, told=told, left=budget - total
        )
    return total


def check(count: Count, budget: int, answer: Answer, counted: Sequence[int]) -> None:
    """Adds one answer, and what was counted for each of its chains, to the count."""
    used = answer.budget.think_tokens.used
    all_used = answer.usage.reasoning_tokens
    num_over = sum(number > budget for number in counted)
    honest = used == max(counted) and all_used == sum(counted)
    count.runs += 1
    count.most_used = max(count.most_used, used, *counted)
    count.reported_over += used > budget
    count.counted_over += num_over
    count.miscounted += not honest
    if used > budget or num_over or not honest:
        count.details.append(f"reported {used}, of all chains {all_used}, counted {list(counted)}")


def _wave(reasoner: Reasoner, case: Case, seeds: Sequence[int], count: Count) -> None:
    """Asks for all seeds at once."""
    before = reasoner.stats()["num_sampled"]
    handles = [_submit(reasoner, case, seed) for seed in seeds]
    answers = [handle.result() for handle in handles]
    reasoner.wait_idle()
    drawn = reasoner.stats()["num_sampled"] - before
    reasoning = reasoner.bundle.reasoning
    for handle, answer in zip(handles, answers, strict=True):
        chains = handle.chains
        counted = [count_chain(chain, reasoner.engine, reasoning, case.budget) for chain in chains]
        check(count, case.budget, answer, counted)
        drawn -= sum(_num_drawn(result) for chain in chains for result in chain)
    count.undeclared += drawn


def _num_drawn(result: PhaseResult) -> int:
    """Tokens that this phase drew: its own, those of its probes, and an end token."""
    ended = result.reason is StopReason.STOP and not result.mark
    return result.num_tokens + result.num_probe_tokens + ended


def _submit(reasoner: Reasoner, case: Case, seed: int) -> Handle:
    generator = random.Random(seed)
    question = (word_problem if seed % 2 else short_question)(generator)
    return reasoner.submit(
        question.text,
        strategy=case.strategy,
        options=_STRATEGIES[case.strategy],
        think_budget=case.budget,
        answer_budget=8,
        probe_every=_PROBE_EVERY if case.probes else 0,
        sampling=Sampling(temperature=0.7, seed=seed),
    )


def measure(options: argparse.Namespace, say: Say) -> Findings:
    counts: dict[Case, Count] = {}
    with open_reasoner(options) as reasoner:
        for case in cases(options.budgets):
            say(
                f"budget {case.budget}: {case.strategy}{', probes' if case.probes else ''}, "
                f"{case.batch} at once"
            )
            count = counts[case] = Count()
            num = options.alone if case.batch == 1 else options.batched
            seeds = [options.seed + i for i in range(num)]
            for begin in range(0, num, case.batch):
                _wave(reasoner, case, seeds[begin : begin + case.batch], count)
    return findings(options.budgets, counts)


def findings(budgets: Sequence[int], counts: Mapping[Case, Count]) -> Findings:
    """Sums by budget, and every case in which something was wrong."""
    rows = []
    for budget in budgets:
        of_budget = {case: count for case, count in counts.items() if case.budget == budget}
        total = [
            sum(getattr(count, name) for count in of_budget.values())
            for name in ("runs", "reported_over", "counted_over", "miscounted")
        ]
        most = max(count.most_used for count in of_budget.values())
        plain = sum(count.undeclared for case, count in of_budget.items() if not case.probes)
        rows.append((budget, total[0], most, *total[1:], plain))
    wrong = [
        {**asdict(case), **asdict(count)}
        for case, count in counts.items()
        if count.violations or (count.undeclared and not case.probes)
    ]
    figures = {
        "violations": sum(count.violations for count in counts.values()),
        "by_budget": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
        "wrong": wrong,
    }
    table = Table("Think budgets", _COLUMNS, rows)
    return Findings(figures, (table,), tuple(str(case) for case in wrong))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budgets", type=int, nargs="+", default=[0, 1, 17, 200])
    # 10 ways of asking (strategies, probes) times (2 + 8): 100 runs a budget.
    parser.add_argument("--alone", type=int, default=2, help="runs one by one, each way of asking")
    parser.add_argument("--batched", type=int, default=8, help=f"runs {_BATCH} at once")


BENCH = Bench("budget", __doc__.splitlines()[0], _add_options, measure)
