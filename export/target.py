"""What a target and the job that runs it agree on. A target is a module of `targets/` with

    Config                                          # its options, a frozen dataclass
    check(source, config) -> Plan                   # once, before any work
    write(source, out, plan, progress) -> Bundle    # once, with what `check` has returned

Whatever `check` had to read or decide lies in `Plan.choices`, so that `write` does neither again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export will cost, told before any work.

    Attributes:
        files: name in the bundle -> bytes, about.
        memory_bytes: most that is held at once.
        seconds: on this machine, about.
        scratch_bytes: disk needed beside the files while it runs.
        notes: sentences for people: what is lost, what will not be there.
        choices: the target's own: what its `write` works by. Nobody else looks at it.
    """

    files: Mapping[str, int]
    memory_bytes: int
    seconds: float
    scratch_bytes: int = 0
    notes: tuple[str, ...] = ()
    choices: Any = None
