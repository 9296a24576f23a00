"""Several answers to one HTTP request: `n`, or several prompts. Each is a request of its own, with
its own seed; they share the KV of what they have in common. They are told together, at their end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from edgereason.records import Answer
from edgereason.server.http import JobReply, Writer
from edgereason.server.running import Running


class Several:
    """What `Running` is of one."""

    def __init__(self, runs: Sequence[Running], num_prompts: int = 1) -> None:
        self._runs = tuple(runs)
        self._num_prompts = num_prompts

    @property
    def id(self) -> str:
        return self._runs[0].id

    def cancel(self, why: str) -> None:
        for running in self._runs:
            running.cancel(why)

    async def joined(self, writers: Sequence[Writer]) -> Any:
        """All answers, by the writers of one each, as one object; as a list where one answer is no
        choice among several.
        """
        answers = await asyncio.gather(*(running.answer() for running in self._runs))
        told = [writer.whole(each) for writer, each in zip(writers, answers, strict=True)]
        if "choices" not in told[0]:
            return [{**one, "index": index} for index, one in enumerate(told)]
        choices = [
            {**choice, "index": index}
            for index, one in enumerate(told)
            for choice in one["choices"]
        ]
        reports = [one["edgereason"] for one in told]
        usage = self._usage(answers, [one["usage"] for one in told])
        return {**told[0], "choices": choices, "usage": usage, "edgereason": {"answers": reports}}

    def _usage(self, answers: Sequence[Answer], told: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A prompt is counted once, however many answers it gets."""
        per_prompt = len(answers) // self._num_prompts
        firsts = answers[::per_prompt]
        prompt = sum(answer.usage.prompt_tokens for answer in firsts)
        cached = sum(answer.usage.cached_tokens for answer in firsts)
        completion = sum(usage["completion_tokens"] for usage in told)
        reasoning = sum(answer.usage.reasoning_tokens for answer in answers)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }


class SeveralReply(JobReply):
    def __init__(self, several: Several, writers: Sequence[Writer]) -> None:
        super().__init__(several)
        self._several, self._writers = several, writers

    async def told(self) -> Any:
        return await self._several.joined(self._writers)
