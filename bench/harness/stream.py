"""Decodes long answers and says when each token came. A program of its own, for other benches.

The process holds one open model and nothing else: threads of a second one would change how the
first one's wait. Prints `started` after the first token, and one JSON object at the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from edgereason import child
from edgereason.errors import EngineError
from edgereason.records import Chunk

from .speed import STORY, stay_on

if TYPE_CHECKING:
    from edgereason.runtime.reasoner import Handle

_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Stream:
    """Times on the machine's monotonic clock, which all processes share."""

    times: list[float]  # of tokens
    threads: list[tuple[float, int]]  # how many were in force, whenever that changed

    def rate(self, skip_s: float = 0.0) -> float:
        """Tokens per second, without the first `skip_s`."""
        kept = [at for at in self.times if at >= self.times[0] + skip_s]
        return (len(kept) - 1) / (kept[-1] - kept[0]) if len(kept) > 1 else 0.0

    @property
    def usual_threads(self) -> float:
        """Over the time."""
        if not self.threads or not self.times:
            return 0.0
        ends = [*(at for at, _ in self.threads[1:]), self.times[-1]]
        spans = [max(0.0, end - at) for end, (at, _) in zip(ends, self.threads, strict=True)]
        total = sum(spans)
        weighted = sum(span * num for span, (_, num) in zip(spans, self.threads, strict=True))
        return weighted / total if total else median(num for _, num in self.threads)


def decode(model: str, *, threads: int, seconds: float, context: int, depth: int) -> dict[str, Any]:
    """The child's side: decodes for `seconds` after the first token.

    A step takes longer the more tokens are before it. With a `depth` an answer ends after so many
    and the next begins, so that late steps can be compared with early ones; 0: one answer.
    """
    from edgereason.runtime.reasoner import Reasoner

    times: list[float] = []

    def on_chunk(chunk: Chunk | None) -> None:
        if chunk is not None:
            times.append(time.monotonic())

    with Reasoner.open(model, threads=threads, context=context) as reasoner:

        def ask() -> Handle:
            return reasoner.submit(
                STORY,
                strategy="no-think",
                answer_budget=depth or context - 128,
                sampling=stay_on(reasoner, temperature=0.8),
                on_chunk=on_chunk,
                keep=depth > 0,  # the prompt is not read again
            )

        handle = ask()
        changes: list[tuple[float, int]] = []
        while not times:
            time.sleep(_POLL_S)
        print("started", flush=True)
        while (now := time.monotonic()) < times[0] + seconds:
            num = reasoner.stats()["num_threads"]
            if not changes or changes[-1][1] != num:
                changes.append((now, num))
            with suppress(TimeoutError):
                handle.result(_POLL_S)
                if not depth:
                    break
                handle = ask()
        handle.cancel()
        handle.result()
    # Parts of a character are held back and come with the token that completes it.
    return {"times": times, "threads": changes}


def stream(
    options: argparse.Namespace,
    threads: int,
    seconds: float,
    meanwhile: Callable[[], None] | None = None,
    *,
    depth: int = 0,
) -> Stream:
    """The parent's side: runs the child, and `meanwhile` once it has begun to decode."""
    command = child.command(
        "edgereason.bench.harness.stream",
        options.model,
        f"--threads={threads}",
        f"--seconds={seconds}",
        f"--context={options.context}",
        f"--depth={depth}",
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() == "started" and meanwhile is not None:
            meanwhile()
        lines = process.stdout.read().splitlines()
    if process.returncode != 0 or not lines:
        raise EngineError(f"decoding in a process of its own failed with {process.returncode}")
    data = json.loads(lines[-1])
    return Stream(data["times"], [(at, num) for at, num in data["threads"]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--depth", type=int, default=0)
    options = parser.parse_args()
    report = decode(
        options.model,
        threads=options.threads,
        seconds=options.seconds,
        context=options.context,
        depth=options.depth,
    )
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
