"""The same in asyncio. Nothing blocks the event loop: prompts are rendered, strategies run and
tokens are computed on other threads, which wake the loop when there is something to read.

    async with await AsyncReasoner.open("smollm2-135m") as reasoner:
        handle = reasoner.stream("What is 17 * 3?", think_budget=64)
        async for chunk in handle: ...
        answer = await handle.result()
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
    """A request that is on its way: await its `result()`, iterate over it for the text. Cancelling
    the task that does so cancels the request.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def result(self) -> Answer:
        """The answer, or what went wrong."""
        future = asyncio.wrap_future(self._handle.future)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        self._handle.cancel()

    def stop_thinking(self) -> None:
        self._handle.stop_thinking()

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        outbox = self._handle.readable
        loop, more = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(more.set)
            except RuntimeError:  # the loop is closed: nobody will read on
                self.cancel()

        def reader_ended(task: asyncio.Task[Any]) -> None:
            if task.cancelled():
                self.cancel()

        reader = asyncio.current_task()
        if reader is not None:
            reader.add_done_callback(reader_ended)  # it may be cancelled between two pieces
        outbox.listen(wake)
        try:
            while not outbox.drained:
                more.clear()
                while (chunk := outbox.poll()) is not None:
                    yield chunk
                if not outbox.drained:
                    await more.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            if reader is not None:
                reader.remove_done_callback(reader_ended)
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
        """Starts a request and returns at once. Bad values are raised here; what is wrong with the
        first phase, such as a prompt that is too long, comes out of the handle.
        """
        return AsyncHandle(self.reasoner.submit_soon(prompt, stream=stream, **keywords))

    async def close(self) -> None:
        await asyncio.to_thread(self.reasoner.close)

    async def __aenter__(self) -> AsyncReasoner:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
