"""Models by a short name: what is known of each, and which of its files fits into memory.

    entry = catalog()["qwen3-4b"]
    format, why = choose("qwen3-4b", {"Q4_K_M": 2_497_280_256, "Q8_0": 4_280_404_704})

The data is `catalog.toml`. What a file takes is what libllama's memory guard will want for it
when it is opened with the defaults. Fetches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from edgereason.config import build, parse_toml
from edgereason.errors import MemoryLimitError
from edgereason.planning.device import calm_threads
from edgereason.planning.sizes import BITS

FORMATS: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "MXFP4", "Q4_0", "IQ4_XS")
"""What is taken by itself, best first. What has fewer bits is taken by its name only."""

MEMORIES_GIB: Final = (4, 6, 8, 16)
"""Of devices that `show` tells a file for."""

_USUAL: Final = "Q4_K_M"
_GIB: Final = 2**30
_MOST_CONTEXT: Final = 8192  # what a model is opened with by default, at most


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a `config.json`. `layers` are those with a KV cache."""

    layers: int
    kv_heads: int
    head_dim: int
    hidden: int
    feed_forward: int
    vocab: int

    @property
    def cell_values(self) -> int:
        """Numbers of one token's keys and values over all layers."""
        return self.layers * self.kv_heads * 2 * self.head_dim


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the catalog.

    Attributes:
        source: `pypi:PACKAGE==VERSION`, or `hf:owner/repo`.
        file, sha256, size_bytes: in a package; what a repository has, its hub tells.
        formats: what a repository is known to have; empty: not known.
        weights: `safetensors` must be exported before they run.
        parameters: in 1e9.
        context: tokens it was trained for.
        thinks: how, and how that is switched.
        measured: by whom, and what.
        tried: what was tried with it here; "" for nothing.
        sources: where all this is said.
    """

    source: str
    licence: str
    origin: str
    about: str = ""
    file: str = ""
    sha256: str = ""
    size_bytes: int = 0
    formats: tuple[str, ...] = ()
    weights: Literal["gguf", "safetensors"] = "gguf"
    parameters: float = 0.0
    context: int = 0
    thinks: str = ""
    shape: Shape | None = None
    measured: str = ""
    tried: str = ""
    sources: tuple[str, ...] = ()

    @property
    def repo(self) -> str:
        """owner/repo; "" where it comes in a package."""
        return self.source.removeprefix("hf:") if self.source.startswith("hf:") else ""

    def estimated_bytes(self, format: str) -> int:
        """Of its weights in a format, by their number; 0 where that is not known."""
        if self.size_bytes:
            return self.size_bytes
        return round(self.parameters * 1e9 * BITS[format] / 8) if format in BITS else 0


@lru_cache(maxsize=1)
def catalog() -> dict[str, Entry]:
    """The models that have a short name."""
    path = Path(__file__).with_name("catalog.toml")
    tables = parse_toml(path.read_text(encoding="utf-8"), path.name)
    return {name: build(Entry, table, what="key", where=name) for name, table in tables.items()}


def needed_bytes(entry: Entry, file_bytes: int) -> int:
    """What the memory guard will want, at least where the shape is not known."""
    calm_threads()
    from edgereason import _core

    shape = entry.shape or Shape(0, 0, 0, 0, 0, 0)
    return _core.needed_bytes(
        file_bytes,
        context=entry.context,
        cell_values=shape.cell_values,
        num_embd=shape.hidden,
        num_feed_forward=shape.feed_forward,
        num_vocab=shape.vocab,
    )


def free_bytes() -> int:
    """What the memory guard takes for free now; negative: the system does not tell."""
    calm_threads()
    from edgereason import _core

    return _core.free_memory_bytes()


def choose(name: str, sizes: Mapping[str, int], memory_gib: float | None = None) -> tuple[str, str]:
    """The best format that fits, and why it is taken.

    `sizes`: format -> bytes of all its files. `memory_gib`: of another device; None is what is free
    here. Raises `MemoryLimitError` where none fits, with what would.
    """
    entry = catalog()[name]
    free = free_bytes() if memory_gib is None else round(memory_gib * _GIB)
    there = [format for format in FORMATS if format in sizes]
    if free < 0:
        format = _USUAL if _USUAL in there else there[-1]
        return format, f"{format}: how much memory is free is not known here"
    needs = {format: needed_bytes(entry, sizes[format]) for format in there}
    fitting = [format for format in there if needs[format] <= free]
    context = min(entry.context, _MOST_CONTEXT) or _MOST_CONTEXT
    room = f"{_gib(free)} are " + ("free" if memory_gib is None else "given")
    if not fitting:
        least = min(needs, key=lambda format: needs[format])
        raise MemoryLimitError(
            f"{name} does not fit: {least} takes {_gib(needs[least])} with a context of {context}, "
            f"{room}",
            _what_fits(free, name, least),
        )
    format = fitting[0]
    why = f"{format}: it takes {_gib(needs[format])} with a context of {context}, {room}"
    better = there[: there.index(format)]
    if better:
        return format, f"{why}; {better[-1]} would take {_gib(needs[better[-1]])}"
    return format, f"{why}; it is the best of {', '.join(there)}"


def by_memory(entry: Entry) -> dict[int, str]:
    """Memory of a device in GiB -> the format that would be taken, by the number of weights; "" for
    none. What the system itself takes is not counted."""
    if not (entry.parameters and entry.shape):
        return {}
    known = entry.formats or tuple(format for format in FORMATS if format in BITS)
    return {gib: next(_fitting(entry, known, gib * _GIB), "") for gib in MEMORIES_GIB}


def fits(entry: Entry, free: int) -> bool:
    """Whether it runs in so many bytes in four bits, or in what its repository has."""
    runs = entry.weights == "gguf" and entry.shape is not None
    return runs and any(_fitting(entry, entry.formats or (_USUAL,), free))


def _fitting(entry: Entry, formats: tuple[str, ...], free: int) -> Iterator[str]:
    for format in formats:
        estimated = entry.estimated_bytes(format)
        if estimated and needed_bytes(entry, estimated) <= free:
            yield format


def _what_fits(free: int, name: str, least: str) -> str:
    """The largest models of the catalog that would fit, by their estimates."""
    fitting = [
        (entry.parameters, other)
        for other, entry in catalog().items()
        if other != name and fits(entry, free)
    ]
    smaller = ", ".join(other for _, other in sorted(fitting, reverse=True)[:3])
    smaller = f"these would fit: {smaller}" if smaller else "free some memory"
    return f"{smaller}; or take it all the same: edgereason pull {name}:{least}"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / _GIB:.2f} GiB"


__all__ = [
    "FORMATS",
    "MEMORIES_GIB",
    "Entry",
    "Shape",
    "by_memory",
    "catalog",
    "choose",
    "fits",
    "free_bytes",
]
