"""What of the native library is in memory."""

from __future__ import annotations

import gc

from edgereason._core import Engine, Scheduler


def models_in_memory() -> int:
    """Engines and schedulers that somebody still holds, or a cycle that was not collected."""
    # By type: isinstance asks an object for its class, which makes some of torch's warn.
    return sum(issubclass(type(each), (Engine, Scheduler)) for each in gc.get_objects())
