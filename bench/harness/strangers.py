"""Clients with all kinds of manners, for a server that must answer the others meanwhile.

Known to the tests and to the bench of strangers. Each is drawn by its number: some ask well, some
leave in the middle, read slowly, have no key, or send what is no request.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

KEY: Final = "sesame"
PATH: Final = "/v1/chat/completions"

_KINDS: Final = (
    *("good", "good", "stream", "leaves", "leaves"),
    *("slow", "wrong key", "hostile", "raw"),
)
_TURNS: Final = [{"role": "user", "content": "What is 17 * 3?"}]
_RESETS: Final = b"\1\0\0\0\0\0\0\0"  # struct linger: on, 0 s
_PATIENCE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str


class Stranger:
    """One client. `models`: of which it takes one."""

    def __init__(self, port: int, number: int, models: Sequence[str]) -> None:
        self._port = port
        self._models = models
        self._draw = random.Random(number)
        self.kind = self._draw.choice(_KINDS)

    def run(self) -> str:
        """What became of it: its kind, and a word or a status. Raises `AssertionError` where the
        server did what it must not."""
        act = getattr(self, "_" + self.kind.replace(" ", "_"))
        return f"{self.kind}: {act()}"

    def _body(self, **more: Any) -> dict[str, Any]:
        model = self._draw.choice(self._models)
        budget = self._draw.randrange(30)
        return {"model": model, "messages": _TURNS, "thinking_budget": budget, **more}

    def _post(self, path: str, body: Any, key: str = KEY) -> Answer:
        return self._send(path, json.dumps(body).encode(), key)

    def _send(self, path: str, content: bytes, key: str = KEY) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)
        with contextlib.closing(line):
            line.request("POST", path, content, {"x-api-key": key})
            answer = line.getresponse()
            return Answer(answer.status, answer.read().decode())

    def _good(self) -> int:
        path = self._draw.choice([PATH, "/v1/messages", "/api/chat"])
        body = {**self._body(max_tokens=90), "stream": False}
        if path == "/api/chat":
            del body["max_tokens"]
        answer = self._post(path, body)
        assert answer.status in (200, 429), answer.text
        if answer.status == 200:
            assert json.loads(answer.text)["edgereason"]["answer"]["used"] >= 1
        return answer.status

    def _stream(self) -> int:
        answer = self._post(PATH, self._body(stream=True))
        assert answer.status in (200, 429), answer.text
        assert answer.status == 429 or answer.text.endswith("data: [DONE]\n\n")
        return answer.status

    def _leaves(self) -> str:
        line = self._connected(self._body(stream=self._draw.random() < 0.5))
        time.sleep(self._draw.random() * 0.02)
        if self._draw.random() < 0.5:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        line.close()
        return "gone"

    def _slow(self) -> str:
        with self._connected(self._body(stream=True)) as line:
            while part := line.recv(64):
                time.sleep(0.001)
                if b"0\r\n\r\n" in part:
                    break
        return "read"

    def _wrong_key(self) -> int:
        return self._post(PATH, self._body(), key="open").status

    def _hostile(self) -> int:
        content = self._draw.choice(
            [
                b"[" * 50_000,
                self._draw.randbytes(500),
                json.dumps(self._body(n=99)).encode(),
                json.dumps(self._body(messages=[{"role": "user", "content": {}}])).encode(),
                json.dumps(self._body(strategy="../" * 50)).encode(),
                json.dumps(self._body(top_p=1e999)).encode(),
            ]
        )
        return self._send(PATH, content).status

    def _raw(self) -> str:
        """No HTTP, or half of it."""
        said = self._draw.choice(
            [b"\0" * 100, b"GET /\r\n\r\n", b"POST / HTTP/1.1\r\nHost: localh"]
        )
        with socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE_S) as line:
            line.sendall(said)
        return "said"

    def _connected(self, body: dict[str, Any]) -> socket.socket:
        content = json.dumps(body).encode()
        line = socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE_S)
        line.sendall(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: %s\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (PATH.encode(), KEY.encode(), len(content), content)
        )
        return line
