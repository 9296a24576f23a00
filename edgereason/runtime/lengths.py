"""The lengths of answers that the core has learned, by strategy and phase, kept from run to run.

The core numbers kinds of answers; here they have names, `think/answer` or `vote/answer`. What it
has learned decides how much of a deadline is kept free for an answer (`policy/lengths.h`).
"""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Final

from edgereason.planning import measured

if TYPE_CHECKING:
    from edgereason._core import Scheduler
    from edgereason.models.bundle import Bundle

_WHAT: Final = "answer_lengths"
_ANY: Final = "any"  # the core's kind 0: all answers together

log = logging.getLogger(__name__)


class AnswerLengths:
    """Names of kinds, and what is known of them. Restores before the core starts."""

    def __init__(self, bundle: Bundle, core: Scheduler) -> None:
        self._bundle, self._core = bundle, core
        self._lock = threading.Lock()
        self._kinds: dict[str, int] = {_ANY: 0}
        known = {
            self._kind(name): (float(state[0]), float(state[1]), float(state[2]))
            for name, state in measured.read(bundle, _WHAT).items()
            if _is_state(state)
        }
        core.restore_lengths(known)
        self._before = known

    def kind(self, strategy: str, phase: str) -> int:
        """The number of a strategy's phase. Thread-safe."""
        return self._kind(f"{strategy}/{phase}")

    def _kind(self, name: str) -> int:
        with self._lock:
            return self._kinds.setdefault(name, len(self._kinds))

    def save(self) -> None:
        """Keeps what was learned. After the core was stopped; says so where it cannot."""
        learned = self._core.lengths()
        if learned == self._before:
            return
        names = {number: name for name, number in self._kinds.items()}
        states = {names[kind]: state for kind, state in learned.items() if state[0] > 0}
        try:
            measured.write(self._bundle, _WHAT, states)
        except OSError as error:
            log.info("what was learned of %s is not kept: %s", self._bundle.name, error)


def _is_state(state: object) -> bool:
    return (
        isinstance(state, list)
        and len(state) == 3
        and all(isinstance(x, (int, float)) and math.isfinite(x) for x in state)
    )
