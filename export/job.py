"""Runs a target: planned before any work, resumable, and whole or not there at all.

Everything is written into a hidden folder beside the one that is asked for, which gets its name
when the last hash is written. What a killed run has finished there is found by the next; a folder
of another job is thrown away. Knows no target.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from edgereason import __version__, registry
from edgereason.config import build
from edgereason.errors import DiskError, UsageError
from edgereason.models.bundle import MANIFEST, Bundle, open_bundle, write_bundle
from edgereason.prompt.template import render_text

from .compare.tokens import Agreement, compare_tokens
from .prefixes.carry import check_prefixes, copy_prefixes
from .sources.base import Source
from .sources.open import open_source
from .target import Plan, Progress, needs_extra

_JOB: Final = ".job.json"
_SPARE: Final = 16 << 20  # for the manifest, and what else the disk is used for


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for. `options` are those of the target's `Config`."""

    target: str
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False  # replace what is there


@dataclass(frozen=True, slots=True)
class Result:
    bundle: Bundle
    resumed: tuple[str, ...]  # files of an earlier run that were not made again
    tokens: Agreement | None  # None: nothing to compare with


def plan(job: Job, source: Source) -> Plan:
    """What the job will take. Raises what cannot be; writes nothing."""
    target, config = _target(job)
    _check_out(job)
    with needs_extra():
        planned: Plan = target.check(source, config)
        planned = replace(planned, files={**planned.files, **check_prefixes(source)})
    part = _part(job.out)
    _check_room(job, planned, _size(part) if _is_same(part, job, source) else 0)
    return replace(planned, notes=(*planned.notes, *_template_notes(source)))


def export(text: str | Path, job: Job) -> Result:
    """The job for a model that `open_source` opens; nobody looks at its progress."""
    with open_source(text) as source:
        return run(job, source, lambda stage, done, total: None)


def run(job: Job, source: Source, progress: Progress) -> Result:
    """Does the job, or goes on with it. The same call after a crash goes on where that was."""
    plan(job, source)
    target, config = _target(job)
    with needs_extra(), _disk_errors(job.out), _workshop(job, source) as part:
        resumed = tuple(sorted(p.name for p in part.iterdir() if p.is_file() and p.name[0] != "."))
        made: Bundle = target.write(source, part, config, progress)
        made = replace(made, files=(*made.files, *copy_prefixes(source, part)))
        tokens = compare_tokens(source, part, made)
        _publish(job, part, replace(made, name=job.out.name))
    return Result(open_bundle(job.out), resumed, tokens)


def _target(job: Job) -> tuple[ModuleType, Any]:
    target = registry.load("edgereason.export.targets", job.target)
    return target, build(target.Config, job.options)


# --- before any work ------------------------------------------------------------------------------


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


def _check_room(job: Job, planned: Plan, there: int) -> None:
    needed = sum(planned.files.values()) + planned.scratch_bytes - there + _SPARE
    folder = next(parent for parent in job.out.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"not enough disk: {needed / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} MiB are "
            f"free in {folder}",
            "make room, or give --out on another disk",
        )


# --- the hidden folder ----------------------------------------------------------------------------


def _part(out: Path) -> Path:
    return out.absolute().parent / f".{out.absolute().name}.part"


@contextlib.contextmanager
def _workshop(job: Job, source: Source) -> Iterator[Path]:
    """The hidden folder, held by this process alone, with what is finished of this very job."""
    part = _part(job.out)
    part.mkdir(parents=True, exist_ok=True)
    with _alone(part):
        if not _is_same(part, job, source):
            _clear(part)
            (part / _JOB).write_text(_identity(job, source), encoding="utf-8")
        _clear(part, unfinished_only=True)
        try:
            yield part
        except BaseException:
            if part.is_dir():
                _clear(part, unfinished_only=True)
                if not any(path.name != _JOB for path in part.iterdir()):
                    shutil.rmtree(part)
            raise


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The lock goes with the process that holds it, however that ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another export is writing to {folder.name}", "wait for it, or give another --out"
            ) from None
        yield
    finally:
        os.close(handle)


def _identity(job: Job, source: Source) -> str:
    """What must be the same for a file of an earlier run to be taken as it is."""
    files = [(str(path.resolve()), *_stamp(path)) for path in source.files()]
    options = {key: str(value) for key, value in sorted(job.options.items())}
    given = [_stamp(Path(value)) for value in options.values() if Path(value).is_file()]
    return json.dumps([__version__, job.target, options, files, given])


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _is_same(part: Path, job: Job, source: Source) -> bool:
    try:
        return (part / _JOB).read_text(encoding="utf-8") == _identity(job, source)
    except OSError:
        return False


def _clear(part: Path, *, unfinished_only: bool = False) -> None:
    for path in part.iterdir():
        unfinished = path.name.startswith(".") and path.name != _JOB
        if unfinished or not unfinished_only:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- the end --------------------------------------------------------------------------------------


def _publish(job: Job, part: Path, bundle: Bundle) -> None:
    """Leaves the bundle's files alone, writes their hashes last, and gives the folder its name."""
    wanted = {file.path for file in bundle.files} | {_JOB}
    for path in sorted(part.rglob("*"), reverse=True):
        inside = path.relative_to(part).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif inside not in wanted:
            path.unlink()
    write_bundle(bundle, part)
    _sync(part)
    out = job.out.absolute()
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.is_dir():
        os.replace(out, old)
    os.replace(part, out)
    (out / _JOB).unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(
                f"the disk is full: {out.absolute().parent}",
                "make room and run it again: what is finished stays",
            ) from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise DiskError(f"cannot write to {out}: {error.strerror}") from None
        raise
