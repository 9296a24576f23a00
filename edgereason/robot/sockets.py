"""Questions in datagrams: one JSON object each way, over UDP or a Unix socket, no middleware.

    python -m edgereason.robot.sockets --model smollm2-135m --unix /run/reasoning.sock

    -> {"id": "7", "prompt": "A wall is ahead. Which way?", "deadline_ms": 300}
    <- {"id": "7", "kind": "progress", "answer": "turn", "best": "turn", "left_ms": 112.0}
    <- {"id": "7", "kind": "answer", "answer": "turn left", "ended_by": "deadline", ...}
    -> {"id": "7", "do": "cancel"}          also "stop_thinking", or "health" without an id

The deadline counts from `sent_ms` (milliseconds since 1970) where that is given. Datagrams may be
lost: whoever hears nothing asks again with the same id, and is told the same answer; nothing is
thought twice. There is no password and nothing is encrypted: listen on a loopback address or a
socket file.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final

from edgereason.config import build
from edgereason.errors import EdgereasonError, UsageError
from edgereason.robot.question import Question, json_object, told, told_so_far
from edgereason.robot.station import Outcome, Running, Station
from edgereason.runtime.reasoner import Reasoner

_MOST_BYTES: Final = 65_507  # of a datagram over UDP
_KEPT: Final = 256  # answers that may be asked for again
_POLL_S: Final = 0.05

Address = Any  # of a peer, as the socket gives it


class Datagrams:
    """Answers what comes in on one socket, until `close`."""

    def __init__(self, station: Station, where: socket.socket) -> None:
        self._station = station
        self._socket = where
        self._socket.settimeout(_POLL_S)
        self._lock = Lock()  # of the next two, which threads of the runtime change as well
        self._running: dict[str, tuple[Question, Address, Running]] = {}
        self._told: OrderedDict[str, bytes] = OrderedDict()
        self._closed = Event()

    def serve(self) -> None:
        """Runs until `close` is called from another thread."""
        while not self._closed.is_set():
            try:
                data, peer = self._socket.recvfrom(_MOST_BYTES)
            except TimeoutError:
                self._station.watch()
            except OSError:
                if not self._closed.is_set():
                    raise
                return
            else:
                self._take(data, peer)
            self._tell_progress()

    def close(self) -> None:
        self._closed.set()
        self._socket.close()

    def _take(self, data: bytes, peer: Address) -> None:
        """One datagram. What is wrong with it is told to whoever sent it."""
        name = ""
        try:
            message = json_object(data, "a datagram")
            name = str(message.get("id", ""))
            if "do" in message:
                self._do(message["do"], name, peer)
            else:
                self._ask(build(Question, message, what="key"), peer)
        except EdgereasonError as error:
            self._send(peer, {"id": name, "kind": "error", **error.to_dict()})

    def _do(self, what: Any, name: str, peer: Address) -> None:
        if what == "health":
            health = asdict(self._station.health)
            self._send(peer, {"kind": "health", **health, "state": health["state"].value})
            return
        if what not in ("cancel", "stop_thinking"):
            raise UsageError(f"do must be cancel, stop_thinking or health, got {what!r}")
        with self._lock:
            found = self._running.get(name)
        if found is None:
            raise UsageError(f"nothing runs with the id {name!r}")
        getattr(found[2], what)()

    def _ask(self, question: Question, peer: Address) -> None:
        with self._lock:
            told = self._told.get(question.id)
            is_running = question.id in self._running
        if told is not None:
            self._send_bytes(peer, told)
        elif not is_running:
            age_ms = question.age_ms(1000 * time.time())
            running = self._station.submit(question.request(), age_ms)
            with self._lock:
                self._running[question.id] = (question, peer, running)
            running.add_done_callback(partial(self._ended, question, peer))

    def _ended(self, question: Question, peer: Address, outcome: Outcome) -> None:
        data = _encoded(told(question, outcome))
        with self._lock:
            self._running.pop(question.id, None)
            self._told[question.id] = data
            while len(self._told) > _KEPT:
                self._told.popitem(last=False)
        self._send_bytes(peer, data)

    def _tell_progress(self) -> None:
        with self._lock:
            running = [each for each in self._running.values() if each[0].progress]
        for question, peer, one in running:
            progress = one.progress()
            if progress.changed:
                self._send(peer, told_so_far(question, progress))

    def _send(self, peer: Address, message: dict[str, Any]) -> None:
        self._send_bytes(peer, _encoded(message))

    def _send_bytes(self, peer: Address, data: bytes) -> None:
        """Whoever is gone misses it, and may ask again."""
        if peer:
            try:
                self._socket.sendto(data, peer)
            except OSError as error:
                print(f"not sent to {peer}: {error}", file=sys.stderr)


def _encoded(message: dict[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    if len(data) <= _MOST_BYTES:
        return data
    error = UsageError(
        f"the answer has {len(data)} bytes, a datagram holds {_MOST_BYTES}",
        "ask for fewer answer_tokens, or leave out reasoning",
    )
    return json.dumps({"id": message["id"], "kind": "error", **error.to_dict()}).encode()


def bound(udp: str | None, unix: str | None) -> socket.socket:
    """The socket of `--udp HOST:PORT` or `--unix PATH`. A socket file that is left over is
    replaced, any other file is an error."""
    if (udp is None) == (unix is None):
        raise UsageError("give either --udp HOST:PORT or --unix PATH")
    if unix is not None:
        path = Path(unix)
        if path.is_socket():
            path.unlink()
        made = _bound(socket.AF_UNIX, unix)
        os.chmod(unix, 0o600)
        return made
    host, _, port = (udp or "").rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--udp must be HOST:PORT, got {udp!r}")
    return _bound(socket.AF_INET, (host, int(port)))


def _bound(family: socket.AddressFamily, address: Address) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m edgereason.robot.sockets", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--udp", metavar="HOST:PORT")
    parser.add_argument("--unix", metavar="PATH")
    options = parser.parse_args(arguments)
    try:
        where = bound(options.udp, options.unix)
        with Station(partial(Reasoner.open, options.model, context=options.context)) as station:
            print("ready", file=sys.stderr, flush=True)
            Datagrams(station, where).serve()
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return UsageError.exit_code
    except EdgereasonError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
