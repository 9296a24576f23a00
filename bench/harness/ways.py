"""A way of being asked: everything about a request but its question, as a value and as text.

    think    think:128    vote:8    vote:8:of=infty-think    think+operator-8    think:64@nano

A number is what the strategy's option `samples` says, where it has one, else the thinking budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypedDict

from edgereason import strategies
from edgereason.config import assignments, fields_of
from edgereason.errors import UsageError
from edgereason.records import UNLIMITED
from edgereason.registry import load

_NUMBER: Final = "samples"


class Keywords(TypedDict):
    """What a way settles of a request."""

    strategy: str
    options: Mapping[str, Any]
    think_budget: int
    prefix: str | None


@dataclass(frozen=True, slots=True)
class Way:
    """`model`: "" is the bench's own. `prefix`: a name or a file. `name`: what tables call it, if
    not by what it does."""

    strategy: str
    budget: int = UNLIMITED
    prefix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        """For tables of one model."""
        budget = "" if self.budget == UNLIMITED else f" {self.budget}"
        options = "".join(f" {name}={value}" for name, value in self.options.items())
        prefix = f" + {Path(self.prefix).stem}" if self.prefix else ""
        return self.name or f"{self.strategy}{budget}{options}{prefix}"

    @property
    def keywords(self) -> Keywords:
        """For `Reasoner.ask` and `request_of`."""
        return {
            "strategy": self.strategy,
            "options": self.options,
            "think_budget": self.budget,
            "prefix": self.prefix or None,
        }

    def __str__(self) -> str:
        """What `parse` reads."""
        options = dict(self.options)
        number = "" if self.budget == UNLIMITED else str(self.budget)
        if _counts_samples(self.strategy) and not number:
            number = str(options.pop(_NUMBER, ""))
        parts = [self.strategy, number, *(f"{name}={value}" for name, value in options.items())]
        prefix = f"+{self.prefix}" if self.prefix else ""
        return ":".join(filter(None, parts)) + prefix + (f"@{self.model}" if self.model else "")


def parse(text: str) -> Way:
    """The way that a text says. Raises `UsageError` where there is no such strategy."""
    rest, _, model = text.strip().partition("@")
    rest, _, prefix = rest.partition("+")
    strategy, *parts = rest.split(":")
    numbers = [part for part in parts if "=" not in part]
    options: dict[str, Any] = dict(assignments([part for part in parts if "=" in part]))
    budget = UNLIMITED
    if numbers:
        try:
            (number,) = map(int, numbers)
        except ValueError:
            raise UsageError(
                f"{text!r} is no way of asking", "such as think, think:128, vote:8, think+PREFIX"
            ) from None
        if _counts_samples(strategy):
            options[_NUMBER] = number
        else:
            budget = number
    load(strategies, strategy)
    return Way(strategy, budget, prefix, options, model)


def _counts_samples(strategy: str) -> bool:
    return any(option.name == _NUMBER for option in fields_of(load(strategies, strategy).Config))
