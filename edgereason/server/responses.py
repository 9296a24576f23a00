"""OpenAI's responses. The last conversations are kept in memory, for `previous_response_id`.

Thoughts are a reasoning item; its summary is the whole of them, since clients show the summary.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from edgereason.records import Answer, Channel, Chunk, Message, ToolCall
from edgereason.server.budgets import BUDGETS, EFFORT, SAMPLING
from edgereason.server.chat import OPENAI
from edgereason.server.conversation import read_messages
from edgereason.server.errors import ApiError, openai_error
from edgereason.server.fields import (
    HARMLESS,
    Given,
    Means,
    Only,
    Table,
    bad,
    boolean,
    text,
    whole,
    without,
)
from edgereason.server.grammars import response_format
from edgereason.server.http import sse
from edgereason.server.running import Running, num_completion, was_cut
from edgereason.server.tools import arguments_text, list_of_tools, tool_choice

_PARTS: Final = ("input_text", "output_text", "text")


def _input(value: Any, name: str) -> tuple[Message, ...]:
    """A text, or items: messages, and what was thought before each answer."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise bad(name, "a text or a list of items", value)
    turns: list[Any] = []
    thoughts: list[str] = []
    for i, item in enumerate(value):
        kind = item.get("type", "message") if isinstance(item, dict) else "message"
        if kind == "reasoning":
            thoughts.append(_thought(item, f"{name}[{i}]"))
        elif kind == "function_call_output":
            turns.append(_result(item))
        elif kind == "function_call":
            turns.append({"role": "assistant", "content": "", "tool_calls": [item]})
        elif kind != "message":
            kinds = "message, reasoning, function_call or function_call_output"
            raise bad(f"{name}[{i}].type", kinds, kind)
        else:
            turns.append(item)
        said = turns[-1] if turns and kind != "reasoning" else None
        if thoughts and isinstance(said, dict) and said.get("role") == "assistant":
            turns[-1] = {**said, "reasoning": "\n".join(filter(None, thoughts)) or None}
            thoughts = []
    return read_messages(_joined(turns), name, part_types=_PARTS)


def _result(item: dict[str, Any]) -> dict[str, Any]:
    return {"role": "tool", "content": item.get("output"), "tool_call_id": item.get("call_id")}


def _joined(turns: Sequence[Any]) -> list[Any]:
    """What was said before a call, and several calls in a row, are one turn of the assistant."""
    joined: list[Any] = []
    for turn in turns:
        last = joined[-1] if joined else None
        calls = isinstance(turn, dict) and turn.get("tool_calls")
        if calls and isinstance(last, dict) and last.get("role") == "assistant":
            joined[-1] = {**last, "tool_calls": [*last.get("tool_calls", ()), *calls]}
        else:
            joined.append(turn)
    return joined


def _thought(item: dict[str, Any], where: str) -> str:
    """The text of a reasoning item: its content, or its summary where that is all there is."""
    for key in ("content", "summary"):
        parts = item.get(key) or []
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise bad(f"{where}.{key}", "a list of parts", parts)
        if parts:
            return "\n".join(text(part.get("text"), f"{where}.{key}") for part in parts)
    return ""


def _format(value: Any, name: str) -> Any:
    """As it was sent: the response says it again."""
    response_format(value, name)
    return value


FIELDS: Final[Table] = {
    **OPENAI,
    "n": Only((1,), "one response a request"),
    **BUDGETS,
    **without(SAMPLING, ("stop",)),
    "input": Means("messages", _input),
    "instructions": Means("system", text),
    "max_output_tokens": Means("max_tokens", whole(1)),
    "reasoning": {
        "effort": EFFORT,
        "summary": HARMLESS,  # always the whole of the thoughts
        "generate_summary": HARMLESS,
    },
    "text": {"format": Means("text_format", _format), "verbosity": HARMLESS},
    "include": HARMLESS,
    "tools": Means("tools", list_of_tools),
    "tool_choice": Means("tool_choice", tool_choice),
    "parallel_tool_calls": Means("parallel_calls", boolean),
    "max_tool_calls": HARMLESS,
    "truncation": Only(("disabled",), "a prompt is never cut; one that is too long is an error"),
    "top_logprobs": Only((0,), "log-probabilities are not given"),
    "background": Only((False,), "a request runs while its client waits"),
    "previous_response_id": Means("previous", text),
    "store": Means("store", boolean),
    "conversation": Only((), "previous_response_id goes on with a conversation"),
    "prompt": Only((), "this server has no stored prompts"),
    "stream_options": HARMLESS,
}


class Conversations:
    """What responses were about, by their ids: the last ones, in memory, bounded."""

    def __init__(self, most: int = 256, most_chars: int = 8_000_000) -> None:
        self._most = most
        self._most_chars = most_chars
        self._kept: OrderedDict[str, tuple[Message, ...]] = OrderedDict()
        self._num_chars = 0

    def messages_of(self, given: Given) -> tuple[Message, ...]:
        """The whole conversation: instructions, what went before, what is asked now."""
        if "messages" not in given.values:
            raise ApiError(400, "input must be given", param="input", code="missing_parameter")
        if "text_format" in given.values:
            name, asked = given.values["text_format"]
            given.put("grammar", name, response_format(asked, name))
        system = given.get("system")
        first = (Message("system", system),) if system else ()
        return (*first, *self._before(given.get("previous")), *given.get("messages"))

    def keep(self, id: str, running: Running, answer: Answer) -> None:
        """Instructions are not kept: each request has its own."""
        if running.given.get("store") is False:
            return
        turns = running.request.messages
        turns = turns[1:] if running.given.get("system") else turns
        said = Message("assistant", answer.answer, answer.reasoning or None, answer.calls)
        turns = (*turns, said)
        self._kept[id] = turns
        self._num_chars += _num_chars(turns)
        while len(self._kept) > self._most or self._num_chars > self._most_chars:
            _, oldest = self._kept.popitem(last=False)
            self._num_chars -= _num_chars(oldest)

    def _before(self, id: str | None) -> tuple[Message, ...]:
        if id is None:
            return ()
        if id not in self._kept:
            raise ApiError(
                404,
                f"no response {id[:80]!r} is kept: it is unknown, too old, or had store=false "
                "(send the conversation as input)",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return self._kept[id]


def _num_chars(turns: tuple[Message, ...]) -> int:
    return sum(
        len(turn.content)
        + len(turn.reasoning or "")
        + sum(len(arguments_text(call)) for call in turn.calls)
        for turn in turns
    )


class ResponseWriter:
    """Writes one response, or its events: items are added, filled, and done, in order."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, running: Running, conversations: Conversations) -> None:
        self._running = running
        self._conversations = conversations
        self._number = 0  # of the next event
        self._channel: Channel | None = None  # of the item that is open
        self._text = ""  # of it
        self._item_id = ""
        self._items: list[dict[str, Any]] = []  # those that are done

    def whole(self, answer: Answer) -> dict[str, Any]:
        self._conversations.keep(self._response_id, self._running, answer)
        items = [_thoughts(self._id(0), answer.reasoning)] if answer.reasoning else []
        if answer.answer or not answer.calls:
            items.append(_said(self._id(len(items)), answer.answer, _status(answer)))
        for call in answer.calls:
            items.append(_call(self._id(len(items)), call, arguments_text(call), "completed"))
        return self._resource(items, answer)

    def start(self) -> Iterator[bytes]:
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._resource([], None))

    def piece(self, chunk: Chunk) -> Iterator[bytes]:
        if chunk.call is not None:
            yield from self._called(chunk.call)
            return
        if chunk.channel is not self._channel:
            yield from self._close("completed")
            yield from self._open(chunk.channel)
        self._text += chunk.text
        if chunk.channel is Channel.ANSWER:
            yield self._event("response.output_text.delta", delta=chunk.text, logprobs=[], **_AT)
        else:
            yield self._event("response.reasoning_summary_text.delta", delta=chunk.text, **_OF)

    def end(self, answer: Answer) -> Iterator[bytes]:
        if (
            self._channel is not Channel.ANSWER and not answer.calls
        ):  # an empty one is still an item
            yield from self._close("completed")
            yield from self._open(Channel.ANSWER)
        self._conversations.keep(self._response_id, self._running, answer)
        status = _status(answer)
        yield from self._close(status)
        yield self._event(f"response.{status}", response=self._resource(self._items, answer))
        yield b"data: [DONE]\n\n"  # as Open Responses has it; OpenAI's own clients stop there

    def ping(self) -> bytes:
        return b": ping\n\n"

    def failed(self, error: ApiError) -> bytes:
        said = openai_error(error)["error"]
        data = {"code": said["code"], "message": said["message"], "param": said["param"]}
        return self._event("error", **data)

    # -- items -------------------------------------------------------------------------------------

    def _open(self, channel: Channel) -> Iterator[bytes]:
        self._channel, self._text = channel, ""
        id = self._id(len(self._items))
        if channel is Channel.ANSWER:
            item = {**_said(id, "", "in_progress"), "content": []}
            yield self._event("response.output_item.added", item=item)
            yield self._event("response.content_part.added", part=_part(""), **_AT)
        else:
            item = {**_thoughts(id, ""), "summary": [], "content": [], "status": "in_progress"}
            yield self._event("response.output_item.added", item=item)
            yield self._event("response.reasoning_summary_part.added", part=_summary(""), **_OF)

    def _called(self, call: ToolCall) -> Iterator[bytes]:
        yield from self._close("completed")
        id, arguments = self._id(len(self._items)), arguments_text(call)
        yield self._event("response.output_item.added", item=_call(id, call, "", "in_progress"))
        yield self._event("response.function_call_arguments.delta", delta=arguments)
        yield self._event(
            "response.function_call_arguments.done", arguments=arguments, name=call.name
        )
        item = _call(id, call, arguments, "completed")
        yield self._event("response.output_item.done", item=item)
        self._items.append(item)

    def _close(self, status: str) -> Iterator[bytes]:
        if self._channel is None:
            return
        id, said = self._id(len(self._items)), self._text
        if self._channel is Channel.ANSWER:
            item = _said(id, said, status)
            yield self._event("response.output_text.done", text=said, logprobs=[], **_AT)
            yield self._event("response.content_part.done", part=_part(said), **_AT)
        else:
            item = _thoughts(id, said)
            yield self._event("response.reasoning_summary_text.done", text=said, **_OF)
            yield self._event("response.reasoning_summary_part.done", part=_summary(said), **_OF)
        yield self._event("response.output_item.done", item=item)
        self._items.append(item)
        self._channel = None

    def _event(self, kind: str, **data: Any) -> bytes:
        """An event; those that are about an item say which."""
        index = len(self._items)
        if "response" not in data and kind != "error":
            data["output_index"] = index
            if "item" in data:
                self._item_id = data["item"]["id"]
            else:
                data["item_id"] = self._item_id
        number, self._number = self._number, self._number + 1
        return sse({"type": kind, "sequence_number": number, **data}, kind)

    @property
    def _response_id(self) -> str:
        return f"resp_{self._running.id}"

    def _id(self, index: int) -> str:
        return f"{self._running.id}_{index}"

    def _resource(self, items: list[dict[str, Any]], answer: Answer | None) -> dict[str, Any]:
        running, given = self._running, self._running.given
        status = "in_progress" if answer is None else _status(answer)
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self._response_id,
            "object": "response",
            "created_at": running.created,
            "completed_at": None if answer is None else int(time.time()),
            "status": status,
            "incomplete_details": cut,
            "model": running.asked_model,
            "output": items,
            "usage": None if answer is None else _usage(answer),
            "instructions": given.get("system"),
            "max_output_tokens": given.get("max_tokens"),
            "previous_response_id": given.get("previous"),
            "store": given.get("store", True),
            "reasoning": {"effort": given.get("effort"), "summary": None},
            **self._sampling(),
            **_FIXED,
            "tools": given.get("tools", []),
            "tool_choice": _choice(given),
            "parallel_tool_calls": given.get("parallel_calls", True),
            "text": {"format": given.get("text_format", {"type": "text"})},
            **({} if answer is None else {"edgereason": running.report(answer)}),
        }

    def _sampling(self) -> dict[str, float]:
        sampling = self._running.request.sampling or self._running.model.bundle.sampling
        return {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": 0.0,
        }


_AT: Final = {"content_index": 0}
_OF: Final = {"summary_index": 0}

_FIXED: Final[dict[str, Any]] = {
    "error": None,
    "truncation": "disabled",
    "top_logprobs": 0,
    "max_tool_calls": None,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
"""What a response must say, and always says the same here."""


def _choice(given: Given) -> Any:
    mode, name = given.get("tool_choice", ("auto", ""))
    return {"type": "function", "name": name} if name else mode


def _status(answer: Answer) -> str:
    return "incomplete" if was_cut(answer) else "completed"


def _part(said: str) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}


def _summary(said: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": said}


def _said(id: str, said: str, status: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{id}",
        "role": "assistant",
        "status": status,
        "content": [_part(said)],
    }


def _call(id: str, call: ToolCall, arguments: str, status: str) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{id}",
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
        "status": status,
    }


def _thoughts(id: str, said: str) -> dict[str, Any]:
    return {
        "type": "reasoning",
        "id": f"rs_{id}",
        "summary": [_summary(said)],
        "content": [{"type": "reasoning_text", "text": said}],
        "status": "completed",
    }


def _usage(answer: Answer) -> dict[str, Any]:
    usage, output = answer.usage, num_completion(answer)
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + output,
    }
