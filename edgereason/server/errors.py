"""What goes wrong in HTTP, and how each dialect says it.

Raise `ApiError`; the face that was asked writes it in its own form. Errors of the runtime become
one in `as_api_error`. Messages carry the value and the way out, never a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgereason.errors import (
    ContextFullError,
    EdgereasonError,
    MemoryLimitError,
    ModelNotFoundError,
    UsageError,
)


class ApiError(Exception):
    """A refusal. `param` names the field, `code` is for programs, `more` goes into the object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.more = dict(more or {})

    @property
    def headers(self) -> dict[str, str]:
        """Official clients repeat 5xx and 429 by themselves unless they are told not to."""
        if self.retry_after_s is None:
            return {"x-should-retry": "false"}
        return {
            "retry-after": str(self.retry_after_s),
            "retry-after-ms": str(1000 * self.retry_after_s),
        }


def as_api_error(error: BaseException) -> ApiError:
    """What the runtime raised, as a status. What nobody expected says no more than its class."""
    if isinstance(error, ApiError):
        return error
    for kind, status, param, code, retry_after_s in _OF_RUNTIME:
        if isinstance(error, kind):
            return ApiError(
                status,
                str(error),
                param=param,
                code=code or kind.code,
                retry_after_s=retry_after_s,
            )
    return ApiError(500, f"internal error: {type(error).__name__}", code="internal")


_OF_RUNTIME: Final[tuple[tuple[type[EdgereasonError], int, str | None, str, int | None], ...]] = (
    (ContextFullError, 400, "messages", "context_length_exceeded", None),
    (UsageError, 400, None, "", None),
    (ModelNotFoundError, 404, "model", "", None),
    (MemoryLimitError, 503, None, "", 10),
    (EdgereasonError, 500, None, "", None),
)
"""Class, status, field, code ("": its own), seconds to wait; the first that fits holds."""

_OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}
_ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def _openai_type(error: ApiError) -> str:
    if error.code == "context_length_exceeded":
        return "exceed_context_size_error"  # what clients of llama.cpp's server look for
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return _OPENAI_TYPES.get(error.status, kind)


def openai_error(error: ApiError) -> dict[str, Any]:
    return {
        "error": {
            "message": error.message,
            "type": _openai_type(error),
            "param": error.param,
            "code": error.code,
            **error.more,
        }
    }


def anthropic_error(error: ApiError) -> dict[str, Any]:
    kind = "api_error" if error.status >= 500 else "invalid_request_error"
    kind = _ANTHROPIC_TYPES.get(error.status, kind)
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def ollama_error(error: ApiError) -> dict[str, Any]:
    return {"error": error.message}


def error_body(path: str, error: ApiError) -> dict[str, Any]:
    """In the form of whoever asks at this path."""
    if path.startswith("/v1/messages"):
        return anthropic_error(error)
    if path.startswith("/api/"):
        return ollama_error(error)
    return openai_error(error)
