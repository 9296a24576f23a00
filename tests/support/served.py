"""A real server on loopback, in a thread of this process, for tests of clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from edgereason.runtime.reasoner import Reasoner
from edgereason.server import Models, Server, ServerConfig, build_app, find
from edgereason.server.service import Service


class Served:
    """Where it listens, and what it runs on."""

    def __init__(self, server: Server, service: Service) -> None:
        self.server = server
        self.service = service
        self.url = f"http://127.0.0.1:{server.port}"

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30)

    def wait_idle(self, seconds: float = 20) -> bool:
        """True once nothing runs, in the server and in the core."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.service.num_admitted and not self.service.running:
                reasoners = [m.reasoner for m in self.service.models if m.reasoner is not None]
                return all(reasoner.wait_idle() for reasoner in reasoners)
            time.sleep(0.01)
        return False


@contextmanager
def served(*models: str, open: Any = Reasoner.open, **options: Any) -> Iterator[Served]:
    """Serves the models, scripted or real, on a free port."""
    config = ServerConfig(port=0, **options)
    app = build_app(Models(find(models), open, max_loaded=config.max_loaded), config)
    server = Server(app, config)
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < until, "the server did not start in time"
        time.sleep(0.005)
    try:
        yield Served(server, app.state.service)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"
