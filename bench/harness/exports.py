"""What benches of exported models share: the real command line as a child, texts, kept results.

Knows no target.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgereason import child, engines
from edgereason.errors import EngineError
from edgereason.registry import load

from .questions import gsm8k
from .runner import Say, commit

if TYPE_CHECKING:
    from edgereason._core import Engine
    from edgereason.models.bundle import Bundle

_CONTEXT: Final = 256
_SEQUENCES: Final = 40


@dataclass(frozen=True, slots=True)
class Ran:
    """A command line that succeeded. `peak_mib`: the most memory it held, mapped files included."""

    out: str
    seconds: float
    peak_mib: float


# A child inherits the peak of the process that starts it, so a small one stands between.
_MEASURE: Final = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(status != 0)
"""
_PEAK_UNITS: Final = 2**20 if sys.platform == "darwin" else 2**10  # in a MiB


def edgereason(*args: str | Path) -> Ran:
    """Runs `edgereason ...` in a process of its own. Raises `EngineError` where that fails."""
    command = child.command("edgereason", *args, outlives=True)
    with tempfile.TemporaryDirectory() as folder:
        out, err, peak = (Path(folder, name) for name in ("out", "err", "peak"))
        begin = time.monotonic()
        with out.open("wb") as stdout, err.open("wb") as stderr:
            code = subprocess.call(
                [sys.executable, "-ISc", _MEASURE, str(peak), *command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        seconds = time.monotonic() - begin
        if code:
            why = err.read_text(errors="replace").strip().splitlines()
            raise EngineError(
                f"edgereason {' '.join(map(str, args))} failed: {why[-1] if why else 'silently'}"
            )
        return Ran(out.read_text(), seconds, int(peak.read_text()) / _PEAK_UNITS)


class Kept:
    """Results by name in a JSON file, so that an interrupted bench goes on where it was.

    Results of another commit or other options are thrown away.
    """

    def __init__(self, path: Path, options: object) -> None:
        self._path = path
        self._of = {"commit": commit(), "options": json.loads(json.dumps(options, default=str))}
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            found = {}
        self._results: dict[str, Any] = found["results"] if found.get("of") == self._of else {}

    def __contains__(self, name: str) -> bool:
        return name in self._results

    def __getitem__(self, name: str) -> Any:
        return self._results[name]

    def __setitem__(self, name: str, result: Any) -> None:
        self._results[name] = json.loads(json.dumps(result))
        unfinished = self._path.with_suffix(".part")
        unfinished.write_text(json.dumps({"of": self._of, "results": self._results}))
        os.replace(unfinished, self._path)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of that name; made now where there is none."""
        if name not in self:
            self[name] = make()
        return self[name]


def open_engine(bundle: Bundle) -> Engine:
    """Small, with hidden states, and room for forty sequences."""
    module: Any = load(engines, bundle.engine)
    wanted = {"context": _CONTEXT, "sequences": _SEQUENCES, "batch": 64, "hidden": True}
    known = module.Config.__slots__
    options = {name: value for name, value in wanted.items() if name in known}
    engine: Engine = module.open(bundle, module.Config(**options))
    return engine


def told(say: Say, what: str, every: int = 1000) -> Callable[[str, int, int], None]:
    """A progress that says something now and then."""
    last = 0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        if done // every != last // every:
            say(f"{what}: {stage}, {done} of {total} tokens")
        last = done

    return progress


def size_mib(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def solved_problems() -> str:
    """GSM8K's training problems with their solutions as one text; "" where they are not there."""
    path = gsm8k().with_name("train.jsonl")
    if not path.is_file():
        return ""
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return "\n\n".join(f"{record['question']}\n{record['answer']}" for record in records)


def prompt_and_decode(
    engine: Engine, tokens: Sequence[int], num_decode: int
) -> tuple[float, float]:
    """Tokens per second of reading `tokens` and of writing greedily after them. From an empty
    engine; leaves it empty."""
    width = engine.info["max_rows"]
    begin = time.perf_counter()
    for start in range(0, len(tokens), width):
        part = tokens[start : start + width]
        last = len(tokens) - 1
        engine.decode([(0, start + i, t, start + i == last) for i, t in enumerate(part)])
    read = time.perf_counter()
    row = len(tokens) - 1 - (len(tokens) - 1) // width * width
    for pos in range(len(tokens), len(tokens) + num_decode):
        logits = engine.logits(row)
        assert logits is not None
        engine.decode([(0, pos, int(logits.argmax()), True)])
        row = 0
    end = time.perf_counter()
    engine.drop(0)
    return len(tokens) / (read - begin), num_decode / (end - read)
