"""Who is let in: keys, Host, Origin, before any route is looked at. Writes CORS headers.

Without a key only names of this machine are answered, so that a web page cannot reach the server
through a name of its own (DNS rebinding). A page of another origin is refused, not only left
without CORS headers: its request would have been run already.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgereason.server.config import LOOPBACK, ServerConfig
from edgereason.server.errors import ApiError, error_body

_PUBLIC: Final = ("/", "/health", "/v1/health", "/page.js")  # they say nothing of anybody
_ALLOWED: Final = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "*, authorization, content-type, x-api-key",
    "access-control-max-age": "600",
}


class Guard:
    """ASGI middleware around all routes."""

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self._app = app
        self._keys = [key.encode() for key in config.api_keys]
        self._hosts = {*LOOPBACK, config.host.lower(), *map(str.lower, config.hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in config.origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        asks_first = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if asks_first and origin is not None and not self._is_ours(origin, headers.get("host", "")):
            await Response()(scope, receive, send)  # its browser finds no leave, and sends nothing
            return
        try:
            self._check(scope, headers, origin)
        except ApiError as error:
            await _refusal(scope["path"], error)(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and origin is not None:
                more = MutableHeaders(scope=message)
                more["access-control-allow-origin"] = origin
                more.add_vary_header("origin")
            await send(message)

        if asks_first:
            await Response(headers=_ALLOWED)(scope, receive, send_on)
        else:
            await self._app(scope, receive, send_on)

    def _check(self, scope: Scope, headers: Headers, origin: str | None) -> None:
        host = headers.get("host", "")
        if not self._keys and _hostname(host) not in self._hosts:
            raise ApiError(
                403,
                f"Host {host[:80]!r} is not answered without a key "
                "(serve with --api-key, or --allow-host NAME)",
                code="host_not_allowed",
            )
        if origin is not None and not self._is_ours(origin, host):
            raise ApiError(
                403,
                f"pages of {origin[:80]!r} may not ask (serve with --allow-origin)",
                code="origin_not_allowed",
            )
        is_open = scope["path"] in _PUBLIC or scope["method"] == "OPTIONS"
        if self._keys and not is_open and not self._knows(_keys_of(headers)):
            raise ApiError(
                401,
                "no valid key (send it as Authorization: Bearer KEY, or as x-api-key)",
                code="invalid_api_key",
            )

    def _is_ours(self, origin: str, host: str) -> bool:
        origin = origin.lower()
        name = _hostname(urlsplit(origin).netloc) if "://" in origin else ""
        is_same = origin.partition("://")[2] == host.lower()
        return name in LOOPBACK or origin in self._origins or is_same

    def _knows(self, keys: Iterable[str]) -> bool:
        pairs = [(key.encode(), known) for key in keys for known in self._keys]
        return any([hmac.compare_digest(*pair) for pair in pairs])  # all are compared


def _keys_of(headers: Headers) -> list[str]:
    kind, _, token = headers.get("authorization", "").partition(" ")
    found = [token.strip()] if kind.lower() == "bearer" else []
    return [key for key in (*found, headers.get("x-api-key", "")) if key]


def _hostname(netloc: str) -> str:
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


def _refusal(path: str, error: ApiError) -> JSONResponse:
    return JSONResponse(error_body(path, error), error.status, error.headers)
