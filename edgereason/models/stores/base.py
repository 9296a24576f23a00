"""The contract of a store, and asking all of them.

A store is a module whose file name is the prefix of its models' names. It has three names:

    TITLE: Final = "Ollama's store"           # for people
    def places() -> tuple[Path, ...]: ...     # folders it looks into, those that are not there too
    def find() -> Iterator[Found]: ...        # called by `list --all`, and to open a name

Looking reads names and sizes only. Knows no engine, and writes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol, cast

from edgereason import registry
from edgereason.errors import ModelNotFoundError, UnsupportedError
from edgereason.models import gguf_parts, onnx_folder

STORES: Final = "edgereason.models.stores"
_PROJECTOR: Final = "mmproj"  # of images; no model by itself
_QUANTIZATION: Final = re.compile(
    r"(?:^|[-._])(I?Q\d\w*|T?Q\d_\d|BF16|F16|F32|MXFP4)(?=[-._]|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Found:
    """A model of somebody else's.

    Attributes:
        names: all that it can be asked for by, the one to show first.
        path: what is opened: a file.
        why_not: why it cannot be opened, with the way out; "" where it may.
    """

    names: tuple[str, ...]
    path: Path
    why_not: str = ""

    @property
    def name(self) -> str:
        return self.names[0]

    @cached_property
    def size_bytes(self) -> int:
        """With all parts of a split model; weights beside an ONNX graph are not counted."""
        try:
            return sum(part.stat().st_size for part in gguf_parts.there(self.path))
        except OSError:
            return 0


class Store(Protocol):
    """What the module of a store is."""

    TITLE: str

    def places(self) -> tuple[Path, ...]: ...
    def find(self) -> Iterator[Found]: ...


def find_all() -> Iterator[Found]:
    """What all stores have, store by store."""
    for store in registry.names(STORES):
        yield from registry.load(STORES, store).find()


def whose(path: Path) -> str:
    """The title of the store that a file lies in; "" for none."""
    at = path.absolute()
    for store in map(_store_of, registry.names(STORES)):
        if any(at.is_relative_to(place.absolute()) for place in store.places()):
            return store.TITLE
    return ""


def is_name(text: str) -> bool:
    """Whether a text starts as names of a store do."""
    store, colon, _ = text.partition(":")
    return bool(colon) and store in registry.names(STORES)


def locate(name: str) -> Path | None:
    """What to open for `ollama:qwen3:0.6b`; None where the store does not have it."""
    for found in _store_of(name).find():
        if name in found.names:
            if found.why_not:
                raise UnsupportedError(f"{name} cannot be opened: {found.why_not}")
            return found.path
    return None


def not_there(name: str) -> ModelNotFoundError:
    """The error for a name that its store does not have."""
    module = _store_of(name)
    there = sorted(found.name for found in module.find())
    looked = ", ".join(map(str, module.places())) or "nowhere: EDGEREASON_MODELS is not set"
    hint = f"there are: {', '.join(there)}" if there else f"looked in {looked}"
    return ModelNotFoundError(f"there is no {name}", hint)


def _store_of(name: str) -> Store:
    return cast(Store, registry.load(STORES, name.partition(":")[0]))


def model_files(folder: Path) -> Iterator[Path]:
    """GGUF files (the first of a split model) and ONNX decoders anywhere below, sorted.

    Leaves out hidden folders and projectors of images.
    """
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(at, name)
            if path.suffix == ".gguf" and _PROJECTOR not in name:
                wanted = gguf_parts.is_first(path)
            else:
                wanted = path.suffix == ".onnx" and onnx_folder.is_decoder(path)
            if wanted and path.is_file():  # a link may lead nowhere
                yield path


def quantization_of(file: str) -> str:
    """What a file's name says: `Q4_K_M`; "" where it says nothing."""
    found = _QUANTIZATION.findall(gguf_parts.stem(file))
    return found[-1].upper() if found else ""
