"""What `export` and `export quantize` share: plan, do, tell."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from edgereason.cli._options import flag
from edgereason.cli._screen import console, json_object, mib, say
from edgereason.cli._stages import stages
from edgereason.config import assignments, unknown
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.export.job import Result
    from edgereason.export.sources.base import Source
    from edgereason.export.target import Plan

Out = Annotated[Path | None, flag("--out", "Folder of the bundle.")]
Imatrix = Annotated[
    Path | None, flag("--imatrix", "Importance matrix, of `edgereason export calibrate`.")
]
DryRun = Annotated[bool, flag("--dry-run", "Tell sizes, memory and time, and do nothing.")]
Force = Annotated[bool, flag("--force", "Replace the bundle that --out holds.")]


def export(
    text: str,
    target: str,
    out: Path | None,
    given: Mapping[str, Any],
    pairs: Sequence[str],
    *,
    base: Path | None = None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """`given` are options that were typed as flags, None where they were not."""
    from edgereason.export.job import Job, plan, run
    from edgereason.export.sources.open import open_source

    options = {**assignments(pairs), **{k: v for k, v in given.items() if v is not None}}
    if out is None and not dry_run:
        raise UsageError("--out must be given", "the folder that is to become the bundle")
    with open_source(text, base) as source:
        job = Job(target, out or Path(f"{source.name}-{target}"), options, force)
        planned = plan(job, source)
        if dry_run:
            _tell_plan(source, planned.plan, as_json=as_json)
            return
        for note in planned.plan.notes if not as_json else ():
            say(f"note: {note}", error=True)
        started = time.monotonic()
        with stages() as progress:
            result = run(planned, progress)
        _tell_result(result, planned.plan, time.monotonic() - started, as_json=as_json)


def export_via(
    via: str, text: str, target: str, out: Path | None, others: Mapping[str, Any], *, as_json: bool
) -> None:
    """By another exporter, in a child. `others`: flags that are ours alone."""
    from edgereason.export import optimum

    if via != "optimum":
        raise unknown("no exporter called", via, ["optimum"])
    if target != "onnx":
        raise UsageError(f"optimum writes onnx, got --to {target}", "add --to onnx")
    if given := [f"--{name}" for name, value in others.items() if value]:
        raise UsageError(f"{given[0]} is not for --via optimum", "it writes float32, as it is")
    if out is None:
        raise UsageError("--out must be given", "the folder that is to become the model")
    started = time.monotonic()
    made = optimum.export(text, out, lambda line: say(line, error=True))
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    seconds = time.monotonic() - started
    if as_json:
        json_object.say({"path": str(made), "size_bytes": size, "seconds": round(seconds, 2)})
    else:
        say(f"{made}: written by optimum, {mib(size)}, {seconds:.1f} s")


def _tell_plan(source: Source, planned: Plan, *, as_json: bool) -> None:
    if as_json:
        plan = {
            "source": source.name,
            "architecture": source.architecture.name,
            "parameters": source.num_parameters,
            "files": dict(planned.files),
            "memory_bytes": planned.memory_bytes,
            "scratch_bytes": planned.scratch_bytes,
            "seconds": round(planned.seconds, 1),
            "notes": list(planned.notes),
        }
        json_object.say(plan)
        return
    arch, weights = source.architecture, source.num_parameters / 1e6
    say(f"{source.name}: {arch.name}, {weights:,.1f} M weights in {source.quantization}")
    for line in _plan_lines(planned):
        say(f"  {line}")


def _plan_lines(planned: Plan) -> Iterator[str]:
    for name, size in planned.files.items():
        yield f"{name}: about {mib(size)}"
    if planned.scratch_bytes:
        yield f"while it runs: {mib(planned.scratch_bytes)} of disk more"
    yield f"memory: about {mib(planned.memory_bytes)} at most"
    yield f"time: about {planned.seconds:,.0f} s"
    yield from (f"note: {note}" for note in planned.notes)


def _tell_result(result: Result, planned: Plan, seconds: float, *, as_json: bool) -> None:
    bundle, tokens = result.bundle, result.tokens
    size = sum(file.size_bytes for file in bundle.files)
    own, children = (
        resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    if as_json:
        told = {
            "name": bundle.name,
            "path": str(bundle.path),
            "engine": bundle.engine,
            "quantization": bundle.quantization,
            "size_bytes": size,
            "seconds": round(seconds, 2),
            "peak_memory_bytes": max(own, children),
            "resumed": list(result.resumed),
            "tokens": None
            if tokens is None
            else {"texts": tokens.num_texts, "same": tokens.num_same},
            "notes": list(planned.notes),
        }
        json_object.say(told)
        return
    screen = console(sys.stderr)
    if result.resumed:
        screen.print(f"went on with an earlier run: {', '.join(result.resumed)} was there")
    if tokens is not None:
        screen.print(f"tokens agree with the source's on {tokens.num_same} of {tokens.num_texts}")
        if tokens.first_different:
            screen.print(f"  not on {tokens.first_different!r}")
    say(
        f"{bundle.path}: {bundle.quantization}, {mib(size)}, {seconds:.1f} s, "
        f"{mib(max(own, children))} of memory at most"
    )
