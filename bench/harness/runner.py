"""What all benches share: turns, statistics, load, and who measured what where.

A bench is a module with `measure(arguments, say) -> Findings` and a `main` that hands it to `run`.
Two systems are always compared in one run, in turns, so that a slow minute of the machine hits
both. What is printed and kept is in `report.py`. Knows no model.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psutil

from edgereason.errors import EdgereasonError
from edgereason.planning.device import this_machine

from .report import Findings, Plot, Table, publish

if TYPE_CHECKING:
    from edgereason.runtime.reasoner import Reasoner

__all__ = [
    "Bench",
    "BusyCores",
    "Findings",
    "OthersMeter",
    "Plot",
    "Quiet",
    "Say",
    "Table",
    "checkout",
    "commit",
    "machine",
    "open_reasoner",
    "quantile",
    "ratios",
    "run",
    "spread",
    "turns",
    "wait_idle",
    "wilson",
]

T = TypeVar("T")
Say = Callable[[str], None]

_SPIN: Final = (
    "import os,sys\nwhile os.getppid() == int(sys.argv[1]):\n  for _ in range(10**6): pass"
)


# --- turns and statistics -------------------------------------------------------------------------


def turns(systems: Mapping[str, Callable[[], T]], num: int, say: Say) -> dict[str, list[T]]:
    """Runs A B B A A B ..., so that none is always the one that finds the machine warm; the results
    of each system, in order, so that they pair up by turn.
    """
    results: dict[str, list[T]] = {name: [] for name in systems}
    order = list(systems)
    for turn in range(num):
        for name in order:
            say(f"turn {turn + 1} of {num}: {name}")
            results[name].append(systems[name]())
        order.reverse()
    return results


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Pair by pair. A pair without a rate on the other side has no ratio."""
    return [a / b for a, b in zip(ours, theirs, strict=True) if b > 0]


def wilson(right: int, num: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share, which also holds near 0 and 1 (Wilson 1927)."""
    share = right / num
    middle = share + z * z / (2 * num)
    half = z * (share * (1 - share) / num + z * z / (4 * num * num)) ** 0.5
    scale = 1 + z * z / num
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between neighbours; nan where there are no values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def spread(values: Sequence[float]) -> dict[str, float]:
    """What a list of figures is reported as."""
    if not values:
        return {"num": 0}
    return {
        "num": len(values),
        "median": median(values),
        "min": min(values),
        "max": max(values),
    }


# --- load -----------------------------------------------------------------------------------------


class BusyCores(contextlib.AbstractContextManager["BusyCores"]):
    """Child processes that spin, each on a core. They end with this process however it ends."""

    def __init__(self, num: int) -> None:
        self.num = num
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> BusyCores:
        command = [sys.executable, "-I", "-S", "-c", _SPIN, str(os.getpid())]
        self._children = [subprocess.Popen(command) for _ in range(self.num)]
        return self

    def __exit__(self, *error: object) -> None:
        for child in self._children:
            child.kill()
        for child in self._children:
            child.wait()
        self._children = []

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]


class OthersMeter:
    """How many cores others keep busy: all that is not this process and its children."""

    def __init__(self) -> None:
        self._begin = self._read()

    def others(self) -> float:
        """Mean number of cores since this meter was made."""
        machine, own, now = (
            after - before for after, before in zip(self._read(), self._begin, strict=True)
        )
        return max(0.0, machine - own) / now if now > 0 else 0.0

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Seconds: busy on all cores, busy for us, passed."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Linux counts the time of guests as user time already.
        twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        own = os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                spent = child.cpu_times()
                ours += spent.user + spent.system
        return sum(times) - idle - twice, ours, time.monotonic()


@dataclass(frozen=True, slots=True)
class Quiet:
    """Whether the machine was left to us. A bench that began in noise says so."""

    waited_s: float
    others_cores: float  # busy with others' work at the end of the wait
    timed_out: bool


def wait_idle(
    timeout_s: float,
    *,
    limit_cores: float = 0.1,
    window_s: float = 1.0,
    load: Callable[[float], float] | None = None,
) -> Quiet:
    """Waits until others leave the machine alone for `window_s`, at most `timeout_s`.

    `load` measures for so many seconds and returns cores busy with others' work.
    """
    begin = time.monotonic()
    while True:
        others = (load or _others_during)(window_s)
        waited = time.monotonic() - begin
        if others <= limit_cores or waited >= timeout_s:
            return Quiet(waited, others, timed_out=others > limit_cores)


def _others_during(seconds: float) -> float:
    meter = OthersMeter()
    time.sleep(seconds)
    return meter.others()


# --- who measured what ----------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """The machine and the versions that decide about speed."""
    versions = {
        name: metadata.version(name) for name in ("llama-cpp-python", "numpy") if _installed(name)
    }
    return {**asdict(this_machine()), "python": sys.version.split()[0], "versions": versions}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def commit() -> str:
    """The commit of the checkout that this file lies in, `-dirty` if changed; "" outside of one."""
    folder = Path(__file__).resolve().parent
    git = ["git", "-C", str(folder)]
    try:
        prefix = subprocess.run(
            [*git, "rev-parse", "--show-prefix"], capture_output=True, text=True, check=True
        )
        # Installed into some other project's checkout it would be that project's commit.
        if prefix.stdout.strip() != "bench/harness/":
            return ""
        found = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()


def checkout() -> Path:
    """The folder that holds `bench/`."""
    return Path(__file__).resolve().parents[2]


# --- running --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bench:
    """One bench: its name, what it asks (its help text), its options, and how it measures."""

    name: str
    about: str
    add_options: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace, Say], Findings]


def run(bench: Bench, argv: Sequence[str] | None = None) -> int:
    """Parses, waits for a quiet machine, measures, prints. Returns the exit code."""
    options = _parser(bench).parse_args(argv)
    command = [
        f"edgereason bench {bench.name}",
        *(sys.argv[1:] if argv is None else argv),
    ]
    begin = time.monotonic()

    def say(text: str) -> None:
        if not options.quiet:
            print(f"[{time.monotonic() - begin:6.1f} s] {text}", file=sys.stderr, flush=True)

    quiet = wait_idle(options.wait_idle)
    if quiet.timed_out:
        say(
            f"others keep {quiet.others_cores:.2f} cores busy: "
            "the figures are not those of an idle machine"
        )
    meter = OthersMeter()
    started = datetime.now(timezone.utc)
    measuring = time.monotonic()
    try:
        findings = bench.measure(options, say)
    except EdgereasonError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    report = {
        "bench": bench.name,
        "at": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "commit": commit(),
        "command": " ".join(command),
        "load": {**asdict(quiet), "others_cores_during": meter.others()},
        "seconds": time.monotonic() - measuring,
        "options": vars(options),
        "figures": findings.figures,
    }
    publish(report, findings, options.save)
    return 0


def _parser(bench: Bench) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"edgereason bench {bench.name}",
        description=bench.about,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--model", default="smollm2-135m", help="what `edgereason run` takes")
    parser.add_argument("--context", type=int, default=4096, help="tokens of KV for all requests")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument(
        "--wait-idle", type=float, default=30, help="seconds to wait at most for a quiet machine"
    )
    parser.add_argument("--save", type=Path, help="folder to write NAME.json and NAME.md into")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    bench.add_options(parser)
    return parser


def open_reasoner(options: argparse.Namespace, threads: int = 0) -> Reasoner:
    """The model of `--model`. A number of threads, or 0 to follow the load."""
    from edgereason.runtime.reasoner import Reasoner

    return Reasoner.open(options.model, threads=threads, context=options.context)


def open_warm(model: str, threads: int, context: int) -> Reasoner:
    """For times of single questions: the first that a model is asked is slow."""
    from edgereason.runtime.reasoner import Reasoner

    reasoner = Reasoner.open(model, threads=threads, context=context)
    reasoner.ask("Hello", strategy="no-think", answer_budget=1)
    return reasoner
