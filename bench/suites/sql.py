"""Questions to databases: how often are the rows right, with retries and votes and without?

Each question goes to every way in turn. Right is who gives the rows of the gold query, in any order
unless the question asks for one.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

from edgereason.errors import UsageError
from edgereason.runtime.database import run_query
from edgereason.strategies.base import Query

from ..harness.runner import Bench, Findings, Say, Table, open_reasoner, wilson
from ..harness.ways import parse
from .ways import Row, difference, split_ways, told

_WAYS: Final = ("sql:retries=0", "sql", "sql:samples=5")
_MOST_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Asked:
    question: str
    database: str
    gold: str
    ordered: bool


def measure(options: argparse.Namespace, say: Say) -> Findings:
    asked = read(options.questions)[options.skip : options.skip + options.num]
    ways = split_ways(options.ways) if options.ways else list(_WAYS)
    rows: dict[str, dict[str, Row]] = {way: {} for way in ways}
    with (
        tempfile.TemporaryDirectory(prefix="edgereason-") as folder,
        open_reasoner(options, threads=options.threads) as reasoner,
    ):
        files = databases(options.databases, Path(folder))
        for number, one in enumerate(asked):
            for way in ways if number % 2 == 0 else reversed(ways):
                chosen = parse(way)
                given = {"rescue": False, "rows": _MOST_ROWS, "database": str(files[one.database])}
                begin = time.monotonic()
                answer = reasoner.ask(
                    one.question,
                    strategy=chosen.strategy,
                    options={**given, **chosen.options},
                    answer_budget=options.answer_budget,
                )
                rows[way][one.question] = Row(
                    "",
                    way,
                    one.question,
                    is_right(answer.answer, one, files[one.database]),
                    answer.usage.reasoning_tokens + answer.usage.answer_tokens,
                    time.monotonic() - begin,
                    answer.answer[:200],
                    answer.note,
                )
            say(f"{number + 1} of {len(asked)} questions")
    return findings(rows)


def read(path: Path) -> list[Asked]:
    """JSON lines; of a question that carries a schema only what follows `Question:` is asked."""
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [
            Asked(
                record["question"].rpartition("Question: ")[2],
                record["extra"]["db"],
                record["answer"],
                bool(record["extra"]["ordered"]),
            )
            for record in records
        ]
    except OSError as error:
        raise UsageError(f"cannot read questions from {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} has no questions to databases: {error!r}") from None


def databases(path: Path, folder: Path) -> dict[str, Path]:
    """The databases of a JSON file {name: statements}, made in `folder`."""
    try:
        statements: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read databases from {path}: {error}") from None
    made = {}
    for name, script in statements.items():
        made[name] = folder / f"{name}.sqlite"
        database = sqlite3.connect(made[name])
        database.executescript(script)
        database.close()
    return made


def is_right(answer: str, asked: Asked, database: Path) -> bool:
    gold = run_query(Query(str(database), asked.gold, seconds=10, rows=_MOST_ROWS))
    if gold.error:
        raise UsageError(f"the gold query {asked.gold!r} fails: {gold.error}")
    found, wanted = answer.splitlines(), gold.value.splitlines()
    return found == wanted if asked.ordered else Counter(found) == Counter(wanted)


def findings(rows: Mapping[str, Mapping[str, Row]]) -> Findings:
    ways: Sequence[str] = list(rows)
    figures, table, pairs = {}, [], []
    for way, own in rows.items():
        right, num = sum(row.right for row in own.values()), len(own)
        low, high = wilson(right, num)
        tokens, seconds = (
            mean(getattr(row, name) for row in own.values()) for name in ("tokens", "seconds")
        )
        table.append((way, right, num, f"{100 * low:.1f} to {100 * high:.1f} %", tokens, seconds))
        apart = difference(rows[ways[0]], own)
        figures[way] = {"right": right, "num": num, "tokens": tokens, "seconds": seconds, **apart}
        pairs.append((way, *apart.values(), told(apart)))
    columns = ("way", "right", "of", "interval", "tokens", "seconds")
    second = ("way", "only it right", f"only {ways[0]} right", "points", "low", "high", "so")
    return Findings(
        figures,
        (Table("Rows of the gold query", columns, table), Table("Paired", second, pairs[1:])),
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ways", default="", help=f"with commas; default {','.join(_WAYS)}")
    parser.add_argument("--questions", type=Path, required=True, help="Spider, JSON lines")
    parser.add_argument("--databases", type=Path, required=True)
    parser.add_argument("--num", type=int, default=75, help="questions of the file")
    parser.add_argument("--skip", type=int, default=0, help="questions of the file left out first")
    parser.add_argument("--answer-budget", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0)


BENCH = Bench("sql", __doc__.splitlines()[0], _add_options, measure)
