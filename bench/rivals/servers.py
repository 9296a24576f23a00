"""Servers as programs: ours and llama.cpp's `llama-server`, started, asked over HTTP, and ended.

with started(ours(model, options)) as server:
    reply = server.complete("Once", num_tokens=64)      # a stream; times are the client's
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from edgereason import child
from edgereason.errors import EngineError, UnsupportedError

_START_S: Final = 120.0
_STOP_S: Final = 20.0
_REPLY_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Program:
    """How a server is started. `{port}` is filled in."""

    name: str
    command: tuple[str, ...]


def ours(
    model: str, threads: int, context: int, num_clients: int, more: Sequence[str] = ()
) -> Program:
    """`more`: further options of `edgereason serve`."""
    command = child.command(
        *("edgereason", "serve", f"model={model}", "--port", "{port}"),
        *("--threads", str(threads), "--context", str(context)),
        *("--engine-set", f"sequences={num_clients + 8}", "--default-effort", "none", *more),
    )
    return Program("edgereason", tuple(command))


def llama_server(
    program: Path, gguf: Path, threads: int, context: int, num_clients: int
) -> Program:
    if not program.is_file():
        raise UnsupportedError(
            f"there is no {program}", "build llama-server from the sdist of llama-cpp-python"
        )
    command = (
        *(str(program), "--model", str(gguf), "--alias", "model", "--port", "{port}"),
        *("--threads", str(threads), "--ctx-size", str(context), "--parallel", str(num_clients)),
        *("--kv-unified", "--no-warmup", "--log-disable"),
    )
    return Program("llama-server", command)


@dataclass(frozen=True, slots=True)
class Reply:
    """One streamed answer, timed by the client."""

    first_ms: float  # to the first text
    total_ms: float
    num_tokens: int
    text: str = ""

    @property
    def tokens_per_s(self) -> float:
        """After the first token."""
        spent_ms = self.total_ms - self.first_ms
        return 1000 * (self.num_tokens - 1) / spent_ms if spent_ms > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    port: int
    started_ms: float  # to the first answer of /health

    @property
    def rss_mib(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    @property
    def cpu_s(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def single_tokens(self, texts: Iterable[str]) -> list[int]:
        """Of texts that are one token."""
        found: list[int] = []
        for text in texts:
            with self._ask("/tokenize", {"content": text}) as reply:
                tokens = json.loads(reply.read())["tokens"]
            found += tokens if len(tokens) == 1 else []
        return found

    def complete(self, prompt: str, num_tokens: int, without: Iterable[int] = ()) -> Reply:
        """`without`: tokens that do not come, such as those that would end it."""
        body = {
            "logit_bias": {str(token): -100 for token in without},
            "model": "model",
            "prompt": prompt,
            "max_tokens": num_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        begin = time.monotonic()
        first_ms, num, text = 0.0, 0, ""
        for event in self._events("/v1/completions", body):
            if not first_ms and any(choice.get("text") for choice in event.get("choices", ())):
                first_ms = 1000 * (time.monotonic() - begin)
            text += "".join(choice.get("text", "") for choice in event.get("choices", ()))
            num = (event.get("usage") or {}).get("completion_tokens", num)
        if num < 1:
            raise EngineError(f"a server on port {self.port} answered without tokens")
        return Reply(first_ms, 1000 * (time.monotonic() - begin), num, text)

    def chat(self, messages: Sequence[Any], **more: Any) -> dict[str, Any]:
        body = {"model": "model", "messages": list(messages), **more}
        with self._ask("/v1/chat/completions", body) as reply:
            found: dict[str, Any] = json.loads(reply.read())
        return found

    def in_form(self, question: str, schema: Any, num_tokens: int) -> str:
        """A greedy answer under a JSON schema; "" where the server refuses it."""
        form = {"type": "json_schema", "json_schema": {"name": "form", "schema": schema}}
        turn = [{"role": "user", "content": question}]
        try:
            done = self.chat(turn, max_tokens=num_tokens, temperature=0, response_format=form)
        except EngineError:
            return ""
        return str(done["choices"][0]["message"]["content"] or "")

    def _events(self, path: str, body: Any) -> Iterator[dict[str, Any]]:
        with self._ask(path, body) as reply:
            for line in reply:
                if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                    yield json.loads(line[6:])

    @contextlib.contextmanager
    def _ask(self, path: str, body: Any) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_REPLY_S)
        with contextlib.closing(connection):
            headers = {"content-type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
            reply = connection.getresponse()
            if reply.status != 200:
                said = reply.read()[:300]
                raise EngineError(f"port {self.port} answered {reply.status}: {said!r}")
            yield reply


@contextlib.contextmanager
def started(program: Program) -> Iterator[Server]:
    """Runs it until the end of the block."""
    port = _free_port()
    command = [part.format(port=port) for part in program.command]
    begin = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(process, port, program.name)
        yield Server(process, port, 1000 * (time.monotonic() - begin))
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise EngineError(f"{name} ended while it started, with status {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connection),
        ):
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.01)
    raise EngineError(f"{name} did not start within {_START_S:g} s")


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port
