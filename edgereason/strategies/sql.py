"""Write SQL, run it on a database, look, and mend it where it fails; the rows are the answer.

Paper: https://arxiv.org/abs/2505.12768 (ReEx-SQL), its untrained form
prompt with schema -> query -> run it -> [error or nothing shown -> query] * retries
-> [think -> answer, where no query gives rows]

Published, 7B trained: 88.8 % on Spider, 2.7 points above reasoning without looking. With `samples`
the most frequent result set wins. The database is opened read only (`runtime/database.py`).
Not for questions that need more than one statement.

Cost: some 50 tokens a query
Measured: Qwen2.5-Coder-0.5B, 75 of Spider: 25 right without retries and with two, which cost twice
the tokens; five samples 31.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from edgereason.config import ABOVE_0, MOST, require_ranges
from edgereason.errors import UsageError
from edgereason.records import (
    Answer,
    Candidate,
    Capability,
    Phase,
    Role,
    Segment,
    StopReason,
)
from edgereason.strategies.base import Fork, Query, Returned, Steps, Turn, choose
from edgereason.strategies.vote import MOST_SAMPLES

needs = Capability.LOGITS | Capability.FORK
takes_grammar = False  # the answer is what a database returns

_OPENS: Final = "```sql\n"
_SHUTS: Final = "```"
_SCHEMA: Final = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
_TOLD: Final = "Write one SQLite query that gives the answer, and nothing else."
_MOST_SHOWN: Final = 500  # characters of an error


@dataclass(frozen=True, slots=True)
class Config:
    database: Path | None = field(
        default=None, metadata={"help": "SQLite file; default: an empty one, for sums and dates"}
    )
    retries: int = field(default=2, metadata={"help": "further queries after one that fails"})
    samples: int = field(default=1, metadata={"help": "lines whose result sets vote"})
    tokens: int = field(default=160, metadata={"help": "longest query"})
    seconds: float = field(default=2.0, metadata={"help": "time that a query may run"})
    rows: int = field(default=20, metadata={"help": "rows of an answer at most"})
    temperature: float = field(
        default=0.6, metadata={"help": "used where the request's own is 0, and samples are several"}
    )
    rescue: bool = field(default=True, metadata={"help": "think where no query gives rows"})

    def __post_init__(self) -> None:
        require_ranges(
            self,
            retries=(0, MOST),
            samples=(1, MOST_SAMPLES),
            tokens=(1, MOST),
            rows=(1, MOST),
            seconds=(ABOVE_0, MOST),
            temperature=(ABOVE_0, MOST),
        )
        if self.database and not self.database.is_file():
            raise UsageError(f"there is no database {self.database}", "give a SQLite file")


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think:
        answer = yield from choose("no-think", bundle=turn.bundle).run(turn)
        return answer
    schema: Returned = yield Query(str(config.database or ""), _SCHEMA, config.seconds, rows=200)
    if schema.error and not schema.was_cut:
        raise UsageError(
            f"{config.database} cannot be read: {schema.error}", "is it a SQLite file?"
        )
    asked = turn.told(f"{schema.value}\n\n{_TOLD}".strip())
    if config.samples == 1:
        answer = yield from _line(asked, config)
    else:
        warm = asked.warmed(config.temperature)
        children = tuple(_line(warm.reseeded(i), config) for i in range(config.samples))
        answer = _most_frequent((yield Fork(children)))
    if answer.answer or not config.rescue:
        return answer
    thought = yield from choose("think", bundle=turn.bundle).run(turn)
    return replace(thought, note=answer.note)


def _line(turn: Turn, config: Config) -> Steps:
    """One query, and others where it fails. Without rows the answer is empty, its note says why."""
    why, file = "", str(config.database or "")
    phase = _query(turn, config)
    for _ in range(config.retries + 1):
        written = yield phase
        if written.reason is not StopReason.STOP:
            why = f"the query was cut by {written.reason.value}"
            break
        statement = written.text.rpartition(_OPENS)[2]  # what was forced is part of the text
        found: Returned = yield Query(file, statement, config.seconds, config.rows)
        if found.value:
            return Answer(found.value, confidence=written.confidence)
        why = found.error or "the query found no rows"
        shown = Segment(why[:_MOST_SHOWN].replace(_SHUTS, "'''"), control=False)
        phase = replace(
            phase,
            fresh=None,
            force=(Segment("\n"), shown, Segment(f"\nThe right query:\n{_OPENS}")),
        )
    return Answer("", confidence=0.0, note=f"no query gave rows: {why}")


def _query(turn: Turn, config: Config) -> Phase:
    """A query is a thought: it spends the thinking budget."""
    return Phase(
        "query",
        Role.THINK,
        fresh=turn.prompt(thinking=False),
        force=_OPENS,
        budget=turn.at_most(config.tokens),
        shut=(_SHUTS,),
        sampling=turn.sampling,
        loop=turn.loop,
        owed=turn.budget.answer_tokens if config.rescue else 0,
    )


def _most_frequent(answers: Sequence[Answer]) -> Answer:
    counts = Counter(answer.answer for answer in answers if answer.answer)
    if not counts:
        return answers[0]
    ranked = counts.most_common()
    candidates = tuple(Candidate(text, votes, votes / len(answers)) for text, votes in ranked)
    best = next(answer for answer in answers if answer.answer == ranked[0][0])
    return replace(best, confidence=candidates[0].confidence, candidates=candidates)
