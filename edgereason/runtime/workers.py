"""Threads for code that is not ours: strategies, templates, callbacks, trace sinks, futures.

    workers = Workers("edgereason")
    lane = Lane(workers)
    lane.add(step)      # returns at once; `step` runs on some worker
    lane.add(another)   # runs after `step`, never beside it

Such code may take long, or hang. It then holds one thread and the rest of its own lane. What work
raises is its own to catch; should something get out, it is logged and the thread goes on.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, Final

Work = Callable[[], Any]

log = logging.getLogger("edgereason")

_MOST_THREADS: Final = 256  # so much work at once; further work waits for a thread
_MOST_IDLE: Final = 32  # threads kept for the next piece of work


def contained(work: Callable[..., Any], *args: Any) -> None:
    """Runs it. What it raises, SystemExit included, is logged and goes no further."""
    try:
        work(*args)
    except BaseException:
        with suppress(BaseException):  # a handler of the log is not ours either
            log.exception("%r raised, with nobody left to tell", work)


class Workers:
    """Runs work at once, each piece on a thread of its own while it lasts. Daemon threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Work | None]] = []  # each one waits for its next piece
        self._waiting: deque[Work] = deque()
        self._num_threads = 0
        self._closed = False

    def run(self, work: Work) -> None:
        with self._lock:
            if self._idle:
                self._idle.pop().put(work)
                return
            if self._num_threads >= _MOST_THREADS:
                self._waiting.append(work)
                return
            self._num_threads += 1
        thread = threading.Thread(target=self._loop, args=(work,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads: one that is there takes it
            with self._lock:
                self._num_threads -= 1
                self._waiting.append(work)

    def close(self) -> None:
        """Lets idle threads end. Work that comes later still runs."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)

    def _loop(self, work: Work | None) -> None:
        inbox: SimpleQueue[Work | None] = SimpleQueue()
        while work is not None:
            contained(work)
            work = None  # an idle thread holds nothing of a request that is over
            work = self._next(inbox)

    def _next(self, inbox: SimpleQueue[Work | None]) -> Work | None:
        """The next piece of work; None ends the thread."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed or len(self._idle) >= _MOST_IDLE:
                self._num_threads -= 1
                return None
            self._idle.append(inbox)
        work = inbox.get()
        if work is None:
            with self._lock:
                self._num_threads -= 1
        return work


class Lane:
    """Work that runs one piece after another, in the order in which it was added."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._work: deque[Work] = deque()
        self._busy = False

    def add(self, work: Work) -> None:
        with self._lock:
            self._work.append(work)
            if self._busy:
                return
            self._busy = True
        self._workers.run(self._drain)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The caller's own thread is the lane for a while. Only on a lane that is still empty."""
        with self._lock:
            self._busy = True
        try:
            yield
        finally:
            with self._lock:
                self._busy = goes_on = bool(self._work)
            if goes_on:
                self._workers.run(self._drain)

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._work:
                    self._busy = False
                    return
                work = self._work.popleft()
            contained(work)
