"""Bodies in, answers out: what all dialects share of HTTP.

A dialect gives a `Writer`; `reply` sends what it writes, as one object or as a stream. A client
that goes away cancels its request, streaming or not; one that reads nothing is dropped in time.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, NoReturn, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from edgereason.records import Answer, Chunk
from edgereason.server.config import ServerConfig
from edgereason.server.errors import ApiError, as_api_error, error_body
from edgereason.server.running import Running

log = logging.getLogger("edgereason.server")

_READ_S: Final = 30.0  # for a whole body
_STREAM: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Writer(Protocol):
    """How a dialect says an answer. One writer writes one answer."""

    media_type: str

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer as one object."""

    def start(self) -> Iterator[bytes]:
        """What a stream begins with."""

    def piece(self, chunk: Chunk) -> Iterator[bytes]: ...

    def end(self, answer: Answer) -> Iterator[bytes]:
        """What follows the last piece."""

    def ping(self) -> bytes:
        """Said in silence."""

    def failed(self, error: ApiError) -> bytes:
        """What went wrong after the first byte."""


def sse(data: Any, event: str | None = None) -> bytes:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {to_json(data)}\n\n".encode()


def to_json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


# --- in -------------------------------------------------------------------------------------------


async def read_json(request: Request, config: ServerConfig) -> Any:
    """The body as JSON. Bounded in size and time; what is no JSON is said so."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise ApiError(415, f"content-encoding {encoding[:40]!r} is not taken (send it as it is)")
    limit = int(config.max_body_mib * 2**20)
    try:
        body = await asyncio.wait_for(_read(request, limit), _READ_S)
    except asyncio.TimeoutError:
        raise ApiError(408, f"the body did not arrive within {_READ_S:g} s") from None
    try:
        return json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from None


async def _read(request: Request, limit: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ApiError(
                413, f"the body has more than {limit} bytes (--max-body-mib)", code="body_too_large"
            )
    return b"".join(parts)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


# --- out ------------------------------------------------------------------------------------------


class Job(Protocol):
    """What runs for a request of HTTP."""

    @property
    def id(self) -> str: ...

    def cancel(self, why: str) -> None: ...


class JobReply(Response):
    """Writes what a job comes to. A client that goes away cancels it."""

    def __init__(self, job: Job) -> None:
        self.status_code = 200
        self.background = None
        self._job = job

    async def told(self) -> Any:
        """All of it as one value of JSON."""
        raise NotImplementedError

    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = to_json(await self.told()).encode()
        except Exception as error:
            await _refuse(scope, receive, send, error)
            return
        await Response(body, 200, self.names(), "application/json")(scope, receive, send)

    def names(self) -> dict[str, str]:
        return {"x-request-id": self._job.id, "request-id": self._job.id}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self.write(scope, receive, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not writing.done():
                self._job.cancel("disconnect")
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)
        if not writing.cancelled() and (error := writing.exception()) is not None:
            raise error


class Reply(JobReply):
    """A running request, sent as it goes. The status is held open until the first text, so that
    what is wrong with a request is still a 4xx."""

    def __init__(
        self, running: Running, writer: Writer, config: ServerConfig, *, streams: bool
    ) -> None:
        super().__init__(running)
        self._running = running
        self._writer = writer
        self._config = config
        self._streams = streams
        self._begun = False

    async def told(self) -> Any:
        return self._writer.whole(await self._running.answer())

    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = self._stream if self._streams else super().write
        await work(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer, running = self._writer, self._running
        try:
            async for chunk in running.pieces(self._config.ping_s):
                await self._begin(send)
                for data in [writer.ping()] if chunk is None else writer.piece(chunk):
                    await self._send(send, data)
            answer = await running.answer()
            await self._begin(send)
            for data in writer.end(answer):
                await self._send(send, data)
        except _SlowReaderError:
            running.cancel("slow_reader")
            return  # without an end, so that nobody takes it for whole
        except Exception as error:
            if not self._begun:
                await _refuse(scope, receive, send, error)
                return
            await self._send(send, writer.failed(_told(error)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self, send: Send) -> None:
        if self._begun:
            return
        self._begun = True
        headers = {"content-type": self._writer.media_type, **_STREAM, **self.names()}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        for data in self._writer.start():
            await self._send(send, data)

    async def _send(self, send: Send, data: bytes) -> None:
        message = {"type": "http.response.body", "body": data, "more_body": True}
        try:
            await asyncio.wait_for(send(message), self._config.send_timeout_s)
        except asyncio.TimeoutError:
            raise _SlowReaderError from None


class _SlowReaderError(Exception):
    """The client has taken nothing for too long."""


async def _left(receive: Receive) -> None:
    """Returns once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _told(error: Exception) -> ApiError:
    refused = as_api_error(error)
    if refused.code == "internal":
        log.error("a request failed", exc_info=error)
    return refused


async def _refuse(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    await refusal(scope["path"], _told(error))(scope, receive, send)


def refusal(path: str, error: ApiError) -> JSONResponse:
    return JSONResponse(error_body(path, error), error.status, error.headers)


Endpoint = Callable[[Request], Awaitable[Response]]
