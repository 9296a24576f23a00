"""Models in repositories of Hugging Face or a mirror (`HF_ENDPOINT`), through `huggingface_hub`.

    found = listing("Qwen/Qwen3-4B-GGUF")
    wanted = found.by_format("Q4_K_M")
    fetch(found, wanted, made, downloads, progress=progress)

The hub tells each file's size and sha256, and the commit that is taken. What has arrived stays in
`downloads` until it is whole, under its sha256, so that a pull that was killed goes on: the
library's own download begins anew. Its cache is looked into first. Knows no cache of ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from edgereason import files
from edgereason.errors import DownloadError, EdgereasonError, ModelNotFoundError
from edgereason.models.bundle import Progress
from edgereason.models.fetch import check_room, check_sha256

_PART: Final = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
_AGAIN: Final = "what has arrived is kept: run it again and it goes on"
_DENIED: Final = (401, 403)

Tell = Callable[[str], None]
"""Called with a sentence for people."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """`name` is its path in the repository; `sha256` is "" for small files, which git keeps."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository has at one commit: the first file of each model -> all its files."""

    repo: str
    commit: str
    models: Mapping[str, Sequence[RemoteFile]]

    def by_file(self, name: str) -> Sequence[RemoteFile]:
        return self._found([name] if name in self.models else [], name)

    def by_format(self, format: str) -> Sequence[RemoteFile]:
        return self._found(self._named(format), format)

    def formats(self, known: Sequence[str]) -> dict[str, int]:
        """Of those that are known: format -> bytes of its files."""
        sizes = {}
        for format in known:
            if first := self._named(format):
                sizes[format] = sum(file.size_bytes for file in self.models[first[0]])
        return sizes

    def _named(self, format: str) -> list[str]:
        word = re.compile(rf"(?i)(^|[-._/]){re.escape(format)}([-._/]|$)")
        found = (name for name in self.models if word.search(name) and "mmproj" not in name)
        # Of `m-Q8_0` and `m-UD-Q8_0` the shorter is the plain one.
        return sorted(found, key=lambda name: (len(name), name))

    def _found(self, first: Sequence[str], wanted: str) -> Sequence[RemoteFile]:
        if first:
            return self.models[first[0]]
        there = ", ".join(sorted(self.models)) or "no GGUF file at all"
        raise ModelNotFoundError(
            f"{self.repo} has no {wanted}", f"it has: {there}; name one as {self.repo}/FILE"
        )


def listing(repo: str) -> Listing:
    """Asks the hub what a repository has."""
    library = _library()
    with _told(repo):
        info = library.HfApi().model_info(repo, files_metadata=True, timeout=30)
    siblings = [item for item in info.siblings or [] if item.rfilename.endswith(".gguf")]
    remote = [
        RemoteFile(item.rfilename, item.size or 0, item.lfs.sha256 if item.lfs else "")
        for item in sorted(siblings, key=lambda item: str(item.rfilename))
    ]
    models: dict[str, list[RemoteFile]] = {}
    stems: dict[str, str] = {}
    for file in remote:
        first = stems.setdefault(_PART.sub("", file.name), file.name)
        models.setdefault(first, []).append(file)
    return Listing(repo, str(info.sha or "main"), models)


def fetch(
    found: Listing,
    wanted: Sequence[RemoteFile],
    made: Path,
    downloads: Path,
    *,
    progress: Progress,
    tell: Tell = lambda line: None,
) -> Path:
    """Puts the files of a model into `made`; returns the first. Parts of a file may lie in
    `downloads` from an earlier run."""
    library = _library()
    total, done = sum(file.size_bytes for file in wanted), 0
    for file in wanted:
        target = made / Path(file.name).name
        with _told(found.repo):
            cached = library.try_to_load_from_cache(found.repo, file.name, revision=found.commit)
        if isinstance(cached, str):
            take(Path(cached).resolve(), target)
            if file.sha256:
                check_sha256(target, file.sha256)
        else:
            counted = _counted(progress, done, total)
            _download(found, file, target, downloads, progress=counted, tell=tell)
        done += file.size_bytes
        progress(done, total)
    return made / Path(wanted[0].name).name


def take(source: Path, target: Path) -> None:
    """A hard link where the disk is the same, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _counted(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    return lambda there: progress(min(before + there, total), total)


# --- one file -------------------------------------------------------------------------------------


def _download(
    found: Listing,
    file: RemoteFile,
    target: Path,
    downloads: Path,
    *,
    progress: Callable[[int], None],
    tell: Tell,
) -> None:
    downloads.mkdir(parents=True, exist_ok=True)
    name = (
        file.sha256
        or hashlib.sha256(f"{found.repo} {found.commit} {file.name}".encode()).hexdigest()
    )
    part = downloads / f"{name}.part"
    with _alone(part) as out:
        there = out.seek(0, os.SEEK_END)
        if there > file.size_bytes:  # not ours
            there = out.seek(0)
            out.truncate()
        check_room(downloads, file.size_bytes - there)
        if there:
            tell(f"{file.name}: going on behind {there / 2**20:,.0f} MiB that are here")
        progress(there)
        _get(found, file, out, there, progress)
        out.flush()
        if file.sha256:
            try:
                check_sha256(part, file.sha256)
            except DownloadError:
                part.unlink(missing_ok=True)  # to go on with it would never end well
                raise
        os.replace(part, target)


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """The file, while no other process has it: two names may mean the same weights."""
    while True:
        out = files.locking(part)
        fcntl.flock(out, fcntl.LOCK_EX)
        try:
            still_it = os.path.samestat(os.fstat(out.fileno()), part.stat())
        except FileNotFoundError:  # the other has finished, and moved it away
            still_it = False
        if still_it:
            break
        out.close()
    with out:
        yield out


class _Counting:
    """A file that tells how many bytes are in it."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self._file, self._progress = file, progress

    def write(self, data: bytes) -> int:
        num = self._file.write(data)
        self._progress(self._file.tell())
        return num

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _get(
    found: Listing,
    file: RemoteFile,
    out: BinaryIO,
    there: int,
    progress: Callable[[int], None],
) -> None:
    library = _library()
    from huggingface_hub.file_download import http_get

    url = library.hf_hub_url(found.repo, file.name, revision=found.commit)
    with _told(found.repo), _without_bars():
        http_get(
            url,
            _Counting(out, progress),  # type: ignore[arg-type]  # as much of a file as it needs
            resume_size=there,
            headers=_utils().build_hf_headers(),
            expected_size=file.size_bytes,
        )


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    utils = _utils()
    if utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


# --- what goes wrong ------------------------------------------------------------------------------


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise DownloadError(
            "models of Hugging Face come through huggingface_hub, which is not installed",
            "pip install 'edgereason[hub]'",
        ) from None
    return huggingface_hub


def _utils() -> Any:
    """Its helpers; it does not declare which of them are public."""
    from huggingface_hub import utils

    return utils


@contextlib.contextmanager
def _told(repo: str) -> Iterator[None]:
    """The library's errors, of which there are dozens, and its HTTP client's, as ours."""
    try:
        yield
    except EdgereasonError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the network's
        raise _ours(repo, error) from None


def _ours(repo: str, error: Exception) -> EdgereasonError:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    host = _endpoint()
    if isinstance(error, errors.GatedRepoError):  # before what it derives from
        return DownloadError(
            f"{repo} is gated: its owner wants you to agree to something first",
            f"agree at {host}/{repo}, then set HF_TOKEN to a token of yours (or: hf auth login)",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"{host} has no repository {repo}, or it is not for everyone",
            "check the name; a private one needs HF_TOKEN",
        )
    if isinstance(error, errors.EntryNotFoundError):
        return DownloadError(
            f"a file of {repo} is gone since it was listed", "run it again for what is there now"
        )
    if status in _DENIED:
        return DownloadError(
            f"{host} refuses {repo} ({status})",
            "HF_TOKEN is wrong or may not read it: see its permissions, or unset it",
        )
    if status == 429:
        return DownloadError(f"{host} has had too many requests ({status})", f"wait; {_AGAIN}")
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return DownloadError(f"cannot fetch {repo} from {host}: {reason[0]}", _AGAIN)


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


__all__ = ["Listing", "RemoteFile", "fetch", "listing", "take"]
