"""Files of strangers: read where they are files, written where nothing lies in the way.

    with files.reading(path) as file: ...       # never waits for a pipe, never drains a device
    text = files.read_text(path)                # and no more than fits into memory
    text = files.read_given(path)               # the same of a file that the user named
    with files.writing(path) as file: ...       # a new file; what lay there is put away first
    with files.replacing(path) as file: ...     # the same, there once it is whole

A name in a model's folder, or beside what is written, may be a pipe, a device or a link that
somebody planted. Errors are `OSError`, which callers already tell, but for `read_given`. Knows no
format.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from edgereason.errors import UsageError

MOST_BYTES: Final = 1 << 28
"""What is read in one piece at most: far beyond any configuration, vocabulary or conversation."""

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_QUICK: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)


def reading(path: Path) -> BinaryIO:
    """Opens a regular file for reading, also through links. Other kinds raise at once."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | _QUICK)
    return _regular(handle, path, "rb")


def read_bytes(path: Path) -> bytes:
    with reading(path) as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {MOST_BYTES >> 20} MiB", str(path))
    return raw


def read_text(path: Path) -> str:
    """UTF-8, line breaks as in a text file. Raises `UnicodeDecodeError` on anything else."""
    return read_bytes(path).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def read_given(path: Path, what: str = "") -> str:
    """As `read_text`, of a file that was asked for; `what` it is comes before its name where it
    cannot be read. Raises `UsageError`."""
    try:
        return read_text(path)
    except OSError as error:
        raise UsageError(f"cannot read {what}{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None


def parse_json(raw: bytes | str) -> dict[str, Any]:
    """One JSON object whose texts are Unicode. Raises `ValueError` on anything else."""
    try:
        data = json.loads(raw)
        if not isinstance(data, dict):
            raise ValueError(f"it must hold one JSON object, and holds a {type(data).__name__}")
        json.dumps(data, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return data


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file. Raises `OSError` or `ValueError`."""
    return parse_json(read_bytes(path))


def writing(path: Path) -> BinaryIO:
    """Opens a new file. What has its name is removed, and a link's target left alone."""
    remove(path)
    return path.open("xb")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens what takes the place of `path` at the end of the block, whole or not at all: where the
    block fails, nothing is left. Processes that do so at the same time do not meet."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(unfinished) as file:
            yield file
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def locking(path: Path) -> BinaryIO:
    """Opens a file that is there to be locked; nothing is written, no link is followed."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK | _QUICK, 0o600)
    return _regular(handle, path, "r+b")


def remove(path: Path) -> None:
    """Removes a file, a folder with all that is in it, or a link itself; nothing is fine, too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _regular(handle: int, path: Path, mode: str) -> BinaryIO:
    try:
        found = os.fstat(handle).st_mode
        if not stat.S_ISREG(found):
            kind = next((name for is_it, name in _KINDS if is_it(found)), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
        return os.fdopen(handle, mode)  # type: ignore[return-value]  # the mode is binary
    except BaseException:
        os.close(handle)
        raise
