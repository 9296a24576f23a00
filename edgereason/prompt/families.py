"""What is known of families of models beyond what a template shows: `families.toml`, as records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from edgereason.config import build, load_toml

_FILE: Final = Path(__file__).with_name("families.toml")
_SKIPPED: Final = "Okay, I think I have finished thinking."  # AutoThink, 2505.10832


@dataclass(frozen=True, slots=True)
class Family:
    """One way of marking thoughts; the fields are those of the file. Texts are the tokens as the
    model writes them.
    """

    name: str
    open: str
    shut: str
    tell: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    known: bool = False
    lead: str = ""
    close: str = ""
    answer: str = ""
    answer_end: str = ""
    skip: str = ""
    flag: str = ""
    told_on: str = ""
    told_off: str = ""
    source: str = ""

    def is_told(self, literals: str, name: str) -> bool:
        """By what a template can write, and by the model's own name where that is needed."""
        if not all(text in literals for text in self.tell):
            return False
        return not self.names or any(re.search(each, _plain(name)) for each in self.names)

    @property
    def enter(self) -> str:
        """Opens a block where the prompt has not."""
        return self.open + self.lead

    @property
    def forced(self) -> str:
        """Ends a block from outside."""
        return self.close or self.shut

    @property
    def leave(self) -> str:
        """Ends a block that the prompt has opened: the model believes that it has thought."""
        return f"{_SKIPPED}{self.forced}{self.answer}"


@dataclass(frozen=True, slots=True)
class Variables:
    """Template variables that switch thinking, and that say how much.

    Attributes:
        dials: "tokens" for the budget itself, or a value of the variable for each level.
        words: further values of dials, for templates that have the word.
    """

    switches: tuple[tuple[str, Any, Any], ...]
    dials: Mapping[str, Mapping[str, Any] | str]
    words: Mapping[str, Sequence[str]]
    levels: Mapping[str, int] = field(default_factory=dict)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def thinks_by_name(name: str) -> bool | None:
    """What a model's name says; None where it says nothing."""
    told = load_toml(_FILE)["names"]
    if re.search(told["thinks"], _plain(name)):
        return True
    return False if re.search(told["plain"], _plain(name)) else None


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """In the order in which they are tried."""
    return tuple(build(Family, told, what="key") for told in load_toml(_FILE)["family"])


@lru_cache(maxsize=1)
def variables() -> Variables:
    data = load_toml(_FILE)
    switches = tuple((name, on, off) for name, on, off in data["variables"]["switches"])
    dials = {
        name: dict(zip(values, values, strict=True)) if isinstance(values, list) else values
        for name, values in data["dials"].items()
    }
    return Variables(switches, dials, data["words"], data["levels"])
