"""The process that renders templates, seen from this side: started when first asked, kept, ended
when it takes too long, started anew after that.

One process serves one request at a time. Nothing that comes out of it is believed further than as
JSON.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from edgereason.errors import EdgereasonError
from edgereason.prompt import sandbox

_MOST: Final = 4  # processes at once
_MOMENT: Final = 0.5  # seconds that a request waits for one that is there
_MOST_BYTES: Final = 64 << 20  # of a reply: four million characters, all of them escaped
_WAIT: Final = 20.0  # times the seconds that it may compute
_OUT_OF_TIME: Final = getattr(signal, "SIGPROF", 0)  # what ends a process that computed too long
# The child takes neither the current folder nor PYTHON* for its own; it finds Jinja where we did.
_START_SECONDS: Final = 60.0  # Python and Jinja from a cold disk of a busy machine
_START: Final = (
    "import runpy, sys; sys.path += sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='__main__')"
)


class ChildError(Exception):
    """It ended, or said something odd, instead of answering."""


class TooSlowError(ChildError):
    """It had to be ended."""


class Child:
    """Use from any thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Sends a request and waits for the answer. The child ends itself when it has computed for
        `seconds`; on a busy machine that takes longer, at most `_WAIT` times as long."""
        with self._lock:
            try:
                return self._ask({**request, "seconds": seconds}, seconds)
            except BaseException:
                self._end()  # also on Ctrl-C: the answer would be taken for the next one's
                raise

    @property
    def pid(self) -> int:
        """0 where none runs."""
        return 0 if self._process is None or self._process.poll() is not None else self._process.pid

    def close(self) -> None:
        """Ends the process; the next request starts one again."""
        with self._lock:
            self._end()

    def _ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        if not self.pid:
            self._end()
            self._process = _started()
            self._receive(self._process, time.monotonic() + _START_SECONDS)
        process = self._process
        assert process is not None  # for the type checker
        until = time.monotonic() + _WAIT * seconds
        try:
            _write(_file(process.stdin), sandbox.frame(request))
        except OSError:
            raise ChildError("it needs too much memory or time") from None
        try:
            return self._receive(process, until)
        except ChildError:
            with suppress(subprocess.TimeoutExpired):
                if process.wait(1.0) == -_OUT_OF_TIME:
                    raise TooSlowError from None
            raise

    @staticmethod
    def _receive(process: subprocess.Popen[bytes], until: float) -> dict[str, Any]:
        file = _file(process.stdout)
        try:
            length = sandbox.frame_length(_read(file, sandbox.HEADER_BYTES, until))
            if length > _MOST_BYTES:
                raise ChildError("its text is too long")
            reply = json.loads(_read(file, length, until))
        except (OSError, EOFError):
            raise ChildError("it needs too much memory or time") from None
        except (ValueError, RecursionError):
            raise ChildError("its renderer was broken") from None
        if not isinstance(reply, dict) or not reply.keys() & {"ok", "error"}:
            raise ChildError("its renderer was broken")
        return reply

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        _close(process)
        process.wait()

    def forget(self) -> None:
        """After a fork: the process is the parent's, and so is the lock."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process is not None:
            _close(process)
            process.returncode = 0  # not ours to wait for


class Children:
    """A template that takes long holds nobody else: who has waited a moment gets a process of its
    own, up to `_MOST`. A burst of requests does not: starting one takes as long as hundreds of
    renderings. One is kept for the next request.
    """

    def __init__(self) -> None:
        self._all: set[Child] = set()
        self._idle: list[Child] = []
        self._changed = threading.Condition()  # guards both
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        child = self._take()
        try:
            return child.ask(request, seconds)
        finally:
            self._give_back(child)

    def _take(self) -> Child:
        with self._changed:
            until = time.monotonic() + (_MOMENT if self._all else 0)
            while not self._idle:
                left = until - time.monotonic()
                if left <= 0 and len(self._all) < _MOST:
                    child = Child()
                    self._all.add(child)
                    return child
                self._changed.wait(left if left > 0 else None)
            return self._idle.pop()

    def _give_back(self, child: Child) -> None:
        with self._changed:
            is_kept = not self._idle
            if is_kept:
                self._idle.append(child)
            else:
                self._all.discard(child)
            self._changed.notify_all()
        if not is_kept:
            child.close()

    def close(self) -> None:
        for child in tuple(self._all):
            child.close()

    def _forget(self) -> None:
        for child in tuple(self._all):
            child.forget()
        self._all, self._idle, self._changed = set(), [], threading.Condition()


def _started() -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise EdgereasonError(
            "chat templates are rendered in a process of their own, but there is no Python to run",
            "set sys.executable to a Python interpreter",
        )
    import jinja2
    import markupsafe

    found = {str(Path(str(module.__file__)).parent.parent) for module in (jinja2, markupsafe)}
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _START, sandbox.__file__, *sorted(found)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        bufsize=0,
    )


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # it was gone before it had read all
                pipe.close()


def _file(pipe: IO[bytes] | None) -> int:
    assert pipe is not None  # both are pipes, see `_started`
    return pipe.fileno()


def _write(file: int, data: bytes) -> None:
    """All of it: the other side reads a request to its end before it does anything."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _read(file: int, length: int, until: float) -> bytes:
    ready = select.poll()
    ready.register(file, select.POLLIN)
    data = bytearray()
    while len(data) < length:
        left_ms = 1000 * (until - time.monotonic())
        if left_ms <= 0 or not ready.poll(left_ms):
            raise TooSlowError
        piece = os.read(file, length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
