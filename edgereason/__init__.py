"""edgereason: the right answer out of a small reasoning model within a budget of tokens, time and
memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgereason.errors import (
    BundleError,
    ContextFullError,
    DownloadError,
    EdgereasonError,
    EngineError,
    MemoryLimitError,
    ModelNotFoundError,
    UnsupportedError,
    UsageError,
)
from edgereason.grammars import Grammar
from edgereason.records import (
    Answer,
    Budget,
    Channel,
    Chunk,
    Message,
    Request,
    Sampling,
    StopReason,
)

if TYPE_CHECKING:
    from edgereason.runtime.aio import AsyncReasoner
    from edgereason.runtime.reasoner import Handle, Reasoner

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AsyncReasoner",
    "Budget",
    "BundleError",
    "Channel",
    "Chunk",
    "ContextFullError",
    "DownloadError",
    "EdgereasonError",
    "EngineError",
    "Grammar",
    "Handle",
    "MemoryLimitError",
    "Message",
    "ModelNotFoundError",
    "Reasoner",
    "Request",
    "Sampling",
    "StopReason",
    "UnsupportedError",
    "UsageError",
]

_LAZY = {
    "AsyncReasoner": "edgereason.runtime.aio",
    "Handle": "edgereason.runtime.reasoner",
    "Reasoner": "edgereason.runtime.reasoner",
}


def __getattr__(name: str) -> Any:
    """Loads the runtime when it is first used, so that `import edgereason` stays light."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'edgereason' has no attribute {name!r}")
