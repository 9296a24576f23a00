"""The contract of an engine: what turns rows of tokens into logits and keeps the KV of sequences.

An engine is a module with three names:

    caps = Capability.LOGITS | Capability.FORK     # the most it can do with any model

    @dataclass(frozen=True, slots=True)
    class Config:                                  # its options; each becomes an option of `open`
        context: int = field(default=0, metadata={"help": "tokens; 0: what the model allows"})

    def open(bundle: Bundle, profile: Profile | None, config: Config) -> Engine:
        import heavy_library                       # here, so that listing engines costs nothing
        return ...

`open` is called once per model, before any request. It raises `ModelNotFoundError`, `BundleError`,
`MemoryLimitError` or `UnsupportedError` with a way out; what the opened model can really do is in
`engine.info["caps"]`, and strategies that need more are refused before their first token.

What `open` returns is an engine of the native core: the scheduler calls it once a step on a thread
of its own, without the GIL. The calls below are for tests and tools that have the engine to
themselves:

    engine.decode([(0, pos, token, pos == last) for pos, token in enumerate(prompt)])
    logits = engine.logits(last)                   # [num_vocab], of the row that asked for output
    engine.fork(0, 1, len(prompt))                 # sequence 1 starts with the same tokens
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edgereason.errors import UsageError
from edgereason.records import Capability

if TYPE_CHECKING:
    from edgereason._core import Engine
    from edgereason.bundle import Bundle
    from edgereason.device import Profile


class EngineModule(Protocol):
    """What `registry.load(engines, name)` returns."""

    caps: Capability
    Config: type

    def open(self, bundle: Bundle, profile: Profile | None, config: Any) -> Engine: ...


MOST = 2**31 - 1
"""The largest number that the native core takes."""


def require_ranges(config: object, **ranges: tuple[float, float]) -> None:
    """For `__post_init__`: each named field lies within its range, ends included."""
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not low <= value <= high:
            wanted = f"{low} or more" if high >= MOST and value < low else f"in [{low}, {high}]"
            raise UsageError(f"{name} must be {wanted}, got {value}")
