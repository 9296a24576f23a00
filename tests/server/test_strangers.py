"""Three hundred requests of all kinds at once, readers that are slow, and the end of a server."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgereason.bench.harness.strangers import KEY, PATH, Stranger
from support.places import SCRIPTED
from support.replies import asked
from support.served import Served, served

HEADERS = {"x-api-key": KEY}
NUM_REQUESTS = 300


def num_sockets() -> int:
    """Of this process, in which the server runs. Renderers of templates have pipes."""
    found = 0
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # gone in the meantime
            found += str(fd.readlink()).startswith("socket:")
    return found


def test_three_hundred_strangers() -> None:
    with served(SCRIPTED, "nano", api_keys=(KEY,), max_requests=12) as server:
        server.post(PATH, asked(model="nano"), **HEADERS)
        before = num_sockets()
        port = server.server.port
        models = ("scripted", "nano")
        strangers = [Stranger(port, number, models) for number in range(NUM_REQUESTS)]
        with ThreadPoolExecutor(16) as pool:
            ends = Counter(pool.map(Stranger.run, strangers))
        assert sum(ends.values()) == NUM_REQUESTS
        assert {end for end in ends if end.startswith("wrong key")} == {"wrong key: 401"}
        hostile = {end for end in ends if end.startswith("hostile")}
        assert "hostile: 400" in hostile
        assert hostile <= {"hostile: 400", "hostile: 429"}
        assert ends["good: 200"] > 20
        assert ends["stream: 200"] > 10
        assert server.wait_idle()
        until = time.monotonic() + 10
        while num_sockets() > before and time.monotonic() < until:
            time.sleep(0.02)  # the server is still closing sockets
        assert num_sockets() <= before
        for model in server.service.models:
            assert model.num_users == 0
            assert model.reasoner is not None
            stats = model.reasoner.stats()
            assert (stats["num_active"], stats["num_waiting"]) == (0, 0)
        assert (
            server.post(PATH, asked(), **HEADERS).json()["choices"][0]["message"]["content"] == "51"
        )
        refused = server.get("/metrics", **HEADERS).text
        assert 'outcome="disconnect"' in refused


def test_a_reader_that_takes_nothing_is_dropped_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgereason.server import chat

    piece = chat.ChatWriter.piece

    def padded(self: Any, chunk: Any) -> Any:
        """Each piece is half a megabyte on the wire, so that the kernel's buffers are soon full."""
        for data in piece(self, chunk):
            yield b": " + b"x" * 500_000 + b"\n\n" + data

    monkeypatch.setattr(chat.ChatWriter, "piece", padded)
    with served(SCRIPTED, send_timeout_s=0.5) as server:
        body = json.dumps(asked(stream=True)).encode()
        with socket.create_connection(("127.0.0.1", server.server.port), timeout=20) as line:
            line.sendall(
                b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                % (PATH.encode(), len(body), body)
            )
            start = time.monotonic()
            assert server.post(PATH, asked()).status_code == 200  # meanwhile, at once
            assert time.monotonic() - start < 10
            assert server.wait_idle()
            time.sleep(1.5)  # longer than the server waits
            line.settimeout(20)
            received = 0
            while part := line.recv(1 << 20):  # what is in the buffers, and then the end
                received += len(part)
                assert b"[DONE]" not in part
            assert received < 30 * 500_000


def hold(server: Served) -> threading.Event:
    """Requests of the open model begin once the event is set."""
    (model,) = (model for model in server.service.models if model.reasoner is not None)
    assert model.reasoner is not None
    steps, go_on = model.reasoner._steps, threading.Event()

    def held(*args: Any) -> Any:
        assert go_on.wait(20)
        return steps(*args)

    model.reasoner._steps = held  # type: ignore[method-assign]
    return go_on


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_stops_lets_running_answers_end(stream: bool) -> None:
    with served(SCRIPTED) as server, ThreadPoolExecutor(1) as pool:
        server.post(PATH, asked())
        go_on = hold(server)
        sent = pool.submit(server.post, PATH, asked(stream=stream))
        while not server.service.running:
            time.sleep(0.005)
        server.server.handle_exit(signal.SIGTERM, None)
        time.sleep(0.2)
        go_on.set()
        text = sent.result().text
    assert '"ended_by":"interrupted"' in text
    assert text.endswith("data: [DONE]\n\n") or json.loads(text)["choices"][0]["message"]["content"]


def test_silence_is_filled_with_comments() -> None:
    with served(SCRIPTED, ping_s=0.05) as server:
        server.post(PATH, asked())
        go_on = hold(server)
        found: dict[str, str] = {}
        with ThreadPoolExecutor(3) as pool:
            sent = {
                path: pool.submit(server.post, path, asked(stream=True, **more))
                for path, more in (
                    (PATH, {}),
                    ("/v1/messages", {"max_tokens": 9}),
                    ("/api/chat", {}),
                )
            }
            time.sleep(0.5)
            go_on.set()
            found = {path: done.result().text for path, done in sent.items()}
        assert found[PATH].count(": ping\n\n") >= 2
        assert found[PATH].endswith("data: [DONE]\n\n")
        assert found["/v1/messages"].count("event: ping\n") >= 2
        assert "ping" not in found["/api/chat"]
        assert all(json.loads(line) for line in found["/api/chat"].splitlines())


def test_what_fails_after_the_first_byte_is_said_in_the_stream() -> None:
    with served(SCRIPTED, ping_s=0.05) as server:
        server.post(PATH, asked())
        model = next(iter(server.service.models))
        assert model.reasoner is not None

        def broken(*args: Any) -> Any:
            time.sleep(0.3)
            raise RuntimeError("secret")

        model.reasoner._steps = broken  # type: ignore[method-assign]
        chat = server.post(PATH, asked(stream=True)).text
        assert '"error":{"message":"internal error: RuntimeError"' in chat
        assert "[DONE]" not in chat
        messages = server.post("/v1/messages", asked(stream=True, max_tokens=9)).text
        assert "event: error\n" in messages
        ollama = server.post("/api/chat", asked()).text
        assert json.loads(ollama.splitlines()[-1]) == {"error": "internal error: RuntimeError"}
        assert server.wait_idle()
