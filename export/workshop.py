"""The hidden folder beside `--out` in which an export is made, until it is whole and gets its name.

What a killed run has finished there is found by the next; a folder of another job is thrown away.
Knows no target and no source: a job is told apart by a text, its identity.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgereason import files
from edgereason.errors import DiskError, UsageError
from edgereason.models.bundle import Bundle, write_bundle

_JOB: Final = ".job.json"
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


def finished_bytes(out: Path, identity: str) -> int:
    """What an earlier run of this very job has left."""
    part = _part(out)
    if not _is_same(part, identity):
        return 0
    return sum(path.stat().st_size for path in part.rglob("*") if path.is_file())


@contextlib.contextmanager
def workshop(out: Path, identity: str) -> Iterator[Path]:
    """The hidden folder, held by this process alone, with what is finished of this very job."""
    part = _part(out)
    _check_own(part)
    with _disk_errors(out):
        part.mkdir(parents=True, exist_ok=True)
        with _alone(part):
            if not _is_same(part, identity):
                _clear(part)
                with files.writing(part / _JOB) as job:
                    job.write(identity.encode())
            _clear(part, unfinished_only=True)
            try:
                yield part
            except BaseException:
                if part.is_dir():
                    _clear(part, unfinished_only=True)
                    if not any(path.name != _JOB for path in part.iterdir()):
                        shutil.rmtree(part)
                raise


def publish(part: Path, out: Path, bundle: Bundle) -> Bundle:
    """Leaves the bundle's files alone, writes their hashes last, and gives the folder its name."""
    wanted = {file.path for file in bundle.files} | {_JOB}
    for path in sorted(part.rglob("*"), reverse=True):
        inside = path.relative_to(part).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif inside not in wanted:
            path.unlink()
    written = write_bundle(bundle, part)
    _sync(part)
    at = out.absolute()
    if at.is_dir() and any(at.iterdir()):
        _exchange(part, at)
        shutil.rmtree(part)  # what was there before
    else:
        os.replace(part, at)
    (at / _JOB).unlink(missing_ok=True)
    return replace(written, path=out)


def _exchange(part: Path, at: Path) -> None:
    """Each of two folders gets the other's name. In one step where the system can: Linux, on most
    disks. Else there is a moment without a folder, and a killed run leaves the old one beside it,
    as `.NAME.old`.
    """
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (_AT_FDCWD, os.fsencode(part), _AT_FDCWD, os.fsencode(at))
    if swap is not None and swap(*names, _RENAME_EXCHANGE) == 0:
        return
    old = at.with_name(f".{at.name}.old")
    files.remove(old)
    os.replace(at, old)
    os.replace(part, at)
    os.replace(old, part)


def _part(out: Path) -> Path:
    return out.absolute().parent / f".{out.absolute().name}.part"


def _check_own(part: Path) -> None:
    """What is in it is thrown away or taken for our own work, so it must be ours."""
    if part.is_symlink() or (part.exists() and not part.is_dir()):
        raise UsageError(
            f"{part} is a link or a file, and exports make a folder of that name",
            "look at it and remove it, or give another --out",
        )
    if part.exists() and part.stat().st_uid != os.geteuid():
        raise UsageError(f"{part} belongs to somebody else", "give another --out")


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


def _is_same(part: Path, identity: str) -> bool:
    try:
        return files.read_text(part / _JOB) == identity
    except (OSError, UnicodeDecodeError):
        return False


def _clear(part: Path, *, unfinished_only: bool = False) -> None:
    for path in part.iterdir():
        unfinished = path.name.startswith(".") and path.name != _JOB
        if unfinished or not unfinished_only:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


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
