"""Every error that edgereason raises on purpose.

Each class carries a stable `code` (the JSON field), the exit code of the CLI, and an optional
`hint`: the way out. The native core raises the same classes: `native/bindings/translate_error.h`
looks them up here by name.
"""

from __future__ import annotations

from typing import ClassVar


class EdgereasonError(Exception):
    """Base of all. `message` says what is wrong, `hint` what to do about it."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 5

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def to_dict(self) -> dict[str, dict[str, str]]:
        """The JSON form: `{"error": {"code", "message", "hint"}}`."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class UsageError(EdgereasonError):
    """The caller asked for what cannot be: a bad value, an unknown name, too long a prompt."""

    code = "usage"
    exit_code = 2


class UnsupportedError(UsageError):
    """A strategy needs what the engine or the model does not have."""

    code = "unsupported"


class ContextFullError(UsageError):
    """The prompt and the answer owed do not fit into the context, however long one waits."""

    code = "context_full"


class ModelNotFoundError(EdgereasonError):
    """No model or bundle of that name."""

    code = "model_not_found"
    exit_code = 3


class BundleError(EdgereasonError):
    """A model file or bundle cannot be used: truncated, corrupted, of an unknown form."""

    code = "bad_bundle"
    exit_code = 3


class DownloadError(EdgereasonError):
    """A model could not be fetched, or what arrived is not what the catalog promises."""

    code = "download"
    exit_code = 3


class MemoryLimitError(EdgereasonError):
    """The model or its KV cache does not fit into memory."""

    code = "out_of_memory"
    exit_code = 4


class DiskError(EdgereasonError):
    """What is to be written does not fit, or may not be written where it was asked for."""

    code = "disk"
    exit_code = 4


class BusyError(EdgereasonError):
    """Too many requests are on their way. `retry_after_ms`: when there will be room, about."""

    code = "busy"
    exit_code = 5

    def __init__(self, message: str, retry_after_ms: float) -> None:
        super().__init__(message, f"try again in {retry_after_ms / 1000:.1f} s")
        self.retry_after_ms = retry_after_ms


class EngineError(EdgereasonError):
    """The engine failed while it ran."""

    code = "engine"
    exit_code = 5
