"""The models of a server by name: opened when first asked for, closed when others need their room.

Only models that nobody uses are closed, the one that was used longest ago first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgereason.errors import MemoryLimitError, UsageError
from edgereason.models.bundle import Bundle, open_bundle
from edgereason.models.hub import resolve
from edgereason.planning import asked
from edgereason.runtime.reasoner import Reasoner
from edgereason.server.errors import ApiError

Open = Callable[[Path], Reasoner]
"""Opens a model with the options of the command line."""


@dataclass(slots=True)
class Model:
    """One model: what is known of it, and where it is open."""

    name: str
    bundle: Bundle
    reasoner: Reasoner | None = None
    load_ms: float = 0.0
    used_at: float = 0.0
    num_users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def context(self) -> int:
        """What fits into one line of thought: the KV, or less where the model was trained for less.
        0 where neither is known."""
        cells = self.reasoner.engine.info["num_cells"] if self.reasoner else 0
        known = [size for size in (cells, self.bundle.context) if size]
        return min(known, default=0)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.bundle.files)

    @property
    def thinks(self) -> bool:
        return bool(self.bundle.reasoning.close)


def find(specs: tuple[str, ...]) -> dict[str, Model]:
    """`NAME=MODEL` or `MODEL`, as on the command line. Nothing is opened yet."""
    models: dict[str, Model] = {}
    for spec in specs:
        name, equals, model = spec.rpartition("=")
        bundle = asked.known(open_bundle(resolve(model)))
        name = name if equals else bundle.name
        if not name:
            raise UsageError(f"{spec!r} has no name before =", "NAME=MODEL, or just MODEL")
        if name in models:
            raise UsageError(f"two models are called {name!r}", "serve NAME=MODEL names one anew")
        models[name] = Model(name, bundle)
    return models


class Models:
    """All models of a server. For one event loop."""

    def __init__(self, models: Mapping[str, Model], open: Open, *, max_loaded: int = 0) -> None:
        self.models = dict(models)
        self._open = open
        self._max_loaded = max_loaded

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def named(self, name: str) -> Model:
        """Ollama's clients write `name:latest`."""
        found = self.models.get(name) or self.models.get(name.removesuffix(":latest"))
        if found is None:
            known = ", ".join(self.models)
            raise ApiError(
                404,
                f"no model is called {name[:80]!r} (this server has: {known})",
                param="model",
                code="model_not_found",
            )
        return found

    @contextmanager
    def used(self, model: Model) -> Iterator[None]:
        """It is not closed meanwhile."""
        self.take(model)
        try:
            yield
        finally:
            self.leave(model)

    def take(self, model: Model) -> None:
        """Until `leave` it is not closed."""
        model.num_users += 1

    def leave(self, model: Model) -> None:
        model.num_users -= 1
        model.used_at = time.monotonic()

    async def opened(self, model: Model) -> Reasoner:
        """Its reasoner, opened now if need be. Whoever asks has taken it."""
        async with model.lock:
            if model.reasoner is None:
                while self._max_loaded and self.num_loaded >= self._max_loaded:
                    await self._close_one(model)
                start = time.monotonic()
                model.reasoner = await self._fit(model)
                model.load_ms = 1000 * (time.monotonic() - start)
            return model.reasoner

    @property
    def num_loaded(self) -> int:
        return sum(model.reasoner is not None for model in self)

    async def close(self, model: Model) -> None:
        reasoner, model.reasoner = model.reasoner, None
        if reasoner is not None:
            await asyncio.to_thread(reasoner.close)

    async def close_all(self) -> None:
        for model in self:
            await self.close(model)

    async def _fit(self, model: Model) -> Reasoner:
        """Opens it; while memory does not hold it, models that nobody uses give way."""
        while True:
            try:
                return await asyncio.to_thread(self._open, model.bundle.path)
            except MemoryLimitError:
                if not self._idle(model):
                    raise
            await self._close_one(model)

    def _idle(self, wanted: Model) -> list[Model]:
        others = (m for m in self if m is not wanted and m.reasoner is not None)
        return sorted((m for m in others if not m.num_users), key=lambda m: m.used_at)

    async def _close_one(self, wanted: Model) -> None:
        idle = self._idle(wanted)
        if not idle:
            raise ApiError(
                503,
                f"{wanted.name} cannot be opened now: all models that are open are in use",
                code="models_busy",
                retry_after_s=5,
            )
        await self.close(idle[0])
