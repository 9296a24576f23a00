"""OpenAI's chat completions, with the budgets of vLLM, llama.cpp, SGLang and OpenRouter.

`reasoning_content` holds the thoughts, as most clients read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edgereason.records import Answer, Channel, Chunk, Message, ToolCall
from edgereason.server import grammars
from edgereason.server.budgets import BUDGETS, EFFORT, SAMPLING, SWITCH, TOKENS
from edgereason.server.conversation import read_messages
from edgereason.server.errors import ApiError, openai_error
from edgereason.server.fields import (
    HARMLESS,
    Given,
    Means,
    Only,
    Table,
    boolean,
    disagree,
    one_of,
    text,
    unsupported,
    whole,
)
from edgereason.server.http import sse
from edgereason.server.running import Running, num_completion, timings, was_cut
from edgereason.server.scores import chat_logprobs
from edgereason.server.tools import arguments_text, list_of_tools, tool_choice

_TOTAL: Final = Means("max_tokens", whole(1))
NO_TOOLS: Final = "this server has no such tools"


def read_bias(value: Any, name: str) -> dict[int, float]:
    try:
        bias = {int(token): float(amount) for token, amount in value.items()}
    except (AttributeError, TypeError, ValueError):
        bias = {-1: 0.0}
    if any(token < 0 or not -100 <= amount <= 100 for token, amount in bias.items()):
        raise ApiError(
            400, f"{name} must be an object of token id -> number from -100 to 100", param=name
        )
    return bias


OPENAI: Final[Table] = {
    "model": Means("model", text),
    "n": Means("num_answers", whole(1, 128)),
    "stream": Means("stream", boolean),
    "logit_bias": Means("logit_bias", read_bias),
    **{
        name: HARMLESS
        for name in (
            "user",
            "metadata",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "verbosity",
            "cache_prompt",
            "cache_salt",
            "session_id",
            "moderation",
        )
    },
    "store": Only((False,), "nothing is stored"),
}
"""What the endpoints of OpenAI's share."""

FIELDS: Final[Table] = {
    **OPENAI,
    **BUDGETS,
    **SAMPLING,
    **grammars.FIELDS,
    "messages": Means("messages", read_messages),
    "max_tokens": _TOTAL,
    "max_completion_tokens": _TOTAL,
    "n_predict": _TOTAL,
    "reasoning": {
        "effort": EFFORT,
        "max_tokens": Means("think_tokens", TOKENS),
        "enabled": SWITCH,
        "exclude": Means("hide_thinking", boolean),
    },
    "include_reasoning": Means("show_thinking", boolean),
    "reasoning_format": Only(("deepseek", "auto"), "thoughts come as reasoning_content"),
    "reasoning_field": Means("thinking_field", one_of("reasoning_content", "reasoning")),
    "reasoning_control": HARMLESS,  # here every request may be controlled
    "stream_options": {
        "include_usage": Means("stream_usage", boolean),
        "continuous_usage_stats": HARMLESS,
        "include_obfuscation": HARMLESS,
    },
    "timings_per_token": HARMLESS,  # timings come with the last chunk
    "return_progress": HARMLESS,
    "tools": Means("tools", list_of_tools),
    "functions": Only(([],), NO_TOOLS),
    "tool_choice": Means("tool_choice", tool_choice),
    "function_call": Only(("none", "auto"), NO_TOOLS),
    "parallel_tool_calls": Means("parallel_calls", boolean),
    "logprobs": Means("scores", boolean),
    "top_logprobs": Means("top_scores", whole(0, 20)),
    "n_probs": Only((0,), "logprobs and top_logprobs say so"),
    "prompt_logprobs": Only((0,), "/v1/completions scores prompts, with echo and logprobs"),
    "echo": Only((False,), "the prompt is not given back"),
    "ignore_eos": Only((False,), "an answer ends where the model ends it"),
    "min_tokens": Only((0,), "an answer ends where the model ends it"),
    "add_generation_prompt": Means("new_turn", boolean),
    "continue_final_message": Means("goes_on", boolean),
    "modalities": Only((["text"],), "this server has texts only"),
    "audio": Only((), "this server has texts only"),
    "prediction": Only((), "predicted outputs are not used"),
    "web_search_options": Only((), "this server reads no web pages"),
}


def messages_of(given: Given) -> tuple[Message, ...]:
    if "messages" not in given.values:
        raise ApiError(400, "messages must be given", param="messages", code="missing_parameter")
    messages: tuple[Message, ...] = given.get("messages")
    goes_on = messages[-1].role == "assistant"
    if given.get("goes_on") and given.get("new_turn"):
        raise disagree("add_generation_prompt", True, "continue_final_message", True)
    if (
        given.get("goes_on", goes_on) is not goes_on
        or given.get("new_turn", not goes_on) is goes_on
    ):
        name = "goes_on" if "goes_on" in given.values else "new_turn"
        why = "an answer is gone on with where the last message is the assistant's, and only there"
        raise unsupported(given.name(name), given.get(name), why)
    return messages


def usage_of(answer: Answer) -> dict[str, Any]:
    prompt, completion = answer.usage.prompt_tokens, num_completion(answer)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": answer.usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.usage.reasoning_tokens},
    }


class ChatWriter:
    """Writes one `chat.completion`, or its chunks."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, running: Running) -> None:
        self._running = running
        self._num_calls = 0
        given = running.given
        shown = given.get("show_thinking", True) and not given.get("hide_thinking", False)
        self._thinking_key = given.get("thinking_field", "reasoning_content") if shown else None

    def whole(self, answer: Answer) -> dict[str, Any]:
        said = answer.answer or (None if answer.calls else "")
        message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None}
        if answer.calls:
            message["tool_calls"] = [_call(call, arguments_text(call)) for call in answer.calls]
        if self._thinking_key and answer.reasoning:
            message[self._thinking_key] = answer.reasoning
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": _finish(answer),
            "logprobs": chat_logprobs(self._running),
        }
        return self._object("chat.completion", [choice]) | {
            "usage": usage_of(answer),
            "timings": timings(answer),
            "edgereason": self._running.report(answer),
        }

    def start(self) -> Iterator[bytes]:
        yield self._chunk({"role": "assistant", "content": None})

    def piece(self, chunk: Chunk) -> Iterator[bytes]:
        if chunk.call is not None:
            yield from self._called(chunk.call)
        elif chunk.channel is Channel.ANSWER:
            yield self._chunk({"content": chunk.text})
        elif self._thinking_key:
            yield self._chunk({self._thinking_key: chunk.text})

    def _called(self, call: ToolCall) -> Iterator[bytes]:
        index, self._num_calls = self._num_calls, self._num_calls + 1
        yield self._chunk({"tool_calls": [{"index": index, **_call(call, "")}]})
        arguments = {"index": index, "function": {"arguments": arguments_text(call)}}
        yield self._chunk({"tool_calls": [arguments]})

    def end(self, answer: Answer) -> Iterator[bytes]:
        wants_usage = self._running.given.get("stream_usage", False)
        told = {"timings": timings(answer)}
        report = {**told, "edgereason": self._running.report(answer)}
        yield self._chunk({}, _finish(answer), chat_logprobs(self._running), **report)
        if wants_usage:
            last = self._object("chat.completion.chunk", [])
            yield sse({**last, "usage": usage_of(answer), **told})
        yield b"data: [DONE]\n\n"

    def ping(self) -> bytes:
        return b": ping\n\n"

    def failed(self, error: ApiError) -> bytes:
        return sse(openai_error(error))

    def _chunk(
        self, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None, **more: Any
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return sse(self._object("chat.completion.chunk", [choice]) | more)

    def _object(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self._running.id}",
            "object": kind,
            "created": self._running.created,
            "model": self._running.asked_model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }


def _finish(answer: Answer) -> str:
    if was_cut(answer):
        return "length"
    return "tool_calls" if answer.calls else "stop"


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


FINGERPRINT: Final = "b1-edgereason"
