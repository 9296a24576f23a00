"""Answers with JSON schemas under budgets that are too short: do they parse, do they validate?

Every schema of a file is asked at every budget. An answer parses if Python reads it, and validates
if the package jsonschema says so. A budget is too short for a schema where the shortest text that
was found for it has more tokens. What masks cost is measured by going through the answers of the
largest budget once more, token by token, outside of the loop, in CPU time.

With `--rival` llama-cpp-python answers the same questions, with llama.cpp's own grammars made of
the same schemas: `create_completion` on the same prompts, greedily, one at a time. With
`--llama-server` that server does, asked with the schema as `response_format` and the budget as
`max_tokens`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.grammars import Grammar
from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve
from edgereason.planning.device import this_machine
from edgereason.records import Answer
from edgereason.runtime.reasoner import Handle, Reasoner

from ..harness.runner import Bench, Findings, Say, Table, open_reasoner, quantile
from ..rivals.llama_cpp_python import LlamaCppPython
from ..rivals.servers import llama_server, started

_COLUMNS: Final = (
    "budget",
    "answers",
    "parse",
    "validate",
    "long enough",
    "of them valid",
    "rival",
)
_NO_LIMIT: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Case:
    """A schema, what is asked, and the tokens of the shortest text that was found for it."""

    id: str
    question: str
    schema: dict[str, Any]
    grammar: Grammar
    num_least: int = 0


@dataclass(slots=True)
class Share:
    """What the answers of one budget were like."""

    num: int = 0
    parse: int = 0
    validate: int = 0
    long_enough: int = 0
    valid_where_long: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, case: Case, budget: int, text: str) -> None:
        parses, valid = judged(text, case.schema)
        long_enough = budget >= case.num_least
        self.num += 1
        self.parse += parses
        self.validate += valid
        self.long_enough += long_enough
        self.valid_where_long += long_enough and valid
        if not parses or (long_enough and not valid):
            self.wrong.append(f"{case.id}, {budget} tokens: {text[:120]}")


def judged(text: str, schema: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a text is JSON, and whether it is valid under the schema."""
    import jsonschema

    try:
        value = json.loads(text)
    except ValueError:
        return False, False
    return True, bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def read_cases(path: Path, num: int) -> Iterator[Case]:
    for line in path.read_text(encoding="utf-8").splitlines()[: num or None]:
        row = json.loads(line)
        schema = row["extra"]["schema"]
        yield Case(row["id"], row["question"], schema, Grammar.json(schema))


def measure(options: argparse.Namespace, say: Say) -> Findings:
    budgets = sorted(options.budgets)
    shares = {budget: Share() for budget in budgets}
    refused: dict[str, str] = {}
    compile_ms: list[float] = []
    costs = Costs()
    with open_reasoner(options, threads=options.threads) as reasoner:
        reasoner.grammars.get(Grammar.json())  # reads the vocabulary
        cases = list(
            _compiled(reasoner, read_cases(options.schemas, options.num), compile_ms, refused)
        )
        for number, case in enumerate(cases, 1):
            say(f"schema {number} of {len(cases)}: {case.id}")
            answers = _answers(reasoner, case, budgets, options)
            for budget, (answer, _) in answers.items():
                shares[budget].add(case, budget, answer.answer)
            costs.add(reasoner, case, answers[budgets[-1]][1])
    rivals = _rivals(options, cases, budgets, say)
    return findings(shares, refused, compile_ms, costs, rivals)


def _compiled(
    reasoner: Reasoner, cases: Iterator[Case], compile_ms: list[float], refused: dict[str, str]
) -> Iterator[Case]:
    from edgereason import _core

    for case in cases:
        begin = time.thread_time()
        try:
            compiled = reasoner.grammars.get(case.grammar)
        except UsageError as error:
            refused[case.id] = error.message
            continue
        compile_ms.append(1000 * (time.thread_time() - begin))
        least = len(_core.Guide(compiled.core, _NO_LIMIT).ending)
        yield Case(case.id, case.question, case.schema, case.grammar, least)


def _answers(
    reasoner: Reasoner, case: Case, budgets: Sequence[int], options: argparse.Namespace
) -> dict[int, tuple[Answer, tuple[int, ...]]]:
    """By budget: an answer, and the tokens of its last phase. All share the KV of the prompt."""

    def submit(budget: int) -> Handle:
        return reasoner.submit(
            case.question,
            strategy=options.strategy,
            think_budget=options.think_budget,
            answer_budget=budget,
            grammar=case.grammar,
            keep=True,
        )

    handles = {budgets[0]: submit(budgets[0])}
    handles[budgets[0]].result()  # it reads the prompt for the others
    handles |= {budget: submit(budget) for budget in budgets[1:]}
    return {
        budget: (handle.result(), handle.chains[0][-1].tokens) for budget, handle in handles.items()
    }


class Costs:
    """What it takes to go through answers token by token: microseconds of CPU, by kind of call."""

    def __init__(self) -> None:
        self.mask_us: list[float] = []
        self.accept_us: list[float] = []
        self.num_tokens = 0
        self.num_forced = 0

    def add(self, reasoner: Reasoner, case: Case, tokens: Sequence[int]) -> None:
        from edgereason import _core

        guide = _core.Guide(reasoner.grammars.get(case.grammar).core, _NO_LIMIT)
        forced = 0  # of the tokens that follow
        for token in tokens:
            if not forced:
                begin = time.thread_time()
                guide.prepare()
                self.mask_us.append(1e6 * (time.thread_time() - begin))
            begin = time.thread_time()
            if not guide.accept(token, _NO_LIMIT):
                return  # the rest made it whole: it may be other tokens of the same text
            self.accept_us.append(1e6 * (time.thread_time() - begin))
            self.num_tokens += 1
            self.num_forced += forced > 0
            forced = forced - 1 if forced else len(guide.forced())


def _rivals(
    options: argparse.Namespace, cases: Sequence[Case], budgets: Sequence[int], say: Say
) -> dict[int, Share]:
    """Of the one that was named; none where none was."""
    if options.llama_server is not None:
        gguf = model_file(open_bundle(resolve(options.model)))
        threads = options.threads or this_machine().num_cores
        program = llama_server(options.llama_server, gguf, threads, options.context, 1)
        with started(program) as server:
            return _asked(server.in_form, cases, budgets, say)
    if options.rival:
        with LlamaCppPython(options.model, options.context, options.threads) as rival:
            return _asked(rival.ask, cases, budgets, say)
    return {}


def _asked(
    ask: Callable[[str, dict[str, Any], int], str],
    cases: Sequence[Case],
    budgets: Sequence[int],
    say: Say,
) -> dict[int, Share]:
    shares = {budget: Share() for budget in budgets}
    for number, case in enumerate(cases, 1):
        say(f"the rival, schema {number} of {len(cases)}: {case.id}")
        for budget in budgets:
            shares[budget].add(case, budget, ask(case.question, case.schema, budget))
    return shares


def findings(
    shares: dict[int, Share],
    refused: dict[str, str],
    compile_ms: Sequence[float],
    costs: Costs,
    rivals: dict[int, Share],
) -> Findings:
    rows = []
    for budget, share in shares.items():
        theirs = rivals.get(budget)
        rival = f"{theirs.parse} parse, {theirs.validate} valid" if theirs else "-"
        long = f"{share.valid_where_long} of {share.long_enough}"
        rows.append(
            (budget, share.num, share.parse, share.validate, share.long_enough, long, rival)
        )
    figures: dict[str, Any] = {
        "by_budget": {
            budget: {
                "num": share.num,
                "parse": share.parse,
                "validate": share.validate,
                "long_enough": share.long_enough,
                "valid_where_long": share.valid_where_long,
                "wrong": share.wrong,
            }
            for budget, share in shares.items()
        },
        "rival": {budget: (one.num, one.parse, one.validate) for budget, one in rivals.items()},
        "refused": refused,
        "compile_ms": _quantiles(compile_ms),
        "mask_us": _quantiles(costs.mask_us),
        "accept_us": _quantiles(costs.accept_us),
        "tokens": costs.num_tokens,
        "forced": costs.num_forced,
    }
    cost_rows = [
        (
            name,
            figures[name]["num"],
            *(f"{figures[name][key]:.1f}" for key in ("median", "p99", "most")),
        )
        for name in ("compile_ms", "mask_us", "accept_us")
    ]
    return Findings(
        figures,
        (
            Table("JSON schemas", _COLUMNS, rows),
            Table("What it costs", ("call, CPU time", "calls", "median", "p99", "most"), cost_rows),
        ),
        (
            f"{costs.num_forced} of {costs.num_tokens} tokens were forced, so not drawn",
            *(f"refused {id}: {why}" for id, why in refused.items()),
        ),
    )


def _quantiles(values: Sequence[float]) -> dict[str, Any]:
    return {
        "num": len(values),
        "median": quantile(values, 0.5),
        "p99": quantile(values, 0.99),
        "most": max(values, default=0.0),
    }


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schemas",
        type=Path,
        required=True,
        help="JSONSchemaBench as JSON lines with extra.schema",
    )
    parser.add_argument("--num", type=int, default=0, help="the first so many; 0 is all")
    parser.add_argument("--budgets", type=int, nargs="+", default=[1, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--strategy", default="no-think")
    parser.add_argument("--think-budget", type=int, default=32)
    parser.add_argument("--rival", action="store_true", help="ask llama-cpp-python as well")
    parser.add_argument("--llama-server", type=Path, help="the program, to be asked instead")


BENCH = Bench("schemas", __doc__.splitlines()[0], _add_options, measure)
