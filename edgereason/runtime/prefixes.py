"""The prefixes of an open model: found by name, checked against its weights, loaded when one is
first asked for, and held by the core from then on. Knows no request."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgereason.config import unknown
from edgereason.errors import UsageError
from edgereason.models.bundle import Bundle
from edgereason.models.prefix_file import base_hash, bundled, check_base, read_prefix

if TYPE_CHECKING:
    from edgereason._core import Scheduler

SUFFIX = ".safetensors"


class LoadedPrefix(NamedTuple):
    """A prefix that the core holds. `num_positions`: places of the context that it takes."""

    id: int
    num_positions: int


class Prefixes:
    """A prefix is called what its file is called, without `.safetensors`."""

    def __init__(self, bundle: Bundle, core: Scheduler) -> None:
        self._bundle, self._core = bundle, core
        self._lock = threading.Lock()
        self._base = ""
        self._loaded: dict[Path, LoadedPrefix] = {}
        self._files = bundled(bundle.path)

    def add(self, files: Sequence[Path | str]) -> None:
        """Loads files now, and gives them their names."""
        for file in files:
            path = Path(file)
            there = self._files.get(path.stem)
            if there is not None and there.resolve() != path.resolve():
                raise UsageError(f"two prefixes are called {path.stem}: {there} and {path}")
            self._loaded_from(path)
            self._files[path.stem] = path

    def get(self, name: str) -> LoadedPrefix:
        """The prefix of a name, or of a file."""
        path = self._files.get(name)
        if path is None:
            if not name.endswith(SUFFIX):
                raise unknown(f"{self._bundle.name} has no prefix called", name, self._files)
            path = Path(name)
        return self._loaded_from(path)

    def _loaded_from(self, path: Path) -> LoadedPrefix:
        path = path.resolve()
        with self._lock:
            if path not in self._loaded:
                self._loaded[path] = self._load(path)
            return self._loaded[path]

    def _load(self, path: Path) -> LoadedPrefix:
        prefix = read_prefix(path)
        self._base = self._base or base_hash(self._bundle)
        check_base(prefix, self._base, self._bundle.name)
        id_ = self._core.add_prefix(np.stack(prefix.keys), np.stack(prefix.values))
        return LoadedPrefix(id_, prefix.num_positions)
