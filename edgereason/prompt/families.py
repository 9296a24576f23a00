"""What is known of families of models beyond what a template shows: `families.toml`, as records."""

from __future__ import annotations

from collections.abc import Mapping
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
    known: bool = False
    lead: str = ""
    close: str = ""
    answer: str = ""
    answer_end: str = ""
    skip: str = ""
    flag: str = ""
    source: str = ""

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
    """Template variables that switch thinking, and that say how much."""

    switches: tuple[tuple[str, Any, Any], ...]
    dials: Mapping[str, Any]
    levels: Mapping[str, int] = field(default_factory=dict)


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """In the order in which they are tried."""
    return tuple(build(Family, told, what="key") for told in load_toml(_FILE)["family"])


@lru_cache(maxsize=1)
def variables() -> Variables:
    data = load_toml(_FILE)
    switches = tuple((name, on, off) for name, on, off in data["variables"]["switches"])
    return Variables(switches, data["dials"], data["levels"])
