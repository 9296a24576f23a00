"""Options of the server: declared once, for the command line, the environment and the pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgereason.errors import UsageError
from edgereason.planning import effort


def _declared(default: Any, help: str, *names: str) -> Any:
    return field(default=default, metadata={"help": help, "names": names})


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the server listens, what it lets in, and what a request may spend at most."""

    host: str = _declared("127.0.0.1", "Address to listen on.")
    port: int = _declared(8080, "Port to listen on; 0 takes a free one.")
    api_keys: tuple[str, ...] = _declared(
        (), "Key that clients must send; may be repeated.", "--api-key"
    )
    hosts: tuple[str, ...] = _declared(
        (), "Further name in Host that is answered without a key; may be repeated.", "--allow-host"
    )
    origins: tuple[str, ...] = _declared(
        (), "Origin of web pages that may ask, besides loopback; may be repeated.", "--allow-origin"
    )
    max_requests: int = _declared(64, "Requests at a time, waiting ones included; then 429.")
    max_loaded: int = _declared(0, "Models open at a time; 0 is as many as memory holds.")
    max_body_mib: float = _declared(32.0, "Largest body of a request.")
    max_think_tokens: int = _declared(-1, "Cap of every thinking budget; -1 is no cap.")
    answer_tokens: int = _declared(
        512, "Kept for the answer: this, or half of max_tokens where that is less."
    )
    max_samples: int = _declared(16, "Most lines of thought of one request.")
    default_effort: str = _declared("medium", "Effort of requests that name none.")
    unknown_fields: str = _declared("list", "list names them in the answer, reject refuses.")
    ping_s: float = _declared(10.0, "Silence of a stream after which a comment is sent; 0 is off.")
    send_timeout_s: float = _declared(30.0, "A reader that takes nothing for so long is dropped.")
    kv_cache: str | None = _declared(
        None, "Folder that keeps the KV of conversations, for the next start."
    )
    kv_cache_mib: int = _declared(1024, "What that folder holds at most.")
    stop_timeout_s: float = _declared(10.0, "Time for running answers when the server stops.")

    def __post_init__(self) -> None:
        effort.think_tokens(self.default_effort, 0)
        if self.unknown_fields not in ("list", "reject"):
            raise UsageError(f"unknown_fields must be list or reject, got {self.unknown_fields!r}")
        for name, least in (
            ("port", 0),
            ("max_requests", 1),
            ("max_loaded", 0),
            ("max_samples", 1),
            ("max_think_tokens", -1),
            ("answer_tokens", 1),
            ("ping_s", 0),
            ("send_timeout_s", 0.1),
            ("stop_timeout_s", 0),
            ("max_body_mib", 0.001),
            ("kv_cache_mib", 1),
        ):
            value = getattr(self, name)
            if not value >= least:
                raise UsageError(f"{name} must be {least} or more, got {value}")
        if self.port > 65535:
            raise UsageError(f"port must be 65535 or less, got {self.port}")

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK


LOOPBACK = ("127.0.0.1", "localhost", "::1")
