"""Trials that a bench has written: what models did with questions, one JSON object a line.

Read here for what planning needs of them: how long was thought, how often it was right. Fields that
are not needed are passed over, so that a bench may add some. Knows no bench.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from edgereason import files
from edgereason.config import build
from edgereason.errors import UsageError
from edgereason.planning.lateness import Length

_SAMPLES: Final = 8  # of a vote that does not say how many
_CUT: Final = ("deadline", "context", "interrupted", "cancelled")


@dataclass(frozen=True, slots=True)
class Way:
    """A way of thinking as it is written: `think`, `think:128` (a hard budget), `vote:8:of=bare`
    (an option of the strategy)."""

    name: str
    number: int | None = None
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Way:
        name, *rest = text.strip().split(":")
        number = int(rest.pop(0)) if rest and rest[0].isdecimal() else None
        if not name or not all(option.partition("=")[1] for option in rest):
            raise UsageError(
                f"a way is NAME, NAME:NUMBER or NAME:NUMBER:OPTION=VALUE, got {text!r}",
                "such as think, think:128 or vote:8:of=bare",
            )
        return cls(name.replace("_", "-"), number, tuple(sorted(rest)))

    def __str__(self) -> str:
        number = () if self.number is None else (str(self.number),)
        return ":".join((self.name, *number, *self.options))

    @property
    def kind(self) -> tuple[str, ...]:
        """Ways that differ only in their number think alike, line by line."""
        return (self.name, *self.options)

    @property
    def samples(self) -> int:
        """Lines of thought side by side."""
        return (self.number or _SAMPLES) if self.name == "vote" else 1

    @property
    def budget(self) -> int | None:
        """Thinking tokens at most; None: no limit."""
        if self.name in ("no-think", "bare"):
            return 0
        return None if self.name == "vote" else self.number


@dataclass(frozen=True, slots=True)
class Trial:
    """One question asked in one way. None: not measured."""

    model: str
    way: str
    question: str
    prompt_tokens: int
    reasoning_tokens: int
    answer_tokens: int
    total_ms: float | None = None
    finish: str = "stop"
    right: bool | None = None
    late: bool | None = None
    joules: float | None = None
    quant: str = ""
    engine: str = ""
    task: str = ""
    rss_mib: float | None = None
    think_limit: int | None = None  # of ways that have no budget of their own
    source: str = "run"  # or read off another trial

    @property
    def length(self) -> Length:
        """A thought that something ended is "at least" so long."""
        way = Way.parse(self.way)
        budget = self.think_limit if way.budget is None else way.budget
        full = budget is not None and 0 < budget <= self.reasoning_tokens // way.samples
        return Length(self.reasoning_tokens, full or self.finish in _CUT)


_NAMES: Final = frozenset(field.name for field in fields(Trial))


def read(paths: Iterable[Path]) -> list[Trial]:
    """The trials of files, and of `trials*.jsonl` in folders. A torn last line is left out: a run
    may be writing it."""
    found: list[Trial] = []
    for path in paths:
        inside = sorted(path.glob("trials*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise UsageError(f"{path} holds no trials*.jsonl", "give what `bench` has written")
        for each in inside:
            found += _of_file(each)
    return _once(found)


def _once(trials: Iterable[Trial]) -> list[Trial]:
    """One of each cell and question: a run counts before what was read off another one."""
    best: dict[tuple[str, ...], Trial] = {}
    for trial in trials:
        cell = (trial.model, trial.quant, trial.engine, trial.way, trial.task, trial.question)
        if cell not in best or (best[cell].source != "run" and trial.source == "run"):
            best[cell] = trial
    return list(best.values())


def _of_file(path: Path) -> Iterator[Trial]:
    for number, line in _lines(path, torn=True):
        try:
            record: Any = json.loads(line)
            yield build(Trial, {k: v for k, v in record.items() if k in _NAMES}, what="field")
        except (ValueError, AttributeError, RecursionError, UsageError) as error:
            why = error.message if isinstance(error, UsageError) else "it is not a JSON object"
            raise UsageError(f"{path}, line {number} is no trial: {why}") from None


def read_questions(path: Path) -> list[str]:
    """The `question` of each line of a task."""
    asked = []
    for number, line in _lines(path):
        try:
            asked.append(str(json.loads(line)["question"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UsageError(
                f'{path}, line {number}: expected {{"question": ...}}', "one JSON object a line"
            ) from None
    if not asked:
        raise UsageError(f"{path} has no questions", 'one {"question": ...} a line')
    return asked


def _lines(path: Path, *, torn: bool = False) -> Iterator[tuple[int, str]]:
    """Lines that hold something, with their numbers. `torn`: the last one may be half a line."""
    lines = files.read_given(path).split("\n")
    for number, line in enumerate(lines, 1):
        is_torn = torn and number == len(lines) and not line.endswith("}")
        if line.strip() and not is_torn:
            yield number, line


__all__ = ["Trial", "Way", "read", "read_questions"]
