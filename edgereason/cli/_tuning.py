"""The race of `tune`: what is measured, on an idle machine and beside busy cores."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgereason.errors import EdgereasonError
from edgereason.planning.race import Race, Speed, speed_of

Say = Callable[[str], None]

_CONFIRM: Final = 5  # fresh turns of the winner against the default
_BUSY: Final = (
    "import os,sys\nwhile os.getppid() == int(sys.argv[1]):\n for _ in range(10**6): pass"
)
_SETTLE_S: Final = 0.5  # until the load is seen


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to open a model. `options` are those of `Reasoner.open`."""

    name: str
    path: Path
    format: str
    kl: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a race beside so many busy cores came to."""

    busy: int
    winner: Setup
    speed: Speed
    speeds: Mapping[str, Speed]
    num_turns: int


def setups_of(
    files: Sequence[tuple[str, Path, str, float]], num_cores: int, *, more: bool
) -> list[Setup]:
    """For each (format, path, engine, KL) the ways to open it; the first of all is the default.

    `more`: also types of the KV cache and widths of a batch.
    """
    found = []
    for format, path, engine, kl in files:
        for options in _options(engine, num_cores, more=more):
            told = "".join(f" {key}={value}" for key, value in options.items())
            found.append(Setup(f"{format}{told}", path, format, kl, options))
    return found


def _options(engine: str, num_cores: int, *, more: bool) -> Iterator[dict[str, Any]]:
    yield {}
    for threads in range(1, num_cores + 1):
        if engine == "onnxruntime":
            yield {"threads": threads, "spin": True}
        if threads < num_cores or engine == "llamacpp":
            yield {"threads": threads}
    if more and engine == "llamacpp":
        yield {"kv": "q8_0"}
        yield {"batch": 256}


def race(
    setups: Sequence[Setup], busy: int, seconds: float, say: Say, rate: Callable[[Setup], float]
) -> Outcome:
    """Measures until the time is over or the default is alone; then the winner once more, fresh."""
    by_name = {setup.name: setup for setup in setups}
    default = setups[0]
    run = Race(list(by_name))
    until = time.monotonic() + seconds
    turns = 0
    with busy_cores(busy):
        while len(run.running) > 1 and (turns < 1 or time.monotonic() < until):
            run.add({name: _tried(by_name[name], rate, say) for name in run.next_turn()})
            turns += 1
            say(f"{busy} busy: turn {turns}, {len(run.running)} left, {run.leader()} leads")
        winner = by_name[run.leader()]
        speed = Speed(1.0, 1.0, 1.0, turns)
        if winner is not default:
            speed = _confirmed(default, winner, rate)
    if speed.low <= 1.0:
        winner, speed = default, Speed(1.0, 1.0, 1.0, speed.num_turns)
    return Outcome(busy, winner, speed, run.speeds(), turns)


def _tried(setup: Setup, rate: Callable[[Setup], float], say: Say) -> float:
    try:
        return rate(setup)
    except EdgereasonError as error:
        say(f"{setup.name} is out: {error.message}")
        return 0.0


def _confirmed(default: Setup, winner: Setup, rate: Callable[[Setup], float]) -> Speed:
    ratios = []
    for turn in range(_CONFIRM):
        pair = (default, winner) if turn % 2 == 0 else (winner, default)
        rates = {setup.name: rate(setup) for setup in pair}
        ratios.append(rates[winner.name] / rates[default.name])
    return speed_of(ratios)


@contextmanager
def busy_cores(num: int) -> Iterator[None]:
    """So many children that do nothing but keep a core busy; they end with this process."""
    command = [sys.executable, "-I", "-S", "-c", _BUSY, str(os.getpid())]
    children = [subprocess.Popen(command) for _ in range(num)]
    try:
        time.sleep(_SETTLE_S)
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


__all__ = ["Outcome", "Setup", "busy_cores", "race", "setups_of"]
