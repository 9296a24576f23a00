"""Joules: how much energy the machine took while something ran.

    meter = Meter(sampler)          # None of it where `shared()` is None: there is no meter
    meter.start()
    ...
    joules = meter.stop()           # None: it could not be read
    meter.rails, sampler.idle_watts

One thread samples for all who measure: every 20 ms or so while somebody does, else five times a
second, which tells what the machine takes when it rests. All that runs at the same time is in the
figure, other requests and other programs too.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Final

from edgereason.planning.meters import Readings, Source, find

_REST_S: Final = 0.2  # between samples while nobody measures
_SETTLE_S: Final = 1.0  # after a measurement, before the machine rests
_IDLE_SAMPLES: Final = 50
_LEAST_IDLE: Final = 3


class Sampler:
    """Adds up what the sources tell, from the first sample on. `sample` may be called from any
    thread."""

    def __init__(
        self, sources: Sequence[Source], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.sources = tuple(sources)
        self._clock = clock
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._joules: dict[str, float] = {}
        self._before: dict[str, tuple[float, float]] = {}  # by rail: when, what it said
        self._sampled_at: float | None = None
        self._users = 0
        self._rested_at = -float("inf")
        self._idle: deque[float] = deque(maxlen=_IDLE_SAMPLES)
        self._thread: threading.Thread | None = None

    @property
    def label(self) -> str:
        return "+".join(source.name for source in self.sources)

    @property
    def scope(self) -> str:
        return ", ".join(source.scope for source in self.sources)

    @property
    def idle_watts(self) -> float | None:
        """Of the machine at rest; None where it has not rested yet."""
        with self._lock:
            return median(self._idle) if len(self._idle) >= _LEAST_IDLE else None

    def total(self, rails: Readings) -> float:
        """One figure of joules by rail: of each source its rail for all, or their sum."""
        return sum(
            rails.get(f"{source.name}.{source.total}", 0.0)
            if source.total
            else sum(v for rail, v in rails.items() if rail.startswith(f"{source.name}."))
            for source in self.sources
        )

    def sample(self) -> Readings:
        """Joules so far by rail, up to now."""
        with self._lock:
            now, before = self._clock(), self.total(self._joules)
            for source in self.sources:
                self._add(source, now)
            took = 0.0 if self._sampled_at is None else now - self._sampled_at
            self._sampled_at = now
            if self._users == 0 and took > 0 and now - self._rested_at >= _SETTLE_S:
                self._idle.append((self.total(self._joules) - before) / took)
            return dict(self._joules)

    def _add(self, source: Source, now: float) -> None:
        for rail, value in source.read().items():
            name = f"{source.name}.{rail}"
            last, old = self._before.get(name, (now, value))
            more = value - old if source.is_counter else (value + old) / 2 * (now - last)
            self._joules[name] = self._joules.get(name, 0.0) + more
            self._before[name] = (now, value)

    def watch(self) -> None:
        """Begins to sample, so that what the machine takes at rest is known."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="edgereason-energy", daemon=True
                )
                self._thread.start()

    def enter(self) -> None:
        """Somebody measures: samples come fast."""
        self.watch()
        with self._lock:
            self._users += 1
        self._wake.set()

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            self._rested_at = self._clock()

    def _run(self) -> None:
        period = max(source.period_s for source in self.sources)
        while True:
            self._wake.clear()
            self.sample()
            self._wake.wait(period if self._users else _REST_S)


class Meter:
    """Energy from `start` to `stop`. One measurement; `stop` may be called again.

    Attributes:
        rails: joules by rail, `ina3221.VDD_IN`; empty before `stop`.
        seconds: how long it measured.
    """

    def __init__(self, sampler: Sampler, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.sampler = sampler
        self.rails: Readings = {}
        self.seconds = 0.0
        self.joules: float | None = None
        self._clock = clock
        self._begin: Readings | None = None
        self._began = 0.0

    def start(self) -> None:
        self.sampler.enter()
        self._begin, self._began = self.sampler.sample(), self._clock()

    def stop(self) -> float | None:
        if self._begin is None:
            return self.joules
        end, self.seconds = self.sampler.sample(), self._clock() - self._began
        self.sampler.leave()
        self.rails = {rail: joules - self._begin.get(rail, 0.0) for rail, joules in end.items()}
        self.joules = self.sampler.total(self.rails) if self.rails else None
        self._begin = None
        return self.joules


@lru_cache(maxsize=1)
def shared() -> Sampler | None:
    """This machine's; None: it has no meter that can be read, see `meters.find`."""
    sources = find(Path("/")).sources
    return Sampler(sources) if sources else None


def meter() -> Meter | None:
    """A meter that is not started; None: there is none."""
    sampler = shared()
    return None if sampler is None else Meter(sampler)


def watch() -> None:
    """Begins to look at what this machine takes at rest, where it has a meter."""
    if (sampler := shared()) is not None:
        sampler.watch()


# The child of a fork has neither the thread nor a lock that may be held.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=shared.cache_clear)


__all__ = ["Meter", "Sampler", "meter", "shared", "watch"]
