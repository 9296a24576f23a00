"""Anthropic's messages: thinking blocks, named events, token counts.

Without `thinking` nothing is thought, as there. Signatures are empty: any is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edgereason.records import Answer, Channel, Chunk, Message, ToolCall
from edgereason.server.budgets import BUDGETS, SAMPLING, THINKING, read_effort
from edgereason.server.chat import NO_TOOLS
from edgereason.server.conversation import read_content, read_messages
from edgereason.server.errors import ApiError, anthropic_error
from edgereason.server.fields import (
    HARMLESS,
    Given,
    Means,
    Only,
    Table,
    bad,
    boolean,
    one_of,
    table,
    text,
    texts,
    whole,
    without,
)
from edgereason.server.grammars import RESPONSE_FORMAT
from edgereason.server.http import sse
from edgereason.server.running import Running, num_completion, was_cut
from edgereason.server.tools import arguments_text, list_of_tools, tool_choice

_SKIPPED: Final = ("thinking", "redacted_thinking")  # blocks of what was thought before
_BILLING: Final = "x-anthropic-billing-header"  # changes with each request, and says nothing


def _system(value: Any, name: str) -> str:
    if isinstance(value, list):
        value = [
            part
            for part in value
            if not (isinstance(part, dict) and str(part.get("text")).startswith(_BILLING))
        ]
    return read_content(value, name)


def _turns(value: Any, name: str) -> tuple[Message, ...]:
    """Blocks of thinking become the message's `thinking`, calls and their results what they are
    everywhere; the rest is read as everywhere."""
    if not isinstance(value, list):
        return read_messages(value, name)
    return read_messages([turn for item in value for turn in _as_turns(item)], name)


def _as_turns(item: Any) -> list[Any]:
    blocks = item.get("content") if isinstance(item, dict) else None
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        return [item]
    kinds = [block.get("type") for block in blocks]
    if item.get("role") != "assistant":
        results = [_result(block) for block in blocks if block.get("type") == "tool_result"]
        rest = [block for block in blocks if block.get("type") != "tool_result"]
        return [*results, *([{**item, "content": rest}] if rest or not results else [])]
    thoughts = [b["thinking"] for b in blocks if isinstance(b.get("thinking"), str)]
    apart = (*_SKIPPED, "tool_use")
    shown = [block for block, kind in zip(blocks, kinds, strict=True) if kind not in apart]
    calls = [block for block, kind in zip(blocks, kinds, strict=True) if kind == "tool_use"]
    turn = {**item, "content": shown, "tool_calls": calls}
    return [{**turn, "thinking": "\n".join(thoughts) if thoughts else None}]


def _result(block: dict[str, Any]) -> dict[str, Any]:
    return {
        "role": "tool",
        "content": block.get("content"),
        "tool_call_id": block.get("tool_use_id"),
    }


COUNTED: Final[Table] = {
    "model": Means("model", text),
    "messages": Means("messages", _turns),
    "system": Means("system", _system),
    "thinking": THINKING,
    "output_config": {
        "effort": Means("effort", read_effort),
        "format": RESPONSE_FORMAT,
    },
    "tools": Means("tools", list_of_tools),
    "tool_choice": Means("tool_choice_object", table),
    "cache_control": HARMLESS,  # beginnings are found and shared by themselves
    "context_management": HARMLESS,
}
"""What a prompt is made of: the fields of `count_tokens`."""

FIELDS: Final[Table] = {
    **without(SAMPLING, ("stop", "frequency_penalty")),
    **without(BUDGETS, ("thinking", "service_tier")),
    **COUNTED,
    "max_tokens": Means("max_tokens", whole(1)),
    "stop_sequences": Means("stop", texts),
    "stream": Means("stream", boolean),
    "metadata": HARMLESS,
    "service_tier": BUDGETS["service_tier"],
    "speed": Means("speed", one_of("standard", "fast")),
    "diagnostics": HARMLESS,
    "container": Only((), "this server runs no code"),
    "mcp_servers": Only(([],), NO_TOOLS),
}


def complete(given: Given) -> tuple[Message, ...]:
    """The conversation, once what else the dialect asks of a request is looked at."""
    for name in ("messages", "max_tokens"):
        if name not in given.values:
            raise ApiError(400, f"{name} must be given", param=name, code="missing_parameter")
    if "think_tokens" in given.values and "effort" in given.values:
        given.ignored.append(given.name("effort"))  # there it means more than thinking
        del given.values["effort"]
    if given.get("speed") == "fast":
        given.put("tier", "speed", 1)
    tokens, total = given.get("think_tokens", 0), given.get("max_tokens")
    if tokens >= total:
        raise bad(given.name("think_tokens"), f"less than max_tokens={total}", tokens)
    return conversation(given)


def conversation(given: Given) -> tuple[Message, ...]:
    if "messages" not in given.values:
        raise ApiError(400, "messages must be given", param="messages", code="missing_parameter")
    _read_choice(given)
    if not {"think", "think_tokens", "effort"} & set(given.values):
        given.put("think", "thinking", False)  # who says nothing gets no thought
    system = given.get("system")
    first = (Message("system", system),) if system else ()
    return (*first, *given.get("messages"))


def _read_choice(given: Given) -> None:
    """One object says how tools are chosen, and whether several may be called."""
    said = given.get("tool_choice_object")
    if said is None:
        return
    name = given.name("tool_choice_object")
    given.put("tool_choice", name, tool_choice(said, name))
    one = said.get("disable_parallel_tool_use")
    if one is not None:
        given.put("one_call", f"{name}.disable_parallel_tool_use", boolean(one, name))


class MessageWriter:
    """Writes one message, or its events."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, running: Running) -> None:
        self._running = running
        self._omits = running.given.get("display") == "omitted"
        self._index = -1  # of the block that is open
        self._channel: Channel | None = None

    def whole(self, answer: Answer) -> dict[str, Any]:
        blocks: list[dict[str, Any]] = []
        if answer.reasoning:
            thoughts = "" if self._omits else answer.reasoning
            blocks.append({"type": "thinking", "thinking": thoughts, "signature": ""})
        if answer.answer or not answer.calls:
            blocks.append({"type": "text", "text": answer.answer})
        for call in answer.calls:
            blocks.append({**_call(call), "input": dict(call.arguments)})
        return {
            **self._message(blocks),
            **self._stop(answer),
            "usage": self._usage(answer),
            "edgereason": self._running.report(answer),
        }

    def start(self) -> Iterator[bytes]:
        usage = {  # what of the prompt was cached is known at the end
            "input_tokens": self._running.num_prompt,
            "output_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        }
        message = {**self._message([]), "usage": usage}
        yield _event("message_start", message=message)

    def piece(self, chunk: Chunk) -> Iterator[bytes]:
        if chunk.call is not None:
            yield from self._called(chunk.call)
            return
        if chunk.channel is not self._channel:
            yield from self._close()
            yield from self._open(chunk.channel)
        if chunk.channel is Channel.ANSWER:
            yield self._delta({"type": "text_delta", "text": chunk.text})
        elif not self._omits:
            yield self._delta({"type": "thinking_delta", "thinking": chunk.text})

    def end(self, answer: Answer) -> Iterator[bytes]:
        if (
            self._channel is not Channel.ANSWER and not answer.calls
        ):  # an empty one is still a block
            yield from self._close()
            yield from self._open(Channel.ANSWER)
        yield from self._close()
        yield _event(
            "message_delta",
            delta=self._stop(answer),
            usage=self._usage(answer),
            edgereason=self._running.report(answer),
        )
        yield _event("message_stop")

    def ping(self) -> bytes:
        return _event("ping")

    def _usage(self, answer: Answer) -> dict[str, Any]:
        """There, what was read from a cache is told apart where the client has asked for one. Our
        own report says in any case what was cached."""
        asks = _asks_to_cache(self._running.given.body)
        cached = answer.usage.cached_tokens if asks else 0
        return {
            "input_tokens": answer.usage.prompt_tokens - cached,
            "output_tokens": num_completion(answer),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens_details": {"thinking_tokens": answer.usage.reasoning_tokens},
        }

    def failed(self, error: ApiError) -> bytes:
        return sse(anthropic_error(error), "error")

    def _open(self, channel: Channel) -> Iterator[bytes]:
        self._index, self._channel = self._index + 1, channel
        block = {"type": "text", "text": ""}
        if channel is Channel.REASONING:
            block = {"type": "thinking", "thinking": "", "signature": ""}
        yield _event("content_block_start", index=self._index, content_block=block)

    def _called(self, call: ToolCall) -> Iterator[bytes]:
        yield from self._close()
        self._index += 1
        yield _event("content_block_start", index=self._index, content_block=_call(call))
        yield self._delta({"type": "input_json_delta", "partial_json": arguments_text(call)})
        yield _event("content_block_stop", index=self._index)

    def _close(self) -> Iterator[bytes]:
        if self._channel is None:
            return
        if self._channel is Channel.REASONING:
            yield self._delta({"type": "signature_delta", "signature": ""})
        yield _event("content_block_stop", index=self._index)
        self._channel = None

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _message(self, blocks: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"msg_{self._running.id}",
            "type": "message",
            "role": "assistant",
            "model": self._running.asked_model,
            "content": blocks,
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _stop(self, answer: Answer) -> dict[str, Any]:
        stop = self._running.stop_text
        reason = "stop_sequence" if stop else "tool_use" if answer.calls else "end_turn"
        if was_cut(answer):
            reason = "max_tokens"
        return {"stop_reason": reason, "stop_sequence": stop}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}


def _event(kind: str, **data: Any) -> bytes:
    return sse({"type": kind, **data}, kind)


def _asks_to_cache(part: Any) -> bool:
    """Whether the client marks what is to be cached, anywhere in its body."""
    if isinstance(part, list):
        return any(map(_asks_to_cache, part))
    if not isinstance(part, dict):
        return False
    return part.get("cache_control") is not None or any(map(_asks_to_cache, part.values()))
