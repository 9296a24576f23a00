"""An export from its source to its bundle: planned before any work, resumable, whole or not there.

    export("smollm2-135m", Job("onnx", Path("out"), {"quant": "int8"}))    # all at once

    with open_source("smollm2-135m") as source:                            # to see the plan first
        planned = plan(Job("onnx", Path("out")), source)
        result = run(planned, progress)

The source is opened once and planned once; `run` does what `plan` has found. Knows no target.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from edgereason import __version__, registry
from edgereason.config import build
from edgereason.errors import DiskError, UsageError
from edgereason.models.bundle import MANIFEST, Bundle
from edgereason.prompt.template import render_text

from .compare.tokens import Agreement, compare_tokens
from .offline import Progress, needs_extra, quiet
from .prefixes.bundled import check_prefixes, copy_prefixes
from .sources.base import Source
from .sources.open import open_source
from .target import Plan
from .workshop import finished_bytes, publish, workshop

_SPARE: Final = 16 << 20  # for the manifest, and what else the disk is used for


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for. `options` are those of the target's `Config`."""

    target: str
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False  # replace what is there


@dataclass(frozen=True, slots=True)
class Planned:
    """A job that can be done, on a source that stays open until it is.

    Attributes:
        target: the module that does it.
        identity: what must be the same for a file of an earlier run to be taken as it is.
        plan: what it will take.
    """

    job: Job
    source: Source
    target: ModuleType
    identity: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Result:
    bundle: Bundle
    resumed: tuple[str, ...]  # files of an earlier run that were not made again
    tokens: Agreement | None  # None: nothing to compare with


def export(source: Source | str | Path, job: Job, progress: Progress = quiet) -> Result:
    """Plans the job and does it. `source`: an open one, which stays open, or what names one."""
    with contextlib.ExitStack() as stack:
        if not isinstance(source, Source):
            source = stack.enter_context(open_source(source))
        return run(plan(job, source), progress)


def plan(job: Job, source: Source) -> Planned:
    """What the job will take. Raises what cannot be; writes nothing."""
    target = registry.load("edgereason.export.targets", job.target)
    config = build(target.Config, job.options)
    _check_out(job)
    with needs_extra():
        found: Plan = target.check(source, config)
        files = {**found.files, **check_prefixes(source)}
    identity = _identity(job, source)
    _check_room(job, sum(files.values()) + found.scratch_bytes - finished_bytes(job.out, identity))
    notes = (*found.notes, *_template_notes(source))
    return Planned(job, source, target, identity, replace(found, files=files, notes=notes))


def run(planned: Planned, progress: Progress = quiet) -> Result:
    """Does what was planned. The same job after a crash goes on where that was."""
    job, source = planned.job, planned.source
    with needs_extra(), workshop(job.out, planned.identity) as part:
        resumed = tuple(sorted(p.name for p in part.iterdir() if p.is_file() and p.name[0] != "."))
        made: Bundle = planned.target.write(source, part, planned.plan, progress)
        made = replace(made, files=(*made.files, *copy_prefixes(source, part)))
        tokens = compare_tokens(source, part, made)
        bundle = publish(part, job.out, replace(made, name=job.out.name))
    return Result(bundle, resumed, tokens)


# --- before any work ------------------------------------------------------------------------------


def _identity(job: Job, source: Source) -> str:
    files = [(str(path.resolve()), *_stamp(path)) for path in source.files()]
    options = {key: str(value) for key, value in sorted(job.options.items())}
    given = [_stamp(Path(value)) for value in options.values() if Path(value).is_file()]
    return json.dumps([__version__, job.target, options, files, given])


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _template_notes(source: Source) -> Iterator[str]:
    """Raises what is wrong with the chat template: better now than when the model is asked."""
    if not source.chat_template:
        yield (
            "the source has no chat template, so run and chat will refuse the bundle: "
            "put a chat_template.jinja beside tokenizer.json"
        )
        return
    told = {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True}
    with contextlib.suppress(UsageError):  # some want other messages
        render_text(source.chat_template, {**told, "bos_token": "", "eos_token": ""})


def _check_out(job: Job) -> None:
    out = job.out
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} is a file or a link", "give a folder that is not there yet")
    if out.is_dir() and any(out.iterdir()):
        if not job.force:
            raise UsageError(f"{out} is not empty", "give another folder, or --force to replace it")
        if not (out / MANIFEST).is_file():
            raise UsageError(
                f"{out} is not empty, and no bundle", "--force replaces bundles only, nothing else"
            )


def _check_room(job: Job, num_bytes: int) -> None:
    needed = num_bytes + _SPARE
    folder = next(parent for parent in job.out.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"not enough disk: {needed / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} MiB are "
            f"free in {folder}",
            "make room, or give --out on another disk",
        )
