"""KV on disk: what conversations left behind survives the process.

    store = KvStore(folder, bundle, core, most_bytes=1 << 30)
    store.fetch(tokens)      # before a prompt is read: the longest beginning of it that is kept
    store.save()             # what the core has parked, and the folder has not

One file for each context, named by its hash: a header, its tokens, the engine's own bytes, and a
checksum over all of it. Files lie in a folder of the model they belong to: of its weights, engine,
KV type and adapters. What is damaged, cut short or of another model is removed, never used.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgereason import files
from edgereason.errors import EdgereasonError, UnsupportedError, UsageError
from edgereason.records import Capability

if TYPE_CHECKING:
    from edgereason._core import Scheduler
    from edgereason.models.bundle import Bundle

log = logging.getLogger(__name__)

DEFAULT_MIB: Final = 1024
_MAGIC: Final = b"edgereason kv 1\n"
_HEADER: Final = struct.Struct("<16s32sQQQ")  # magic, model, context key, tokens, bytes of KV
_SUM_BYTES: Final = 32  # of the blake2b at the end
_NOT_OF_KV: Final = (
    "context", "sequences", "batch", "threads", "mmap", "memory_gib", "activations", "hidden",
)  # fmt: skip
_WORTH_KEEPING: Final = 32  # tokens; fewer are read faster than their file
_SAMPLES: Final = 64  # pieces of a file of weights that are hashed
_SAMPLE_BYTES: Final = 1 << 16
_STEP_MS: Final = 50.0  # what a step of the core may take while others wait: `chunk_ms`


@dataclass(frozen=True, slots=True)
class KvCache:
    """Where KV is kept, how much, and what decides it besides the weights."""

    folder: Path
    most_bytes: int
    settings: str

    @classmethod
    def of(
        cls, folder: str | Path | None, mib: int, config: Any, guide: str = ""
    ) -> KvCache | None:
        """`config`: the engine's options; how many tokens or threads there are changes no KV."""
        if folder is None:
            return None
        if guide:
            raise UnsupportedError(
                "KV of a model with a guide is not kept on disk", "leave kv_cache or guide out"
            )
        if mib < 1:
            raise UsageError(f"kv_cache_mib must be 1 or more, got {mib}")
        said = {f.name: getattr(config, f.name) for f in fields(config)}
        settings = {name: value for name, value in said.items() if name not in _NOT_OF_KV}
        engine = type(config).__module__
        return cls(Path(folder).expanduser(), mib << 20, repr((engine, settings)))

    def open(self, bundle: Bundle, core: Scheduler, caps: Capability) -> KvStore:
        missing = (Capability.SAVE_KV | Capability.FORK) & ~caps
        if missing:
            raise UnsupportedError(
                f"engine {bundle.engine} lacks {', '.join(missing.words)}: KV is not kept on disk",
                "leave kv_cache out",
            )
        from edgereason import _core

        settings = f"{self.settings} {_core.LLAMA_CPP_PYTHON}"  # whose bytes they are
        return KvStore(self.folder, bundle, core, settings=settings, most_bytes=self.most_bytes)


@dataclass(slots=True)
class _Entry:
    """One file."""

    path: Path
    tokens: tuple[int, ...]
    num_bytes: int
    used_at: float


class KvStore:
    """Of one open model. `fetch` may be called from any thread, as `save`."""

    def __init__(
        self, folder: Path, bundle: Bundle, core: Scheduler, *, settings: str, most_bytes: int
    ) -> None:
        self._model = model_hash(bundle, settings)
        self._core = core
        self._most_bytes = most_bytes
        self._folder = folder / self._model.hex()[:32]
        self._lock = threading.Lock()
        self._bytes_per_ms = 0.0  # at which the core takes KV back; 0: not known yet
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot keep KV in {folder}: {error.strerror}") from None
        self._entries = {entry.path: entry for entry in self._found()}
        self.num_fetched = 0

    # -- back --------------------------------------------------------------------------------------

    def fetch(self, tokens: Sequence[int], *, alone: bool = True) -> int:
        """Gives the core the longest beginning of a prompt that is kept, unless it has as much.
        Returns how many tokens that was. `alone`: nobody waits for the next step, so that taking
        it back may be longer than a step.
        """
        entry, length = self._longest(tokens)
        if entry is None or length < _WORTH_KEEPING:
            return 0
        if self._core.num_kept(0, tokens) >= length:
            return 0
        if not alone and self._expected_ms(entry) > _STEP_MS:
            return 0
        state = self._read(entry)
        return length if state is not None and self._give(entry, state) else 0

    def _longest(self, tokens: Sequence[int]) -> tuple[_Entry | None, int]:
        best, most = None, 0
        with self._lock:
            for entry in self._entries.values():
                length = _common(entry.tokens, tokens)
                if length > most:
                    best, most = entry, length
        return best, most

    def _expected_ms(self, entry: _Entry) -> float:
        return entry.num_bytes / self._bytes_per_ms if self._bytes_per_ms else 0.0

    def _read(self, entry: _Entry) -> bytes | None:
        try:
            raw = _read_file(entry.path)
            tokens, state = _opened(raw, self._model)
            if tokens != entry.tokens:
                raise ValueError("it holds other tokens than before")
        except (OSError, ValueError) as error:
            self._forget(entry, error)
            return None
        return state

    def _give(self, entry: _Entry, state: bytes) -> bool:
        begin = time.monotonic()
        try:
            taken = self._core.restore_kept(0, entry.tokens, state)
        except EdgereasonError as error:
            self._forget(entry, error)
            return False
        took_ms = 1000 * (time.monotonic() - begin)
        if not taken:
            return False
        self._bytes_per_ms = len(state) / max(took_ms, 0.001)
        entry.used_at = time.time()
        with suppress(OSError):
            os.utime(entry.path)  # the files that were used last are kept longest
        self.num_fetched += 1
        return True

    # -- forth -------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes what is parked and not there yet; says so where it cannot."""
        for key, tokens in self._core.kept():
            if key != 0 or len(tokens) < _WORTH_KEEPING:
                continue
            path = self._folder / f"{_name(tokens)}.kv"
            with self._lock:
                known = path in self._entries
            if known:
                continue
            state = self._core.save_kept(key, tokens)
            if state:
                self._write(path, tokens, state)

    def _write(self, path: Path, tokens: tuple[int, ...], state: bytes) -> None:
        raw = _sealed(self._model, tokens, state)
        if len(raw) > self._most_bytes:
            return
        try:
            with files.replacing(path) as file:
                file.write(raw)
        except OSError as error:
            log.info("KV of %d tokens is not kept: %s", len(tokens), error)
            return
        with self._lock:
            covered = [e for e in self._entries.values() if _covers(tokens, e.tokens)]
            self._entries[path] = _Entry(path, tokens, len(raw), time.time())
        for entry in covered:
            self._remove(entry)
        self._bound()

    def _bound(self) -> None:
        """What was not used for longest goes, until the rest is within its bytes."""
        with self._lock:
            entries = sorted(self._entries.values(), key=lambda entry: entry.used_at)
        held = sum(entry.num_bytes for entry in entries)
        while entries and held > self._most_bytes:
            held -= entries[0].num_bytes
            self._remove(entries.pop(0))

    # -- files -------------------------------------------------------------------------------------

    def _found(self) -> list[_Entry]:
        """What the folder holds. Only headers and tokens are read; sums are checked on use."""
        found = []
        for path in sorted(self._folder.iterdir()):
            if path.suffix == ".part":
                with suppress(OSError):
                    files.remove(path)  # of a process that ended while it wrote
            if path.suffix != ".kv":
                continue
            try:
                with files.reading(path) as file:
                    header = file.read(_HEADER.size)
                    num_tokens = _checked(header, self._model, os.fstat(file.fileno()).st_size)
                    tokens = _tokens(file.read(4 * num_tokens), num_tokens)
                    if path.stem != _name(tokens):
                        raise ValueError("its tokens are damaged")
                    stat = os.fstat(file.fileno())
                found.append(_Entry(path, tokens, stat.st_size, stat.st_mtime))
            except (OSError, ValueError) as error:
                log.info("kept KV %s is removed: %s", path.name, error)
                with suppress(OSError):
                    files.remove(path)
        return found

    def _forget(self, entry: _Entry, error: Exception) -> None:
        log.info("kept KV %s is removed: %s", entry.path.name, error)
        self._remove(entry)

    def _remove(self, entry: _Entry) -> None:
        with self._lock:
            self._entries.pop(entry.path, None)
        with suppress(OSError):
            entry.path.unlink(missing_ok=True)


# --- one file -------------------------------------------------------------------------------------


def _sealed(model: bytes, tokens: Sequence[int], state: bytes) -> bytes:
    header = _HEADER.pack(_MAGIC, model, 0, len(tokens), len(state))
    body = b"".join((header, np.asarray(tokens, "<i4").tobytes(), state))
    return body + _sum(body)


def _opened(raw: bytes, model: bytes) -> tuple[tuple[int, ...], bytes]:
    """The tokens and the KV of a file. Raises `ValueError` where a bit of it is not as written."""
    num_tokens = _checked(raw[: _HEADER.size], model, len(raw))
    if _sum(memoryview(raw)[:-_SUM_BYTES]) != raw[-_SUM_BYTES:]:
        raise ValueError("it is damaged")
    begin = _HEADER.size + 4 * num_tokens
    return _tokens(raw[_HEADER.size : begin], num_tokens), raw[begin:-_SUM_BYTES]


def _checked(header: bytes, model: bytes, num_bytes: int) -> int:
    """The number of its tokens."""
    if len(header) < _HEADER.size:
        raise ValueError("it is cut short")
    magic, owner, key, num_tokens, num_state = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise ValueError("it is no KV that was kept here")
    if owner != model or key != 0:
        raise ValueError("it belongs to another model")
    if num_bytes != _HEADER.size + 4 * num_tokens + num_state + _SUM_BYTES:
        raise ValueError("it is cut short, or longer than it says")
    return int(num_tokens)


def _tokens(raw: bytes, num_tokens: int) -> tuple[int, ...]:
    if len(raw) != 4 * num_tokens:
        raise ValueError("it is cut short")
    return tuple(np.frombuffer(raw, "<i4").tolist())


def _sum(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=_SUM_BYTES).digest()


def _name(tokens: Sequence[int]) -> str:
    return hashlib.blake2b(np.asarray(tokens, "<i4").tobytes(), digest_size=16).hexdigest()


def _read_file(path: Path) -> bytes:
    with files.reading(path) as file:
        return file.read()


def _common(kept: tuple[int, ...], tokens: Sequence[int]) -> int:
    """How many of the first tokens are equal."""
    num = min(len(kept), len(tokens))
    if kept[:num] == tuple(tokens[:num]):
        return num
    return next(i for i in range(num) if kept[i] != tokens[i])


def _covers(tokens: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(other) < len(tokens) and tokens[: len(other)] == other


def model_hash(bundle: Bundle, settings: str) -> bytes:
    """Of the weights and of all that decides KV besides. Of each file pieces from all over are
    hashed, which takes milliseconds: another training changes all of them.
    """
    folder = bundle.path if bundle.path.is_dir() else bundle.path.parent
    digest = hashlib.blake2b(repr((bundle.engine, settings)).encode(), digest_size=32)
    for file in bundle.files:
        digest.update(repr((file.path, file.size_bytes)).encode())
        _add_samples(digest, folder / file.path)
    return digest.digest()


def _add_samples(digest: hashlib.blake2b, path: Path) -> None:
    with files.reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        for i in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
