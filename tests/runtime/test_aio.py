"""Reasoner in asyncio."""

from __future__ import annotations

import asyncio

import pytest

from edgereason import (
    AsyncReasoner,
)
from edgereason.records import Channel
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"


def test_asyncio_asks_streams_and_cancels() -> None:
    async def main() -> None:
        async with await AsyncReasoner.open(SCRIPTED, sleep_ms=2) as reasoner:
            answers = await asyncio.gather(
                *(reasoner.ask(QUESTION, strategy="think") for _ in range(4))
            )
            assert [answer.answer for answer in answers] == ["51"] * 4
            stream = reasoner.stream(QUESTION, strategy="think")
            text = "".join(
                [chunk.text async for chunk in stream if chunk.channel is Channel.ANSWER]
            )
            assert text.strip() == "51"
            task = asyncio.create_task(reasoner.ask(QUESTION, strategy="think"))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert reasoner.reasoner.wait_idle()

    asyncio.run(main())
