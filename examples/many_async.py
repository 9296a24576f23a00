"""Many questions at once in asyncio, each streamed as it is answered.

    python examples/many_async.py [MODEL]

All share one model and one native thread; the event loop never waits for either.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from edgereason import AsyncReasoner, Channel

SCRIPTED = str(Path(__file__).with_name("scripted"))
NUM_QUESTIONS = 6


async def ask(reasoner: AsyncReasoner, index: int) -> None:
    handle = reasoner.stream("What is 17 * 3?", strategy="think", think_budget=96, answer_budget=32)
    num_pieces = {channel: 0 for channel in Channel}
    async for chunk in handle:
        num_pieces[chunk.channel] += 1
    answer = await handle.result()
    print(
        f"question {index}: {answer.answer}  "
        f"({num_pieces[Channel.REASONING]} pieces of reasoning, {answer.timings.total_ms:.0f} ms)"
    )


async def main(model: str) -> None:
    async with await AsyncReasoner.open(model) as reasoner:
        await asyncio.gather(*(ask(reasoner, index) for index in range(NUM_QUESTIONS)))


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("EDGEREASON_MODEL", SCRIPTED)
    asyncio.run(main(chosen))
