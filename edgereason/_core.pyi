from collections.abc import Sequence
from typing import Any, Literal

from edgereason.lowering import CorePhase

Event = (
    tuple[int, Literal["text"], int, bytes]
    | tuple[int, Literal["phase"], bool, dict[str, Any]]
    | tuple[int, Literal["failed"], bool, str]
)

class Scheduler:
    engine: Engine
    def __init__(
        self,
        engine: Engine,
        *,
        threads: int = 0,
        park_cells: int = -1,
        chunk_ms: float = 50,
        margin: float = 1.15,
        delivery_ms: float = 2,
        clock: ManualClock | None = None,
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def warm_up(self) -> None: ...
    def now_ms(self) -> float: ...
    def step(self) -> bool: ...
    def open(
        self,
        *,
        priority: int = 0,
        arrival_ms: float = 0,
        deadline_ms: float = ...,
        think_budget: int = -1,
        stream: bool = False,
    ) -> int: ...
    def run(self, request: int, phases: Sequence[CorePhase]) -> None: ...
    def stop_thinking(self, request: int) -> None: ...
    def cancel(self, request: int) -> None: ...
    def close(self, request: int, *, park: bool = False) -> None: ...
    def take(self, timeout_ms: float, max_events: int = 256) -> list[Event]: ...
    def stats(self) -> dict[str, Any]: ...
