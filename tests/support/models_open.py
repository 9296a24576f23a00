"""What of the native library is in memory."""

from __future__ import annotations

import gc

from edgereason._core import Engine, Scheduler


def models_in_memory() -> int:
    """Engines and schedulers that somebody still holds, or a cycle that was not collected."""
    return sum(isinstance(each, Engine | Scheduler) for each in gc.get_objects())
