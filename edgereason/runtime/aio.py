"""The same in asyncio. Nothing blocks the event loop: the native thread computes, the driver's
thread calls back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgereason.keywords import Keywords, Prompt, spelled_out
from edgereason.records import Answer, Chunk
from edgereason.runtime.reasoner import Handle, Reasoner

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncHandle:
    """A request that is on its way: await it for the answer, iterate over it for the text."""

    def __init__(self, handle: Handle, chunks: asyncio.Queue[Chunk | None]) -> None:
        self._handle = handle
        self._chunks = chunks

    async def result(self) -> Answer:
        """The answer. Cancelling the task that waits cancels the request."""
        future = asyncio.wrap_future(self._handle.future)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._handle.cancel()
            raise

    def cancel(self) -> None:
        self._handle.cancel()

    def stop_thinking(self) -> None:
        self._handle.stop_thinking()

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        await self.result()


class AsyncReasoner:
    """An open model in an asyncio program."""

    def __init__(self, reasoner: Reasoner) -> None:
        self.reasoner = reasoner

    @classmethod
    async def open(cls, model: str | Path, **options: Any) -> AsyncReasoner:
        """See `Reasoner.open`; the model is read in a worker thread."""
        return cls(await asyncio.to_thread(Reasoner.open, model, **options))

    @spelled_out
    async def ask(self, prompt: Prompt, **keywords: Unpack[Keywords]) -> Answer:
        return await self.submit(prompt, **keywords).result()

    @spelled_out
    def stream(self, prompt: Prompt, **keywords: Unpack[Keywords]) -> AsyncHandle:
        return self.submit(prompt, stream=True, **keywords)

    @spelled_out
    def submit(
        self, prompt: Prompt, *, stream: bool = False, **keywords: Unpack[Keywords]
    ) -> AsyncHandle:
        """Starts a request; call it from the event loop's thread."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Chunk | None] = asyncio.Queue()

        def on_chunk(chunk: Chunk | None) -> None:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)

        handle = self.reasoner.submit(prompt, on_chunk=on_chunk if stream else None, **keywords)
        return AsyncHandle(handle, chunks)

    async def close(self) -> None:
        await asyncio.to_thread(self.reasoner.close)

    async def __aenter__(self) -> AsyncReasoner:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
