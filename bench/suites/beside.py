"""What rides beside a thought, and what it costs: probes, and the draft of `auto`, in ms a token.

The same question, thinking to the end of its budget, plain, with probes every so many tokens, and
beside a draft that is never sure; in turns. A token's time is that of the phase that thinks, from
its first token on. What rides beside shares its batches, so a token may differ where two are nearly
equally likely; the number of thoughts that do is told.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any, Final

from edgereason.errors import EngineError
from edgereason.records import PhaseResult, Role, Sampling
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import word_problem
from ..harness.runner import Bench, Findings, Say, Table, open_warm, ratios, turns
from ..harness.speed import stay_on

_PLAIN: Final = "thinking alone"
_LEAST: Final = 64  # tokens of a thought whose time is taken
_COLUMNS: Final = ("", "ms a token", "to thinking alone", "lowest", "highest", "tokens beside")


@dataclass(frozen=True, slots=True)
class Thought:
    ms: float  # a token
    tokens: tuple[int, ...]
    num_beside: int  # tokens of probes or of the draft


def measure(options: argparse.Namespace, say: Say) -> Findings:
    with open_warm(options.model, options.threads, options.context) as reasoner:
        ask = partial(_ask, reasoner, options)
        systems: dict[str, Callable[[], Sequence[Thought]]] = {
            _PLAIN: partial(ask, "think"),
            f"a probe every {options.every}": partial(ask, "think", probe_every=options.every),
            "beside a draft": partial(
                ask, "auto", options={"steps": ("no-think/1.0",), "draft_tokens": options.draft}
            ),
        }
        runs = turns(systems, options.turns, say)
    return findings({name: [one for turn in found for one in turn] for name, found in runs.items()})


def _ask(
    reasoner: Reasoner, given: argparse.Namespace, strategy: str, **more: Any
) -> list[Thought]:
    random_ = random.Random(given.seed)
    return [
        _thought(reasoner, given, word_problem(random_).text, strategy, more)
        for _ in range(given.questions)
    ]


def _thought(
    reasoner: Reasoner,
    options: argparse.Namespace,
    question: str,
    strategy: str,
    more: Mapping[str, Any],
) -> Thought:
    handle = reasoner.submit(
        question,
        strategy=strategy,
        think_budget=options.think_budget,
        soft=1.0,
        answer_budget=8,
        sampling=_think_on(reasoner),
        **more,
    )
    handle.result()
    lines = [[one for one in chain if one.num_tokens] for chain in handle.chains]
    thoughts = [one for line in lines for one in line if one.role is Role.THINK]
    if len(thoughts) != 1 or thoughts[0].num_tokens < _LEAST:  # probes that agree end a thought
        raise EngineError(f"{strategy} thought too little to be timed")
    drafts = [line for line in lines if thoughts[0] not in line]
    return _timed(thoughts[0], sum(one.num_tokens for line in drafts for one in line))


def _think_on(reasoner: Reasoner) -> Sampling:
    """Sampling under which a thought goes on to the end of its budget."""
    sampling = stay_on(reasoner)
    close = reasoner.engine.tokenize(reasoner.bundle.reasoning.close.strip(), parse_control=True)
    bias = {**sampling.logit_bias, **dict.fromkeys(close[:1], -1e9)}
    return replace(sampling, logit_bias=bias)


def _timed(thought: PhaseResult, num_drafted: int) -> Thought:
    ms = thought.decode_ms / (thought.num_tokens - 1)
    return Thought(ms, thought.tokens, thought.num_probe_tokens + num_drafted)


def findings(thoughts: Mapping[str, Sequence[Thought]]) -> Findings:
    plain = thoughts[_PLAIN]
    rows, said = [], []
    for name, own in thoughts.items():
        costs = ratios([one.ms for one in own], [one.ms for one in plain])
        middle = median(costs)
        beside = median(one.num_beside for one in own)
        rows.append((name, median(one.ms for one in own), middle, min(costs), max(costs), beside))
        same = sum(
            one.tokens == other.tokens[: len(one.tokens)]
            for one, other in zip(own, plain, strict=True)
        )
        said.append(f"{name}: {same} of {len(own)} thoughts are those of {_PLAIN}.")
    figures = {row[0]: dict(zip(_COLUMNS[1:], row[1:], strict=True)) for row in rows}
    return Findings(figures, (Table("Beside a thought", _COLUMNS, rows),), tuple(said[1:]))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--think-budget", type=int, default=256)
    parser.add_argument("--every", type=int, default=32, help="tokens between two probes")
    parser.add_argument("--draft", type=int, default=32, help="longest answer of the draft")


BENCH = Bench("beside", __doc__.splitlines()[0], _add_options, measure)
